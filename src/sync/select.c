/*
 * select.c - one send or receive of several, whichever is ready first.
 *
 * Here: choosing, and waiting for all at once.  Not here: what a send or a
 * receive does (channel_put, channel_get in channel.c); who ends a wait
 * that several may end (multiwait.c).
 *
 * Three steps:
 *
 *   look    each channel that seems ready is locked, one at a time, in a
 *           random order, and the case tried.  Most selects end here.
 *   settle  all channels are locked, in the order of their addresses, and
 *           all cases tried; if none is ready a node goes on the list of
 *           each, and all locks are released.
 *   wait    until somebody claims one of the nodes.  Then the others leave
 *           their lists, one lock at a time.
 *
 * A claim, and what else may happen at the same time:
 *
 *   the select                            whoever comes to one channel
 *   1. all locks; nothing is ready
 *   2. nodes on all lists; unlock
 *   3. multiwait_wait                     1. lock; takes a node off the list
 *                                         2. claims its wait: 0 -> this node
 *                                            (failed: next waiter)
 *                                         3. exchange with the node's slot,
 *                                            outcome; unlock; thread_wake
 *   4. takes the other nodes off
 *   5. reads outcome and slot
 *
 * A time-out or an interrupt at 3 claims the wait for nobody: if that fails
 * the exchange has taken place, its wake-up is waited for, and the select
 * has succeeded.
 *
 * Why all locks in step two.  With one at a time a select would be on the
 * first channel's list, where others may claim it, while it tries the
 * second, and would have to claim itself and its partner, another select,
 * in one step.  With all locks it is on no list while it tries: only the
 * partner is to be claimed, so it can not meet itself, and two selects that
 * want each other can not both wait.  And "none is ready" is true at one
 * moment.  The order of addresses keeps selects from waiting for each other
 * in a circle.  The price, a few ns for each channel, is paid by those who
 * are about to wait.
 *
 * Slots are as with a thread that waits (channel.c): a word, or the address
 * of the caller's own value if that may be reached meanwhile, or of a copy
 * behind the nodes.  All receives share one place there: one of them is
 * done.
 */
#include "sync/channel.h"

#include <errno.h>
#include <string.h>

#include "escape.h"
#include "local.h"
#include "platform/sanitizer.h"

/* The node of a case: index is that of the case, object its channel. */
static struct vthread_channel *channel_of(const struct multiwait_node *node)
{
    return node->object;
}

static bool is_send(const vthread_select_case_t *c)
{
    return c->op == VTHREAD_SELECT_SEND;
}

static int check(const vthread_select_case_t *c, const struct thread *self)
{
    if (c->op != VTHREAD_SELECT_SEND && c->op != VTHREAD_SELECT_RECEIVE)
        return EINVAL;
    if (!c->channel)
        return 0;
    if (is_send(c))
        return channel_check_send(c->channel, c->value, self,
                                  "vthread_select");
    return channel_check_receive(c->channel, c->value, self);
}

/* ---- Trying ------------------------------------------------------------- */

/* Under the channel's lock. */
static int try(const vthread_select_case_t *c, struct thread **wake)
{
    return is_send(c) ? channel_put(c->channel, c->value, wake)
                      : channel_get(c->channel, c->value, wake);
}

static void choose(vthread_select_case_t *cases, size_t index, int result,
                   size_t *chosen)
{
    cases[index].result = result;
    *chosen = index;
}

/* An order in which each number below count comes once, and of any two each
 * is as often the first: start + k * step modulo a power of two, the step
 * being odd; what is too large is left out. */
struct order {
    size_t mask, next, step, left;
};

/* Chance is each OS thread's own; nobody waits between reading and writing
 * it. */
__attribute__((noinline)) static uint32_t chance(void)
{
    static __thread uint32_t state;
    uint32_t x = state ? state : 2463534242u;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return state = x;
}

static struct order any_order(size_t count)
{
    size_t mask = 0;
    uint32_t n = chance();
    while (mask + 1 < count)
        mask = 2 * mask + 1;
    return (struct order){mask, n & mask, n >> 8 | 1, mask + 1};
}

/* False: that were all. */
static bool next_of(struct order *order, size_t count, size_t *index)
{
    while (order->left > 0) {
        *index = order->next;
        order->next = (order->next + order->step) & order->mask;
        order->left--;
        if (*index < count)
            return true;
    }
    return false;
}

/* A hint, without the lock; what is wrong in it is of no consequence, for
 * step two decides. */
NO_SANITIZE_THREAD static bool seems_ready(const vthread_select_case_t *c)
{
    const volatile struct vthread_channel *channel = c->channel;
    if (!channel)
        return false;
    const volatile struct channel_side *others = &channel->sides[!c->op];
    return others->threads.first || others->nodes.first || channel->is_closed
           || (is_send(c) ? channel->length < channel->capacity
                          : channel->length > 0);
}

static int try_locked(vthread_select_case_t *c)
{
    struct thread *wake = NULL;
    spin_lock_acquire(&c->channel->lock);
    int err = try(c, &wake);
    spin_lock_release(&c->channel->lock);
    if (wake)
        thread_wake(wake);
    return err;
}

/* Step one.  EAGAIN: nothing was found, which need not be so. */
static int look(vthread_select_case_t *cases, size_t count, size_t *chosen)
{
    struct order order = any_order(count);
    size_t index;
    while (next_of(&order, count, &index)) {
        if (!seems_ready(&cases[index]))
            continue;
        int result = try_locked(&cases[index]);
        if (result != EAGAIN) {
            choose(cases, index, result, chosen);
            return 0;
        }
    }
    return EAGAIN;
}

/* ---- All at once -------------------------------------------------------- */

static size_t count_channels(const vthread_select_case_t *cases, size_t count)
{
    size_t channels = 0;
    for (size_t i = 0; i < count; i++)
        channels += cases[i].channel != NULL;
    return channels;
}

/* By the address of the channel, in place and without memory: Shell's sort,
 * which is quick for the few there mostly are. */
static void sort(struct multiwait_node *nodes, size_t count)
{
    for (size_t gap = count / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < count; i++) {
            void *object = nodes[i].object;
            uint32_t index = nodes[i].index;
            size_t j = i;
            for (; j >= gap && (uintptr_t)nodes[j - gap].object
                                   > (uintptr_t)object; j -= gap) {
                nodes[j].object = nodes[j - gap].object;
                nodes[j].index = nodes[j - gap].index;
            }
            nodes[j].object = object;
            nodes[j].index = index;
        }
}

static void name_channels(struct multiwait *m,
                          const vthread_select_case_t *cases, size_t count)
{
    struct multiwait_node *node = m->nodes;
    for (size_t i = 0; i < count; i++)
        if (cases[i].channel) {
            node->object = cases[i].channel;
            node++->index = (uint32_t)i;
        }
    sort(m->nodes, m->count);
}

/* Neighbours are equal where a channel is in several cases. */
static bool is_first_of_channel(const struct multiwait *m, uint32_t i)
{
    return i == 0 || m->nodes[i].object != m->nodes[i - 1].object;
}

static void lock_all(struct multiwait *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (is_first_of_channel(m, i))
            spin_lock_acquire(&channel_of(&m->nodes[i])->lock);
}

static void unlock_all(struct multiwait *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (is_first_of_channel(m, i))
            spin_lock_release(&channel_of(&m->nodes[i])->lock);
}

/* Under all locks. */
static int try_all(struct multiwait *m, vthread_select_case_t *cases,
                   size_t *chosen, struct thread **wake)
{
    struct order order = any_order(m->count);
    size_t index;
    while (next_of(&order, m->count, &index)) {
        uint32_t n = m->nodes[index].index;
        int result = try(&cases[n], wake);
        if (result != EAGAIN) {
            choose(cases, n, result, chosen);
            return 0;
        }
    }
    return EAGAIN;
}

/* ---- Slots -------------------------------------------------------------- */

static bool needs_copy(const vthread_select_case_t *c, struct thread *self)
{
    return c->channel && !channel_fits_slot(c->channel)
           && !escape_stays_valid(self, c->value);
}

/* How many bytes behind the nodes the copies take: one place for what is
 * received, first, and one for each value that is to be sent. */
static size_t size_copies(const vthread_select_case_t *cases, size_t count,
                          struct thread *self, size_t *received)
{
    size_t sent = 0;
    *received = 0;
    for (size_t i = 0; i < count; i++)
        if (needs_copy(&cases[i], self)) {
            size_t bytes = cases[i].channel->element_bytes;
            if (is_send(&cases[i]))
                sent += bytes;
            else if (*received < bytes)
                *received = bytes;
        }
    return *received + sent;
}

static void fill_slots(struct multiwait *m, const vthread_select_case_t *cases,
                       size_t received)
{
    unsigned char *copies = multiwait_extra(m);
    unsigned char *sent = copies + received;
    for (uint32_t i = 0; i < m->count; i++) {
        struct multiwait_node *node = &m->nodes[i];
        const vthread_select_case_t *c = &cases[node->index];
        if (channel_fits_slot(c->channel)) {
            if (is_send(c))
                channel_copy(c->channel, &node->slot, c->value);
        } else if (!needs_copy(c, m->thread)) {
            node->slot = c->value;
        } else if (is_send(c)) {
            node->slot = memcpy(sent, c->value, c->channel->element_bytes);
            sent += c->channel->element_bytes;
        } else {
            node->slot = copies;
        }
    }
}

/* What has been received, from where the sender has put it. */
static void take_value(const struct multiwait_node *node,
                       const vthread_select_case_t *c)
{
    if (is_send(c) || node->outcome != 0)
        return;
    if (channel_fits_slot(c->channel))
        channel_copy(c->channel, c->value, &node->slot);
    else if (node->slot != c->value)
        channel_copy(c->channel, c->value, node->slot);
}

/* ---- Waiting ------------------------------------------------------------ */

static void enter_all(struct multiwait *m, const vthread_select_case_t *cases)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct multiwait_node *node = &m->nodes[i];
        int op = cases[node->index].op;
        multiwait_enter(&channel_of(node)->sides[op].nodes, node);
    }
}

static void leave_all(struct multiwait *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct vthread_channel *c = channel_of(&m->nodes[i]);
        spin_lock_acquire(&c->lock);
        multiwait_leave(&m->nodes[i]);
        spin_lock_release(&c->lock);
    }
}

/* Step two: 0, or EAGAIN with the nodes on the lists if it is to wait. */
static int settle(struct multiwait *m, vthread_select_case_t *cases,
                  size_t *chosen, bool waits)
{
    struct thread *wake = NULL;
    lock_all(m);
    int err = try_all(m, cases, chosen, &wake);
    if (err == EAGAIN && waits)
        enter_all(m, cases);
    unlock_all(m);
    if (wake)
        thread_wake(wake);
    return err;
}

/* Step three. */
static int wait_for_any(struct multiwait *m, vthread_select_case_t *cases,
                        size_t *chosen, uint64_t deadline_ns)
{
    int err = multiwait_wait(m, deadline_ns);
    leave_all(m);
    if (err != 0)
        return err;
    struct multiwait_node *node = multiwait_winner(m);
    take_value(node, &cases[node->index]);
    choose(cases, node->index, (int)node->outcome, chosen);
    return 0;
}

/* Steps two and three.  Out of line: what it keeps is not on the stack of
 * those who need only step one. */
__attribute__((noinline)) static int
select_slowly(struct thread *self, vthread_select_case_t *cases,
              size_t count, size_t *chosen, uint64_t deadline_ns, bool waits)
{
    size_t received = 0, extra = 0;
    if (waits)
        extra = size_copies(cases, count, self, &received);
    struct multiwait *m = multiwait_create(
        self, count_channels(cases, count), extra, 1);
    if (!m)
        return ENOMEM;
    name_channels(m, cases, count);
    if (waits)
        fill_slots(m, cases, received);
    int err = settle(m, cases, chosen, waits);
    if (err == EAGAIN && waits)
        err = wait_for_any(m, cases, chosen, deadline_ns);
    multiwait_free(m);
    return err;
}

static int select_from(vthread_select_case_t *cases, size_t count,
                       size_t *chosen, uint64_t deadline_ns, bool waits)
{
    if (!chosen || (!cases && count > 0) || count > UINT32_MAX - 1)
        return EINVAL;
    struct thread *self = local_thread_self();
    if (!self)
        return ENOMEM;
    for (size_t i = 0; i < count; i++) {
        int err = check(&cases[i], self);
        if (err != 0)
            return err;
    }
    int err = look(cases, count, chosen);
    return err == EAGAIN
               ? select_slowly(self, cases, count, chosen, deadline_ns,
                               waits)
               : err;
}

int vthread_select_until(vthread_select_case_t *cases, size_t count,
                         size_t *chosen, uint64_t deadline_ns)
{
    return select_from(cases, count, chosen, deadline_ns, true);
}

int vthread_select(vthread_select_case_t *cases, size_t count, size_t *chosen)
{
    return select_from(cases, count, chosen, VTHREAD_NEVER, true);
}

int vthread_tryselect(vthread_select_case_t *cases, size_t count,
                      size_t *chosen)
{
    return select_from(cases, count, chosen, VTHREAD_NEVER, false);
}
