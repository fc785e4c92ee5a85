/*
 * descriptor.c - the records of descriptors: registration, readiness, and
 * those who wait.
 *
 * Not here: system calls that transfer anything, and when to wait
 * (operation.c); who looks for events (descriptor_poll.c); epoll
 * (platform/poller.c).
 *
 * Invariants, for each direction of a record:
 *
 *   (R) READY clear and registered: an event will come as soon as the
 *       descriptor is ready.  Not registered: registering causes that event.
 *   (W) READY set and somebody on the list: a thread taken from the list is
 *       on its way to the system call, and will pass the rest on.
 *
 * (W) holds because a thread goes on the list only while READY is clear,
 * an event that sets READY takes the first, and a thread that was taken
 * either finds the descriptor exhausted and clears READY, or passes on.
 * Waking all instead was rejected: with a thousand threads accepting from
 * one socket, each connection would wake the thousand.
 *
 * A number passes from file to file.  The generation tells them apart:
 *
 *   vthread_close       begins a new one before close(2): those who waited
 *                       see it, and late events carry the old one
 *   vthread_accept      begins one: if the number was closed behind our
 *                       back, nothing of the old record is left
 *   vthread_connect,    ask the kernel whether the registration is that of
 *   vthread_poll        the present file, and begin one if it is not
 *
 * errno is read here right after each call, and no function that reads it
 * waits: a thread that has waited may be on another OS thread, and the
 * compiler may have kept the address of the first one's errno.
 */
#include "io/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "platform/memory.h"
#include "platform/poller.h"
#include "platform/sanitizer.h"
#include "platform/system.h"
#include "scheduler.h"

struct descriptor *_Atomic descriptor_blocks[DESCRIPTOR_BLOCKS];

_Static_assert(sizeof(struct descriptor) == CACHE_LINE,
               "an operation touches one cache line");

/* ---- Records ------------------------------------------------------------ */

/* Never gives a block back: whoever has a number may look at its record. */
static int add_block(unsigned number)
{
    size_t size_bytes = sizeof(struct descriptor)
                        << (DESCRIPTOR_BLOCK_SHIFT + number);
    struct descriptor *none = NULL, *block = memory_reserve(size_bytes);
    if (!block)
        return ENOMEM;
    if (memory_commit(block, size_bytes) != 0) {
        memory_release(block, size_bytes);
        return ENOMEM;
    }
    /* Release: the pages read as zero.  Pairs with descriptor_find. */
    if (!atomic_compare_exchange_strong_explicit(
            &descriptor_blocks[number], &none, block, memory_order_release,
            memory_order_relaxed))
        memory_release(block, size_bytes);
    return 0;
}

int descriptor_get(int fd, struct descriptor **d)
{
    unsigned index;
    if (fd < 0)
        return EBADF;
    *d = descriptor_find(fd);
    if (*d)
        return 0;
    if (add_block(descriptor_block(fd, &index)) != 0)
        return ENOMEM;
    *d = descriptor_find(fd);
    return 0;
}

/* ---- State, under the lock ---------------------------------------------- */

/* The generation and the kind change under the lock only. */
static uint64_t look(struct descriptor *d, enum direction direction)
{
    return atomic_load_explicit(&d->state[direction], memory_order_relaxed);
}

static uint32_t generation_of(struct descriptor *d)
{
    return state_generation(look(d, DIRECTION_READ));
}

static bool is_registered(struct descriptor *d)
{
    return atomic_load_explicit(&d->is_registered, memory_order_relaxed);
}

static void set_registered(struct descriptor *d, bool registered)
{
    atomic_store_explicit(&d->is_registered, registered,
                          memory_order_relaxed);
}

/* A new generation, or a new kind: an operation under way that wants to
 * clear what it has seen fails, for the events are counted on. */
static void set_state(struct descriptor *d, uint32_t generation,
                      enum descriptor_kind kind)
{
    for (int i = DIRECTION_READ; i <= DIRECTION_WRITE; i++) {
        uint32_t events = (uint32_t)look(d, i) & ~(STATE_EVENT - 1);
        uint32_t low = (events + STATE_EVENT)
                       | (uint32_t)kind << STATE_KIND_SHIFT
                       | (kind == KIND_UNKNOWN ? 0 : STATE_READY);
        /* Release: whoever sees the kind finds the descriptor set up.
         * Pairs with descriptor_state. */
        atomic_store_explicit(&d->state[i], (uint64_t)generation << 32 | low,
                              memory_order_release);
    }
}

/* ---- Waking, under the lock --------------------------------------------- */

static void wake_first(struct descriptor *d, enum direction direction)
{
    struct thread *t = waitlist_take_first(&d->waiting[direction]);
    if (t)
        thread_wake(t);
}

static void wake_all(struct descriptor *d)
{
    for (int i = DIRECTION_READ; i <= DIRECTION_WRITE; i++)
        while (!waitlist_is_empty(&d->waiting[i]))
            wake_first(d, i);
}

static void call(struct poll_watcher *watcher)
{
    /* Release: the watcher finds what it is called for.  Pairs with hear in
     * poll.c. */
    if (!atomic_exchange_explicit(&watcher->is_called, true,
                                  memory_order_release))
        thread_wake(watcher->thread);
}

static void call_watchers(struct descriptor *d, unsigned ready, bool closed)
{
    for (struct watch *w = d->watches; w; w = w->next) {
        if (!(ready & (w->ready | POLLER_HANGUP)))
            continue;
        if (closed)
            /* Relaxed: published by the exchange in call. */
            atomic_store_explicit(&w->watcher->has_closed, true,
                                  memory_order_relaxed);
        call(w->watcher);
    }
}

/* ---- Registration, under the lock --------------------------------------- */

static uint64_t cookie_of(struct descriptor *d, int fd)
{
    return (uint64_t)generation_of(d) << 32 | (uint32_t)fd;
}

/* What the kernel does not poll is always ready. */
static int enlist(struct descriptor *d, int fd)
{
    int err = poller_is_open() ? 0 : poller_open();
    if (err == 0)
        err = poller_add(fd, cookie_of(d, fd));
    if (err == EEXIST) {
        /* The same file had this number before, and a duplicate kept it
         * alive: registered under a cookie that is worth nothing. */
        poller_remove(fd);
        err = poller_add(fd, cookie_of(d, fd));
    }
    if (err == EPERM) {
        set_state(d, generation_of(d), KIND_IN_PLACE);
        return 0;
    }
    if (err == 0) {
        set_registered(d, true);
        descriptor_note_any();
    }
    return err;
}

/* The descriptor that the record is about is no more. */
static void forget(struct descriptor *d, enum descriptor_kind next)
{
    set_registered(d, false);
    set_state(d, generation_of(d) + 1, next);
    wake_all(d);
    call_watchers(d, POLLER_HANGUP, true);
}

/* ---- Setting up --------------------------------------------------------- */

static int socket_option(int fd, int option, int *value)
{
    socklen_t size = sizeof *value;
    return getsockopt(fd, SOL_SOCKET, option, value, &size) == 0 ? 0 : errno;
}

static enum descriptor_kind kind_of_stream(int fd)
{
    int value;
    if (socket_option(fd, SO_PROTOCOL, &value) == 0 && value == IPPROTO_TCP)
        return KIND_TCP;
    if (socket_option(fd, SO_DOMAIN, &value) == 0 && value == AF_UNIX)
        return KIND_UNIX;
    return KIND_STREAM;
}

/* Sockets first, being most frequent. */
static int find_kind(int fd, enum descriptor_kind *kind)
{
    struct stat status;
    int type, err = socket_option(fd, SO_TYPE, &type);
    if (err == 0) {
        *kind = type == SOCK_STREAM ? kind_of_stream(fd) : KIND_OTHER;
        return 0;
    }
    if (err != ENOTSOCK || fstat(fd, &status) != 0)
        return err == ENOTSOCK ? errno : err;
    if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode))
        *kind = fcntl(fd, F_GETFL) & O_DIRECT ? KIND_DIRECT : KIND_FILE;
    else
        *kind = S_ISDIR(status.st_mode) ? KIND_IN_PLACE : KIND_OTHER;
    return 0;
}

static int make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return errno;
    if (flags & O_NONBLOCK)
        return 0;
    return fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : errno;
}

/* Under the lock. */
static int set_up(struct descriptor *d, int fd)
{
    enum descriptor_kind kind = KIND_OTHER;
    int err = find_kind(fd, &kind);
    /* Whether a device can be polled only the poller knows.  One that can
     * not must stay blocking, for nobody could wait for it. */
    if (err == 0 && kind == KIND_OTHER && !is_registered(d))
        err = enlist(d, fd);
    if (err != 0 || state_kind(look(d, DIRECTION_READ)) == KIND_IN_PLACE)
        return err;
    if (!kind_is_in_place(kind))
        err = make_nonblocking(fd);
    if (err == 0)
        set_state(d, generation_of(d), kind);
    return err;
}

__attribute__((noinline)) int descriptor_set_up(struct descriptor *d, int fd)
{
    int err = 0, saved_errno = errno;
    os_lock_acquire(&d->lock);
    if (state_kind(look(d, DIRECTION_READ)) == KIND_UNKNOWN)
        err = set_up(d, fd);
    os_lock_release(&d->lock);
    errno = saved_errno;
    return err;
}

void descriptor_adopt(int fd, enum descriptor_kind kind)
{
    struct descriptor *d;
    /* Without memory for a record there is no stale one either. */
    if (descriptor_get(fd, &d) != 0)
        return;
    os_lock_acquire(&d->lock);
    forget(d, kind);
    os_lock_release(&d->lock);
}

void descriptor_verify(struct descriptor *d, int fd)
{
    os_lock_acquire(&d->lock);
    if (!is_registered(d)) {
        set_state(d, generation_of(d), KIND_UNKNOWN);
    } else {
        /* The kernel knows a registration by number and file: if this one
         * exists it is of the present file. */
        int err = poller_add(fd, cookie_of(d, fd));
        if (err == 0)
            poller_remove(fd);
        if (err != EEXIST)
            forget(d, KIND_UNKNOWN);
    }
    os_lock_release(&d->lock);
}

/* ---- Closing ------------------------------------------------------------ */

/* Linux has given up the number when close is interrupted. */
static int close_number(int fd)
{
    int saved_errno = errno;
    int err = system_close(fd) == 0 || errno == EINTR ? 0 : errno;
    errno = saved_errno;
    return err;
}

/* A registration outlives close(2) where the file has duplicates. */
static uint32_t begin_close(struct descriptor *d, int fd)
{
    os_lock_acquire(&d->lock);
    if (is_registered(d))
        poller_remove(fd);
    forget(d, KIND_UNKNOWN);
    uint32_t generation = generation_of(d);
    os_lock_release(&d->lock);
    return generation;
}

/*
 * Between begin_close and here the record may have been set up again: by a
 * thread that was late, for the old file, or by one that had just got the
 * number, for a new file.  Nobody knows; so all look again, and those of
 * the old file get EBADF.
 */
static void end_close(struct descriptor *d, int fd, uint32_t generation)
{
    os_lock_acquire(&d->lock);
    if (generation_of(d) == generation) {
        if (is_registered(d))
            poller_remove(fd);
        set_registered(d, false);
        set_state(d, generation, KIND_UNKNOWN);
        wake_all(d);
        if (d->watches) {
            enlist(d, fd);
            call_watchers(d, POLLER_HANGUP, false);
        }
    }
    os_lock_release(&d->lock);
}

int descriptor_close(int fd)
{
    if (fd < 0)
        return EBADF;
    struct descriptor *d = descriptor_find(fd);
    uint32_t generation = d ? begin_close(d, fd) : 0;
    int err = close_number(fd);
    /* A record may have come meanwhile, with a generation of 0. */
    d = descriptor_find(fd);
    if (d)
        end_close(d, fd, generation);
    return err;
}

/* ---- Waiting ------------------------------------------------------------ */

/* Puts self on the list: EINPROGRESS.  0: there is no need. */
static int enter(struct descriptor *d, int fd, enum direction direction,
                 uint32_t generation, struct thread *self)
{
    int err = 0;
    os_lock_acquire(&d->lock);
    uint64_t state = look(d, direction);
    if (state_generation(state) == generation && !(state & STATE_READY)) {
        if (!is_registered(d))
            err = enlist(d, fd);
        if (err == 0 && is_registered(d)) {
            waitlist_append(&d->waiting[direction], self);
            err = EINPROGRESS;
        }
    }
    os_lock_release(&d->lock);
    return err;
}

/* The wait has ended with an error.  If a waker was faster self counts as
 * woken, and an interrupt it has seen is put back. */
static int leave(struct descriptor *d, enum direction direction,
                 struct thread *self, int err)
{
    os_lock_acquire(&d->lock);
    bool was_there = waitlist_remove(&d->waiting[direction], self);
    os_lock_release(&d->lock);
    if (was_there)
        return err;
    thread_wait_out(self, err);
    return 0;
}

/* A virtual thread's carrier polls when it leaves it.  A platform thread
 * needs the carriers of others. */
int descriptor_ensure_polled(struct thread *self)
{
    if (!self)
        return ENOMEM;
    uint64_t word = atomic_load_explicit(&self->word, memory_order_relaxed);
    return word & THREAD_PLATFORM ? scheduler_ensure_default() : 0;
}

int descriptor_wait(struct descriptor *d, int fd, enum direction direction,
                    uint32_t generation, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    int err = descriptor_ensure_polled(self);
    if (err == 0)
        err = enter(d, fd, direction, generation, self);
    if (err != EINPROGRESS)
        return err;
    err = thread_wait_for(self, FOR_DESCRIPTOR, deadline_ns, true);
    return err == 0 ? 0 : leave(d, direction, self, err);
}

void descriptor_pass_on(struct descriptor *d, enum direction direction)
{
    /* Relaxed, without the lock: if READY is set after this, the event that
     * sets it wakes somebody itself. */
    if (!(look(d, direction) & STATE_READY))
        return;
    os_lock_acquire(&d->lock);
    if (look(d, direction) & STATE_READY)
        wake_first(d, direction);
    os_lock_release(&d->lock);
}

/* ---- Watching ----------------------------------------------------------- */

static void link_watch(struct watch *watch, struct descriptor *d)
{
    watch->descriptor = d;
    watch->link = &d->watches;
    watch->next = d->watches;
    if (watch->next)
        watch->next->link = &watch->next;
    d->watches = watch;
}

int descriptor_watch(struct watch *watch, struct descriptor *d, int fd)
{
    watch->descriptor = NULL;
    os_lock_acquire(&d->lock);
    int err = is_registered(d) ? 0 : enlist(d, fd);
    if (is_registered(d))
        link_watch(watch, d);
    os_lock_release(&d->lock);
    return err == EBADF ? 0 : err;
}

void descriptor_unwatch(struct watch *watch)
{
    struct descriptor *d = watch->descriptor;
    if (!d)
        return;
    os_lock_acquire(&d->lock);
    *watch->link = watch->next;
    if (watch->next)
        watch->next->link = watch->link;
    os_lock_release(&d->lock);
}

/* ---- Events ------------------------------------------------------------ */

/* Under the lock, but READY and HANGUP are cleared without it. */
static void make_ready(struct descriptor *d, enum direction direction,
                       uint32_t bits)
{
    uint64_t old = look(d, direction), new;
    do {
        uint32_t low = ((uint32_t)old + STATE_EVENT) | bits;
        new = (old & ~(uint64_t)UINT32_MAX) | low;
        /* Release: who sees the count has seen what the event tells of.
         * Pairs with descriptor_state and descriptor_clear. */
    } while (!atomic_compare_exchange_weak_explicit(
        &d->state[direction], &old, new, memory_order_release,
        memory_order_relaxed));
    wake_first(d, direction);
}

void descriptor_deliver(const struct poller_event *event)
{
    struct descriptor *d = descriptor_find((int)(uint32_t)event->cookie);
    uint32_t hangup = 0;
    unsigned both = 0;
    if (event->ready & POLLER_HANGUP) {
        hangup = STATE_HANGUP;
        both = POLLER_READABLE | POLLER_WRITABLE;
    }
    os_lock_acquire(&d->lock);
    if (generation_of(d) == event->cookie >> 32) {
        if ((event->ready | both) & POLLER_READABLE)
            make_ready(d, DIRECTION_READ, STATE_READY | hangup);
        if ((event->ready | both) & POLLER_WRITABLE)
            make_ready(d, DIRECTION_WRITE, STATE_READY | hangup);
        call_watchers(d, event->ready, false);
    }
    os_lock_release(&d->lock);
}
