/*
 * echo_server.c - the two servers.  See echo_server.h.
 */
#include "bench/echo_server.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define EVENTS_AT_ONCE 256

/* ---- The epoll loop ----------------------------------------------------- */

static void watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    bench_check_errno(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event),
                      "epoll_ctl");
}

static void accept_all(int epoll_fd, int listen_fd)
{
    int fd;

    while ((fd = accept4(listen_fd, NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(epoll_fd, fd);
    if (errno != EAGAIN)
        bench_check_errno(fd, "accept4");
}

static void echo_once(int fd, char *buffer, size_t buffer_bytes)
{
    ssize_t n = read(fd, buffer, buffer_bytes);

    if (n > 0 && write(fd, buffer, (size_t)n) == n)
        return;
    if (n < 0 && errno == EAGAIN)
        return;
    close(fd);
}

static _Noreturn void serve_by_epoll(int listen_fd, size_t buffer_bytes)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int epoll_fd = bench_check_errno(epoll_create1(0), "epoll_create1");
    char *buffer = bench_allocate(buffer_bytes);

    watch(epoll_fd, listen_fd);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, -1);

        for (int i = 0; i < count; i++)
            if (events[i].data.fd == listen_fd)
                accept_all(epoll_fd, listen_fd);
            else
                echo_once(events[i].data.fd, buffer, buffer_bytes);
    }
}

/* ---- A thread for each connection --------------------------------------- */

static size_t thread_buffer_bytes;

static void *serve_connection(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char buffer[thread_buffer_bytes];
    size_t n;

    while (vthread_read(fd, buffer, sizeof buffer, &n) == 0 && n > 0)
        if (vthread_write_all(fd, buffer, n) != 0)
            break;
    vthread_close(fd);
    return NULL;
}

static void *accept_forever(void *argument)
{
    int listen_fd = (int)(intptr_t)argument;
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};

    for (;;) {
        int fd;

        bench_check(vthread_accept(listen_fd, NULL, NULL, &fd),
                    "vthread_accept");
        bench_check(
            vthread_create(NULL, &attr, serve_connection, (void *)(intptr_t)fd),
            "vthread_create");
    }
    return NULL;
}

static _Noreturn void serve_by_threads(int listen_fd, unsigned carriers,
                                       size_t buffer_bytes)
{
    vthread_attr_t attr = {.scheduler = bench_scheduler(carriers)};
    vthread_t acceptor;

    thread_buffer_bytes = buffer_bytes;
    bench_check(vthread_create(&acceptor, &attr, accept_forever,
                               (void *)(intptr_t)listen_fd),
                "vthread_create");
    vthread_join(acceptor, NULL);
    bench_die("the acceptor has ended");
}

/* ---- Either, in a process of its own ------------------------------------ */

static int listen_somewhere(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int fd = bench_check_errno(
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        "socket");

    *address = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    bench_check_errno(bind(fd, (struct sockaddr *)address, sizeof *address),
                      "bind");
    bench_check_errno(getsockname(fd, (struct sockaddr *)address, &length),
                      "getsockname");
    bench_check_errno(listen(fd, 4096), "listen");
    return fd;
}

unsigned echo_server_processors(unsigned carriers)
{
    return carriers == ECHO_EPOLL_LOOP ? 1 : carriers;
}

void echo_server_start(struct echo_server *server, unsigned carriers,
                       size_t buffer_bytes)
{
    int listen_fd = listen_somewhere(&server->address);

    server->pid = bench_check_errno(fork(), "fork");
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bench_use_processors(0, echo_server_processors(carriers));
        if (carriers == ECHO_EPOLL_LOOP)
            serve_by_epoll(listen_fd, buffer_bytes);
        serve_by_threads(listen_fd, carriers, buffer_bytes);
    }
    close(listen_fd);
}

/* It must still be there: one that has died has said why. */
void echo_server_stop(struct echo_server *server)
{
    int status;

    if (waitpid(server->pid, &status, WNOHANG) != 0)
        bench_die("the server has ended by itself, status %#x", status);
    kill(server->pid, SIGKILL);
    waitpid(server->pid, &status, 0);
}

void echo_server_name(unsigned carriers, char *name, size_t size_bytes)
{
    if (carriers == ECHO_EPOLL_LOOP)
        snprintf(name, size_bytes, "epoll");
    else
        snprintf(name, size_bytes, "%u", carriers);
}
