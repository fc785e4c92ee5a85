/*
 * echo.c - a TCP echo server, one virtual thread for each connection.
 *
 *     echo PORT          (0: any free port)
 *
 * What is here: blocking style throughout; main, a platform thread, accepts.
 * Each connection's buffer is on the heap, not in its frames: with
 * thousands of connections frames are copied while they wait, and small
 * ones are copied faster.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vthread.h>

enum { BUFFER_SIZE = 4096 };

/* The thread of a connection.  A peer that went away is no error. */
static void *echo(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char *buffer = malloc(BUFFER_SIZE);
    size_t n;
    while (buffer != NULL && vthread_read(fd, buffer, BUFFER_SIZE, &n) == 0
           && n > 0 && vthread_write_all(fd, buffer, n) == 0)
        continue;
    free(buffer);
    vthread_close(fd);
    return NULL;
}

static void die(const char *what, int err)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(err));
    exit(1);
}

/* A listening socket on 127.0.0.1.  TCP_NODELAY is inherited by what it
 * accepts. */
static int listen_on(in_port_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket", errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) != 0)
        die("bind", errno);
    if (listen(fd, SOMAXCONN) != 0)
        die("listen", errno);
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        die("getsockname", errno);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Out of descriptors or memory: those who are connected go on, newcomers
 * wait in the backlog. */
static void wait_for_room(int err)
{
    fprintf(stderr, "echo: %s; trying again in a second\n", strerror(err));
    vthread_sleep(VTHREAD_SECOND);
}

static bool is_shortage(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static int accept_all(int listener)
{
    vthread_attr_t attr = {.name = "echo", .flags = VTHREAD_DETACHED};
    for (;;) {
        int fd;
        int err = vthread_accept(listener, NULL, NULL, &fd);
        if (is_shortage(err)) {
            wait_for_room(err);
        } else if (err == ECONNABORTED) {
            continue;
        } else if (err != 0) {
            return err;
        } else if ((err = vthread_create(NULL, &attr, echo,
                                         (void *)(intptr_t)fd))
                   != 0) {
            vthread_close(fd);
            wait_for_room(err);
        }
    }
}

int main(int argc, char **argv)
{
    char *end = NULL;
    long port = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (port < 0 || port > 65535 || end == argv[1] || *end != '\0') {
        fprintf(stderr, "usage: echo PORT   (0 to 65535; 0: any free port)\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    die("accept", accept_all(listen_on((in_port_t)port)));
}
