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

/* How long a process that is to end the recording may say nothing. */
enum { PATIENCE_MS = 10000 };

enum stream { GOES_ON, IS_OVER, IS_SILENT, IS_NOT_WRITTEN };

static bool write_all(int file, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(file, data, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

static enum stream take_some(int fd, int file)
{
    char data[65536];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return GOES_ON;
    if (got <= 0)
        return IS_OVER;
    return write_all(file, data, (size_t)got) ? GOES_ON : IS_NOT_WRITTEN;
}

/* *has_ended: nobody had asked it to. */
static enum stream take_all(int fd, int file, unsigned long for_ms,
                            bool *has_ended)
{
    struct pollfd fds = {.fd = fd, .events = POLLIN};
    long long until_ms = now_ms() + (long long)for_ms, silent_since_ms = 0;
    enum stream stream = GOES_ON;
    *has_ended = true;
    while (stream == GOES_ON) {
        if (*has_ended
            && (is_enough || (for_ms > 0 && now_ms() >= until_ms))) {
            shutdown(fd, SHUT_WR);
            *has_ended = false;
            silent_since_ms = now_ms();
        }
        if (poll(&fds, 1, 100) > 0) {
            stream = take_some(fd, file);
            silent_since_ms = now_ms();
        } else if (!*has_ended && now_ms() - silent_since_ms > PATIENCE_MS) {
            stream = IS_SILENT;
        }
    }
    return stream;
}

static int take_into(struct connection *connection, int file,
                     unsigned long for_ms, bool *has_ended)
{
    switch (take_all(connection->fd, file, for_ms, has_ended)) {
    case IS_SILENT:
        complain("process %d does not answer; has it been stopped (SIGSTOP)?",
                 (int)connection->pid);
        return STATUS_TARGET;
    case IS_NOT_WRITTEN:
        complain("what is recorded cannot be written: %s", strerror(errno));
        return STATUS_FAILED;
    default:
        return STATUS_FINE;
    }
}

int follow(pid_t pid, int file, unsigned long for_ms, unsigned long last_ms,
           bool *has_ended)
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
        status = take_into(&connection, file, for_ms, has_ended);
    connection_close(&connection);
    return status;
}
