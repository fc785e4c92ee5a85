/*
 * idle.c - bytes of an echo server's memory for each idle connection.
 *
 *   idle.N.1       a virtual thread for each connection, on one carrier
 *   idle.N.epoll   the epoll loop
 *
 * Every connection has had one message echoed, so each thread is parked in
 * its second read, with its buffer on its stack.  Counted is the growth of
 * the server process (resident pages and page tables) from before the first
 * connection; the kernel's sockets, which are the same for both, are not.
 */
#include "bench/bench.h"
#include "bench/echo_client.h"
#include "bench/echo_server.h"

#include <stdio.h>
#include <time.h>

#define MESSAGE_BYTES 64

static unsigned long connections = 10000;
static unsigned long buffer = 256;

static void settle(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
}

static double measure(unsigned carriers)
{
    struct echo_server server;
    struct echo_clients clients;
    uint64_t before_bytes, after_bytes;

    echo_server_start(&server, carriers, buffer);
    settle();
    before_bytes = bench_memory_bytes(server.pid);
    echo_clients_start(&clients, &server.address, (unsigned)connections, 1,
                       MESSAGE_BYTES, 0);
    settle();
    after_bytes = bench_memory_bytes(server.pid);
    echo_clients_stop(&clients);
    echo_server_stop(&server);
    return (double)(after_bytes - before_bytes) / (double)connections;
}

static void report(unsigned carriers)
{
    char server[16], name[64];

    echo_server_name(carriers, server, sizeof server);
    snprintf(name, sizeof name, "idle.%lu.%s", connections, server);
    bench_report_one(name, measure(carriers), "bytes");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"connections", &connections, "connections", NULL},
        {"buffer", &buffer, "bytes of a thread's buffer", NULL},
        {0}};

    bench_parse(argc, argv, "Memory of idle connections.", options);
    echo_raise_limit((unsigned)connections);
    report(1);
    report(ECHO_EPOLL_LOOP);
    return 0;
}
