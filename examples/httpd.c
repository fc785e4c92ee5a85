/*
 * httpd.c - an HTTP/1.1 server for static files, one virtual thread for
 * each connection.
 *
 *     httpd [-p PORT] [-a ADDRESS] [-l LOGFILE] [-q] [-c CONNECTIONS] DIR
 *
 * What is here: the server: options, the acceptor, the connections and how
 * they end.  Not here: requests and responses, see httpd.h.
 *
 * Who runs: main, a platform thread, waits for signals; a virtual thread
 * accepts; one virtual thread for each connection reads, answers, reads.
 * All of it is plain blocking code.
 *
 * At SIGTERM or SIGINT the acceptor ends, idle connections are shut down,
 * and the others end after the response they are at.  main waits for them,
 * not longer than the grace time, and the process exits with 0.
 *
 * Invariant: a connection is in the server's list until just before its
 * descriptor is closed, so whoever holds the lock may use the descriptors
 * of the list.  Start at serve and stop_serving.
 */
#include "httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct settings settings = {
    .address = "127.0.0.1",
    .port = "8080",
    .head_ns = 10 * VTHREAD_SECOND,
    .idle_ns = 15 * VTHREAD_SECOND,
    .send_ns = 15 * VTHREAD_SECOND,
    .grace_ns = 30 * VTHREAD_SECOND,
};

static struct {
    int listener;
    sigset_t signals; /* that stop it */
    vthread_t main_thread;
    vthread_t acceptor;
    unsigned max_connections;
    _Atomic bool is_stopping;
    _Atomic int failure; /* why the acceptor gave up, or 0 */

    pthread_mutex_t lock;           /* never held across a wait */
    struct connection *connections; /* L(lock) */
    unsigned count;                 /* L(lock) */
    vthread_t wants_room;           /* L(lock) the acceptor, or 0 */
    bool is_awaiting_last;          /* L(lock) main waits for count == 0 */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool server_is_stopping(void)
{
    return atomic_load(&server.is_stopping);
}

/*
 * Connections.
 */

static void format_peer(char *to, const struct sockaddr_storage *peer)
{
    const void *address =
        peer->ss_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)peer)->sin6_addr
            : &((const struct sockaddr_in *)peer)->sin_addr;
    if (inet_ntop(peer->ss_family, address, to, INET6_ADDRSTRLEN) == NULL)
        strcpy(to, "-");
}

/* Enters a new connection into the list.  NULL without memory. */
static struct connection *
connection_create(int fd, const struct sockaddr_storage *peer)
{
    struct connection *c = malloc(sizeof *c);
    if (c == NULL)
        return NULL;
    c->fd = fd;
    atomic_init(&c->is_idle, false);
    c->date_time = 0;
    format_peer(c->peer, peer);
    request_init(&c->request);
    pthread_mutex_lock(&server.lock);
    c->next = server.connections;
    c->link = &server.connections;
    if (c->next != NULL)
        c->next->link = &c->next;
    server.connections = c;
    server.count++;
    pthread_mutex_unlock(&server.lock);
    return c;
}

/* Takes it out of the list, closes and frees it, and tells those who wait
 * for that. */
static void connection_destroy(struct connection *c)
{
    pthread_mutex_lock(&server.lock);
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    vthread_t wants_room = server.wants_room;
    server.wants_room = 0;
    bool was_last = --server.count == 0 && server.is_awaiting_last;
    pthread_mutex_unlock(&server.lock);

    vthread_close(c->fd);
    request_free(&c->request);
    free(c);
    if (wants_room != 0)
        vthread_unpark(wants_room);
    if (was_last)
        vthread_interrupt(server.main_thread);
}

/* Lets the peer take in the response: closed with input unread, the kernel
 * would send a reset, which overtakes it. */
static void linger(struct connection *c)
{
    uint64_t deadline_ns = vthread_after(VTHREAD_SECOND);
    size_t n = 1;
    int err = shutdown(c->fd, SHUT_WR);
    while (err == 0 && n > 0)
        err = vthread_recv_until(c->fd, c->request.small,
                                 sizeof c->request.small, 0, &n, deadline_ns);
}

/* The thread of a connection. */
static void *serve(void *arg)
{
    struct connection *c = arg;
    struct request *r = &c->request;
    int err;
    do {
        err = request_read(c);
        if (err == 0)
            err = response_send(c);
    } while (err == 0 && r->keeps_alive);
    if (err == 0
        && (r->status != 0 || r->parsed < r->end || server_is_stopping()))
        linger(c);
    connection_destroy(c);
    return NULL;
}

/*
 * The acceptor.
 */

static unsigned connection_count(void)
{
    pthread_mutex_lock(&server.lock);
    unsigned count = server.count;
    pthread_mutex_unlock(&server.lock);
    return count;
}

/* Whether there are as many connections as may be; the next one to end
 * unparks the caller then. */
static bool is_full(void)
{
    pthread_mutex_lock(&server.lock);
    bool full = server.count >= server.max_connections;
    server.wants_room = full ? vthread_self() : 0;
    pthread_mutex_unlock(&server.lock);
    return full;
}

static int start_connection(int fd, const struct sockaddr_storage *peer)
{
    vthread_attr_t attr = {.name = "connection", .flags = VTHREAD_DETACHED};
    struct connection *c = connection_create(fd, peer);
    if (c == NULL) {
        vthread_close(fd);
        return ENOMEM;
    }
    int err = vthread_create(NULL, &attr, serve, c);
    if (err != 0)
        connection_destroy(c);
    return err;
}

static int accept_one(void)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int fd;
    while (is_full())
        if (vthread_park() != 0)
            return ECANCELED;
    int err = vthread_accept(server.listener, (struct sockaddr *)&peer,
                             &length, &fd);
    return err != 0 ? err : start_connection(fd, &peer);
}

/* Out of descriptors, memory or threads: the connections there are go on,
 * new ones wait in the backlog.  Reported every ten seconds at most. */
static void wait_for_room(int err)
{
    static uint64_t quiet_until_ns;
    uint64_t now = vthread_now();
    if (now >= quiet_until_ns) {
        quiet_until_ns = now + 10 * VTHREAD_SECOND;
        fprintf(stderr,
                "httpd: cannot accept: %s (%u connections); trying again\n",
                strerror(err), connection_count());
    }
    vthread_sleep(50 * VTHREAD_MS);
}

/* An error of accept that is about this connection or the network only. */
static bool is_passing(int err)
{
    return err == ECONNABORTED || err == EPROTO || err == EPERM
           || err == ENETDOWN || err == ENETUNREACH || err == EHOSTDOWN
           || err == EHOSTUNREACH || err == ENONET || err == ENOPROTOOPT
           || err == EOPNOTSUPP || err == ECANCELED;
}

static bool is_shortage(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM
           || err == EAGAIN;
}

static void *accept_all(void *arg)
{
    while (!server_is_stopping()) {
        int err = accept_one();
        if (is_shortage(err)) {
            wait_for_room(err);
        } else if (err != 0 && !is_passing(err)) {
            server.failure = err;
            vthread_interrupt(server.main_thread);
            break;
        }
    }
    return arg;
}

/*
 * Start.
 */

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "httpd: %s: %s\n", what, why);
    return 1;
}

/* Opens the first address that can be listened on.  TCP_NODELAY is
 * inherited by the connections.  Returns the socket or -1 with errno. */
static int listen_on(const struct addrinfo *info)
{
    int one = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0
        && listen(fd, SOMAXCONN) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static int open_listener(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    int err = getaddrinfo(settings.address, settings.port, &hints, &list);
    if (err != 0)
        return fail(settings.address, gai_strerror(err));
    server.listener = -1;
    for (struct addrinfo *i = list; i != NULL && server.listener < 0;
         i = i->ai_next)
        server.listener = listen_on(i);
    err = errno;
    freeaddrinfo(list);
    if (server.listener >= 0)
        return 0;
    fprintf(stderr, "httpd: cannot listen on %s port %s: %s\n",
            settings.address, settings.port, strerror(err));
    return 1;
}

static void say_ready(void)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[INET6_ADDRSTRLEN], port[8];
    getsockname(server.listener, (struct sockaddr *)&address, &length);
    getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port,
                sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    bool is_v6 = address.ss_family == AF_INET6;
    printf("listening on http://%s%s%s:%s/\n", is_v6 ? "[" : "", host,
           is_v6 ? "]" : "", port);
    fflush(stdout);
}

/* A connection takes one descriptor, and one more while it sends a file:
 * by default a quarter is left for these. */
static void set_limits(void)
{
    struct rlimit limit;
    server.max_connections = settings.max_connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (server.max_connections == 0)
        server.max_connections = (unsigned)(limit.rlim_cur / 4 * 3);
}

static int take_signals(void)
{
    sigemptyset(&server.signals);
    sigaddset(&server.signals, SIGTERM);
    sigaddset(&server.signals, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    int err = vthread_signal_take(&server.signals);
    return err != 0 ? fail("signals", strerror(err)) : 0;
}

/* Returns 0 or the exit status. */
static int start(void)
{
    vthread_attr_t attr = {.name = "acceptor"};
    int err = root_set(settings.directory, settings.walks);
    if (err != 0)
        return fail(settings.directory, strerror(err));
    set_limits();
    if (take_signals() != 0 || open_listener() != 0)
        return 1;
    server.main_thread = vthread_self();
    err = settings.is_quiet ? 0 : access_log_open(settings.log_path);
    if (err != 0)
        return fail(settings.log_path ? settings.log_path : "access log",
                    strerror(err));
    say_ready();
    err = vthread_create(&server.acceptor, &attr, accept_all, NULL);
    return err != 0 ? fail("cannot start a thread", strerror(err)) : 0;
}

/*
 * Stop.
 */

/* Returns 0 when a signal has come, ECANCELED when a thread of ours wants
 * attention, or ETIMEDOUT. */
static int wait_for_signal(uint64_t deadline_ns)
{
    int signal;
    return vthread_sigwait_until(&server.signals, &signal, deadline_ns);
}

/* Shuts down connections: the idle ones for reading, so that they see the
 * end of their input (unless a request has come in already: that is read
 * first); or all of them for good.  Returns how many there are. */
static unsigned shut_connections(bool all)
{
    pthread_mutex_lock(&server.lock);
    for (struct connection *c = server.connections; c != NULL; c = c->next)
        if (all || atomic_load(&c->is_idle))
            shutdown(c->fd, all ? SHUT_RDWR : SHUT_RD);
    unsigned count = server.count;
    pthread_mutex_unlock(&server.lock);
    return count;
}

/* Waits until the last connection has ended, the time is over, or another
 * signal says that it is. */
static void await_last(uint64_t deadline_ns)
{
    pthread_mutex_lock(&server.lock);
    bool has_any = server.count > 0;
    server.is_awaiting_last = has_any;
    pthread_mutex_unlock(&server.lock);
    if (has_any)
        wait_for_signal(deadline_ns);
}

static void stop_serving(void)
{
    atomic_store(&server.is_stopping, true);
    vthread_interrupt(server.acceptor);
    vthread_join(server.acceptor, NULL);
    vthread_close(server.listener);
    shut_connections(false);
    await_last(vthread_after(settings.grace_ns));
    unsigned count = shut_connections(true);
    if (count > 0) {
        fprintf(stderr, "httpd: cut off %u connection%s\n", count,
                count == 1 ? "" : "s");
        await_last(vthread_after(VTHREAD_SECOND));
    }
    access_log_close();
    vthread_scheduler_shutdown(vthread_scheduler_default(),
                               vthread_after(VTHREAD_SECOND));
}

/*
 * The command line.
 */

static void print_help(void)
{
    printf("usage: httpd [OPTION]... DIR\n"
           "Serves the files of DIR over HTTP.\n"
           "  -p PORT      listen on this port (8080; 0: any free port)\n"
           "  -a ADDRESS   and this address (127.0.0.1)\n"
           "  -l LOGFILE   append the access log to it (standard output)\n"
           "  -q           write no access log\n"
           "  -c MAX       connections at once (three quarters of the\n"
           "               descriptors there may be)\n"
           "  -r SECONDS   time for a client to send a request (10)\n"
           "  -k SECONDS   time that a connection may be idle (15)\n"
           "  -s SECONDS   time to wait for a client that takes nothing (15)\n"
           "  -g SECONDS   time to finish after SIGTERM (30)\n"
           "  -w           do without openat2: follow no symbolic links\n"
           "  -h           this help\n");
    exit(0);
}

static _Noreturn void usage(const char *what, const char *value)
{
    if (what != NULL)
        fprintf(stderr, "httpd: %s: '%s'\n", what, value);
    fprintf(stderr, "usage: httpd [-p PORT] [-a ADDRESS] [-l LOGFILE] [-q] "
                    "[-c MAX] DIR   (httpd -h says more)\n");
    exit(2);
}

static unsigned parse_number(const char *what, const char *text,
                             unsigned least, unsigned most)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || number < least
        || number > most)
        usage(what, text);
    return (unsigned)number;
}

static uint64_t parse_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds > 0 && seconds < 1e9))
        usage("not a time in seconds", text);
    return (uint64_t)(seconds * 1e9);
}

static void parse_option(int option)
{
    switch (option) {
    case 'p':
        parse_number("not a port", optarg, 0, 65535);
        settings.port = optarg;
        break;
    case 'a':
        settings.address = optarg;
        break;
    case 'l':
        settings.log_path = optarg;
        break;
    case 'q':
        settings.is_quiet = true;
        break;
    case 'c':
        settings.max_connections =
            parse_number("not a number of connections", optarg, 1, 1000000);
        break;
    case 'r':
        settings.head_ns = parse_seconds(optarg);
        break;
    case 'k':
        settings.idle_ns = parse_seconds(optarg);
        break;
    case 's':
        settings.send_ns = parse_seconds(optarg);
        break;
    case 'g':
        settings.grace_ns = parse_seconds(optarg);
        break;
    case 'w':
        settings.walks = true;
        break;
    case 'h':
        print_help();
        break;
    default:
        usage(NULL, NULL);
    }
}

static void parse_command_line(int argc, char **argv)
{
    static const struct option names[] = {{"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;
    while (
        (option = getopt_long(argc, argv, "p:a:l:qc:r:k:s:g:wh", names, NULL))
        != -1)
        parse_option(option);
    if (optind == argc)
        usage("a directory to serve is missing", "DIR");
    if (optind + 1 < argc)
        usage("one directory only", argv[optind + 1]);
    settings.directory = argv[optind];
}

int main(int argc, char **argv)
{
    parse_command_line(argc, argv);
    if (start() != 0)
        return 1;
    wait_for_signal(VTHREAD_NEVER);
    stop_serving();
    return server.failure == 0 ? 0 : fail("accept", strerror(server.failure));
}
