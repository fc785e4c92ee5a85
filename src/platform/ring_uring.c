/*
 * ring_uring.c - io_uring through liburing.
 *
 * Not here: which transfers are made this way, and who waits (src/io/ring.c).
 *
 * An OS thread of its own, the keeper, is the only one that touches the
 * ring; the others push requests on a list.  The kernel tells of a
 * completion on the OS thread that handed the request in, when that returns
 * from whatever it does in the kernel.  So carriers that handed in by
 * themselves, with the ring in epoll, were rejected: one that then blocked
 * in an uninterruptible call (fsync, a disk) kept back what it had asked for
 * others, for as long as that lasted (500 ms of a vfork: seen after 500 ms);
 * calls it blocked in came back with EINTR for no reason that they know
 * (epoll_wait, recv with a time-out); and its end took its requests with
 * it.  A kernel's thread for that (SQPOLL) spins, for 1.5 to 1.9 times the
 * CPU time of a read on two processors.
 *
 * The keeper sleeps in io_uring_enter, where only a completion wakes it: so
 * a read of an eventfd is always under way.
 *
 *   who hands in                      the keeper
 *   1. pushes on the list             1. is_asleep to true
 *   2. is_asleep to false; was true:  2. looks at the list
 *      writes the eventfd             3. sleeps, unless there is something
 *
 * All four are in one order (seq_cst): either the keeper's 2 sees what was
 * pushed, or the other's 2 comes after its 1 and wakes it.
 *
 * A request that is to be cancelled is on the list twice, by its second
 * link.  Its `done` comes after the keeper has seen that: the stage tells
 * who was first, the completion or the wish.
 */
#include <liburing.h>

#include "ring.h"

#include <errno.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "futex.h"
#include "memory.h"
#include "os_thread.h"
#include "sanitizer.h"
#include "system.h"

enum {
    TRIES_MAX = 16,
    SUBMISSIONS = 256,
    COMPLETIONS = 4096,
    /* The eventfd's, and for each a cancellation. */
    IN_FLIGHT_MAX = COMPLETIONS / 2 - 1,
};

enum state { UNKNOWN, MISSING, OPEN };
enum stage { UNDER_WAY, IS_DONE, TO_BE_CANCELED };

static struct os_lock opening;
static _Atomic int state; /* enum state; written under the lock */
static int event_fd;      /* I: before OPEN */
static struct io_uring ring;

static struct ring_link *_Atomic handed_in; /* last one first */
static _Atomic bool is_asleep;

struct list {
    struct ring_link *first, **last;
};

/* The keeper's own. */
static struct {
    struct list requests;  /* not yet in the ring */
    struct list wishes;    /* to cancel, not yet heeded */
    unsigned in_flight;
    uint64_t event;
    bool is_listening; /* to the eventfd */
} keeper = {.requests.last = &keeper.requests.first,
            .wishes.last = &keeper.wishes.first};

/* ---- Handing in --------------------------------------------------------- */

static void push(struct ring_link *link)
{
    struct ring_link *first
        = atomic_load_explicit(&handed_in, memory_order_relaxed);

    do
        link->next = first;
    while (!atomic_compare_exchange_weak(&handed_in, &first, link));
    if (atomic_load(&is_asleep) && atomic_exchange(&is_asleep, false))
        system_signal_event(event_fd);
}

void ring_submit(struct ring_request *request)
{
    request->submission.request = request;
    request->cancellation.request = request;
    request->is_in_ring = request->has_completed = false;
    request->is_cancellation_seen = false;
    atomic_init(&request->stage, UNDER_WAY);
    push(&request->submission);
}

void ring_cancel(struct ring_request *request)
{
    int under_way = UNDER_WAY;

    /* Relaxed: the list publishes the wish; if the completion was first
     * nothing is read but what `done` has published by itself. */
    if (atomic_compare_exchange_strong_explicit(
            &request->stage, &under_way, TO_BE_CANCELED,
            memory_order_relaxed, memory_order_relaxed))
        push(&request->cancellation);
}

/* ---- The keeper: completions -------------------------------------------- */

/* Whether the wish to cancel it came first; then `done` has to wait until
 * that has been taken off the list. */
static bool is_wish_coming(struct ring_request *request)
{
    int under_way = UNDER_WAY;

    /* Relaxed: see ring_cancel. */
    return !atomic_compare_exchange_strong_explicit(
               &request->stage, &under_way, IS_DONE, memory_order_relaxed,
               memory_order_relaxed)
           && !request->is_cancellation_seen;
}

static void complete(struct ring_request *request, int result)
{
    request->result = result;
    request->has_completed = true;
    if (!is_wish_coming(request))
        request->done(request);
}

static void reap(void)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&ring, head, cqe) {
        void *request = io_uring_cqe_get_data(cqe);

        count++;
        if (request == &keeper)
            keeper.is_listening = false;
        else if (request != NULL) { /* or a cancellation's own */
            keeper.in_flight--;
            complete(request, cqe->res);
        }
    }
    io_uring_cq_advance(&ring, count);
}

/* ---- The keeper: submissions -------------------------------------------- */

static void listen_to_event(void)
{
    struct io_uring_sqe *sqe;

    if (keeper.is_listening || (sqe = io_uring_get_sqe(&ring)) == NULL)
        return;
    io_uring_prep_read(sqe, event_fd, &keeper.event, sizeof keeper.event, 0);
    io_uring_sqe_set_data(sqe, &keeper);
    keeper.is_listening = true;
}

static void prepare(struct io_uring_sqe *sqe, struct ring_request *request)
{
    if (request->writes)
        io_uring_prep_writev(sqe, request->fd, request->iov, request->count,
                             (__u64)request->offset);
    else
        io_uring_prep_readv(sqe, request->fd, request->iov, request->count,
                            (__u64)request->offset);
    io_uring_sqe_set_data(sqe, request);
}

static void prepare_cancel(struct io_uring_sqe *sqe,
                           struct ring_request *request)
{
    io_uring_prep_cancel(sqe, request, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

static void append(struct list *list, struct ring_link *link)
{
    link->next = NULL;
    link->link = list->last;
    *list->last = link;
    list->last = &link->next;
}

static void take_out(struct list *list, struct ring_link *link)
{
    *link->link = link->next;
    if (link->next != NULL)
        link->next->link = link->link;
    else
        list->last = link->link;
}

/* What was handed in, the oldest first. */
static struct ring_link *take_handed_in(void)
{
    struct ring_link *link, *next, *first = NULL;

    if (atomic_load(&handed_in) == NULL)
        return NULL;
    for (link = atomic_exchange(&handed_in, NULL); link != NULL; link = next) {
        next = link->next;
        link->next = first;
        first = link;
    }
    return first;
}

static void take_list(void)
{
    struct ring_link *next;

    for (struct ring_link *link = take_handed_in(); link != NULL;
         link = next) {
        next = link->next;
        append(link == &link->request->cancellation ? &keeper.wishes
                                                    : &keeper.requests,
               link);
    }
}

/* False: no room. */
static bool heed_wish(struct ring_request *request)
{
    struct io_uring_sqe *sqe;

    if (request->is_in_ring && !request->has_completed) {
        sqe = io_uring_get_sqe(&ring);
        if (sqe == NULL)
            return false;
        prepare_cancel(sqe, request);
    }
    take_out(&keeper.wishes, &request->cancellation);
    request->is_cancellation_seen = true;
    if (request->has_completed) {
        request->done(request);
    } else if (!request->is_in_ring) {
        take_out(&keeper.requests, &request->submission);
        complete(request, -ECANCELED);
    }
    return true;
}

static bool take_on(struct ring_request *request)
{
    struct io_uring_sqe *sqe;

    if (keeper.in_flight >= IN_FLIGHT_MAX
        || (sqe = io_uring_get_sqe(&ring)) == NULL)
        return false;
    take_out(&keeper.requests, &request->submission);
    request->is_in_ring = true;
    prepare(sqe, request);
    keeper.in_flight++;
    return true;
}

static void submit_waiting(void)
{
    listen_to_event();
    while (keeper.wishes.first != NULL
           && heed_wish(keeper.wishes.first->request))
        continue;
    while (keeper.requests.first != NULL
           && take_on(keeper.requests.first->request))
        continue;
}

/* ---- The keeper: what it does all day ----------------------------------- */

/* Out of memory, or more completions than there is room for. */
static void nap(void)
{
    struct timespec time = {.tv_nsec = 1000 * 1000};

    system_nanosleep(&time);
}

/* Hands in what is prepared, and waits for a completion unless there is
 * more to do. */
static void enter(bool waits)
{
    int result = io_uring_submit_and_wait(&ring, waits ? 1 : 0);

    if (result < 0 && result != -EINTR && result != -ETIME
        && io_uring_cq_ready(&ring) == 0)
        nap();
}

/* Whether only a completion can bring more to do. */
static bool has_nothing_to_do(void)
{
    /* What found no room in the ring finds some when this is handed in. */
    if (!keeper.is_listening || keeper.wishes.first != NULL
        || (keeper.requests.first != NULL
            && keeper.in_flight < IN_FLIGHT_MAX))
        return false;
    atomic_store(&is_asleep, true);
    return atomic_load(&handed_in) == NULL;
}

/* liburing 2.3 forgets to export io_uring_enable_rings. */
static void enable_ring(void)
{
    syscall(SYS_io_uring_register, ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
            NULL, 0);
}

static void keep(void *arg)
{
    (void)arg;
    enable_ring();
    for (;;) {
        take_list();
        submit_waiting();
        enter(has_nothing_to_do());
        atomic_store(&is_asleep, false);
        reap();
    }
}

/* ---- Opening ------------------------------------------------------------ */

static bool can_all(void)
{
    static const int needed[] = {IORING_OP_READ, IORING_OP_READV,
                                 IORING_OP_WRITEV, IORING_OP_ASYNC_CANCEL};
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring);
    bool can = probe != NULL;

    for (unsigned i = 0; i < sizeof needed / sizeof needed[0] && can; i++)
        can = io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return can;
}

/* The keeper enables the ring, and is the one who uses it from then on. */
static int create_ring(void)
{
    static const unsigned flags[] = {
#if defined IORING_SETUP_SINGLE_ISSUER && defined IORING_SETUP_DEFER_TASKRUN
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, /* 6.1 */
#endif
        0};
    int result = -EINVAL;

    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        struct io_uring_params params = {
            .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | flags[i],
            .cq_entries = COMPLETIONS};

        result = io_uring_queue_init_params(SUBMISSIONS, &ring, &params);
        if (result == 0 && params.features & IORING_FEAT_NODROP)
            return can_all() ? 0 : (io_uring_queue_exit(&ring), ENOSYS);
        if (result == 0)
            io_uring_queue_exit(&ring);
    }
    return result == 0 ? ENOSYS : -result;
}

static int start_keeper(void)
{
    struct os_thread thread;
    int error = os_thread_start(&thread, "vthread-ring", keep, NULL);

    if (error == 0)
        pthread_detach(thread.handle);
    return error;
}

/* What is lacking for the moment is asked for again, some times: UNKNOWN. */
static enum state try_to_open(void)
{
    static int tries;
    enum state later = ++tries < TRIES_MAX ? UNKNOWN : MISSING;
    int error;

    if (sanitizer_is_valgrind) /* which knows half of it */
        return MISSING;
    if (memory_should_fail())
        return later;
    event_fd = eventfd(0, EFD_CLOEXEC);
    if (event_fd < 0)
        return later;
    error = create_ring();
    if (error == 0) {
        error = start_keeper();
        if (error == 0)
            return OPEN;
        io_uring_queue_exit(&ring);
    }
    system_close(event_fd);
    return error == EMFILE || error == ENFILE || error == ENOMEM
                   || error == EAGAIN
               ? later
               : MISSING;
}

static __attribute__((noinline)) bool open_ring(void)
{
    int saved_errno = errno;
    enum state found;

    os_lock_acquire(&opening);
    found = (enum state)atomic_load_explicit(&state, memory_order_relaxed);
    if (found == UNKNOWN) {
        found = try_to_open();
        /* Release: event_fd and the ring are there.  Pairs with
         * ring_is_open. */
        atomic_store_explicit(&state, found, memory_order_release);
    }
    os_lock_release(&opening);
    errno = saved_errno;
    return found == OPEN;
}

bool ring_is_open(void)
{
    /* Acquire: pairs with open_ring. */
    int found = atomic_load_explicit(&state, memory_order_acquire);

    return found == OPEN || (found == UNKNOWN && open_ring());
}

unsigned ring_os_threads(void)
{
    return atomic_load_explicit(&state, memory_order_relaxed) == OPEN;
}
