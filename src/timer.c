/*
 * timer.c - the wheel: arm, cancel, expire.
 *
 * A tick is a number of 54 bits, nine digits of base 64.  A level for each
 * digit, a slot for each value of it:
 *
 *   level 8  [ ][ ][ ] ... [ ]          a slot is 64^8 ticks, 292,000 years
 *     ...
 *   level 2  [ ][ ][T] ... [ ]          134 ms
 *   level 1  [ ][ ][ ] ... [ ]          2 ms
 *   level 0  [ ][T][ ] ... [ ]          1 tick, 33 us
 *             ^ now's digit              each slot a list of threads
 *
 * A thread lies on the level of the highest digit in which its tick differs
 * from now_tick, in the slot of that digit.  Invariants, while now_tick is
 * not later than any tick in the wheel:
 *
 * 1. Occupied slots lie ahead of now's digit of their level; on level 0 at
 *    it or ahead.
 * 2. So whatever is on a level comes before all that is on higher ones, and
 *    the lowest bit of the lowest level that has any is the next slot.  No
 *    tick is ever looked at for its own sake.
 * 3. now_tick may go to any time not beyond the beginning of the next slot,
 *    and 1 and 2 go on to hold: its digits down to that level's are still
 *    those of all ticks behind.  It does so in wheel_expire only.  That it
 *    lags until then is harmless: threads lie higher than they could.
 *
 * When now_tick reaches a slot of a higher level, its threads agree with it
 * in one more digit at least and move down.  That takes as long as there
 * are threads, so it may be done in several calls: meanwhile the slot is at
 * now's digit (the exception to 1), `draining` names its level, and it goes
 * first.  Nobody is put there: who agrees in that digit belongs lower.
 *
 * Lists run through timer_next and timer_prev, thread numbers.  The first of
 * a slot names the slot in timer_prev instead, with the top bit set.
 *
 * Cancelling without the lock: timer_prev is 0 before arming, and again as
 * the last thing that expiry does to a thread, after thread_time_out; in
 * between it may change (when neighbours go, and on the way down) but never
 * to 0.  Who reads 0 in wheel_cancel has come after the arming, so has come
 * after the expiry.
 *
 * Not here: who sleeps until next_ns, and what a time-out does to a thread.
 */
#include "timer.h"

#include "platform/clock.h"
#include "platform/panic.h"

#define DIGIT_BITS 6
#define SLOT_MARK 0x80000000u

_Static_assert(WHEEL_SLOTS == 1 << DIGIT_BITS, "a slot for each digit");
_Static_assert(WHEEL_LEVELS *DIGIT_BITS > 64 - WHEEL_TICK_SHIFT,
               "a rounded-up deadline has one bit more than a time");

/* So many threads of a slot are asked for the earliest: cheaper than being
 * woken too early. */
#define SCAN_LIMIT 8

struct slot {
    unsigned level, digit;
};

/* Ticks and times. */

/* Rounded up: never early. */
static uint64_t due_tick(uint64_t deadline_ns)
{
    uint64_t fraction = deadline_ns & ((1u << WHEEL_TICK_SHIFT) - 1);

    return (deadline_ns >> WHEEL_TICK_SHIFT) + (fraction != 0);
}

static uint64_t tick_ns(uint64_t tick)
{
    if (tick >> (64 - WHEEL_TICK_SHIFT) != 0)
        return CLOCK_NEVER - 1; /* beyond the clock's last tick */
    return tick << WHEEL_TICK_SHIFT;
}

static unsigned digit_of(uint64_t tick, unsigned level)
{
    return tick >> (level * DIGIT_BITS) & (WHEEL_SLOTS - 1);
}

/* Where a thread belongs that is due at that tick, now or later. */
static struct slot slot_for(uint64_t now_tick, uint64_t tick)
{
    unsigned highest_bit = 63 - __builtin_clzll((now_tick ^ tick) | 1);
    unsigned level = highest_bit / DIGIT_BITS;

    return (struct slot){level, digit_of(tick, level)};
}

/* The first tick of a slot: now's digits above its level, its own, zeros. */
static uint64_t slot_tick(uint64_t now_tick, struct slot slot)
{
    unsigned shift = slot.level * DIGIT_BITS;
    uint64_t above = now_tick >> shift >> DIGIT_BITS << DIGIT_BITS;

    return (above | slot.digit) << shift;
}

/* Lists. */

/* Relaxed: under the lock, or it reads a value other than 0 and then takes
 * the lock to know; for 0 see disarmed. */
static uint32_t prev_of(const struct thread *t)
{
    return atomic_load_explicit(&t->timer_prev, memory_order_relaxed);
}

static void set_prev(struct thread *t, uint32_t prev)
{
    atomic_store_explicit(&t->timer_prev, prev, memory_order_relaxed);
}

/* The last access to t.  Release pairs with wheel_cancel's acquire: all
 * that expiry did to the thread comes before what it does next. */
static void set_disarmed(struct thread *t)
{
    atomic_store_explicit(&t->timer_prev, 0, memory_order_release);
}

static void put_in(struct wheel *wheel, struct thread *t, uint64_t tick)
{
    struct slot slot = slot_for(wheel->now_tick, tick);
    uint32_t *first = &wheel->first[slot.level][slot.digit];

    invariant(tick >= wheel->now_tick);
    t->timer_next = *first;
    set_prev(t, SLOT_MARK | (slot.level * WHEEL_SLOTS + slot.digit));
    if (*first != 0)
        set_prev(thread_at(*first), thread_number(t));
    *first = thread_number(t);
    wheel->occupied[slot.level] |= UINT64_C(1) << slot.digit;
}

static void set_first(struct wheel *wheel, uint32_t prev, uint32_t first)
{
    unsigned level = (prev & ~SLOT_MARK) / WHEEL_SLOTS;
    unsigned digit = prev % WHEEL_SLOTS;

    wheel->first[level][digit] = first;
    if (first == 0)
        wheel->occupied[level] &= ~(UINT64_C(1) << digit);
}

/* Leaves t's own links as they are. */
static void take_out(struct wheel *wheel, struct thread *t)
{
    uint32_t prev = prev_of(t), next = t->timer_next;

    if (next != 0)
        set_prev(thread_at(next), prev);
    if (prev & SLOT_MARK)
        set_first(wheel, prev, next);
    else
        thread_at(prev)->timer_next = next;
}

/* What comes next. */

static void set_next_ns(struct wheel *wheel, uint64_t next_ns)
{
    /* Relaxed: a hint; who goes to sleep on it is told by wheel_arm. */
    atomic_store_explicit(&wheel->next_ns, next_ns, memory_order_relaxed);
}

static bool is_draining(struct wheel *wheel, struct slot *slot)
{
    *slot = (struct slot){wheel->draining,
                          digit_of(wheel->now_tick, wheel->draining)};
    if (wheel->draining != 0
        && (wheel->occupied[slot->level] >> slot->digit & 1) == 0)
        wheel->draining = 0;
    return wheel->draining != 0;
}

/* The slot that comes next, if there is any. */
static bool find_next(struct wheel *wheel, struct slot *slot)
{
    if (is_draining(wheel, slot))
        return true;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] != 0) {
            slot->level = level;
            slot->digit = __builtin_ctzll(wheel->occupied[level]);
            return true;
        }
    }
    return false;
}

/* The first tick of all in the next slot, or a bound if that takes too long
 * (or earlier ones may have gone down from it already). */
static uint64_t first_tick(const struct wheel *wheel, struct slot slot)
{
    uint64_t begin = slot_tick(wheel->now_tick, slot), earliest = UINT64_MAX;
    uint32_t number = wheel->first[slot.level][slot.digit];

    if (slot.level == 0 || wheel->draining != 0)
        return begin;
    for (int i = 0; i < SCAN_LIMIT && number != 0; i++) {
        const struct thread *t = thread_at(number);
        uint64_t tick = due_tick(t->deadline_ns);
        if (tick < earliest)
            earliest = tick;
        number = t->timer_next;
    }
    return number == 0 ? earliest : begin;
}

static void update_next_ns(struct wheel *wheel)
{
    struct slot slot;

    if (find_next(wheel, &slot))
        set_next_ns(wheel, tick_ns(first_tick(wheel, slot)));
    else
        set_next_ns(wheel, CLOCK_NEVER);
}

/* Arm and cancel. */

void wheel_init(struct wheel *wheel, uint8_t number, uint64_t now_ns)
{
    *wheel = (struct wheel){.number = number,
                            .now_tick = now_ns >> WHEEL_TICK_SHIFT};
    set_next_ns(wheel, CLOCK_NEVER);
}

bool wheel_arm(struct wheel *wheel, struct thread *t, uint64_t deadline_ns)
{
    uint64_t tick = due_tick(deadline_ns);
    bool is_first;

    os_lock_acquire(&wheel->lock);
    invariant(prev_of(t) == 0);
    if (tick < wheel->now_tick)
        tick = wheel->now_tick;
    t->deadline_ns = deadline_ns;
    t->wheel = wheel->number;
    put_in(wheel, t, tick);
    wheel->count++;
    is_first = tick_ns(tick) < wheel_next_ns(wheel);
    if (is_first)
        set_next_ns(wheel, tick_ns(tick));
    os_lock_release(&wheel->lock);
    return is_first;
}

void wheel_cancel(struct wheel *wheel, struct thread *t)
{
    /* Acquire pairs with set_disarmed. */
    if (atomic_load_explicit(&t->timer_prev, memory_order_acquire) == 0)
        return;
    os_lock_acquire(&wheel->lock);
    if (prev_of(t) != 0) {
        take_out(wheel, t);
        set_disarmed(t);
        /* Looking for the new first would cost more than an early look. */
        if (--wheel->count == 0)
            set_next_ns(wheel, CLOCK_NEVER);
    }
    os_lock_release(&wheel->lock);
}

/* Expire. */

struct task_list {
    struct task *first, **end;
};

static void list_append(struct task_list *list, struct task *task)
{
    task->next = NULL;
    *list->end = task;
    list->end = &task->next;
}

static void expire_thread(struct wheel *wheel, struct thread *t,
                          struct task_list *expired)
{
    take_out(wheel, t);
    wheel->count--;
    if (thread_time_out(t))
        list_append(expired, &t->task);
    set_disarmed(t);
}

/* Deals with one thread of the next slot, which has come. */
static void step(struct wheel *wheel, struct slot slot,
                 struct task_list *expired)
{
    struct thread *t = thread_at(wheel->first[slot.level][slot.digit]);
    uint64_t tick = due_tick(t->deadline_ns);

    __builtin_prefetch(thread_at(t->timer_next), 1);
    if (tick <= wheel->now_tick) {
        expire_thread(wheel, t, expired);
    } else {
        take_out(wheel, t);
        put_in(wheel, t, tick);
    }
}

/* Moves now_tick to a slot that has come. */
static void advance_to(struct wheel *wheel, struct slot slot)
{
    wheel->now_tick = slot_tick(wheel->now_tick, slot);
    wheel->draining = (uint8_t)slot.level;
}

struct task *wheel_expire(struct wheel *wheel, uint64_t now_ns, unsigned limit)
{
    uint64_t present_tick = now_ns >> WHEEL_TICK_SHIFT;
    struct task_list expired = {NULL, &expired.first};
    struct slot slot;

    os_lock_acquire(&wheel->lock);
    for (;;) {
        if (!find_next(wheel, &slot)
            || slot_tick(wheel->now_tick, slot) > present_tick) {
            if (present_tick > wheel->now_tick)
                wheel->now_tick = present_tick;
            break;
        }
        if (limit-- == 0)
            break;
        advance_to(wheel, slot);
        step(wheel, slot, &expired);
    }
    update_next_ns(wheel);
    os_lock_release(&wheel->lock);
    return expired.first;
}
