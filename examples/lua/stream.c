/*
 * stream.c - connections: read, write, close.
 *
 * Reads are as in io: "l" a line, "L" a line with its end, "a" all, a number
 * so many bytes; besides "s", some: what there is, one byte at least.  One
 * thread reads at a time, and one writes, so lines and messages stay whole
 * whoever shares the connection; the others wait for their turn.
 *
 * What has been received and not read is in a buffer, which begins small, for
 * most connections wait most of the time, and grows with what comes.
 */
#include "module.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST ((size_t)512)
#define LARGEST ((size_t)64 * 1024)

/* Fields: I when it is made, R of who reads, A atomic. */
struct stream {
    struct shared shared;
    _Atomic int fd; /* -1: closed */
    vthread_mutex_t reading, writing;
    char *data;           /* R */
    size_t start, end;    /* R: in data, what was not read */
    size_t capacity;      /* R */
    _Atomic uint64_t patience_ns; /* A: of each call; 0: for ever */
};

static void destroy(struct shared *shared)
{
    struct stream *stream = (struct stream *)shared;
    int fd = atomic_load_explicit(&stream->fd, memory_order_relaxed);

    if (fd >= 0)
        vthread_close(fd);
    free(stream->data);
    free(stream);
}

const struct shared_kind stream_kind = {"vthread.stream", destroy};

void stream_push(lua_State *L, int fd)
{
    struct stream *stream = calloc(1, sizeof *stream);
    int yes = 1;

    if (stream == NULL) {
        vthread_close(fd);
        luaL_error(L, "out of memory");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    stream->shared.kind = &stream_kind;
    atomic_init(&stream->shared.references, 1);
    atomic_init(&stream->fd, fd);
    shared_push(L, &stream->shared);
}

static struct stream *check(lua_State *L)
{
    return shared_check(L, 1, &stream_kind);
}

static int current_fd(struct stream *stream)
{
    /* Relaxed: a number; vthread_close wakes those who had it. */
    return atomic_load_explicit(&stream->fd, memory_order_relaxed);
}

static int check_fd(lua_State *L, struct stream *stream)
{
    int fd = current_fd(stream);

    if (fd < 0)
        luaL_error(L, "attempt to use a closed connection");
    return fd;
}

static uint64_t deadline_of(const struct stream *stream)
{
    /* Relaxed: a number. */
    uint64_t patience_ns =
        atomic_load_explicit(&stream->patience_ns, memory_order_relaxed);

    return patience_ns == 0 ? VTHREAD_NEVER : vthread_now() + patience_ns;
}

/* ---- Receiving ---------------------------------------------------------- */

/* Room for more: what was read goes, then the buffer grows. */
static int make_room(struct stream *stream)
{
    size_t length = stream->end - stream->start;
    size_t capacity = stream->capacity;

    if (stream->start > 0) {
        memmove(stream->data, stream->data + stream->start, length);
        stream->start = 0;
        stream->end = length;
    }
    if (capacity > length)
        return 0;
    capacity = capacity == 0 ? SMALLEST : 2 * capacity;
    char *larger = realloc(stream->data, capacity);
    if (larger == NULL)
        return ENOMEM;
    stream->data = larger;
    stream->capacity = capacity;
    return 0;
}

/* Receives something, by a thread without the turn; EPIPE at the end. */
static int fill(struct stream *stream, uint64_t deadline_ns)
{
    int fd = current_fd(stream);
    size_t done = 0;

    if (fd < 0)
        return ECANCELED;
    int err = make_room(stream);
    if (err == 0)
        err = vthread_read_until(fd, stream->data + stream->end,
                                 stream->capacity - stream->end, &done,
                                 deadline_ns);
    stream->end += done;
    return err == 0 && done == 0 ? EPIPE : err;
}

/* Until the buffer has so many bytes, or a whole line if none are wanted;
 * stores how many bytes that is. */
static int await_bytes(struct stream *stream, size_t wanted, size_t *count,
                       uint64_t deadline_ns)
{
    size_t searched = 0;
    int err = 0;

    while (err == 0) {
        size_t length = stream->end - stream->start;
        const char *data = stream->data + stream->start;
        const char *newline =
            wanted > 0 || length == searched
                ? NULL
                : memchr(data + searched, '\n', length - searched);
        *count = newline != NULL ? (size_t)(newline - data) + 1 : wanted;
        if (newline != NULL || (wanted > 0 && length >= wanted))
            return 0;
        searched = length;
        err = fill(stream, deadline_ns);
    }
    *count = stream->end - stream->start;
    return err;
}

/* What a read asks for. */
struct request {
    char format;  /* 'l', 'L', 'a', 's', or 'n': a number of bytes */
    size_t count; /* so many */
};

/* Stores how many bytes answer the request; EPIPE: all there were. */
static int satisfy(struct stream *stream, const struct request *request,
                   size_t *count, uint64_t deadline_ns)
{
    size_t length = stream->end - stream->start;

    switch (request->format) {
    case 's':
        if (length > 0) {
            *count = length;
            return 0;
        }
        int err = fill(stream, deadline_ns);
        *count = stream->end - stream->start;
        return err;
    case 'a':
        return await_bytes(stream, SIZE_MAX, count, deadline_ns);
    case 'n':
        if (request->count == 0) {
            *count = 0;
            return 0;
        }
        return await_bytes(stream, request->count, count, deadline_ns);
    default:
        return await_bytes(stream, 0, count, deadline_ns);
    }
}

static void check_request(lua_State *L, int index, struct request *request)
{
    if (lua_type(L, index) == LUA_TNUMBER) {
        lua_Integer count = luaL_checkinteger(L, index);
        luaL_argcheck(L, count >= 0 && count <= INT32_MAX, index,
                      "no number of bytes");
        *request = (struct request){'n', (size_t)count};
        return;
    }
    const char *format = luaL_optstring(L, index, "l");
    format += *format == '*';
    luaL_argcheck(L, *format != '\0' && strchr("lLas", *format) != NULL, index,
                  "invalid format");
    *request = (struct request){*format, 0};
}

/* Pushes count bytes, without the end of the line if that is asked for. */
static void push_bytes(lua_State *L, struct stream *stream, size_t count,
                       char format)
{
    size_t length = count;
    const char *data = stream->data + stream->start;

    if (format == 'l' && length > 0 && data[length - 1] == '\n')
        length--;
    lua_pushlstring(L, length == 0 ? "" : data, length);
    stream->start += count;
    if (stream->start < stream->end)
        return;
    stream->start = stream->end = 0;
    if (stream->capacity > LARGEST) {
        free(stream->data);
        stream->data = NULL;
        stream->capacity = 0;
    }
}

/* In protected mode, by the reader. */
static int push_protected(lua_State *L)
{
    const size_t *count = lua_touserdata(L, 2);

    push_bytes(L, lua_touserdata(L, 1), *count, (char)lua_tointeger(L, 3));
    return 1;
}

/* Pushes the bytes, or an error; returns the status.  An error does not keep
 * the others from reading. */
static int push_answer(lua_State *L, struct stream *stream, size_t count,
                       char format)
{
    lua_pushcfunction(L, push_protected);
    lua_pushlightuserdata(L, stream);
    lua_pushlightuserdata(L, &count);
    lua_pushinteger(L, format);
    return lua_pcall(L, 3, 1, 0);
}

/* With the reference that the call has taken; gives it up.  Somebody has
 * closed the stream, during the wait or right before: "closed". */
static int reason_of(struct stream *stream, int err)
{
    bool is_closed = current_fd(stream) < 0;

    shared_release(&stream->shared);
    return (err == ECANCELED || err == EBADF) && is_closed ? EPIPE : err;
}

/* read([format]): one value, or nil and why. */
static int read_call(lua_State *L)
{
    struct stream *stream = check(L);
    uint64_t deadline_ns = deadline_of(stream);
    struct request request;
    size_t count = 0;

    check_request(L, 2, &request);
    check_fd(L, stream);
    luaL_checkstack(L, 8, NULL);
    shared_retain(&stream->shared);
    lua_State *at = vm_leave(vm_of(L));
    int err = vthread_mutex_lock_until(&stream->reading, deadline_ns);
    bool is_reader = err == 0;
    if (is_reader)
        err = satisfy(stream, &request, &count, deadline_ns);
    vm_enter(vm_of(L), at);
    /* At the end what is left is the answer, and to "a" nothing is, too. */
    bool is_end = err == EPIPE && count == 0 && request.format != 'a';
    bool is_answer = (err == 0 || err == EPIPE) && !is_end;
    int status = is_answer ? push_answer(L, stream, count, request.format)
                           : LUA_OK;
    if (is_reader)
        vthread_mutex_unlock(&stream->reading);
    err = reason_of(stream, err);
    if (status != LUA_OK)
        return lua_error(L);
    if (is_end) /* nil, and no reason */
        luaL_pushfail(L);
    if (is_answer || is_end)
        return 1;
    vm_check(L, err);
    return module_fail(L, err);
}

static int next_line(lua_State *L)
{
    lua_settop(L, 1);
    return read_call(L);
}

/* ---- Sending ------------------------------------------------------------ */

/* By a thread without the turn. */
static int send_all(struct stream *stream, const char *data, size_t length,
                    uint64_t deadline_ns)
{
    int err = vthread_mutex_lock_until(&stream->writing, deadline_ns);
    size_t done;

    if (err != 0)
        return err;
    while (err == 0 && length > 0) {
        int fd = current_fd(stream);
        if (fd < 0) {
            err = ECANCELED;
            break;
        }
        err = vthread_send_until(fd, data, length, MSG_NOSIGNAL, &done,
                                 deadline_ns);
        if (err == 0) {
            data += done;
            length -= done;
        }
    }
    vthread_mutex_unlock(&stream->writing);
    return err;
}

/* write(...): strings and numbers; the connection, or nil and why. */
static int write_call(lua_State *L)
{
    struct stream *stream = check(L);
    uint64_t deadline_ns = deadline_of(stream);
    int count = lua_gettop(L) - 1;
    size_t length;

    for (int i = 2; i <= count + 1; i++)
        luaL_checkstring(L, i);
    check_fd(L, stream);
    lua_concat(L, count);
    const char *data = lua_tolstring(L, -1, &length);
    shared_retain(&stream->shared);
    lua_State *at = vm_leave(vm_of(L));
    int err = send_all(stream, data, length, deadline_ns);
    vm_enter(vm_of(L), at);
    err = reason_of(stream, err);
    vm_check(L, err);
    if (err != 0)
        return module_fail(L, err);
    lua_settop(L, 1);
    return 1;
}

/* ---- The rest ----------------------------------------------------------- */

/* No more is written; the other side sees the end. */
static int shutdown_call(lua_State *L)
{
    shutdown(check_fd(L, check(L)), SHUT_WR);
    return 0;
}

static int close_call(lua_State *L)
{
    /* Relaxed: who gets the number closes it. */
    int fd = atomic_exchange_explicit(&check(L)->fd, -1, memory_order_relaxed);

    if (fd >= 0)
        vthread_close(fd);
    return 0;
}

/* timeout([seconds]): how long each call may wait from now on. */
static int timeout_call(lua_State *L)
{
    lua_Number seconds = luaL_optnumber(L, 2, 0);

    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 2, "no time");
    atomic_store_explicit(&check(L)->patience_ns,
                          (uint64_t)(seconds * (double)VTHREAD_SECOND),
                          memory_order_relaxed); /* a number */
    return 0;
}

void stream_open(lua_State *L, struct vm *vm)
{
    static const luaL_Reg methods[] = {
        {"read", read_call},         {"write", write_call},
        {"shutdown", shutdown_call}, {"timeout", timeout_call},
        {"close", close_call},       {NULL, NULL}};
    static const luaL_Reg metamethods[] = {
        {"__close", close_call}, {"__call", next_line}, {NULL, NULL}};

    shared_open(L, vm, &stream_kind, methods, metamethods);
}
