/*
 * hybrid.c - threads that wait beside threads that compute: a server that
 * takes numbers apart.
 *
 *     hybrid PORT [CPUS]         PORT 0: any free port
 *
 *     $ printf '%s\n' 2026 576460752303423487 | nc -N 127.0.0.1 PORT
 *     2026: 2 1013
 *     576460752303423487: 179951 3203431780337
 *
 * Each line is answered as factor(1) does.  What takes longer than 5 seconds
 * is given up.  On Ctrl-C the server drops its connections and ends with
 * status 0.
 *
 * What it shows: a thread for each connection, on the default scheduler, does
 * nothing but wait.  The work is done on a second scheduler, with CPUS
 * carriers (default 1): it is the pool, there are no workers to manage.  Each
 * request is a child that runs there, in a scope with a deadline; the number
 * goes to it by value, the factors come back by value.  Whatever is computed
 * the connections are served; and because the computations yield now and
 * then, a short one does not wait for the end of a long one.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <vthread.h>

enum { LINE_SIZE = 256, MAX_FACTORS = 64 };
static const uint64_t PATIENCE = 5 * VTHREAD_SECOND;

struct factors {
    uint64_t factor[MAX_FACTORS]; /* in order */
    unsigned count;
};

static vthread_scheduler_t *cpus;    /* the pool */
static vthread_scope_t *connections; /* and the thread that accepts */

static void check(const char *what, int err)
{
    if (err == 0)
        return;
    fprintf(stderr, "hybrid: %s: %s\n", what, strerror(err));
    exit(1);
}

/* Runs on the second scheduler, and never waits. */
static int factorise(const void *args, void *result)
{
    uint64_t n = *(const uint64_t *)args;
    struct factors *factors = result;
    unsigned tries = 0;
    for (uint64_t d = 2; d <= n / d; d += d == 2 ? 1 : 2) {
        for (; n % d == 0; n /= d)
            factors->factor[factors->count++] = d;
        if (++tries % 65536 == 0) {
            vthread_yield();
            if (vthread_testcancel() != 0)
                return ECANCELED;
        }
    }
    if (n > 1)
        factors->factor[factors->count++] = n;
    return 0;
}

/* Waits for the factors. */
static int compute(uint64_t n, struct factors *factors)
{
    vthread_scope_attr_t attr = {.deadline_ns = vthread_after(PATIENCE),
                                 .children = {.scheduler = cpus}};
    vthread_scope_t *scope;
    uint32_t task;
    int err = vthread_scope_open(&scope, &attr);
    if (err != 0)
        return err;
    err = vthread_scope_fork(scope, &task, factorise, &n, sizeof n,
                             sizeof *factors);
    if (err == 0)
        err = vthread_scope_join(scope);
    if (err == 0)
        err = vthread_scope_result(scope, task, factors, sizeof *factors);
    vthread_scope_close(scope);
    return err;
}

static int answer(int fd, const char *line)
{
    char text[LINE_SIZE];
    struct factors factors = {.count = 0};
    size_t digits = strspn(line, "0123456789"), size;
    int err = EDOM;
    if (digits > 0 && digits < 20 && line[digits] == '\0')
        err = compute(strtoull(line, NULL, 10), &factors);
    if (err == ECANCELED)
        return err;
    size = (size_t)snprintf(text, sizeof text, "%.19s:%s%s", line,
                            err != 0 ? " " : "",
                            err == EDOM ? "not a number of 1 to 19 digits"
                            : err == ETIMEDOUT ? "takes too long"
                            : err != 0         ? strerror(err)
                                               : "");
    for (unsigned i = 0; i < factors.count; i++) /* at most 126 characters */
        size += (size_t)snprintf(text + size, sizeof text - size, " %" PRIu64,
                                 factors.factor[i]);
    text[size] = '\n';
    return vthread_write_all(fd, text, size + 1);
}

/* A connection.  One line too long for the buffer ends it. */
static int serve(const void *args, void *result)
{
    int fd = *(const int *)args, err;
    char buffer[LINE_SIZE];
    size_t size = 0, n = 0;
    (void)result;
    while ((err = vthread_read(fd, buffer + size, sizeof buffer - size, &n))
               == 0
           && n > 0) {
        char *line = buffer, *end;
        size += n;
        while (err == 0 && (end = memchr(line, '\n', size)) != NULL) {
            *end = '\0';
            err = answer(fd, line);
            size -= (size_t)(end + 1 - line);
            line = end + 1;
        }
        if (err != 0)
            break;
        memmove(buffer, line, size);
    }
    vthread_close(fd);
    return err;
}

/* Accepts until the scope is cancelled. */
static int accept_all(const void *args, void *result)
{
    int listener = *(const int *)args, fd, err;
    (void)result;
    while ((err = vthread_accept(listener, NULL, NULL, &fd)) != ECANCELED) {
        if (err == 0) {
            err = vthread_scope_fork(connections, NULL, serve, &fd, sizeof fd,
                                     0);
            if (err != 0)
                vthread_close(fd);
        }
        if (err != 0 && err != ECONNABORTED) { /* out of something */
            fprintf(stderr, "hybrid: accept: %s\n", strerror(err));
            vthread_sleep(VTHREAD_SECOND);
        }
    }
    vthread_close(listener);
    return err;
}

static int listen_on(in_port_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check("socket", fd < 0 ? errno : 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) != 0
        || listen(fd, SOMAXCONN) != 0
        || getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        check("cannot listen", errno);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void run(int listener, unsigned parallelism)
{
    const vthread_scheduler_attr_t attr = {.name = "cpu",
                                           .parallelism = parallelism};
    const vthread_scope_attr_t each = {.policy = VTHREAD_SCOPE_WAIT_ALL};
    sigset_t signals;
    int signal_number;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    check("scheduler", vthread_scheduler_create(&cpus, &attr));
    check("scope", vthread_scope_open(&connections, &each));
    check("thread", vthread_scope_fork(connections, NULL, accept_all,
                                       &listener, sizeof listener, 0));
    sigwait(&signals, &signal_number); /* main is a platform thread */
    vthread_scope_close(connections);
    check("shutdown", vthread_scheduler_shutdown(cpus, VTHREAD_NEVER));
}

/* A number up to most, or most + 1. */
static unsigned number(const char *text, unsigned most)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long n = strtoul(text, NULL, 10);
    return digits == 0 || text[digits] != '\0' || n > most ? most + 1
                                                           : (unsigned)n;
}

int main(int argc, char **argv)
{
    unsigned port = argc > 1 ? number(argv[1], 65535) : 65536;
    unsigned parallelism = argc > 2 ? number(argv[2], 256) : 1;
    if (argc > 3 || port > 65535 || parallelism < 1 || parallelism > 256) {
        fprintf(stderr, "usage: hybrid PORT [CPUS]   (PORT 0: any free port; "
                        "CPUS 1 to 256)\n");
        return 2;
    }
    run(listen_on((in_port_t)port), parallelism);
    return 0;
}
