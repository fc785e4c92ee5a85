/*
 * echo.c - messages per second through an echo server over loopback TCP,
 * with one message under way on each of N connections.
 *
 *   echo.N.epoll      the reference: a plain epoll loop on one OS thread
 *   echo.N.1          a virtual thread for each connection, on one carrier
 *   echo.N.2          the same on two carriers
 *   echo.N.K.ratio    median of the ratios to the reference, round by round
 *   echo.N.K.cpu      ns of the server's CPU time for a message
 *
 * The servers take turns, round after round: A B C A B C.  In each turn the
 * server and the clients are new processes; every connection is made and
 * has one message echoed, then messages flow: first the warm-up (0.3 s), then
 * the window in which echoes are counted.
 *
 * A server on one processor has it for itself (see echo_server.h).  On a
 * machine of two the clients compete with the two carriers, so what a second
 * carrier can do is not seen there.
 */
#include "bench/bench.h"
#include "bench/echo_client.h"
#include "bench/echo_server.h"

#include <stdio.h>
#include <time.h>

#define WARM_UP_NS (300 * VTHREAD_MS)

static unsigned long connections = 100;
static unsigned long clients = 1;
static unsigned long message = 64;
static unsigned long buffer = 256;
static unsigned long window_ms;

/* The servers, by carriers; the reference first. */
static const unsigned servers[] = {ECHO_EPOLL_LOOP, 1, 2};
#define SERVERS (sizeof servers / sizeof servers[0])

struct figures {
    struct bench_samples rate, ratio, cpu;
};

static void sleep_ns(uint64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / VTHREAD_SECOND),
                            .tv_nsec = (long)(ns % VTHREAD_SECOND)};

    nanosleep(&time, NULL);
}

/* Counts echoes for a while; returns messages per second. */
static double count_echoes(const struct echo_server *server,
                           const struct echo_clients *c,
                           struct bench_samples *cpu)
{
    uint64_t cpu_ns = bench_cpu_ns(server->pid);
    uint64_t count = echo_clients_count(c), start_ns = bench_now_ns();
    double messages;

    sleep_ns(window_ms * VTHREAD_MS);
    messages = (double)(echo_clients_count(c) - count);
    if (messages == 0)
        bench_die("no message came back");
    bench_add(cpu, (double)(bench_cpu_ns(server->pid) - cpu_ns) / messages);
    return messages * 1e9 / (double)(bench_now_ns() - start_ns);
}

static double measure(unsigned carriers, struct bench_samples *cpu)
{
    struct echo_server server;
    struct echo_clients c;
    double rate;

    echo_server_start(&server, carriers, buffer);
    echo_clients_start(&c, &server.address, (unsigned)connections,
                       (unsigned)clients, (unsigned)message,
                       echo_server_processors(carriers));
    echo_clients_go(&c);
    sleep_ns(WARM_UP_NS);
    rate = count_echoes(&server, &c, cpu);
    echo_clients_stop(&c);
    echo_server_stop(&server);
    return rate;
}

static void play_round(struct figures *figures)
{
    double reference = 0;

    for (unsigned i = 0; i < SERVERS; i++) {
        double rate = measure(servers[i], &figures[i].cpu);

        if (i == 0)
            reference = rate;
        bench_add(&figures[i].rate, rate);
        bench_add(&figures[i].ratio, rate / reference);
    }
}

static void report(unsigned carriers, const struct figures *f)
{
    char server[16], name[64];

    echo_server_name(carriers, server, sizeof server);
    snprintf(name, sizeof name, "echo.%lu.%s", connections, server);
    bench_report(name, &f->rate, "messages/s");
    snprintf(name, sizeof name, "echo.%lu.%s.ratio", connections, server);
    bench_report(name, &f->ratio, "epoll loops");
    snprintf(name, sizeof name, "echo.%lu.%s.cpu", connections, server);
    bench_report(name, &f->cpu, "ns");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"connections", &connections, "connections", NULL},
        {"clients", &clients, "client processes", NULL},
        {"message", &message, "bytes of a message", NULL},
        {"buffer", &buffer, "bytes of the servers' buffers", NULL},
        {"window", &window_ms, "ms that are counted in each turn; 0: choose",
         NULL},
        {0}};
    static struct figures figures[SERVERS];

    bench_parse(argc, argv, "Echo servers over loopback TCP.", options);
    if (window_ms == 0)
        window_ms = bench_is_quick ? 500 : 1500;
    echo_raise_limit((unsigned)connections);
    for (unsigned i = 0; i < bench_rounds(7, 3); i++)
        play_round(figures);
    for (unsigned i = 0; i < SERVERS; i++)
        report(servers[i], &figures[i]);
    return 0;
}
