/*
 * control.c - the control socket: who is let in, and who serves.
 *
 * One OS thread, the acceptor, waits for clients; each client is served by an
 * OS thread of its own, in one of a few slots, so one that hangs is in the way
 * of nobody.  Slots belong to the acceptor: it starts and joins their threads.
 * What is shared besides is set before they start,
 * or a word that tells the end.
 *
 *   STOPPING   sockets are closed: nothing is sent any more
 *   DRAINING   the process ends: what is left is sent, until a deadline
 *
 * Both make `wake` readable for good, which every wait here looks at.
 *
 * Bounds: the clients, the length of a command, the time for it, the time that
 * a client may take nothing; and others than the same user are turned away
 * before they get a slot.
 *
 * A forked child has the descriptors and none of the threads: it closes all of
 * them, so that clients see the end of the parent and the name becomes free.
 * So each stands, from its first moment to its last, in a place that the child
 * knows; it comes and goes under the lock `forks`, which a fork takes as well.
 *
 * Not here: the answers; see control_stats.c and those named in `commands`.
 */
#include "inspect/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <vthread/control.h>
#include <vthread/time.h>

#include "inspect/control_protocol.h"
#include "inspect/deadlock.h"
#include "inspect/pin.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/system.h"
#include "settings.h"
#include "thread.h"

#define DRAIN_NS (1000 * VTHREAD_MS)
#define REFUSAL_PAUSE_MS 10 /* strangers are not worth a processor */
#define CALLED_BACK_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

static const struct command {
    const char *name;
    control_serve_fn *serve;
} commands[] = {
    {"census", control_serve_census},
    {"leaks", control_serve_leaks},
    {"pin", control_serve_pin},
    {"stats", control_serve_stats},
    {"threads", control_serve_threads},
    {"trace", control_serve_trace},
};

/* What is going on; it only grows, until the socket is opened anew. */
enum phase { SERVING, DRAINING, STOPPING };

/* Field letters: T the thread that serves, P the acceptor; with both, who has
 * it is told by is_serving; F changed under the lock `forks`. */
struct control_client {
    int fd;                     /* P, T, F: -1 when there is none */
    _Atomic bool is_serving;    /* A: set by P, cleared by T, at its end */
    bool has_thread;            /* P: to be joined */
    bool is_answered;           /* T: "ok" has been sent */
    struct os_thread os_thread; /* P */
};

static struct {
    struct os_lock lock;
    bool is_on;                /* L */
    struct os_thread acceptor; /* L */
    struct os_lock forks;      /* the last one to be taken */
    int listener;              /* S, F: set before its threads start */
    int wake;                  /* S, F: an eventfd, readable after SERVING */
    int arriving;              /* P, F: a client's that is in no slot yet */
    _Atomic uint32_t phase;    /* A */
    _Atomic uint64_t drain_until_ns; /* A: set before DRAINING */
    _Atomic uint32_t has_drained;    /* A: a futex; set by the acceptor */
    struct control_client clients[CONTROL_CLIENTS_MAX];
    char called_back[CALLED_BACK_BYTES]; /* S */
} control = {.listener = -1, .wake = -1, .arriving = -1};

static _Atomic unsigned os_threads;

int control_patience_ms = 5000;

/* ---- What deadlock.c asks ----------------------------------------------- */

unsigned control_os_threads(void)
{
    /* seq_cst: as the changes below. */
    return atomic_load_explicit(&os_threads, memory_order_seq_cst);
}

/* An OS thread counts itself, so the count is never higher than it should be
 * without deadlock_note having been called since; seq_cst keeps each of the
 * two where it stands. */
static void count_in(void)
{
    deadlock_note();
    atomic_fetch_add_explicit(&os_threads, 1, memory_order_seq_cst);
}

static void count_out(void)
{
    atomic_fetch_sub_explicit(&os_threads, 1, memory_order_seq_cst);
    deadlock_note();
}

/* ---- Descriptors and forks ---------------------------------------------- */

static void close_place(int *place)
{
    if (*place >= 0)
        system_close(*place);
    *place = -1;
}

static void close_descriptor(int *place)
{
    os_lock_acquire(&control.forks);
    close_place(place);
    os_lock_release(&control.forks);
}

static void before_fork(void)
{
    os_lock_acquire(&control.forks);
}

static void in_parent(void)
{
    os_lock_release(&control.forks);
}

static void in_forked_child(void)
{
    close_place(&control.listener);
    close_place(&control.wake);
    close_place(&control.arriving);
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        close_place(&control.clients[i].fd);
    control.is_on = false;
    os_lock_release(&control.forks);
}

/* ---- Waiting ------------------------------------------------------------ */

static enum phase phase_now(void)
{
    /* Acquire: pairs with set_phase, for drain_until_ns. */
    return (enum phase)atomic_load_explicit(&control.phase,
                                            memory_order_acquire);
}

static void set_phase(enum phase phase)
{
    uint64_t one = 1;
    /* Release: see phase_now. */
    atomic_store_explicit(&control.phase, phase, memory_order_release);
    if (phase != SERVING)
        while (system_write(control.wake, &one, sizeof one) < 0
               && errno == EINTR)
            ;
}

/* Waits for a client in the direction given, until the process stops or the
 * deadline; true: now it can be tried. */
static bool await(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd fds[] = {{.fd = fd, .events = events},
                           {.fd = control.wake, .events = POLLIN}};
    enum phase phase = phase_now();
    uint64_t now_ns = clock_now_ns();
    if (phase != SERVING) { /* wake is readable: not looked at any more */
        fds[1].fd = -1;
        uint64_t until_ns = atomic_load_explicit(&control.drain_until_ns,
                                                 memory_order_relaxed);
        deadline_ns = deadline_ns < until_ns ? deadline_ns : until_ns;
    }
    if (phase == STOPPING || now_ns >= deadline_ns)
        return false;
    int ms = (int)((deadline_ns - now_ns) / VTHREAD_MS) + 1;
    return system_poll(fds, 2, ms) >= 0 || errno == EINTR;
}

static uint64_t patience_ends(void)
{
    return clock_now_ns() + (uint64_t)control_patience_ms * VTHREAD_MS;
}

static bool send_all(int fd, const char *data, size_t left)
{
    uint64_t until_ns = patience_ends();
    while (left > 0 && phase_now() != STOPPING) {
        ssize_t sent =
            system_send(fd, data, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            left -= (size_t)sent;
            until_ns = patience_ends();
        } else if (errno != EAGAIN && errno != EINTR) {
            return false;
        } else if (!await(fd, POLLOUT, until_ns)) {
            return false;
        }
    }
    return left == 0;
}

bool control_send(struct control_client *client, const void *data,
                  size_t size_bytes)
{
    static const char ok[] = "ok " PACKAGE_VERSION "\n";
    if (!client->is_answered) {
        client->is_answered = true;
        if (!send_all(client->fd, ok, sizeof ok - 1))
            return false;
    }
    return send_all(client->fd, data, size_bytes);
}

/* Takes what the client says, which is nothing that anybody wants to know;
 * true when it has said its last. */
static bool is_gone(int fd)
{
    char ignored[256];
    ssize_t got = system_recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

enum control_event control_wait(struct control_client *client, int fd,
                                int timeout_ms)
{
    struct pollfd fds[] = {{.fd = control.wake, .events = POLLIN},
                           {.fd = client->fd, .events = POLLIN},
                           {.fd = fd, .events = POLLIN}};
    int ready = system_poll(fds, 3, timeout_ms);
    if (phase_now() != SERVING)
        return CONTROL_ENDING;
    if (ready <= 0)
        return CONTROL_TIME;
    if (fds[1].revents && is_gone(fds[1].fd))
        return CONTROL_GONE;
    return fds[2].revents ? CONTROL_READY : CONTROL_TIME;
}

/* ---- One client --------------------------------------------------------- */

static bool is_admitted(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0
           && (who.uid == geteuid() || who.uid == 0);
}

/* Without its newline.  False: too long, too late, or not at all. */
static bool receive_line(int fd, char line[CONTROL_LINE_BYTES])
{
    uint64_t until_ns = patience_ends();
    size_t length = 0;
    while (length < CONTROL_LINE_BYTES) {
        ssize_t got = system_recv(fd, line + length,
                                  CONTROL_LINE_BYTES - length, MSG_DONTWAIT);
        char *end = got > 0 ? memchr(line + length, '\n', (size_t)got) : NULL;
        if (end) {
            *end = '\0';
            return true;
        }
        if (got > 0)
            length += (size_t)got;
        else if (got == 0 || (errno != EAGAIN && errno != EINTR)
                 || !await(fd, POLLIN, until_ns))
            return false;
    }
    return false;
}

static void refuse(int fd, const char *why)
{
    char line[CONTROL_LINE_BYTES + 64];
    format_text(line, sizeof line, "error %s\n", why);
    (void)system_send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static control_serve_fn *command_named(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].serve;
    return NULL;
}

static const char *words_of(int err)
{
    return err == EBUSY ? "it does that already, for another client or of its "
                          "own accord"
                        : strerror(err);
}

static void answer(struct control_client *client)
{
    /* Empty: what a look for leaks finds on this stack, it takes for used. */
    char line[CONTROL_LINE_BYTES] = "";
    int fd = client->fd;
    if (!receive_line(fd, line)) {
        refuse(fd, "a command is one line, and is said at once");
        return;
    }
    char *arguments = strchrnul(line, ' ');
    if (*arguments)
        *arguments++ = '\0';
    control_serve_fn *serve = command_named(line);
    int err = serve ? serve(client, arguments) : 0;
    if (!serve)
        refuse(fd, "there is no such command in libvthread " PACKAGE_VERSION);
    else if (err != 0 && !client->is_answered)
        refuse(fd, words_of(err));
}

static void serve_client(void *arg)
{
    struct control_client *client = arg;
    count_in();
    answer(client);
    close_descriptor(&client->fd);
    count_out();
    /* Release: the slot is free after all that; pairs with free_slot. */
    atomic_store_explicit(&client->is_serving, false, memory_order_release);
}

/* ---- The acceptor ------------------------------------------------------- */

static void join(struct control_client *client)
{
    if (client->has_thread)
        os_thread_join(&client->os_thread);
    client->has_thread = false;
}

static struct control_client *free_slot(void)
{
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct control_client *client = &control.clients[i];
        /* Acquire: pairs with the release in serve_client. */
        if (atomic_load_explicit(&client->is_serving, memory_order_acquire))
            continue;
        join(client);
        return client;
    }
    return NULL;
}

/* From the place where it has arrived to one of its own. */
static void move_to(struct control_client *client)
{
    os_lock_acquire(&control.forks);
    client->fd = control.arriving;
    control.arriving = -1;
    os_lock_release(&control.forks);
}

/* Who has arrived gets a slot and a thread, or is told why not. */
static void admit(void)
{
    struct control_client *client = free_slot();
    if (!client) {
        refuse(control.arriving,
               "it serves as many clients as it can already");
        close_descriptor(&control.arriving);
        return;
    }
    client->is_answered = false;
    move_to(client);
    /* Relaxed: the start of the thread orders it. */
    atomic_store_explicit(&client->is_serving, true, memory_order_relaxed);
    client->has_thread = os_thread_start(&client->os_thread, "vthread-client",
                                         serve_client, client)
                         == 0;
    if (client->has_thread)
        return;
    atomic_store_explicit(&client->is_serving, false, memory_order_relaxed);
    refuse(client->fd, "no OS thread can be had");
    close_descriptor(&client->fd);
}

static bool let_arrive(void)
{
    os_lock_acquire(&control.forks);
    control.arriving =
        system_accept4(control.listener, NULL, NULL, SOCK_CLOEXEC);
    os_lock_release(&control.forks);
    return control.arriving >= 0;
}

/* False: nobody waits to be let in, or nobody can be. */
static bool accept_one(void)
{
    if (!let_arrive())
        return false;
    if (is_admitted(control.arriving)) {
        admit();
        return true;
    }
    close_descriptor(&control.arriving);
    system_poll(NULL, 0, REFUSAL_PAUSE_MS);
    return true;
}

/* Somebody comes, or phase changes; a full table of descriptors must not make
 * it turn for ever. */
static void accept_clients(void)
{
    struct pollfd fds[] = {{.fd = control.wake, .events = POLLIN},
                           {.fd = control.listener, .events = POLLIN}};
    while (phase_now() == SERVING) {
        if (system_poll(fds, 2, -1) > 0 && fds[1].revents && !accept_one()
            && errno != EAGAIN)
            system_poll(NULL, 0, REFUSAL_PAUSE_MS);
    }
}

static bool connect_to(int fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path + 1, name, length);
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    return system_connect(fd, (struct sockaddr *)&address, size) == 0;
}

static void call_back(void)
{
    if (!control.called_back[0])
        return;
    os_lock_acquire(&control.forks);
    control.arriving =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    os_lock_release(&control.forks);
    if (control.arriving < 0)
        return;
    if (connect_to(control.arriving, control.called_back)
        && is_admitted(control.arriving))
        admit();
    else
        close_descriptor(&control.arriving);
}

static void accept_and_join(void *arg)
{
    (void)arg;
    count_in();
    call_back();
    accept_clients();
    while (phase_now() == DRAINING && accept_one())
        ;
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        join(&control.clients[i]);
    count_out();
    /* Release: nothing is sent any more; pairs with control_drain. */
    atomic_store_explicit(&control.has_drained, 1, memory_order_release);
    futex_wake(&control.has_drained, 1);
}

/* ---- Opening ------------------------------------------------------------ */

static int listen_at(int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = format_text(
        address.sun_path + 1, sizeof address.sun_path - 1, CONTROL_NAME_FORMAT,
        (unsigned)geteuid(), (unsigned)getpid());
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (bind(fd, (struct sockaddr *)&address, size) != 0
        || listen(fd, CONTROL_CLIENTS_MAX) != 0)
        return errno;
    return 0;
}

static void close_both(void)
{
    close_descriptor(&control.listener);
    close_descriptor(&control.wake);
}

static bool open_both(void)
{
    os_lock_acquire(&control.forks);
    control.listener =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    control.wake = eventfd(0, EFD_CLOEXEC);
    os_lock_release(&control.forks);
    return control.listener >= 0 && control.wake >= 0;
}

static void register_ends(void)
{
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control.clients[i].fd = -1;
    pthread_atfork(before_fork, in_parent, in_forked_child);
    atexit(control_drain);
}

/* With the lock. */
static int start(const char *called_back)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_ends);
    int err = open_both() ? listen_at(control.listener) : errno;
    if (err == 0) {
        format_text(control.called_back, sizeof control.called_back - 1, "%s",
                    called_back);
        /* Relaxed: nobody looks yet. */
        atomic_store_explicit(&control.has_drained, 0, memory_order_relaxed);
        set_phase(SERVING);
        err = os_thread_start(&control.acceptor, "vthread-control",
                              accept_and_join, NULL);
    }
    if (err != 0)
        close_both();
    control.is_on = err == 0;
    return err;
}

int vthread_control_start(void)
{
    thread_refuse_child();
    os_lock_acquire(&control.lock);
    int err = control.is_on ? EALREADY : start("");
    os_lock_release(&control.lock);
    return err;
}

void control_start_as_asked(void)
{
    const char *asked = settings_get()->control;
    if (!*asked)
        return;
    /* Who is called back comes a moment later, and wants those before. */
    if (*asked == '@')
        (void)pin_listen();
    os_lock_acquire(&control.lock);
    int err = control.is_on ? 0 : start(*asked == '@' ? asked + 1 : "");
    os_lock_release(&control.lock);
    if (err != 0)
        report("VTHREAD_CONTROL: the control socket cannot be opened: %s",
               strerror(err));
}

/* ---- Closing ------------------------------------------------------------ */

/* With the lock. */
static void close_control(void)
{
    os_thread_join(&control.acceptor);
    close_both();
    control.is_on = false;
}

int vthread_control_stop(void)
{
    thread_refuse_child();
    os_lock_acquire(&control.lock);
    int err = control.is_on ? 0 : EALREADY;
    if (err == 0) {
        set_phase(STOPPING);
        close_control();
    }
    os_lock_release(&control.lock);
    return err;
}

/* With the lock.  Whether it has, in time. */
static bool drain(uint64_t until_ns)
{
    /* Relaxed: set_phase releases it. */
    atomic_store_explicit(&control.drain_until_ns, until_ns,
                          memory_order_relaxed);
    set_phase(DRAINING);
    for (;;) {
        /* Acquire: pairs with accept_and_join. */
        if (atomic_load_explicit(&control.has_drained, memory_order_acquire))
            return true;
        if (futex_wait(&control.has_drained, 0, until_ns) != 0)
            return false;
    }
}

void control_drain(void)
{
    uint64_t until_ns = clock_now_ns() + DRAIN_NS;
    if (!os_lock_try(&control.lock))
        return;
    if (control.is_on && phase_now() == SERVING) {
        if (drain(until_ns))
            close_control();
        else /* they end with the process */
            os_thread_detach(&control.acceptor);
        control.is_on = false;
    }
    os_lock_release(&control.lock);
}
