/*
 * connection.c - calls processes, and is called by them.
 *
 * A name in the abstract namespace may be taken by anybody.  So who answers
 * is asked of the kernel: the process, of the user that we expect.
 */
#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "inspect/control_protocol.h"
#include "inspector.h"

#define PATIENCE_S 10
#define ANSWER_BYTES_MAX ((size_t)64 << 20)

static socklen_t address_of(struct sockaddr_un *address, const char *name)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "%s", name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1
                       + strlen(address->sun_path + 1));
}

static void set_patience(int fd)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static bool read_peer(int fd, struct ucred *peer)
{
    socklen_t size = sizeof *peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) == 0;
}

/* ---- Calling ------------------------------------------------------------ */

static int connect_to(const char *name)
{
    struct sockaddr_un address;
    socklen_t size = address_of(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    set_patience(fd);
    if (connect(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    close(fd);
    return -1;
}

bool connection_open(struct connection *connection, pid_t pid)
{
    char path[32], name[64];
    struct stat process;
    struct ucred peer;
    *connection = (struct connection){.fd = -1, .pid = pid};
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &process) != 0)
        return false;
    snprintf(name, sizeof name, CONTROL_NAME_FORMAT, (unsigned)process.st_uid,
             (unsigned)pid);
    connection->fd = connect_to(name);
    if (connection->fd >= 0
        && (!read_peer(connection->fd, &peer) || peer.pid != pid))
        connection_close(connection);
    return connection->fd >= 0;
}

void connection_close(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

/* ---- Asking ------------------------------------------------------------- */

/* After a send or recv: has it failed for want of time? */
static bool is_late(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static int complain_end(const struct connection *connection)
{
    bool does_not_answer = is_late();
    complain(does_not_answer
                 ? "process %d does not answer; has it been stopped (SIGSTOP)?"
                 : "process %d has ended, or closed its control socket",
             (int)connection->pid);
    return does_not_answer ? STATUS_TARGET : STATUS_DIED;
}

/* The first line, without its end.  Byte by byte: what follows is not ours to
 * take. */
static bool receive_line(int fd, char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        errno = 0;
        if (recv(fd, line + i, 1, 0) != 1)
            return false;
        if (line[i] == '\n') {
            line[i] = '\0';
            return true;
        }
    }
    return false;
}

int connection_ask(struct connection *connection, const char *command)
{
    char line[CONTROL_LINE_BYTES];
    int length = snprintf(line, sizeof line, "%s\n", command);
    errno = 0;
    if (send(connection->fd, line, (size_t)length, MSG_NOSIGNAL) != length
        || !receive_line(connection->fd, line, sizeof line))
        return complain_end(connection);
    if (strncmp(line, "ok ", 3) == 0) {
        snprintf(connection->version, sizeof connection->version, "%.15s",
                 line + 3);
        return STATUS_FINE;
    }
    complain("process %d refuses '%s': %s", (int)connection->pid, command,
             strncmp(line, "error ", 6) == 0 ? line + 6 : line);
    return STATUS_TARGET;
}

char *connection_receive(struct connection *connection)
{
    int fd = connection->fd;
    size_t size = 1 << 16, length = 0;
    char *text = malloc(size);
    ssize_t got = 1;
    while (text && got > 0 && length < ANSWER_BYTES_MAX) {
        if (length + 1 == size) {
            char *larger = realloc(text, size *= 2);
            if (!larger)
                break;
            text = larger;
        }
        errno = 0;
        got = recv(fd, text + length, size - 1 - length, 0);
        length += got > 0 ? (size_t)got : 0;
    }
    bool is_whole = text && got == 0 && length >= 4
                    && memcmp(text + length - 4, "end\n", 4) == 0;
    if (!is_whole) {
        free(text);
        return NULL;
    }
    text[length] = '\0';
    return text;
}

int connection_answer(pid_t pid, const char *command, char **answer,
                      bool *is_there)
{
    struct connection connection;
    *answer = NULL;
    *is_there = connection_open(&connection, pid);
    if (!*is_there)
        return STATUS_FINE;
    int status = connection_ask(&connection, command);
    if (status == STATUS_FINE && !(*answer = connection_receive(&connection)))
        status = complain_end(&connection);
    connection_close(&connection);
    return status;
}

/* ---- Being called ------------------------------------------------------- */

int connection_listen(char *name, size_t size_bytes)
{
    static unsigned count;
    struct sockaddr_un address;
    snprintf(name, size_bytes, "vthread-tool/%d/%u", (int)getpid(), count++);
    socklen_t size = address_of(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0
        && (bind(fd, (struct sockaddr *)&address, size) != 0
            || listen(fd, 128) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

bool connection_accept(struct connection *connection, int listener)
{
    struct ucred peer;
    *connection =
        (struct connection){.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)};
    if (connection->fd < 0)
        return false;
    set_patience(connection->fd);
    if (read_peer(connection->fd, &peer)
        && (peer.uid == geteuid() || geteuid() == 0)) {
        connection->pid = peer.pid;
        return true;
    }
    connection_close(connection);
    return false;
}
