/*
 * tcp.c - vthread.tcp: connecting, and listening.
 *
 * What a connection does once it is there is in stream.c.
 */
#include "module.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listener {
    struct shared shared;
    _Atomic int fd; /* -1: closed */
};

static void destroy(struct shared *shared)
{
    struct listener *listener = (struct listener *)shared;
    int fd = atomic_load_explicit(&listener->fd, memory_order_relaxed);

    if (fd >= 0)
        vthread_close(fd);
    free(listener);
}

const struct shared_kind listener_kind = {"vthread.listener", destroy};

/* ---- Names -------------------------------------------------------------- */

/* The addresses of a host and port, for freeaddrinfo; the turn is given up.
 * *list is NULL with an error, and then *reason says why. */
static int resolve(struct vm *vm, const char *host, const char *port,
                   int flags, struct addrinfo **list, int *reason)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = flags | AI_NUMERICSERV};

    *list = NULL;
    lua_State *at = vm_leave(vm);
    int err = vthread_getaddrinfo(host, port, &hints, list, reason);
    vm_enter(vm, at);
    return err;
}

static int fail_to_resolve(lua_State *L, const char *host, int err, int reason)
{
    vm_check(L, err);
    luaL_pushfail(L);
    lua_pushfstring(L, "%s: %s", host == NULL ? "*" : host,
                    reason != 0 ? gai_strerror(reason) : strerror(err));
    lua_pushinteger(L, err);
    return 3;
}

/* ---- Connecting --------------------------------------------------------- */

static int open_socket(const struct addrinfo *address, int *fd)
{
    *fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *fd < 0 ? vthread_errno() : 0;
}

static int connect_to(struct vm *vm, const struct addrinfo *address,
                      uint64_t deadline_ns, int *fd)
{
    int err = open_socket(address, fd);

    if (err != 0)
        return err;
    lua_State *at = vm_leave(vm);
    err = vthread_connect_until(*fd, address->ai_addr, address->ai_addrlen,
                                deadline_ns);
    vm_enter(vm, at);
    if (err != 0)
        vthread_close(*fd);
    return err;
}

/* connect(host, port [, seconds]) */
static int connect_call(lua_State *L)
{
    const char *host = luaL_checkstring(L, 1);
    const char *port = luaL_checkstring(L, 2);
    uint64_t deadline_ns = module_deadline(L, 3);
    struct addrinfo *list;
    int reason, fd = -1;
    int err = resolve(vm_of(L), host, port, 0, &list, &reason);

    if (err != 0)
        return fail_to_resolve(L, host, err, reason);
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        err = connect_to(vm_of(L), a, deadline_ns, &fd);
        if (err == 0 || err == ECANCELED || err == ETIMEDOUT)
            break;
    }
    freeaddrinfo(list);
    vm_check(L, err);
    if (err != 0)
        return module_fail(L, err);
    stream_push(L, fd);
    return 1;
}

/* ---- Listening ---------------------------------------------------------- */

static int listen_at(const struct addrinfo *address, int backlog, int *fd)
{
    int err = open_socket(address, fd);
    int yes = 1;

    if (err != 0)
        return err;
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(*fd, address->ai_addr, address->ai_addrlen) == 0
        && listen(*fd, backlog) == 0)
        return 0;
    err = vthread_errno();
    vthread_close(*fd);
    return err;
}

static void push_listener(lua_State *L, int fd)
{
    struct listener *listener = calloc(1, sizeof *listener);

    if (listener == NULL) {
        vthread_close(fd);
        luaL_error(L, "out of memory");
    }
    listener->shared.kind = &listener_kind;
    atomic_init(&listener->shared.references, 1);
    atomic_init(&listener->fd, fd);
    shared_push(L, &listener->shared);
}

/* listen(host, port [, backlog]); host "*": all addresses; port 0: a free
 * one. */
static int listen_call(lua_State *L)
{
    const char *host = luaL_checkstring(L, 1);
    const char *port = luaL_checkstring(L, 2);
    int backlog = (int)luaL_optinteger(L, 3, SOMAXCONN);
    struct addrinfo *list;
    int reason, fd = -1;

    if (strcmp(host, "*") == 0)
        host = NULL;
    int err = resolve(vm_of(L), host, port, AI_PASSIVE, &list, &reason);
    if (err != 0)
        return fail_to_resolve(L, host, err, reason);
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        err = listen_at(a, backlog, &fd);
        if (err == 0)
            break;
    }
    freeaddrinfo(list);
    if (err != 0)
        return module_fail(L, err);
    push_listener(L, fd);
    return 1;
}

static struct listener *check(lua_State *L)
{
    return shared_check(L, 1, &listener_kind);
}

static int check_fd(lua_State *L, struct listener *listener)
{
    /* Relaxed: a number; vthread_close wakes those who had it. */
    int fd = atomic_load_explicit(&listener->fd, memory_order_relaxed);

    if (fd < 0)
        luaL_error(L, "attempt to use a closed listener");
    return fd;
}

/* accept([seconds]) */
static int accept_call(lua_State *L)
{
    struct listener *listener = check(L);
    uint64_t deadline_ns = module_deadline(L, 2);
    int fd = check_fd(L, listener);
    int accepted;

    shared_retain(&listener->shared);
    lua_State *at = vm_leave(vm_of(L));
    int err = vthread_accept_until(fd, NULL, NULL, &accepted, deadline_ns);
    vm_enter(vm_of(L), at);
    /* Relaxed: as above. */
    bool is_closed =
        atomic_load_explicit(&listener->fd, memory_order_relaxed) < 0;
    shared_release(&listener->shared);
    if (err == 0) {
        stream_push(L, accepted);
        return 1;
    }
    if (is_closed)
        err = EPIPE;
    vm_check(L, err);
    return module_fail(L, err);
}

static int close_listener(lua_State *L)
{
    /* Relaxed: who gets the number closes it. */
    int fd = atomic_exchange_explicit(&check(L)->fd, -1, memory_order_relaxed);

    if (fd >= 0)
        vthread_close(fd);
    return 0;
}

/* Host and port, of which the second is of interest after listen(host, 0). */
static int address(lua_State *L)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(check_fd(L, check(L)), (struct sockaddr *)&bound, &length)
        != 0)
        return module_fail(L, vthread_errno());
    getnameinfo((struct sockaddr *)&bound, length, host, sizeof host, port,
                sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    lua_pushstring(L, host);
    lua_pushinteger(L, atoi(port));
    return 2;
}

void tcp_open(lua_State *L, struct vm *vm)
{
    static const luaL_Reg methods[] = {{"accept", accept_call},
                                       {"address", address},
                                       {"close", close_listener},
                                       {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__close", close_listener},
                                           {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"connect", connect_call}, {"listen", listen_call}, {NULL, NULL}};

    shared_open(L, vm, &listener_kind, methods, metamethods);
    lua_newtable(L);
    module_functions(L, vm, functions);
}
