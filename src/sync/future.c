/*
 * future.c - futures, and waiting for all, any or the first of several.
 *
 * Here: the future's word, setting, awaiting.  Not here: nodes and who ends
 * a wait for several (multiwait.c).
 *
 * The word:
 *
 *   BUSY   somebody changes the lists, or sets the future (busy.h)
 *   DONE   set, for good; error and value stay as they are
 *
 * DONE takes the place of BUSY in one step, and that is the last time that
 * the setter touches the future: whoever sees DONE may free it.  So the
 * setter takes everybody off the lists first, and wakes them after it.
 *
 *   the one that awaits                 the one that sets
 *   1. lock: DONE, no need to wait      1. lock: DONE, EALREADY
 *   2. goes on a list; unlock           2. value, error; takes all who wait
 *   3. waits                               off; claims those that this ends
 *                                       3. DONE
 *                                       4. wakes them
 *
 * Invariant: with DONE the lists are empty.  So a time-out or an interrupt
 * at 3 that finds DONE has been taken off, and waits for its wake-up; one
 * that gets the lock takes itself off.
 *
 * All, any and race differ in what ends them: a value, an error, or, when
 * neither decides, the last of all.  Each future that is done counts as one
 * event; the waiting thread itself counts those that it finds done.
 */
#include <errno.h>

#include <vthread/future.h>
#include <vthread/time.h>

#include "escape.h"
#include "platform/busy.h"
#include "sync/multiwait.h"
#include "sync/waitlist.h"

#define DONE 2u

/* As vthread_future_t.  Field letters: A atomic; B under BUSY of the word;
 * DONE publishes error and value. */
struct future {
    _Atomic uint32_t word;          /* A */
    uint32_t error;                 /* B */
    void *value;                    /* B */
    struct waitlist waiting;        /* B */
    struct multiwait_list watching; /* B */
};

_Static_assert(sizeof(struct future) == sizeof(vthread_future_t)
                   && _Alignof(struct future) == _Alignof(vthread_future_t),
               "the public struct has the same room");

static struct future *inside(const vthread_future_t *future)
{
    return (struct future *)future;
}

/* ---- The word ----------------------------------------------------------- */

static bool is_done(struct future *f)
{
    /* Acquire: value and error.  Pairs with publish. */
    return atomic_load_explicit(&f->word, memory_order_acquire) & DONE;
}

/* False: it is done. */
static bool lock(struct future *f)
{
    if (is_done(f))
        return false;
    uint32_t word = busy_acquire(&f->word);
    if (word & DONE)
        busy_release(&f->word, word);
    return !(word & DONE);
}

static void unlock(struct future *f)
{
    busy_release(&f->word, 0);
}

/* Pairs with is_done and lock. */
static void publish(struct future *f)
{
    busy_release(&f->word, DONE);
}

/* ---- What ends a wait for several --------------------------------------- */

struct rule {
    bool value_decides, error_decides;
};

static const struct rule rule_all = {.error_decides = true};
static const struct rule rule_any = {.value_decides = true};
static const struct rule rule_race = {true, true};

static bool decides(const struct rule *rule, const struct future *f)
{
    return f->error == 0 ? rule->value_decides : rule->error_decides;
}

/* The slot of a node says the rule of its wait. */
static bool claim(struct multiwait_node *node, const struct future *f)
{
    return multiwait_claim(node, decides(node->slot, f));
}

/* ---- Setting ------------------------------------------------------------ */

/* Those whose wait this future ends, chained by next.  The other nodes are
 * not touched after the lock is gone.  Under the lock. */
static struct multiwait_node *claim_nodes(struct future *f)
{
    struct multiwait_node *first = NULL, **link = &first, *node;
    while ((node = multiwait_take_first(&f->watching)) != NULL)
        if (claim(node, f)) {
            *link = node;
            link = &node->next;
        }
    *link = NULL;
    return first;
}

static void wake_nodes(struct multiwait_node *node)
{
    while (node) {
        struct multiwait_node *next = node->next;
        thread_wake(node->wait->thread);
        node = next;
    }
}

static int settle(vthread_future_t *future, void *value, uint32_t error,
                  const char *function)
{
    struct future *f = inside(future);
    int err = escape_check(f, function);
    if (err == 0)
        err = escape_check(value, function);
    if (err != 0)
        return err;
    thread_refuse_child();
    if (!lock(f))
        return EALREADY;
    f->value = value;
    f->error = error;
    struct thread *threads = waitlist_take_all(&f->waiting);
    struct multiwait_node *nodes = claim_nodes(f);
    publish(f);
    waitlist_wake_chain(threads);
    wake_nodes(nodes);
    return 0;
}

int vthread_future_set(vthread_future_t *future, void *value)
{
    return settle(future, value, 0, "vthread_future_set");
}

int vthread_future_fail(vthread_future_t *future, int error)
{
    if (error <= 0)
        return EINVAL;
    return settle(future, NULL, (uint32_t)error, "vthread_future_fail");
}

/* ---- Awaiting one ------------------------------------------------------- */

/* The wait was ended early.  False: the future was set all the same. */
static bool leave(struct future *f, struct thread *self, int err)
{
    if (!lock(f)) {
        thread_wait_out(self, err);
        return false;
    }
    waitlist_remove(&f->waiting, self);
    unlock(f);
    return true;
}

static int wait_for(struct future *f, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_check(f, "vthread_future_await");
    if (err != 0 || !lock(f))
        return err;
    waitlist_append(&f->waiting, self);
    unlock(f);
    err = thread_wait_for(self, FOR_FUTURE, deadline_ns, true);
    return err != 0 && leave(f, self, err) ? err : 0;
}

int vthread_future_await_until(vthread_future_t *future, void **value,
                               uint64_t deadline_ns)
{
    struct future *f = inside(future);
    thread_refuse_child();
    if (!is_done(f)) {
        int err = wait_for(f, deadline_ns);
        if (err != 0)
            return err;
    }
    if (f->error == 0 && value)
        *value = f->value;
    return (int)f->error;
}

int vthread_future_await(vthread_future_t *future, void **value)
{
    return vthread_future_await_until(future, value, VTHREAD_NEVER);
}

bool vthread_future_is_done(const vthread_future_t *future)
{
    thread_refuse_child();
    return is_done(inside(future));
}

/* ---- Awaiting several --------------------------------------------------- */

/* Puts the nodes on the lists; those of futures that are done count at
 * once.  True: that has ended the wait. */
static bool enter_all(struct multiwait *m, vthread_future_t *const *futures,
                      const struct rule *rule)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct multiwait_node *node = &m->nodes[i];
        struct future *f = inside(futures[i]);
        node->object = f;
        node->slot = (void *)rule;
        if (lock(f)) {
            multiwait_enter(&f->watching, node);
            unlock(f);
        } else if (claim(node, f)) {
            return true;
        }
    }
    return false;
}

/* Afterwards no setter knows a node, and those that have counted are done
 * with their futures. */
static void leave_all(struct multiwait *m)
{
    for (uint32_t i = 0; i < m->count && m->nodes[i].object; i++)
        if (lock(m->nodes[i].object)) {
            multiwait_leave(&m->nodes[i]);
            unlock(m->nodes[i].object);
        }
}

static int wait_for_several(vthread_future_t *const *futures, size_t count,
                            const struct rule *rule, size_t *index,
                            uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    struct multiwait *m
        = self && count < UINT32_MAX
              ? multiwait_create(self, count, 0, (uint32_t)count)
              : NULL;
    if (!m)
        return ENOMEM;
    int err = 0;
    if (!enter_all(m, futures, rule))
        err = multiwait_wait(m, deadline_ns);
    leave_all(m);
    if (err == 0)
        *index = multiwait_winner(m)->index;
    multiwait_free(m);
    return err;
}

/* Whether they have been decided already, and by which. */
static bool look(vthread_future_t *const *futures, size_t count,
                 const struct rule *rule, size_t *index)
{
    bool are_done = true;
    for (size_t i = 0; i < count; i++) {
        struct future *f = inside(futures[i]);
        if (!is_done(f)) {
            are_done = false;
        } else {
            *index = i;
            if (decides(rule, f))
                return true;
        }
    }
    return are_done;
}

static int check_all(vthread_future_t *const *futures, size_t count,
                     const char *function)
{
    int err = 0;
    for (size_t i = 0; i < count && err == 0; i++)
        err = escape_check(futures[i], function);
    return err;
}

/* *decider gets the index of the one that has decided. */
static int await_several(vthread_future_t *const *futures, size_t count,
                         const struct rule *rule, const char *function,
                         size_t *decider, uint64_t deadline_ns)
{
    if (look(futures, count, rule, decider))
        return 0;
    int err = check_all(futures, count, function);
    return err == 0 ? wait_for_several(futures, count, rule, decider,
                                       deadline_ns)
                    : err;
}

/* The outcome is that of the one that has decided. */
static int report_decider(vthread_future_t *const *futures, size_t decider,
                          size_t *index)
{
    if (index)
        *index = decider;
    return (int)inside(futures[decider])->error;
}

int vthread_future_all(vthread_future_t *const *futures, size_t count,
                       size_t *index, uint64_t deadline_ns)
{
    size_t decider = 0;
    thread_refuse_child();
    if (count == 0)
        return 0;
    int err = await_several(futures, count, &rule_all, "vthread_future_all",
                            &decider, deadline_ns);
    if (err != 0 || inside(futures[decider])->error == 0)
        return err;
    return report_decider(futures, decider, index);
}

int vthread_future_any(vthread_future_t *const *futures, size_t count,
                       size_t *index, uint64_t deadline_ns)
{
    size_t decider = 0;
    thread_refuse_child();
    if (count == 0)
        return EINVAL;
    int err = await_several(futures, count, &rule_any, "vthread_future_any",
                            &decider, deadline_ns);
    return err == 0 ? report_decider(futures, decider, index) : err;
}

int vthread_future_race(vthread_future_t *const *futures, size_t count,
                        size_t *index, uint64_t deadline_ns)
{
    size_t decider = 0;
    thread_refuse_child();
    if (count == 0)
        return EINVAL;
    int err = await_several(futures, count, &rule_race,
                            "vthread_future_race", &decider, deadline_ns);
    return err == 0 ? report_decider(futures, decider, index) : err;
}
