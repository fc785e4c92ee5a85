/*
 * chat.h - what the files of the chat server share.
 *
 * chat.c has the server: who accepts, and how it ends.
 * chat_client.c has the clients: who reads, and who writes.
 * chat_host.c has the host: who is here, and who is told what.
 */
#ifndef CHAT_H
#define CHAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <vthread.h>

enum {
    TEXT_MAX = 512, /* longer lines of input are cut in pieces */
    NICK_MAX = 20,
    LINE_MAX_BYTES = TEXT_MAX + NICK_MAX + 64,
    BATCH_BYTES = 4096
};

/* A line on its way to many clients; freed with its last reference. */
struct line {
    _Atomic unsigned references;
    size_t length; /* with the newline at its end */
    char text[];
};

/* What a reader tells the host. */
struct event {
    enum { COME, SAY, LEAVE, STOP } kind;
    struct client *client;
    char text[TEXT_MAX + 1]; /* of SAY */
};

struct client {
    int fd;
    vthread_channel_t *events; /* of struct event, to the host */
    vthread_channel_t *lines;  /* of struct line *, each with a reference */

    char input[TEXT_MAX]; /* the reader's */
    struct event event;   /* the reader's */

    char output[BATCH_BYTES]; /* the writer's */

    struct client *next;     /* the host's */
    bool is_here;            /* the host's */
    char nick[NICK_MAX + 1]; /* the host's; "" until it has come */
};

/* The thread of a client, a child of a scope: reads, until the client or the
 * scope ends.  args is a struct client *, which it destroys. */
int client_serve(const void *args, void *result);

/* Closes its descriptor and frees it; for a client that is not served. */
void client_destroy(struct client *client);

/* Handles an event.  For one thread, the host.  After LEAVE it has closed
 * the channel of the client, and does not know it any more. */
void host_handle(const struct event *event);

/* Gives a reference back; for any thread. */
void line_release(struct line *line);

#endif
