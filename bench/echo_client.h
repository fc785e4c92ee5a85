/*
 * echo_client.h - many connections to an echo server, in processes of their
 * own: plain epoll loops which know nothing of the library.
 *
 * States: connected (each connection has had one message echoed, and is
 * idle) -> running (one message under way on each) -> stopped.
 * Every echo is compared with what was sent.
 */
#ifndef BENCH_ECHO_CLIENT_H
#define BENCH_ECHO_CLIENT_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

#define ECHO_CLIENTS_MAX 16

struct client_shared;

struct echo_clients {
    struct client_shared *shared;
    pid_t pids[ECHO_CLIENTS_MAX];
    unsigned processes;
};

/* Forks the processes (more than asked for if the limit of descriptors of
 * one demands it), on the processors but the first `skip` if there are more,
 * and waits until all are connected. */
void echo_clients_start(struct echo_clients *clients,
                        const struct sockaddr_in *address, unsigned connections,
                        unsigned processes, unsigned message_bytes,
                        unsigned skip);

/* Lets the messages flow. */
void echo_clients_go(struct echo_clients *clients);

/* Echoes received since then. */
uint64_t echo_clients_count(const struct echo_clients *clients);

/* CPU time that they have used. */
uint64_t echo_clients_cpu_ns(const struct echo_clients *clients);

void echo_clients_stop(struct echo_clients *clients);

/* Raises the limit of descriptors as far as it may be, and checks that a
 * process may have so many connections; the server is one process. */
void echo_raise_limit(unsigned connections);

#endif
