/*
 * stream.c - TCP for tasks, on libuv.
 *
 * A task's locals may not be there while it waits (loop.h).  So libuv reads
 * into a buffer in the stream, and the task copies from it when it goes on; and
 * what cannot be written at once is copied before the task waits.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"

enum { BUFFER_BYTES = 4096, BACKLOG = 1024 };

struct stream {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct task *waiting; /* to read, accept or connect; or NULL */
    unsigned connections; /* to accept */
    long unread;          /* bytes in buffer, or an error */
    long taken;           /* of these */
    char buffer[BUFFER_BYTES];
};

static uv_stream_t *uv_of(struct stream *stream)
{
    return (uv_stream_t *)&stream->tcp;
}

static void wake(struct stream *stream, int result)
{
    if (stream->waiting)
        task_wake(stream->waiting, result);
}

static int wait_for(struct stream *stream)
{
    stream->waiting = task_self();
    int err = task_wait();
    stream->waiting = NULL;
    return err;
}

/* ---- Life ---------------------------------------------------------------- */

static int open_stream(struct stream **result)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return UV_ENOMEM;
    int err = uv_tcp_init(&task_self()->loop->uv, &stream->tcp);
    if (err != 0) {
        free(stream);
        return err;
    }
    stream->tcp.data = stream;
    *result = stream;
    return 0;
}

static void free_stream(uv_handle_t *handle)
{
    free(handle->data);
}

void stream_close(struct stream *stream)
{
    uv_close((uv_handle_t *)&stream->tcp, free_stream);
}

/* Keeps it, or closes it. */
static int settle(struct stream *stream, int err, struct stream **result)
{
    if (err != 0)
        stream_close(stream);
    else
        *result = stream;
    return err;
}

/* ---- Connections --------------------------------------------------------- */

static void has_connection(uv_stream_t *listener, int status)
{
    struct stream *stream = listener->data;
    stream->connections += status == 0;
    wake(stream, status);
}

static int bind_and_listen(struct stream *stream, int *port)
{
    struct sockaddr_in address;
    int size = sizeof address;
    int err = uv_ip4_addr("127.0.0.1", *port, &address);
    if (err == 0)
        err = uv_tcp_bind(&stream->tcp, (struct sockaddr *)&address, 0);
    if (err == 0)
        err = uv_listen(uv_of(stream), BACKLOG, has_connection);
    if (err == 0)
        err = uv_tcp_getsockname(&stream->tcp, (struct sockaddr *)&address,
                                 &size);
    if (err == 0)
        *port = ntohs(address.sin_port);
    return err;
}

int stream_listen(struct stream **result, int *port)
{
    struct stream *stream;
    int err = open_stream(&stream);
    return err ? err : settle(stream, bind_and_listen(stream, port), result);
}

int stream_accept(struct stream *listener, struct stream **result)
{
    struct stream *stream;
    while (listener->connections == 0) {
        int err = wait_for(listener);
        if (err != 0)
            return err;
    }
    listener->connections--;
    int err = open_stream(&stream);
    if (err != 0)
        return err;
    return settle(stream, uv_accept(uv_of(listener), uv_of(stream)), result);
}

static void connected(uv_connect_t *connect, int status)
{
    wake(connect->data, status);
}

int stream_connect(struct stream **result, int port)
{
    struct sockaddr_in address;
    struct stream *stream;
    int err = open_stream(&stream);
    if (err != 0)
        return err;
    stream->connect.data = stream;
    err = uv_ip4_addr("127.0.0.1", port, &address);
    if (err == 0)
        err = uv_tcp_connect(&stream->connect, &stream->tcp,
                             (struct sockaddr *)&address, connected);
    if (err == 0)
        err = wait_for(stream);
    return settle(stream, err, result);
}

/* ---- Reading ------------------------------------------------------------- */

static void give_buffer(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    struct stream *stream = handle->data;
    (void)wanted;
    *buffer = uv_buf_init(stream->buffer, BUFFER_BYTES);
}

/* Nobody reads on before this has been taken. */
static void has_read(uv_stream_t *uv, ssize_t size, const uv_buf_t *buffer)
{
    struct stream *stream = uv->data;
    (void)buffer;
    if (size == 0)
        return;
    uv_read_stop(uv);
    stream->unread = size == UV_EOF ? 0 : size;
    stream->taken = 0;
    wake(stream, 0);
}

static int fill(struct stream *stream)
{
    int err = uv_read_start(uv_of(stream), give_buffer, has_read);
    if (err == 0)
        err = wait_for(stream);
    if (err != 0)
        uv_read_stop(uv_of(stream));
    return err;
}

long stream_read(struct stream *stream, void *buffer, size_t size_bytes)
{
    if (stream->taken == stream->unread) {
        int err = fill(stream);
        if (err != 0)
            return err;
    }
    long size = stream->unread - stream->taken;
    if (size <= 0) {
        stream->unread = stream->taken = 0;
        return size;
    }
    if (size > (long)size_bytes)
        size = (long)size_bytes;
    memcpy(buffer, stream->buffer + stream->taken, (size_t)size);
    stream->taken += size;
    return size;
}

/* ---- Writing ------------------------------------------------------------- */

/* It outlives a task that is cancelled while it waits. */
struct writing {
    uv_write_t request;
    struct task *waiting; /* or NULL */
    bool is_done;
    char data[];
};

static void written(uv_write_t *request, int status)
{
    struct writing *writing = request->data;
    writing->is_done = true;
    if (writing->waiting)
        task_wake(writing->waiting, status);
    else
        free(writing);
}

static int write_later(struct stream *stream, const char *data, size_t size)
{
    struct writing *writing = malloc(sizeof *writing + size);
    if (!writing)
        return UV_ENOMEM;
    memcpy(writing->data, data, size);
    uv_buf_t buffer = uv_buf_init(writing->data, (unsigned)size);
    writing->request.data = writing;
    writing->waiting = task_self();
    writing->is_done = false;
    int err = uv_write(&writing->request, uv_of(stream), &buffer, 1, written);
    if (err != 0) {
        free(writing);
        return err;
    }
    err = task_wait();
    writing->waiting = NULL;
    if (writing->is_done)
        free(writing);
    return err;
}

int stream_write(struct stream *stream, const void *data, size_t size_bytes)
{
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned)size_bytes);
    int done = uv_try_write(uv_of(stream), &buffer, 1);
    if (done < 0 && done != UV_EAGAIN)
        return done;
    size_t sent = done > 0 ? (size_t)done : 0;
    if (sent == size_bytes)
        return 0;
    return write_later(stream, (const char *)data + sent, size_bytes - sent);
}
