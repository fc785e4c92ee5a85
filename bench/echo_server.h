/*
 * echo_server.h - two servers that send back what they receive, each in a
 * process of its own.
 *
 *   the epoll loop       one OS thread, one loop, level-triggered: for each
 *                        event one read and one write
 *   virtual threads      a thread for each connection, in blocking style:
 *                        vthread_read, vthread_write_all
 *
 * Each runs on as many processors as it has threads, the first ones, and the
 * clients on the others: the kernel is not to choose between one processor
 * for both and two, which are different experiments.  Where no processor is
 * left for the clients, they run on all.
 *
 * Both use the same socket options and a buffer of the same size for each
 * read; the threads have it on their stacks.
 */
#ifndef BENCH_ECHO_SERVER_H
#define BENCH_ECHO_SERVER_H

#include <netinet/in.h>
#include <stddef.h>
#include <sys/types.h>

struct echo_server {
    pid_t pid;
    struct sockaddr_in address;
};

/* The number of carriers of the epoll loop. */
#define ECHO_EPOLL_LOOP 0u

/* How many processors it runs on: one for each OS thread. */
unsigned echo_server_processors(unsigned carriers);

/* Starts a server on a free port of the loopback.  The calling process must
 * not have used the library: it is forked. */
void echo_server_start(struct echo_server *server, unsigned carriers,
                       size_t buffer_bytes);

void echo_server_stop(struct echo_server *server);

/* How figures name it: "epoll", "1", "2". */
void echo_server_name(unsigned carriers, char *name, size_t size_bytes);

#endif
