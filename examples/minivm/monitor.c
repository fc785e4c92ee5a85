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

static struct monitor *monitor_of(struct vm_thread *t, struct object *o)
{
    /* Observes the zeros of a new monitor, pairs with the exchange. */
    struct monitor *there = __atomic_load_n(&o->monitor, __ATOMIC_ACQUIRE);
    if (there)
        return there;
    struct monitor *made = GC_MALLOC(sizeof *made);
    if (made == NULL)
        raise_error(t, OUT_OF_MEMORY, "for a monitor");
    /* Publishes the zeros, or observes those that another thread has
     * published; pairs with the load, and with itself. */
    bool is_first = __atomic_compare_exchange_n(
        &o->monitor, &there, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return is_first ? made : there;
}

/* Relaxed, here and below: it is t only if t itself, the caller, has stored
 * it. */
static bool is_owner(const struct monitor *m, const struct vm_thread *t)
{
    return __atomic_load_n(&m->owner, __ATOMIC_RELAXED) == t;
}

static void own(struct monitor *m, struct vm_thread *t, uint64_t entered)
{
    m->entered = entered;
    __atomic_store_n(&m->owner, t, __ATOMIC_RELAXED);
}

/* The monitor of v, which t must be in. */
static struct monitor *owned(struct vm_thread *t, value_t v)
{
    struct monitor *m = monitor_of(t, object_in(t, v, NULL));
    if (!is_owner(m, t))
        raise_error(t, ILLEGAL_MONITOR_STATE,
                    "%s by a thread that is not in the monitor",
                    opcodes[t->top->at->opcode].name);
    return m;
}

void monitor_enter(struct vm_thread *t, value_t v)
{
    struct monitor *m = monitor_of(t, object_in(t, v, NULL));
    if (!is_owner(m, t)) {
        vthread_mutex_lock(&m->mutex);
        own(m, t, 0);
        t->monitors++;
    }
    m->entered++;
}

void monitor_exit(struct vm_thread *t, value_t v)
{
    struct monitor *m = owned(t, v);
    if (--m->entered > 0)
        return;
    own(m, NULL, 0);
    t->monitors--;
    vthread_mutex_unlock(&m->mutex);
}

value_t monitor_wait(struct vm_thread *t, value_t v, int64_t ms)
{
    struct monitor *m = owned(t, v);
    uint64_t deadline_ns =
        ms > 0 ? vthread_now() + (uint64_t)ms * VTHREAD_MS : VTHREAD_NEVER;
    uint64_t entered = m->entered;
    own(m, NULL, 0);
    int err = vthread_cond_wait_until(&m->notified, &m->mutex, deadline_ns);
    own(m, t, entered);
    if (err == ECANCELED)
        raise_error(t, INTERRUPTED, "in wait");
    return from_integer(err == 0);
}

vthread_cond_t *monitor_condition(struct vm_thread *t, value_t v)
{
    return &owned(t, v)->notified;
}
