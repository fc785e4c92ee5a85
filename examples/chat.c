/*
 * chat.c - a TCP chat server with broadcast.
 *
 *     chat [-q LINES] PORT        (0: any free port)
 *
 * Try it with some terminals:
 *
 *     $ ./chat 7000                      $ nc 127.0.0.1 7000
 *     listening on 127.0.0.1:7000        * guest-1 has come
 *                                        /nick ada
 *                                        * guest-1 is now ada
 *                                        hello
 *                                        <ada> hello
 *
 * Commands: /nick NAME, /who, /quit.  Everybody gets every line, the sender
 * too, and all get them in the same order.  Ctrl-C says good-bye, delivers
 * what is on its way, and exits with 0.
 *
 * What it shows: channels where others have locks.
 *
 *     reader --.                             .--- lines ---> writer
 *     reader ---+--- events ---> host -------+--- lines ---> writer
 *     reader --'                             `--- lines ---> writer
 *
 * Each client has a reader, which makes its input into events, and a writer.
 * The host, one thread, alone knows who is here: it takes one event after the
 * other, and puts lines into the channels of the clients.  Readers are
 * children of one scope, and each owns another scope, which has its writer.
 *
 * A slow client: the host never waits for a client.  One that does not take
 * its lines, until -q of them (1024) are in its channel, is thrown out.  So a
 * client misses no line while it is here, and holds up nobody.
 *
 * What is here: the server, its start and its end.  Not here: the clients, see
 * chat_client.c, and the host, see chat_host.c.
 */
#include "chat.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EVENTS = 64 };

static struct {
    int listener;
    sigset_t signals; /* that stop it */
    size_t queue_lines;
    vthread_scope_t *clients;
    vthread_channel_t *events; /* of struct event */
} chat = {.queue_lines = 1024};

/*
 * The server.
 */

static int start_client(int fd)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL
        || vthread_channel_create(&c->lines, sizeof(struct line *),
                                  chat.queue_lines)
               != 0) {
        vthread_close(fd);
        free(c);
        return ENOMEM;
    }
    c->fd = fd;
    c->events = chat.events;
    int err =
        vthread_scope_fork(chat.clients, NULL, client_serve, &c, sizeof c, 0);
    if (err != 0)
        client_destroy(c);
    return err;
}

static bool is_shortage(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM
           || err == EAGAIN;
}

/* The thread that accepts.  Out of descriptors or memory newcomers wait in
 * the backlog. */
static int accept_all(const void *args, void *result)
{
    int err = 0;
    (void)args;
    (void)result;
    while (err == 0) {
        int fd;
        err = vthread_accept(chat.listener, NULL, NULL, &fd);
        if (err == 0)
            err = start_client(fd);
        if (is_shortage(err))
            err = vthread_sleep(100 * VTHREAD_MS);
        else if (err == ECONNABORTED)
            err = 0;
    }
    vthread_close(chat.listener);
    return err;
}

/* The thread that waits for Ctrl-C.  Its error cancels the scope. */
static int heed_signals(const void *args, void *result)
{
    struct event stop = {.kind = STOP};
    int signal;
    (void)args;
    (void)result;
    int err = vthread_sigwait(&chat.signals, &signal);
    if (err == 0)
        err = vthread_channel_send(chat.events, &stop);
    return err != 0 ? err : EINTR;
}

static void *run_host(void *arg)
{
    static struct event event;
    while (vthread_channel_receive(chat.events, &event) == 0)
        host_handle(&event);
    return arg;
}

/* Until a signal (EINTR) or an error. */
static int run_clients(void)
{
    int err = vthread_scope_open(&chat.clients, NULL);
    if (err != 0)
        return err;
    err = vthread_scope_fork(chat.clients, NULL, heed_signals, NULL, 0, 0);
    if (err == 0)
        err = vthread_scope_fork(chat.clients, NULL, accept_all, NULL, 0, 0);
    if (err == 0)
        err = vthread_scope_join(chat.clients);
    vthread_scope_close(chat.clients);
    return err;
}

static int run(void)
{
    vthread_t host;
    int err =
        vthread_channel_create(&chat.events, sizeof(struct event), EVENTS);
    if (err == 0)
        err = vthread_create(&host, NULL, run_host, NULL);
    if (err != 0)
        return err;
    err = run_clients();
    vthread_channel_close(chat.events);
    vthread_join(host, NULL);
    vthread_channel_destroy(chat.events);
    return err;
}

/*
 * Start.
 */

static void die(const char *what, int err)
{
    fprintf(stderr, "chat: %s: %s\n", what, strerror(err));
    exit(1);
}

/* On 127.0.0.1.  The options are inherited by what it accepts.  The kernel
 * would keep megabytes for a slow client: that is what the channels are for. */
static int listen_on(in_port_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1, send_bytes = 65536;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket", errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    if (bind(fd, (struct sockaddr *)&address, length) != 0)
        die("bind", errno);
    if (listen(fd, SOMAXCONN) != 0)
        die("listen", errno);
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* A client takes a descriptor. */
static void prepare(void)
{
    struct rlimit limit;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&chat.signals);
    sigaddset(&chat.signals, SIGINT);
    sigaddset(&chat.signals, SIGTERM);
    int err = vthread_signal_take(&chat.signals);
    if (err != 0)
        die("signals", err);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static long parse_number(const char *text, long least, long most)
{
    char *end = "x";
    long number = text != NULL ? strtol(text, &end, 10) : 0;
    if (end != text && *end == '\0' && number >= least && number <= most)
        return number;
    fprintf(stderr, "usage: chat [-q LINES] PORT\n"
                    "LINES: kept for a slow client, 2 to 1000000 (1024)\n"
                    "PORT:  0 to 65535; 0: any free port\n");
    exit(2);
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "q:")) != -1;)
        chat.queue_lines =
            (size_t)parse_number(option == 'q' ? optarg : NULL, 2, 1000000);
    long port =
        parse_number(optind + 1 == argc ? argv[optind] : NULL, 0, 65535);
    prepare();
    chat.listener = listen_on((in_port_t)port);
    int err = run();
    if (err != EINTR)
        die("accept", err);
    return 0;
}
