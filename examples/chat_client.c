/*
 * chat_client.c - the two threads of a client of the chat server.
 *
 * The reader, a child of the server's scope, makes input into events for the
 * host.  It owns a scope of its own with the writer, which takes lines from
 * the client's channel and sends them.
 *
 * Invariant: the host closes the channel when it is done with the client; the
 * writer ends after that, and the reader, which frees the client, after its
 * writer.
 */
#include "chat.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const uint64_t DRAIN_NS = 2 * VTHREAD_SECOND; /* for the last lines */

/* The thread that writes.  Takes as many lines as there are at a time.  After
 * an error it only takes them. */
static int write_lines(const void *args, void *result)
{
    struct client *c = *(struct client *const *)args;
    struct line *line;
    int err = 0;
    (void)result;
    while (vthread_channel_receive(c->lines, &line) == 0) {
        size_t used = 0;
        do {
            memcpy(c->output + used, line->text, line->length);
            used += line->length;
            line_release(line);
        } while (used + LINE_MAX_BYTES <= BATCH_BYTES
                 && vthread_channel_tryreceive(c->lines, &line) == 0);
        if (err == 0 && (err = vthread_write_all(c->fd, c->output, used)) != 0)
            shutdown(c->fd, SHUT_RDWR);
    }
    return 0;
}

static int post(struct client *c, int kind)
{
    c->event.kind = kind;
    c->event.client = c;
    return vthread_channel_send(c->events, &c->event);
}

/* Control characters could do harm on other people's terminals. */
static int say(struct client *c, const char *text, size_t length)
{
    if (length > 0 && text[length - 1] == '\r')
        length--;
    for (size_t i = 0; i < length; i++)
        c->event.text[i] = iscntrl((unsigned char)text[i]) ? ' ' : text[i];
    c->event.text[length] = '\0';
    if (strcmp(c->event.text, "/quit") == 0)
        return ESHUTDOWN;
    return length > 0 ? post(c, SAY) : 0;
}

/* Says the lines of the input, and keeps the start of the next one, unless
 * that is too long or the last. */
static int say_all(struct client *c, size_t *used, bool is_end)
{
    char *line = c->input, *end = c->input + *used, *newline;
    int err = 0;
    while (err == 0
           && (newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        err = say(c, line, (size_t)(newline - line));
        line = newline + 1;
    }
    *used = (size_t)(end - line);
    if (err == 0 && *used > 0 && (is_end || *used == TEXT_MAX)) {
        err = say(c, line, *used);
        *used = 0;
    }
    memmove(c->input, line, *used);
    return err;
}

static void read_lines(struct client *c)
{
    size_t used = 0, n = 1;
    int err = post(c, COME);
    while (err == 0 && n > 0) {
        err = vthread_read(c->fd, c->input + used, TEXT_MAX - used, &n);
        if (err == 0) {
            used += n;
            err = say_all(c, &used, n == 0);
        }
    }
}

void client_destroy(struct client *c)
{
    vthread_close(c->fd);
    vthread_channel_destroy(c->lines);
    free(c);
}

/* The writer's scope is opened with cancellation disabled, so at Ctrl-C the
 * writer is not cancelled.  Reading is, and then the client takes its leave,
 * and what is on its way is written. */
int client_serve(const void *args, void *result)
{
    struct client *c = *(struct client *const *)args;
    vthread_scope_t *scope;
    (void)result;
    vthread_cancel_disable();
    int err = vthread_scope_open(&scope, NULL);
    if (err == 0) {
        err = vthread_scope_fork(scope, NULL, write_lines, &c, sizeof c, 0);
        if (err == 0) {
            vthread_cancel_enable();
            read_lines(c);
            vthread_cancel_disable();
            post(c, LEAVE);
            if (vthread_scope_join_until(scope, vthread_after(DRAIN_NS)) != 0)
                shutdown(c->fd, SHUT_RDWR);
            vthread_scope_join(scope);
        }
        vthread_scope_close(scope);
    }
    client_destroy(c);
    return 0;
}
