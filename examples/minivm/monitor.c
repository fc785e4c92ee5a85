/*
 * monitor.c - every object is a monitor: enter, exit, wait, notify.
 *
 * The monitor proper is made when its object is first entered.  It is a mutex
 * and a condition variable of the library: who waits is parked, and who is in
 * it may wait and go on on another OS thread, for a monitor does not pin.
 * Who is in it, and how often, is kept here for IllegalMonitorState.
 */
#include "minivm.h"

/* L: under the mutex. */
struct monitor {
    vthread_mutex_t mutex;
    vthread_cond_t notified;
    struct vm_thread *owner; /* A, written under the mutex */
    uint64_t entered;        /* L, by the owner */
};

static struct monitor *make(struct vm_thread *t, struct object *o)
{
    struct monitor *made = GC_MALLOC(sizeof *made), *there = NULL;
    if (made == NULL)
        raise_error(t, OUT_OF_MEMORY, "for a monitor");
    /* Publishes the zeros of a new monitor, or observes those that another
     * thread has published; pairs with the load in monitor_of. */
    if (__atomic_compare_exchange_n(&o->monitor, &there, made, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return made;
    return there;
}

static struct monitor *monitor_of(struct vm_thread *t, value_t v)
{
    struct object *o = object_in(t, v, NULL);
    /* Observes the zeros of a new monitor, pairs with make. */
    struct monitor *m = __atomic_load_n(&o->monitor, __ATOMIC_ACQUIRE);
    return m ? m : make(t, o);
}

/* Relaxed suffices: it is t only if t itself, the caller, has stored it. */
static bool is_owner(const struct monitor *m, const struct vm_thread *t)
{
    return __atomic_load_n(&m->owner, __ATOMIC_RELAXED) == t;
}

static void own(struct monitor *m, struct vm_thread *t, uint64_t entered)
{
    m->entered = entered;
    __atomic_store_n(&m->owner, t, __ATOMIC_RELAXED);
}

static void enter(struct vm_thread *t, struct monitor *m)
{
    if (is_owner(m, t)) {
        m->entered++;
        return;
    }
    vthread_mutex_lock(&m->mutex);
    own(m, t, 1);
    t->monitors++;
}

static void leave(struct vm_thread *t, struct monitor *m)
{
    if (--m->entered > 0)
        return;
    own(m, NULL, 0);
    t->monitors--;
    vthread_mutex_unlock(&m->mutex);
}

/* Whether it was notified, and the time has not passed. */
static bool wait(struct vm_thread *t, struct monitor *m, int64_t ms)
{
    uint64_t deadline_ns =
        ms > 0 ? vthread_now() + (uint64_t)ms * VTHREAD_MS : VTHREAD_NEVER;
    uint64_t entered = m->entered;
    own(m, NULL, 0);
    int err = vthread_cond_wait_until(&m->notified, &m->mutex, deadline_ns);
    own(m, t, entered);
    if (err == ECANCELED)
        raise_error(t, INTERRUPTED, "in wait");
    return err == 0;
}

value_t monitor_perform(struct vm_thread *t, const struct instruction *in,
                        value_t *at)
{
    struct monitor *m = monitor_of(t, at[0]);
    if (in->opcode != OP_enter && !is_owner(m, t))
        raise_error(t, ILLEGAL_MONITOR_STATE,
                    "%s by a thread that is not in the monitor",
                    opcodes[in->opcode].name);
    switch (in->opcode) {
    case OP_enter:
        enter(t, m);
        return 0;
    case OP_exit:
        leave(t, m);
        return 0;
    case OP_wait:
        return from_integer(wait(t, m, integer_in(t, at[1])));
    case OP_notify:
        vthread_cond_signal(&m->notified);
        return 0;
    default:
        vthread_cond_broadcast(&m->notified);
        return 0;
    }
}
