/*
 * control_clients.h - clients of the control socket, and threads for it to
 * tell of.
 */
#ifndef TESTS_CONTROL_CLIENTS_H
#define TESTS_CONTROL_CLIENTS_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "inspect/control.h"
#include "inspect/control_protocol.h"
#include "tests/children.h"

/* ---- Clients ------------------------------------------------------------ */

static inline int open_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline socklen_t address_of(struct sockaddr_un *address,
                                   const char *name)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(address->sun_path + 1, name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1
                       + strlen(name));
}

/* A connection with the process; -1: refused. */
static inline int try_call(pid_t pid)
{
    char name[64];
    struct sockaddr_un address;
    snprintf(name, sizeof name, CONTROL_NAME_FORMAT, (unsigned)geteuid(),
             (unsigned)pid);
    socklen_t size = address_of(&address, name);
    int fd = open_socket();
    if (connect(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline int call(pid_t pid)
{
    int fd = try_call(pid);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline void say(int fd, const char *words)
{
    ck_assert_int_eq(send(fd, words, strlen(words), MSG_NOSIGNAL),
                     (ssize_t)strlen(words));
}

static char heard[1 << 22];

/* All that comes until the other side closes. */
static inline const char *hear(int fd)
{
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, heard + length, sizeof heard - 1 - length)) > 0)
        length += (size_t)got;
    heard[length] = '\0';
    close(fd);
    return heard;
}

static inline const char *ask(const char *words)
{
    int fd = call(getpid());
    say(fd, words);
    return hear(fd);
}

/* A client that comes too early is sent away, perhaps before it has spoken. */
static inline void until_there_is_a_place(void)
{
    int fd;
    do {
        fd = call(getpid());
        send(fd, "stats\n", 6, MSG_NOSIGNAL);
    } while (strncmp(hear(fd), "ok ", 3) != 0);
}

static inline bool ends_with(const char *words, const char *end)
{
    return strlen(words) >= strlen(end)
           && strcmp(words + strlen(words) - strlen(end), end) == 0;
}

static inline void is_whole(const char *answer)
{
    ck_assert_msg(strncmp(answer, "ok " PACKAGE_VERSION "\n",
                          strlen("ok " PACKAGE_VERSION "\n"))
                          == 0
                      && ends_with(answer, "\nend\n"),
                  "%.500s", answer);
}

static inline void has(const char *answer, const char *words)
{
    ck_assert_msg(strstr(answer, words) != NULL, "\"%s\" is not in:\n%.3000s",
                  words, answer);
}

/* ---- Threads to be told of ---------------------------------------------- */

static inline void *parks_until_told(void *arg)
{
    vthread_park();
    return arg;
}

/* The list of them is more than a socket holds. */
static vthread_t crowd[6000];

static inline void start_crowd(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        crowd[i] = start(parks_until_told, NULL);
    for (unsigned i = 0; i < count; i++)
        until_waiting(crowd[i]);
}

static inline void end_crowd(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(vthread_unpark(crowd[i]), 0);
    for (unsigned i = 0; i < count; i++)
        join(crowd[i]);
}

static inline void open_control(void)
{
    ck_assert_int_eq(vthread_control_start(), 0);
}

static inline void close_control(void)
{
    ck_assert_int_eq(vthread_control_stop(), 0);
}

#endif
