/*
 * call.c - foreign functions, called in place, by the policy of the site.
 *
 * Not here: what a site learns (call_site.c), calls that others make
 * (request.c), and foreign code that calls back (closure.c).
 *
 * A call in place is a call by libffi between blocking_begin and _end.  Its
 * frame is known to the OS thread, so that an upcall finds the bracket that
 * it has to end for its own time.  That holds as the thread cannot leave its
 * OS thread in between: the bracket pins it.
 */
#include "call/call.h"

#include <errno.h>

#include <vthread.h>

#include "inspect/trace.h"
#include "local.h"
#include "platform/clock.h"

__thread struct call_local call_local;

/* Of this OS thread.  Never inlined: the thread may have changed it before. */
__attribute__((noinline)) static int *errno_here(void)
{
    __asm__ volatile("");
    return &errno;
}

/* Within a bracket: errno afterwards is where it was before. */
static inline void make_call(const struct vthread_signature *signature,
                             void (*fn)(void), void *result,
                             void *const args[], int *error)
{
    trace_call((uintptr_t)fn);
    if (!error) {
        signature_call(signature, fn, result, args);
        return;
    }
    int *here = errno_here();
    *here = 0;
    signature_call(signature, fn, result, args);
    *error = *here;
}

/* Nothing pins the thread, so what the function calls back may wait. */
static void make_critical_call(const struct vthread_signature *signature,
                               void (*fn)(void), void *result,
                               void *const args[], int *error)
{
    trace_call((uintptr_t)fn);
    if (error)
        *errno_here() = 0;
    signature_call(signature, fn, result, args);
    if (error)
        *error = vthread_errno();
}

/* ---- The bracket -------------------------------------------------------- */

/* 0; ECANCELED, ETIMEDOUT, EAGAIN, ENOMEM: there must be no call.  A deadline
 * of 0 asks for a place or none; that of the user may be 0 as well. */
__attribute__((always_inline)) static inline int
open_bracket(struct call_frame *frame, const struct site *site, bool is_long,
             uint64_t deadline_ns)
{
    bool waits = !(site->flags & VTHREAD_CALL_NOWAIT);
    int err = blocking_begin(&frame->blocking,
                             is_long ? BLOCKING_LONG : BLOCKING_SHORT,
                             !waits ? 0 : deadline_ns > 0 ? deadline_ns : 1);
    if (err != 0)
        return err == ETIMEDOUT && !waits ? EAGAIN : err;
    frame->is_open = true;
    frame->was_handed_off = false;
    frame->interruptible = NULL;
    frame->upcalls_ns = NULL;
    struct call_local *here = call_local_self();
    frame->outer = here->frame;
    here->frame = frame;
    return 0;
}

static inline void end_blocking(struct call_frame *frame)
{
    if (unlikely(!frame->is_open))
        return;
    blocking_end(&frame->blocking);
    frame->was_handed_off |= frame->blocking.was_handed_off;
    frame->is_open = false;
}

static inline void close_bracket(struct call_frame *frame)
{
    call_local_self()->frame = frame->outer;
    end_blocking(frame);
}

void call_frame_suspend(struct call_frame *frame)
{
    int saved = errno;
    if (frame->interruptible)
        interruptible_pause(frame->interruptible);
    if (frame->upcalls_ns)
        *frame->upcalls_ns -= clock_now_ns();
    end_blocking(frame);
    call_local_self()->frame = NULL;
    errno = saved;
}

/* Nothing is waited for here, in the middle of foreign code, which may hold
 * the lock that others need to end their calls: the thread is pinned, so it
 * goes on without a slot when there is none, and the monitor sees to others
 * if the rest of the call lasts. */
void call_frame_resume(struct call_frame *frame)
{
    int saved = errno;
    frame->is_open = blocking_enter(&frame->blocking, BLOCKING_SHORT,
                                    VTHREAD_NEVER)
                     == 0;
    if (unlikely(world_is_on) && frame->is_open)
        blocking_leave_world(&frame->blocking); /* registers as before */
    if (frame->upcalls_ns)
        *frame->upcalls_ns += clock_now_ns();
    if (frame->interruptible)
        interruptible_resume(frame->interruptible,
                             frame->blocking.self);
    call_local_self()->frame = frame;
    errno = saved;
}

/* ---- In place ----------------------------------------------------------- */

/* One time in 64: Knuth's linear congruence, whose upper bits are good
 * enough. */
static inline bool is_chosen(void)
{
    struct call_local *here = call_local_self();
    here->chance = here->chance * 6364136223846793005u
                   + 1442695040888963407u;
    return here->chance >> 58 == 0;
}

/* A long call is always handed off, so that says nothing. */
static void learn(struct site *site, const struct call_frame *frame,
                  bool was_long, uint64_t ns)
{
    if (site->policy != VTHREAD_CALL_AUTO)
        return;
    if (frame->was_handed_off && !was_long)
        site_note_taken_over(site);
    else
        site_note_time(site, ns);
}

__attribute__((noinline)) static int
call_timed(struct site *site, const struct vthread_signature *signature,
           void (*fn)(void), void *result, void *const args[], int *error,
           uint64_t deadline_ns)
{
    struct call_frame frame;
    uint64_t upcalls_ns = 0;
    bool is_long = site_is_long(site);
    int err = open_bracket(&frame, site, is_long, deadline_ns);
    if (err != 0)
        return err;
    frame.upcalls_ns = &upcalls_ns;
    uint64_t begun_ns = clock_now_ns();
    make_call(signature, fn, result, args, error);
    uint64_t ended_ns = clock_now_ns();
    close_bracket(&frame);
    learn(site, &frame, is_long, ended_ns - begun_ns - upcalls_ns);
    return 0;
}

static inline int call_plainly(struct site *site,
                               const struct vthread_signature *signature,
                               void (*fn)(void), void *result,
                               void *const args[], int *error,
                               uint64_t deadline_ns)
{
    struct call_frame frame;
    int err = open_bracket(&frame, site, site->policy == VTHREAD_CALL_BLOCKING,
                           deadline_ns);
    if (err != 0)
        return err;
    make_call(signature, fn, result, args, error);
    close_bracket(&frame);
    if (unlikely(frame.was_handed_off) && site->policy == VTHREAD_CALL_AUTO)
        site_note_taken_over(site);
    return 0;
}

/* What ended the call: EINTR may be another signal's doing. */
static int cause_of_end(uint64_t deadline_ns)
{
    int err = vthread_testcancel();
    if (err == 0 && deadline_ns != VTHREAD_NEVER
        && deadline_ns <= clock_now_ns())
        err = ETIMEDOUT;
    return err;
}

__attribute__((noinline)) static int
call_interruptible(struct site *site,
                   const struct vthread_signature *signature,
                   void (*fn)(void), void *result, void *const args[],
                   int *error, uint64_t deadline_ns)
{
    struct call_frame frame;
    struct interruptible *interruptible;
    int own_error, *place = error ? error : &own_error;
    uint64_t upcalls_ns = 0;
    bool is_long = site->policy == VTHREAD_CALL_BLOCKING
                   || site_is_long(site);
    int err = open_bracket(&frame, site, is_long, deadline_ns);
    if (err != 0)
        return err;
    struct thread *self = thread_self();
    err = interruptible_begin(&interruptible, self, deadline_ns);
    if (err != 0) {
        close_bracket(&frame);
        return err;
    }
    frame.interruptible = interruptible;
    frame.upcalls_ns = &upcalls_ns;
    uint64_t begun_ns = clock_now_ns();
    make_call(signature, fn, result, args, place);
    uint64_t ended_ns = clock_now_ns();
    interruptible_end(interruptible, self);
    close_bracket(&frame);
    learn(site, &frame, is_long, ended_ns - begun_ns - upcalls_ns);
    return *place == EINTR ? cause_of_end(deadline_ns) : 0;
}

/* ---- By policy ---------------------------------------------------------- */

int vthread_call_until(vthread_call_site_t *public_site, void (*fn)(void),
                       void *result, void *const args[], int *error,
                       uint64_t deadline_ns)
{
    struct site *site = (struct site *)public_site;
    struct vthread_signature *signature;
    if (unlikely(!site || !fn))
        return EINVAL;
    while (unlikely(!(signature = site_signature(site)))) {
        int err = site_check(site);
        if (err != 0)
            return err;
    }
    if (unlikely(!args && signature->cif.nargs > 0))
        return EINVAL;
    if (site->policy == VTHREAD_CALL_CRITICAL) {
        make_critical_call(signature, fn, result, args, error);
        return 0;
    }
    if (site->policy == VTHREAD_CALL_DETACHED)
        return request_call(site, signature, fn, result, args, error,
                            deadline_ns);
    if (unlikely(site->flags & VTHREAD_CALL_INTERRUPTIBLE))
        return call_interruptible(site, signature, fn, result, args, error,
                                  deadline_ns);
    if (site->policy == VTHREAD_CALL_AUTO
        && unlikely(site_wants_time(site) || is_chosen()))
        return call_timed(site, signature, fn, result, args, error,
                          deadline_ns);
    return call_plainly(site, signature, fn, result, args, error,
                        deadline_ns);
}

int vthread_call(vthread_call_site_t *site, void (*fn)(void), void *result,
                 void *const args[], int *error)
{
    return vthread_call_until(site, fn, result, args, error, VTHREAD_NEVER);
}
