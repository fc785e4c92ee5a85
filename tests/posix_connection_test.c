/*
 * posix_connection_test.c - plain connect and accept, and datagrams, by
 * virtual threads.
 */
#include <poll.h>
#include <stddef.h>

#include "tests/posix.h"

struct server {
    struct sockaddr_in address;
    int listener, clients;
};

/* ---- Many --------------------------------------------------------------- */

enum { CLIENTS = 600, ACCEPTORS = 4 };

static void *serve_one(void *arg)
{
    int fd = (int)as_number(arg);
    char byte;
    require(recv(fd, &byte, 1, 0) == 1);
    require(send(fd, &byte, 1, 0) == 1);
    require(close(fd) == 0);
    return NULL;
}

/* Until the listener is closed. */
static void *accept_all(void *arg)
{
    struct server *server = arg;
    intptr_t count = 0;
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
        require(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
        require(vthread_create(NULL, &attr, serve_one, as_pointer(fd)) == 0);
        count++;
    }
    require(errno == EBADF);
    return as_pointer(count);
}

static void *visit(void *arg)
{
    struct server *server = arg;
    char byte = 'x';
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    require(connect(fd, (struct sockaddr *)&server->address,
                    sizeof server->address)
            == 0);
    require(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    require(send(fd, &byte, 1, 0) == 1);
    require(recv(fd, &byte, 1, MSG_WAITALL) == 1);
    require(recv(fd, &byte, 1, 0) == 0);
    require(close(fd) == 0);
    return NULL;
}

static void *close_it(void *arg)
{
    require(close((int)as_number(arg)) == 0);
    return NULL;
}

START_TEST(clients_and_servers_meet)
{
    struct server server;
    vthread_t acceptors[ACCEPTORS], clients[CLIENTS];
    intptr_t count = 0;
    server.listener = listen_on_loopback(&server.address, CLIENTS);
    for (int i = 0; i < ACCEPTORS; i++)
        acceptors[i] = start(accept_all, &server);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = start(visit, &server);
    for (int i = 0; i < CLIENTS; i++)
        join(clients[i]);
    until_waiting(accept_all, ACCEPTORS);
    join(start(close_it, as_pointer(server.listener)));
    for (int i = 0; i < ACCEPTORS; i++)
        count += as_number(join(acceptors[i]));
    ck_assert_int_eq(count, CLIENTS);
}
END_TEST

/* ---- accept ------------------------------------------------------------- */

static void *accept_claims(void *arg)
{
    struct sockaddr_in address, peer;
    socklen_t length = sizeof peer;
    int listener = listen_on_loopback(&address, 4);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    (void)arg;
    set_limit(listener, SO_RCVTIMEO, 10);
    uint64_t begin_ns = vthread_now();
    require(fails(EAGAIN, accept(listener, NULL, NULL)));
    require(vthread_now() - begin_ns >= 10 * VTHREAD_MS);
    require(connect(client, (struct sockaddr *)&address, sizeof address)
            == 0);
    int fd = accept4(listener, (struct sockaddr *)&peer, &length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    require(fd >= 0 && length == sizeof peer);
    require(peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    require(fcntl(fd, F_GETFL) & O_NONBLOCK);
    require(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    require(fails(EINVAL, accept4(listener, NULL, NULL, O_APPEND)));
    set_nonblocking(listener);
    require(fails(EAGAIN, accept(listener, NULL, NULL)));
    require(fails(EINVAL, accept4(listener, NULL, NULL, O_APPEND)));
    require(fails(EINVAL, accept(client, NULL, NULL)));
    require(fails(EBADF, accept(-1, NULL, NULL)));
    close(fd);
    close(client);
    close(listener);
    return NULL;
}

START_TEST(accept_heeds_limits_and_flags)
{
    on_virtual(accept_claims);
}
END_TEST

/* ---- connect ------------------------------------------------------------ */

static void *connect_claims(void *arg)
{
    struct sockaddr_in address;
    struct sockaddr *to = (struct sockaddr *)&address;
    int listener = listen_on_loopback(&address, 4), error = -1;
    socklen_t size = sizeof error;
    (void)arg;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    require(fails(EINPROGRESS, connect(fd, to, sizeof address)));
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    require(poll(&entry, 1, 10000) == 1);
    require(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    require(error == 0);
    connect(fd, to, sizeof address); /* Linux says 0 once more */
    require(fails(EISCONN, connect(fd, to, sizeof address)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    require(connect(fd, to, sizeof address) == 0);
    require(fails(EISCONN, connect(fd, to, sizeof address)));
    close(fd);
    close(listener);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    require(fails(ECONNREFUSED, connect(fd, to, sizeof address)));
    require(fails(ECONNREFUSED, connect(fd, to, sizeof address)));
    require(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);
    require(fails(EBADF, connect(fd, to, sizeof address)));
    require(fails(ENOTSOCK, connect(STDERR_FILENO, to, sizeof address)));
    return NULL;
}

START_TEST(connect_tells_what_came_of_it)
{
    on_virtual(connect_claims);
}
END_TEST

/* A listener whose backlog is full drops what comes, and the client tries
 * again for minutes. */
struct full {
    struct sockaddr_in address;
    int listener, first, second;
    atomic_int is_waiting;
};

static void fill_backlog(struct full *full)
{
    struct sockaddr *to = (struct sockaddr *)&full->address;
    full->listener = listen_on_loopback(&full->address, 0);
    full->first = socket(AF_INET, SOCK_STREAM, 0);
    require(connect(full->first, to, sizeof full->address) == 0);
}

static void *connect_in_vain(void *arg)
{
    struct full *full = arg;
    struct sockaddr *to = (struct sockaddr *)&full->address;
    full->second = socket(AF_INET, SOCK_STREAM, 0);
    set_limit(full->second, SO_SNDTIMEO, 20);
    uint64_t begin_ns = vthread_now();
    require(fails(EINPROGRESS,
                  connect(full->second, to, sizeof full->address)));
    require(vthread_now() - begin_ns >= 20 * VTHREAD_MS);
    set_limit(full->second, SO_SNDTIMEO, 0);
    atomic_store(&full->is_waiting, true);
    require(fails(EINTR, connect(full->second, to, sizeof full->address)));
    require(!(fcntl(full->second, F_GETFL) & O_NONBLOCK));
    return NULL;
}

START_TEST(a_connect_that_waits_heeds_limits_and_interrupts)
{
    struct full full = {.is_waiting = false};
    fill_backlog(&full);
    vthread_t t = start(connect_in_vain, &full);
    until(&full.is_waiting);
    until_waiting(connect_in_vain, 1);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    join(t);
    close(full.first);
    close(full.second);
    close(full.listener);
}
END_TEST

/* ---- UNIX sockets ------------------------------------------------------- */

static struct sockaddr_un abstract_name(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s-%d", name,
             getpid());
    return address;
}

static int unix_socket(int type, const struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    if (name)
        require(bind(fd, (const struct sockaddr *)name, sizeof *name) == 0);
    return fd;
}

static void *connect_unix(void *arg)
{
    int fd = unix_socket(SOCK_STREAM, NULL);
    require(connect(fd, arg, sizeof(struct sockaddr_un)) == 0);
    require(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    return as_pointer(fd);
}

enum { UNIX_CLIENTS = 10 };

START_TEST(a_full_backlog_of_a_unix_socket_is_waited_for)
{
    struct sockaddr_un name = abstract_name("posix-backlog");
    int fds[UNIX_CLIENTS], listener = unix_socket(SOCK_STREAM, &name);
    vthread_t t[UNIX_CLIENTS];
    ck_assert_int_eq(listen(listener, 1), 0);
    for (int i = 0; i < UNIX_CLIENTS; i++)
        t[i] = start(connect_unix, &name);
    for (int i = 0; i < UNIX_CLIENTS; i++) {
        fds[i] = accept(listener, NULL, NULL);
        ck_assert_int_ge(fds[i], 0);
    }
    for (int i = 0; i < UNIX_CLIENTS; i++) {
        close((int)as_number(join(t[i])));
        close(fds[i]);
    }
    close(listener);
}
END_TEST

/* ---- Datagrams ---------------------------------------------------------- */

enum { DATAGRAMS = 2000 };

static void *send_datagrams(void *arg)
{
    int fd = unix_socket(SOCK_DGRAM, NULL);
    struct iovec iov;
    struct msghdr message = {.msg_name = arg,
                             .msg_namelen = sizeof(struct sockaddr_un),
                             .msg_iov = &iov,
                             .msg_iovlen = 1};
    for (int i = 0; i < DATAGRAMS; i++) {
        iov = (struct iovec){&i, sizeof i};
        ssize_t n = i % 2 ? sendto(fd, &i, sizeof i, 0, arg,
                                   sizeof(struct sockaddr_un))
                          : sendmsg(fd, &message, 0);
        require(n == sizeof i);
    }
    close(fd);
    return NULL;
}

static void *receive_datagrams(void *arg)
{
    int fd = (int)as_number(arg), got[2];
    for (int i = 0; i < DATAGRAMS; i++) {
        /* One message, whatever the flag asks for. */
        require(recv(fd, got, sizeof got, MSG_WAITALL) == sizeof got[0]);
        require(got[0] == i);
    }
    return NULL;
}

START_TEST(a_full_queue_of_datagrams_is_waited_for)
{
    struct sockaddr_un name = abstract_name("posix-queue");
    int fd = unix_socket(SOCK_DGRAM, &name);
    vthread_t t = start(send_datagrams, &name);
    until_waiting(send_datagrams, 1);
    join(start(receive_datagrams, as_pointer(fd)));
    join(t);
    close(fd);
}
END_TEST

static void *udp_claims(void *arg)
{
    struct sockaddr_in address = loopback(0), from;
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), got = 0, other;
    (void)arg;
    require(bind(fd, (struct sockaddr *)&address, length) == 0);
    require(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    other = socket(AF_INET, SOCK_DGRAM, 0);
    require(connect(other, (struct sockaddr *)&address, length) == 0);
    require(write(other, &(int){7}, sizeof(int)) == sizeof(int));
    require(recvfrom(fd, &got, sizeof got, 0, (struct sockaddr *)&from,
                     &length)
            == sizeof got);
    require(got == 7 && length == sizeof from);
    require(sendto(fd, &got, sizeof got, 0, (struct sockaddr *)&from, length)
            == sizeof got);
    require(read(other, &got, 1) == 1); /* the rest is cut off */
    require(fails(EAGAIN, recv(other, &got, 1, MSG_DONTWAIT)));
    close(other);
    close(fd);
    return NULL;
}

START_TEST(udp_sockets_work)
{
    on_virtual(udp_claims);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("posix_connection");
    TCase *cases = new_case(suite, "posix_connection");
    set_mode("VTHREAD_PARALLELISM", "2");
    tcase_add_test(cases, clients_and_servers_meet);
    tcase_add_test(cases, accept_heeds_limits_and_flags);
    tcase_add_test(cases, connect_tells_what_came_of_it);
    tcase_add_test(cases, a_connect_that_waits_heeds_limits_and_interrupts);
    tcase_add_test(cases, a_full_backlog_of_a_unix_socket_is_waited_for);
    tcase_add_test(cases, a_full_queue_of_datagrams_is_waited_for);
    tcase_add_test(cases, udp_sockets_work);
    return run_suite(suite);
}
