/*
 * cancel_points_io_test.c - reading, writing, polling, accepting and
 * connecting, signals and children, cancelled at the nth wait for every n.
 *
 * Descriptors may be ready too early, or look so: then a call waits twice, or
 * not at all, and a cancellation may come when the call has been made.  So it
 * is not said which of them sees it, but that no byte and no connection is
 * lost.
 */
#include "tests/cancel_points.h"

/* ---- Pipes -------------------------------------------------------------- */

static void open_pipe(struct world *w)
{
    w->pair = open_pair(PIPE);
}

static void open_full_pipe(struct world *w)
{
    open_pipe(w);
    w->written = fill(w->pair.writer);
}

static int read_byte(struct world *w)
{
    size_t n = 0;
    int err = vthread_read(w->pair.reader, w->received, 8, &n);
    require(err != 0 || n == 1);
    return err;
}

static void write_byte(struct world *w)
{
    until_subject_waits(w);
    require(write(w->pair.writer, "x", 1) == 1);
}

static void pipe_is_empty(struct world *w)
{
    struct pollfd pollfd = {.fd = w->pair.reader, .events = POLLIN};
    require(poll(&pollfd, 1, 0) == 0);
    close_pair(w->pair);
}

static int write_page(struct world *w)
{
    static const char page[4096];
    size_t n = 0;
    int err = vthread_write(w->pair.writer, page, sizeof page, &n);
    w->written += n;
    return err;
}

static size_t drain(int fd)
{
    static char buffer[1 << 16];
    size_t sum = 0;
    ssize_t n;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    while (poll(&pollfd, 1, 0) == 1) {
        n = read(fd, buffer, sizeof buffer);
        require(n > 0);
        sum += (size_t)n;
    }
    return sum;
}

static void make_room(struct world *w)
{
    until_subject_waits(w);
    w->sent[0] = drain(w->pair.reader);
}

static void all_has_come(struct world *w)
{
    require(w->sent[0] + drain(w->pair.reader) == w->written);
    close_pair(w->pair);
}

static int poll_byte(struct world *w)
{
    unsigned ready = 0;
    struct pollfd pollfd = {.fd = w->pair.reader, .events = POLLIN};
    int err = vthread_poll(&pollfd, 1, &ready);
    require(err != 0 || (ready == 1 && pollfd.revents == POLLIN));
    return err;
}

static void byte_is_there(struct world *w)
{
    require(drain(w->pair.reader) == 1);
    close_pair(w->pair);
}

/* ---- Sockets ------------------------------------------------------------ */

/* At an address that the system chooses. */
static void listen_somewhere(struct world *w)
{
    socklen_t length = sizeof w->address;
    sa_family_t family = AF_UNIX;
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(w->listener >= 0);
    require(bind(w->listener, (struct sockaddr *)&family, sizeof family) == 0);
    require(listen(w->listener, 0) == 0);
    require(getsockname(w->listener, (struct sockaddr *)&w->address, &length)
            == 0);
    w->written = length;
    for (int i = 0; i < 2; i++)
        w->connections[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int connect_one(struct world *w, int i)
{
    return vthread_connect(w->connections[i], (struct sockaddr *)&w->address,
                           (socklen_t)w->written);
}

/* The backlog has room for one. */
static void listen_and_fill(struct world *w)
{
    listen_somewhere(w);
    require(connect_one(w, 0) == 0);
}

static int accept_one(struct world *w)
{
    int fd = -1;
    int err = vthread_accept(w->listener, NULL, NULL, &fd);
    if (err == 0) {
        atomic_fetch_add(&w->passes, 1);
        require(vthread_close(fd) == 0);
    }
    return err;
}

static void connect_to_subject(struct world *w)
{
    until_subject_waits(w);
    require(connect_one(w, 0) == 0);
}

static int connect_second(struct world *w)
{
    return connect_one(w, 1);
}

static void accept_both(struct world *w)
{
    until_subject_waits(w);
    for (int i = 0; i < 2; i++)
        require(accept_one(w) == 0);
}

static void close_listener(struct world *w, int accepted)
{
    struct pollfd pollfd = {.fd = w->listener, .events = POLLIN};
    require(w->passes == accepted);
    require(poll(&pollfd, 1, 0) == 0);
    require(vthread_close(w->listener) == 0);
    for (int i = 0; i < 2; i++)
        require(vthread_close(w->connections[i]) == 0);
}

static void one_was_accepted(struct world *w)
{
    close_listener(w, 1);
}

static void both_were_accepted(struct world *w)
{
    close_listener(w, 2);
}

/* ---- Signals and children ----------------------------------------------- */

static int wait_for_signal(struct world *w)
{
    sigset_t set;
    int got = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int err = vthread_sigwait(&set, &got);
    if (err == 0) {
        require(got == SIGUSR1);
        atomic_fetch_add(&w->passes, 1);
    }
    return err;
}

static void send_signal(struct world *w)
{
    until_subject_waits(w);
    require(kill(getpid(), SIGUSR1) == 0);
}

static void no_signal_is_left(struct world *w)
{
    sigset_t set;
    int got;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    require(w->passes == 1);
    require(vthread_sigwait_until(&set, &got, 0) == ETIMEDOUT);
}

static void start_child(struct world *w)
{
    char *argv[] = {"sleep", "100", NULL};
    require(vthread_spawn(&w->child, "sleep", argv, NULL) == 0);
}

static int wait_for_child(struct world *w)
{
    return vthread_waitpid(w->child, NULL);
}

static void end_child(struct world *w)
{
    until_subject_waits(w);
    require(kill(w->child, SIGKILL) == 0);
}

static void no_child_is_left(struct world *w)
{
    require(vthread_waitpid(w->child, NULL) == ECHILD);
}

static const struct point descriptor_points[] = {
    {"read", open_pipe, read_byte, write_byte, pipe_is_empty},
    {"write", open_full_pipe, write_page, make_room, all_has_come},
    {"poll", open_pipe, poll_byte, write_byte, byte_is_there},
    {"accept", listen_somewhere, accept_one, connect_to_subject,
     one_was_accepted},
    {"connect", listen_and_fill, connect_second, accept_both,
     both_were_accepted},
    {"sigwait", NULL, wait_for_signal, send_signal, no_signal_is_left},
    {"waitpid", start_child, wait_for_child, end_child, no_child_is_left},
};

START_TEST(input_and_output_cancelled_at_the_nth_wait_lose_nothing)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    /* TSan has a handler wait until main calls something, and main waits. */
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    ck_assert_int_eq(vthread_signal_take(&set), 0);
    static struct program program = PROGRAM(descriptor_points, false);
    ck_assert_uint_ge(cancel_at_every_wait(THREAD_INTERRUPT,
                                           goes_through_points, &program,
                                           at_most_once),
                      COUNT_OF(descriptor_points));
    ck_assert_uint_ge(cancel_at_every_wait(THREAD_CANCEL, goes_through_points,
                                           &program, whenever),
                      COUNT_OF(descriptor_points));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cancel_points_io");
    TCase *cases = new_case(suite, "nth_wait");
    tcase_add_test(cases,
                   input_and_output_cancelled_at_the_nth_wait_lose_nothing);
    return run_suite(suite);
}
