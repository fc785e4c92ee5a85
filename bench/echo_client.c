/*
 * echo_client.c - the clients' processes.  See echo_client.h.
 */
#include "bench/echo_client.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

#define EVENTS_AT_ONCE 256
#define MESSAGE_MAX 4096
/* Standard streams, epoll and the like. */
#define OTHER_DESCRIPTORS 32
#define CONNECT_NS (60 * VTHREAD_SECOND)

enum phase { PHASE_CONNECT, PHASE_RUN, PHASE_STOP };

/* Shared by the parent and all clients. */
struct client_shared {
    _Atomic int phase;
    _Atomic unsigned connected;
    struct {
        _Alignas(64) _Atomic uint64_t echoes;
    } client[ECHO_CLIENTS_MAX];
};

static void sleep_1_ms(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* ---- One connection ----------------------------------------------------- */

struct connection {
    int fd;
    uint32_t sequence;
    uint32_t received;
    char buffer[MESSAGE_MAX];
};

static unsigned message_bytes;

/* Each message differs from the one before and from the neighbour's. */
static void compose(const struct connection *c, char *message)
{
    memset(message, (int)('a' + c->sequence % 26), message_bytes);
    memcpy(message, &c->sequence, sizeof c->sequence);
    memcpy(message + sizeof c->sequence, &c->fd, sizeof c->fd);
}

static void send_next(struct connection *c)
{
    char message[MESSAGE_MAX];

    c->sequence++;
    c->received = 0;
    compose(c, message);
    if (send(c->fd, message, message_bytes, MSG_NOSIGNAL) !=
        (ssize_t)message_bytes)
        bench_die("send: %s", strerror(errno));
}

/* Takes what is there; true when the echo is complete. */
static bool receive(struct connection *c, int flags)
{
    char expected[MESSAGE_MAX];
    ssize_t n = recv(c->fd, c->buffer + c->received,
                     message_bytes - c->received, flags);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        bench_die("recv: %s", n < 0 ? strerror(errno) : "closed");
    c->received += (uint32_t)n;
    if (c->received < message_bytes)
        return false;
    compose(c, expected);
    if (memcmp(c->buffer, expected, message_bytes) != 0)
        bench_die("connection %d: the echo differs", c->fd);
    return true;
}

/* One echo on the way: then the server has accepted it. */
static void open_connection(struct connection *c,
                            const struct sockaddr_in *address)
{
    const struct linger no_time_wait = {.l_onoff = 1};

    c->fd = bench_check_errno(socket(AF_INET, SOCK_STREAM, 0), "socket");
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &no_time_wait,
               sizeof no_time_wait);
    bench_check_errno(
        connect(c->fd, (const struct sockaddr *)address, sizeof *address),
        "connect");
    send_next(c);
    while (!receive(c, 0))
        ;
}

/* ---- One process -------------------------------------------------------- */

static void serve_event(struct connection *c, _Atomic uint64_t *echoes)
{
    uint64_t n;

    if (!receive(c, MSG_DONTWAIT))
        return;
    n = atomic_load_explicit(echoes, memory_order_relaxed);
    atomic_store_explicit(echoes, n + 1, memory_order_relaxed);
    send_next(c);
}

static void run(struct client_shared *shared, int epoll_fd,
                _Atomic uint64_t *echoes)
{
    struct epoll_event events[EVENTS_AT_ONCE];

    while (atomic_load(&shared->phase) == PHASE_RUN) {
        int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, 100);

        for (int i = 0; i < count; i++)
            serve_event(events[i].data.ptr, echoes);
    }
}

static struct connection *connect_all(struct client_shared *shared,
                                      const struct sockaddr_in *address,
                                      unsigned connections, int epoll_fd)
{
    struct connection *all = bench_allocate(connections * sizeof all[0]);

    for (unsigned i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};

        open_connection(&all[i], address);
        bench_check_errno(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &event),
                          "epoll_ctl");
        atomic_fetch_add(&shared->connected, 1);
    }
    return all;
}

static _Noreturn void be_client(struct client_shared *shared, unsigned number,
                                const struct sockaddr_in *address,
                                unsigned connections)
{
    int epoll_fd = bench_check_errno(epoll_create1(0), "epoll_create1");
    struct connection *all =
        connect_all(shared, address, connections, epoll_fd);

    while (atomic_load(&shared->phase) == PHASE_CONNECT)
        sleep_1_ms();
    if (atomic_load(&shared->phase) == PHASE_RUN)
        for (unsigned i = 0; i < connections; i++)
            send_next(&all[i]);
    run(shared, epoll_fd, &shared->client[number].echoes);
    _exit(0);
}

/* ---- The parent --------------------------------------------------------- */

static unsigned descriptor_limit(void)
{
    struct rlimit limit;

    bench_check_errno(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        bench_check_errno(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    }
    return limit.rlim_cur < 1000000 ? (unsigned)limit.rlim_cur : 1000000;
}

void echo_raise_limit(unsigned connections)
{
    unsigned limit = descriptor_limit();

    if (connections + OTHER_DESCRIPTORS > limit)
        bench_die("%u connections, but only %u descriptors: see ulimit -Hn",
                  connections, limit);
}

/* One that has ended before it was told to has said why. */
static void check_alive(const struct echo_clients *clients)
{
    int status;

    for (unsigned i = 0; i < clients->processes; i++)
        if (waitpid(clients->pids[i], &status, WNOHANG) != 0)
            bench_die("a client has ended by itself, status %#x", status);
}

static void wait_until_connected(const struct echo_clients *clients,
                                 unsigned connections)
{
    uint64_t start_ns = bench_now_ns();

    while (atomic_load(&clients->shared->connected) < connections) {
        check_alive(clients);
        if (bench_now_ns() - start_ns > CONNECT_NS)
            bench_die("only %u of %u connections",
                      atomic_load(&clients->shared->connected), connections);
        sleep_1_ms();
    }
}

static struct client_shared *map_shared(void)
{
    void *memory =
        mmap(NULL, sizeof(struct client_shared), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        bench_die("mmap: %s", strerror(errno));
    return memory;
}

static void fork_client(struct echo_clients *clients, unsigned number,
                        const struct sockaddr_in *address, unsigned connections,
                        unsigned skip)
{
    pid_t pid = bench_check_errno(fork(), "fork");

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (skip < bench_processors())
            bench_use_processors(skip, bench_processors() - skip);
        be_client(clients->shared, number, address, connections);
    }
    clients->pids[number] = pid;
    clients->processes = number + 1;
}

void echo_clients_start(struct echo_clients *clients,
                        const struct sockaddr_in *address, unsigned connections,
                        unsigned processes, unsigned bytes, unsigned skip)
{
    unsigned most = descriptor_limit() - OTHER_DESCRIPTORS, given = 0;

    if (bytes < 2 * sizeof(uint32_t) || bytes > MESSAGE_MAX)
        bench_die("messages of 8 to %d bytes, not %u", MESSAGE_MAX, bytes);
    if (processes < (connections + most - 1) / most)
        processes = (connections + most - 1) / most;
    if (processes == 0 || processes > ECHO_CLIENTS_MAX)
        bench_die("1 to %d client processes, not %u", ECHO_CLIENTS_MAX,
                  processes);
    message_bytes = bytes;
    *clients = (struct echo_clients){.shared = map_shared()};
    for (unsigned i = 0; i < processes; i++) {
        unsigned upto = (unsigned)((uint64_t)connections * (i + 1) / processes);

        fork_client(clients, i, address, upto - given, skip);
        given = upto;
    }
    wait_until_connected(clients, connections);
}

void echo_clients_go(struct echo_clients *clients)
{
    atomic_store(&clients->shared->phase, PHASE_RUN);
}

uint64_t echo_clients_count(const struct echo_clients *clients)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < clients->processes; i++)
        sum += atomic_load(&clients->shared->client[i].echoes);
    return sum;
}

uint64_t echo_clients_cpu_ns(const struct echo_clients *clients)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < clients->processes; i++)
        sum += bench_cpu_ns(clients->pids[i]);
    return sum;
}

void echo_clients_stop(struct echo_clients *clients)
{
    check_alive(clients);
    atomic_store(&clients->shared->phase, PHASE_STOP);
    for (unsigned i = 0; i < clients->processes; i++) {
        int status;

        if (waitpid(clients->pids[i], &status, 0) < 0 || status != 0)
            bench_die("a client failed, status %#x", status);
    }
    munmap(clients->shared, sizeof *clients->shared);
}
