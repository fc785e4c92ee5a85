/*
 * echo.c - an echo server and its clients as tasks on one libuv loop.
 *
 *     echo [CLIENTS [MESSAGES]]
 *
 * Each connection has a task on either side, whose code reads and writes as if
 * it had an OS thread of its own:
 *
 *     $ build/examples/uv/echo 1000 20
 *     1000 clients, 20 messages each: 20000 echoed, 0 wrong
 *
 * No scheduler of the library takes part, and no OS thread is started: loop.c
 * is the scheduler.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "stream.h"

static struct loop loop;
static struct task *server;
static int port;
static unsigned clients = 100, messages = 10;
static unsigned left, echoed, wrong;

static void complain(const char *what, int err)
{
    fprintf(stderr, "echo: %s: %s\n", what, uv_strerror(err));
    wrong++;
}

static void echo(void *connection)
{
    char buffer[256];
    long size;
    while ((size = stream_read(connection, buffer, sizeof buffer)) > 0)
        if (stream_write(connection, buffer, (size_t)size) != 0)
            break;
    stream_close(connection);
}

/* Until it is cancelled. */
static void serve(void *listener)
{
    struct stream *connection;
    while (stream_accept(listener, &connection) == 0) {
        int err = task_start(&loop, echo, connection, NULL);
        if (err != 0) {
            complain("task_start", err);
            stream_close(connection);
        }
    }
    stream_close(listener);
}

static bool read_all(struct stream *stream, char *buffer, size_t size_bytes)
{
    size_t done = 0;
    while (done < size_bytes) {
        long size = stream_read(stream, buffer + done, size_bytes - done);
        if (size <= 0)
            return false;
        done += (size_t)size;
    }
    return true;
}

static void talk(struct stream *stream, unsigned number)
{
    char said[64], heard[64];
    for (unsigned i = 0; i < messages; i++) {
        int size = snprintf(said, sizeof said, "message %u of client %u", i,
                            number);
        if (stream_write(stream, said, (size_t)size) != 0
            || !read_all(stream, heard, (size_t)size)
            || memcmp(said, heard, (size_t)size) != 0)
            wrong++;
        else
            echoed++;
    }
}

static void ask(void *number)
{
    struct stream *stream;
    int err = stream_connect(&stream, port);
    if (err == 0) {
        talk(stream, (unsigned)(uintptr_t)number);
        stream_close(stream);
    } else {
        complain("connect", err);
    }
    if (--left == 0)
        task_cancel(server);
}

/* The sockets belong to tasks, so a task begins it all. */
static void begin(void *arg)
{
    (void)arg;
    struct stream *listener;
    int err = stream_listen(&listener, &port);
    if (err == 0)
        err = task_start(&loop, serve, listener, &server);
    for (unsigned i = 0; i < clients && err == 0; i++) {
        err = task_start(&loop, ask, (void *)(uintptr_t)i, NULL);
        left += err == 0;
    }
    if (err != 0)
        complain("cannot begin", err);
}

static bool read_number(const char *word, unsigned *number)
{
    char *end;
    unsigned long value = strtoul(word, &end, 10);
    *number = (unsigned)value;
    return *end == '\0' && value > 0 && value <= 100000;
}

int main(int argc, char **argv)
{
    if (argc > 3 || (argc > 1 && !read_number(argv[1], &clients))
        || (argc > 2 && !read_number(argv[2], &messages))) {
        fprintf(stderr, "usage: echo [CLIENTS [MESSAGES]]\n");
        return 2;
    }
    int err = loop_init(&loop);
    if (err == 0)
        err = task_start(&loop, begin, NULL, NULL);
    if (err == 0)
        err = loop_run(&loop);
    if (err == 0)
        err = loop_close(&loop);
    if (err != 0)
        complain("the loop", err);
    printf("%u clients, %u messages each: %u echoed, %u wrong\n", clients,
           messages, echoed, wrong);
    return wrong == 0 && echoed == clients * messages ? 0 : 1;
}
