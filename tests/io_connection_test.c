/*
 * io_connection_test.c - listening, accepting, connecting, and how many
 * system calls an echo costs.
 */
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "platform/system.h"
#include "tests/descriptors.h"

/* ---- System calls are counted ------------------------------------------- */

/* How a TCP socket is read and written, and registered: the linker leads the
 * library here.  The last one is libc's, and not taken from the sanitizers,
 * which have their own. */
static _Atomic int counted_fd = -1;
static _Atomic unsigned reads, writes, registrations;

static void count(int fd, _Atomic unsigned *counter)
{
    if (fd == atomic_load(&counted_fd))
        atomic_fetch_add(counter, 1);
}

ssize_t __wrap_system_recv(int fd, void *buffer, size_t size_bytes,
                           int flags);
ssize_t __real_system_recv(int fd, void *buffer, size_t size_bytes,
                           int flags);
ssize_t __wrap_system_send(int fd, const void *buffer, size_t size_bytes,
                           int flags);
ssize_t __real_system_send(int fd, const void *buffer, size_t size_bytes,
                           int flags);

ssize_t __wrap_system_recv(int fd, void *buffer, size_t size_bytes,
                           int flags)
{
    count(fd, &reads);
    return __real_system_recv(fd, buffer, size_bytes, flags);
}

ssize_t __wrap_system_send(int fd, const void *buffer, size_t size_bytes,
                           int flags)
{
    count(fd, &writes);
    return __real_system_send(fd, buffer, size_bytes, flags);
}

#if !UNDER_SANITIZER
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    count(fd, &registrations);
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}
#endif

/* ---- Connections -------------------------------------------------------- */

struct server {
    struct sockaddr_in address;
    int listener;
    _Atomic int accepted;
};

static void *accept_and_echo(void *arg)
{
    struct server *server = arg;
    char buffer[100];
    size_t n;
    int fd, err;
    while ((err = vthread_accept(server->listener, NULL, NULL, &fd)) == 0) {
        require(fcntl(fd, F_GETFL) & O_NONBLOCK);
        require(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        atomic_fetch_add(&server->accepted, 1);
        while ((err = vthread_read(fd, buffer, sizeof buffer, &n)) == 0
               && n > 0)
            require(vthread_write_all(fd, buffer, n) == 0);
        require(err == 0);
        require(vthread_close(fd) == 0);
    }
    return as_result(err);
}

static void *connect_and_talk(void *arg)
{
    struct server *server = arg;
    char buffer[100];
    size_t n;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    require(vthread_connect(fd, (struct sockaddr *)&server->address,
                            sizeof server->address)
            == 0);
    for (int i = 0; i < 10; i++) {
        require(vthread_write_all(fd, "hello", 5) == 0);
        require(vthread_recv(fd, buffer, 5, MSG_WAITALL, &n) == 0);
        require(n == 5 && memcmp(buffer, "hello", 5) == 0);
    }
    require(vthread_close(fd) == 0);
    return NULL;
}

START_TEST(many_accept_from_one_socket_and_all_connections_are_served)
{
    enum { ACCEPTERS = 30, CLIENTS = 200 };
    static struct server server;
    vthread_t accepters[ACCEPTERS], clients[CLIENTS];
    server.listener = listen_on_loopback(&server.address, CLIENTS);
    for (int i = 0; i < ACCEPTERS; i++)
        accepters[i] = start(accept_and_echo, &server);
    await_waiting(server.listener, DIRECTION_READ, ACCEPTERS);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = start(connect_and_talk, &server);
    for (int i = 0; i < CLIENTS; i++)
        join(clients[i]);
    ck_assert_int_eq(server.accepted, CLIENTS);
    await_waiting(server.listener, DIRECTION_READ, ACCEPTERS);
    vthread_close(server.listener);
    for (int i = 0; i < ACCEPTERS; i++)
        ck_assert_int_eq(as_error(join(accepters[i])), ECANCELED);
}
END_TEST

static void *accept_one(void *arg)
{
    struct server *server = arg;
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int fd;
    require(vthread_accept(server->listener, (struct sockaddr *)&peer,
                           &length, &fd)
            == 0);
    require(length == sizeof peer && peer.sin_family == AF_INET);
    atomic_fetch_add(&server->accepted, 1);
    return as_result(fd);
}

/* The connections are there before the listening socket is looked at, so
 * that there may be one event for all: each accepter has to wake the
 * next. */
START_TEST(who_was_woken_passes_on_what_is_left)
{
    enum { COUNT = 40 };
    static struct server server;
    vthread_t accepters[COUNT];
    int clients[COUNT];
    server.listener = listen_on_loopback(&server.address, COUNT);
    for (int i = 0; i < COUNT; i++)
        accepters[i] = start(accept_one, &server);
    await_waiting(server.listener, DIRECTION_READ, COUNT);
    for (int i = 0; i < COUNT; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        require(connect(clients[i], (struct sockaddr *)&server.address,
                        sizeof server.address)
                == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        vthread_close(as_error(join(accepters[i])));
        vthread_close(clients[i]);
    }
    ck_assert_int_eq(server.accepted, COUNT);
    vthread_close(server.listener);
}
END_TEST

static void *echo_on_one(void *arg)
{
    struct server *server = arg;
    char buffer[100];
    size_t n = 1;
    int fd = as_error(accept_one(server));
    atomic_store(&counted_fd, fd);
    while (n > 0) {
        require(vthread_read(fd, buffer, sizeof buffer, &n) == 0);
        require(vthread_write_all(fd, buffer, n) == 0);
    }
    atomic_store(&counted_fd, -1);
    vthread_close(fd);
    return NULL;
}

START_TEST(an_echo_costs_one_read_and_one_write)
{
    enum { ROUNDS = 100 };
    static struct server server;
    char buffer[10];
    int client = socket(AF_INET, SOCK_STREAM, 0), fd;
    server.listener = listen_on_loopback(&server.address, 1);
    require(connect(client, (struct sockaddr *)&server.address,
                    sizeof server.address)
            == 0);
    vthread_t thread = start(echo_on_one, &server);
    while ((fd = atomic_load(&counted_fd)) < 0 && !UNDER_SANITIZER)
        sched_yield();
    for (int i = 0; i < ROUNDS; i++) {
        if (!UNDER_SANITIZER)
            await_waiting(fd, DIRECTION_READ, 1);
        require(send(client, "hello", 5, 0) == 5);
        require(recv(client, buffer, 5, MSG_WAITALL) == 5);
    }
    if (!UNDER_SANITIZER)
        await_waiting(fd, DIRECTION_READ, 1);
    close(client);
    join(thread);
    if (!UNDER_SANITIZER) {
        /* The first finds nothing, the last finds the end. */
        ck_assert_uint_eq(reads, 1 + ROUNDS + 1);
        ck_assert_uint_eq(writes, ROUNDS);
        ck_assert_uint_eq(registrations, 1);
    }
    vthread_close(server.listener);
}
END_TEST

START_TEST(a_refused_connection_is_an_error)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address, 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    vthread_close(listener);
    ck_assert_int_eq(
        vthread_connect(fd, (struct sockaddr *)&address, sizeof address),
        ECONNREFUSED);
    vthread_close(fd);
}
END_TEST

/* A full backlog drops further connections: they stay under way. */
static int hopeless_address(struct sockaddr_in *address, int fillers[2])
{
    int listener = listen_on_loopback(address, 0);
    for (int i = 0; i < 2; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)address, sizeof *address);
    }
    return listener;
}

struct connection {
    struct sockaddr_in address;
    int fd;
};

static void *connect_it(void *arg)
{
    struct connection *c = arg;
    return as_result(vthread_connect(c->fd, (struct sockaddr *)&c->address,
                                     sizeof c->address));
}

START_TEST(a_connection_under_way_is_given_up)
{
    struct connection *c = calloc(1, sizeof *c);
    int fillers[2], listener = hopeless_address(&c->address, fillers);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(
        vthread_connect_until(c->fd, (struct sockaddr *)&c->address,
                              sizeof c->address, vthread_after(VTHREAD_MS)),
        ETIMEDOUT);
    vthread_t first = start(connect_it, c);
    await_waiting(c->fd, DIRECTION_WRITE, 1);
    vthread_interrupt(first);
    ck_assert_int_eq(as_error(join(first)), ECANCELED);
    vthread_t second = start(connect_it, c);
    await_waiting(c->fd, DIRECTION_WRITE, 1);
    vthread_close(c->fd);
    ck_assert_int_eq(as_error(join(second)), ECANCELED);
    vthread_close(listener);
    vthread_close(fillers[0]);
    vthread_close(fillers[1]);
    free(c);
}
END_TEST

/* Such a socket tells the poller that it is hung up. */
START_TEST(a_socket_used_before_it_is_connected_is_connected_all_the_same)
{
    static struct server server;
    char buffer[10];
    size_t n;
    struct pollfd pollfd = {.events = POLLIN};
    unsigned ready;
    int fd = pollfd.fd = socket(AF_INET, SOCK_STREAM, 0);
    server.listener = listen_on_loopback(&server.address, 10);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), ENOTCONN);
    ck_assert_int_eq(vthread_poll(&pollfd, 1, &ready), 0);
    ck_assert_int_eq(vthread_connect(fd, (struct sockaddr *)&server.address,
                                     sizeof server.address),
                     0);
    ck_assert_int_eq(vthread_connect(fd, (struct sockaddr *)&server.address,
                                     sizeof server.address),
                     EISCONN);
    ck_assert_int_eq(vthread_read_until(fd, buffer, 10, &n,
                                        vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    vthread_close(fd);
    vthread_close(server.listener);
}
END_TEST

static void *accept_three(void *arg)
{
    int fd;
    vthread_sleep(20 * VTHREAD_MS);
    for (int i = 0; i < 3; i++) {
        require(vthread_accept(*(int *)arg, NULL, NULL, &fd) == 0);
        require(vthread_close(fd) == 0);
    }
    return NULL;
}

/* A UNIX socket whose backlog is full says EAGAIN, and no event follows. */
START_TEST(a_full_backlog_of_a_unix_socket_is_waited_for)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockaddr *name = (struct sockaddr *)&address;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fds[3];
    snprintf(address.sun_path + 1, 90, "vthread-%d", (int)getpid());
    require(bind(listener, name, sizeof address) == 0);
    require(listen(listener, 0) == 0);
    for (int i = 0; i < 3; i++)
        fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(vthread_connect(fds[0], name, sizeof address), 0);
    ck_assert_int_eq(vthread_connect_until(fds[1], name, sizeof address,
                                           vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    vthread_t accepter = start(accept_three, &listener);
    ck_assert_int_eq(vthread_connect(fds[1], name, sizeof address), 0);
    ck_assert_int_eq(vthread_connect(fds[2], name, sizeof address), 0);
    join(accepter);
    for (int i = 0; i < 3; i++)
        vthread_close(fds[i]);
    vthread_close(listener);
}
END_TEST

START_TEST(no_descriptor_left_for_a_connection_is_an_error)
{
    static struct server server;
    struct rlimit old, none;
    int client = socket(AF_INET, SOCK_STREAM, 0), fd = 77;
    server.listener = listen_on_loopback(&server.address, 10);
    require(connect(client, (struct sockaddr *)&server.address,
                    sizeof server.address)
            == 0);
    /* Sets up the listening socket, and has the poller opened. */
    ck_assert_int_eq(as_error(join(start(accept_one, &server))) >= 0, 1);
    vthread_close(client);
    client = socket(AF_INET, SOCK_STREAM, 0);
    require(connect(client, (struct sockaddr *)&server.address,
                    sizeof server.address)
            == 0);
    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &none);
    int err = vthread_accept(server.listener, NULL, NULL, &fd);
    setrlimit(RLIMIT_NOFILE, &old);
    ck_assert_int_eq(err, EMFILE);
    ck_assert_int_eq(fd, 77);
    /* Valgrind has the limit to itself, and drops the connection. */
    if (!sanitizer_is_valgrind) {
        ck_assert_int_eq(vthread_accept(server.listener, NULL, NULL, &fd), 0);
        vthread_close(fd);
    }
    vthread_close(client);
    vthread_close(server.listener);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("io_connection");
    TCase *cases = new_case(suite, "connections");
    tcase_add_test(cases,
                   many_accept_from_one_socket_and_all_connections_are_served);
    tcase_add_test(cases, who_was_woken_passes_on_what_is_left);
    tcase_add_test(cases, an_echo_costs_one_read_and_one_write);
    tcase_add_test(cases, a_refused_connection_is_an_error);
    tcase_add_test(cases, a_connection_under_way_is_given_up);
    tcase_add_test(
        cases, a_socket_used_before_it_is_connected_is_connected_all_the_same);
    tcase_add_test(cases, a_full_backlog_of_a_unix_socket_is_waited_for);
    tcase_add_test(cases, no_descriptor_left_for_a_connection_is_an_error);
    return run_suite(suite);
}
