/*
 * follow.c - takes the stream of the command `trace` of the control socket.
 *
 * When it has had enough it shuts down its sending side, and the process sends
 * what is left, and the end.
 */
#include "follow.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "inspector.h"

static volatile sig_atomic_t is_enough;

static void have_enough(int number)
{
    (void)number;
    is_enough = 1;
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* No SA_RESTART: poll is to end. */
static void heed_signals(void)
{
    struct sigaction action = {.sa_handler = have_enough};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* False: there is no more, or it could not be written. */
static bool take_some(int fd, FILE *file, bool *has_failed)
{
    char data[65536];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    *has_failed = got > 0 && fwrite(data, 1, (size_t)got, file) != (size_t)got;
    return got > 0 && !*has_failed;
}

static bool take_all(int fd, FILE *file, unsigned long for_ms)
{
    struct pollfd fds = {.fd = fd, .events = POLLIN};
    long long until_ms = now_ms() + (long long)for_ms;
    bool has_failed = false, is_ending = false;
    for (;;) {
        if (!is_ending
            && (is_enough || (for_ms > 0 && now_ms() >= until_ms))) {
            shutdown(fd, SHUT_WR);
            is_ending = true;
        }
        int ready = poll(&fds, 1, 100);
        if (ready > 0 && !take_some(fd, file, &has_failed))
            return !has_failed;
    }
}

static int take_into(struct connection *connection, const char *path,
                     unsigned long for_ms)
{
    FILE *file = fopen(path, "we");
    if (file)
        setvbuf(file, NULL, _IONBF, 0); /* it comes in large pieces */
    bool is_good = file && take_all(connection->fd, file, for_ms);
    if (file && fclose(file) != 0)
        is_good = false;
    if (is_good)
        return STATUS_FINE;
    complain("%s: %s", path, strerror(errno));
    return STATUS_FAILED;
}

int follow(pid_t pid, const char *path, unsigned long for_ms,
           unsigned long last_ms)
{
    char command[32] = "trace";
    struct connection connection;
    if (!connection_open(&connection, pid)) {
        complain("process %d has no control socket: start it with "
                 "VTHREAD_CONTROL=1, or let it call vthread_control_start",
                 (int)pid);
        return STATUS_TARGET;
    }
    heed_signals();
    if (last_ms > 0)
        snprintf(command, sizeof command, "trace %lu", last_ms);
    int status = connection_ask(&connection, command);
    if (status == STATUS_FINE)
        status = take_into(&connection, path, for_ms);
    connection_close(&connection);
    return status;
}
