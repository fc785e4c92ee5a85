/*
 * chat_host.c - the chat's host: who is here, and who is told what.
 *
 * What is here: events of clients become lines for clients.  All of it is
 * called by one thread, so there is nothing to lock, and all clients get all
 * lines in the same order.
 *
 * Invariant: nothing here waits for a client.  A client whose channel has no
 * room is taken off the list, and its connection is shut down; its reader
 * sees that and says LEAVE.
 */
#include "chat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct {
    struct client *clients; /* those who are here */
    unsigned guests;        /* have come so far */
    bool is_stopping;
} host;

/*
 * Lines.
 */

void line_release(struct line *line)
{
    /* acq_rel: the last one frees it after all others have read it. */
    if (atomic_fetch_sub_explicit(&line->references, 1, memory_order_acq_rel)
        == 1)
        free(line);
}

/* Cut if it is too long.  NULL without memory. */
static struct line *format_line(const char *format, va_list values)
{
    struct line *line = malloc(sizeof *line + LINE_MAX_BYTES);
    if (line == NULL)
        return NULL;
    int length = vsnprintf(line->text, LINE_MAX_BYTES - 1, format, values);
    if (length > LINE_MAX_BYTES - 2)
        length = LINE_MAX_BYTES - 2;
    line->text[length] = '\n';
    line->length = (size_t)length + 1;
    atomic_init(&line->references, 1);
    return line;
}

static void forget(struct client *client)
{
    struct client **link = &host.clients;
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    client->is_here = false;
}

/* Returns whether the client has a lot of lines to take already. */
static bool give(struct client *client, struct line *line)
{
    /* Relaxed: the channel hands the line over. */
    atomic_fetch_add_explicit(&line->references, 1, memory_order_relaxed);
    if (vthread_channel_trysend(client->lines, &line) != 0) {
        line_release(line);
        forget(client);
        shutdown(client->fd, SHUT_RDWR);
        return false;
    }
    return vthread_channel_length(client->lines)
           > vthread_channel_capacity(client->lines) / 2;
}

/* Tells one client, or all (NULL).  When there is a lot to write it lets the
 * writers run, so that lines that come fast do not make a client look slow. */
__attribute__((format(printf, 2, 3))) static void tell(struct client *to,
                                                       const char *format, ...)
{
    va_list values;
    va_start(values, format);
    struct line *line = format_line(format, values);
    va_end(values);
    if (line == NULL) {
        fprintf(stderr, "chat: no memory, a line is lost\n");
        return;
    }
    bool is_crowded = false;
    for (struct client *c = to ? to : host.clients, *next; c; c = next) {
        next = to ? NULL : c->next;
        is_crowded |= give(c, line);
    }
    line_release(line);
    if (is_crowded)
        vthread_yield();
}

/*
 * Events.
 */

static bool is_taken(const char *nick)
{
    for (struct client *c = host.clients; c != NULL; c = c->next)
        if (strcmp(c->nick, nick) == 0)
            return true;
    return false;
}

static void come(struct client *client)
{
    do
        snprintf(client->nick, sizeof client->nick, "guest-%u", ++host.guests);
    while (is_taken(client->nick));
    client->next = host.clients;
    host.clients = client;
    client->is_here = true;
    tell(NULL, "* %s has come", client->nick);
}

static void leave(struct client *client)
{
    const char *how = client->is_here ? "has left" : "was too slow";
    if (client->is_here)
        forget(client);
    if (client->nick[0] != '\0' && !host.is_stopping)
        tell(NULL, "* %s %s", client->nick, how);
    vthread_channel_close(client->lines);
}

static void rename_client(struct client *client, const char *nick)
{
    size_t length = strspn(nick, "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (length == 0 || length > NICK_MAX || nick[length] != '\0') {
        tell(client, "! a nick is 1 to %d letters, digits, - and _", NICK_MAX);
    } else if (is_taken(nick)) {
        tell(client, "! %s is taken", nick);
    } else {
        tell(NULL, "* %s is now %s", client->nick, nick);
        strcpy(client->nick, nick);
    }
}

/* As many names as go into a line. */
static void list(struct client *client)
{
    char names[TEXT_MAX] = "";
    size_t used = 0;
    unsigned count = 0;
    for (struct client *c = host.clients; c != NULL; c = c->next, count++)
        if (used + NICK_MAX + 5 < sizeof names)
            used += (size_t)sprintf(names + used, " %s", c->nick);
        else if (names[used - 1] != '.')
            used += (size_t)sprintf(names + used, " ...");
    tell(client, "* %u here:%s", count, names);
}

static void say(struct client *client, const char *text)
{
    if (!client->is_here)
        return;
    if (strncmp(text, "/nick ", 6) == 0)
        rename_client(client, text + 6);
    else if (strcmp(text, "/who") == 0)
        list(client);
    else if (text[0] == '/')
        tell(client, "! there are /nick NAME, /who and /quit");
    else
        tell(NULL, "<%s> %s", client->nick, text);
}

void host_handle(const struct event *event)
{
    switch (event->kind) {
    case COME:
        come(event->client);
        break;
    case SAY:
        say(event->client, event->text);
        break;
    case LEAVE:
        leave(event->client);
        break;
    case STOP:
        tell(NULL, "* the server stops");
        host.is_stopping = true;
        break;
    }
}
