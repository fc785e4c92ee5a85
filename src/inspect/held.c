/*
 * held.c - the tables of held locks, one for each OS thread.
 *
 * An entry of a lock raises the pins of the continuation that runs, and of
 * the thread that it belongs to, when it comes, and lowers them when it goes;
 * so a thread is pinned as long as it has an entry.  vthread_pin raises pins
 * by itself (bind.c): its entries are for reports.
 *
 * Invariant: entries[0..count) are those that are held, oldest first.  Only
 * the OS thread itself changes its table; another that releases one of its
 * locks leaves the lock's address in `given`, and the entry is dropped when
 * the thread waits next, or takes the lock again.
 *
 * A table comes with the first lock or pin of an OS thread, and goes back for
 * others to use when the OS thread ends.  Tables are never freed, so observers
 * need no lock.
 *
 * Not here: waiting for locks (lock_wait.c), and what is told of all this.
 */
#include "inspect/held.h"

#include <limits.h>
#include <pthread.h>

#include "continuation/mount.h"
#include "local.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/sanitizer.h"
#include "thread.h"

enum { FIRST_TABLES = 64, PINS_MAX = UINT16_MAX };

__thread struct held_local held_local;

/* The first ones need no allocator, which may lock itself. */
static struct held first_tables[FIRST_TABLES];
static _Atomic uint32_t first_used;
struct held *_Atomic held_tables;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

/* ---- Tables ------------------------------------------------------------- */

struct held *held_first(void)
{
    /* Acquire: the tables in the list; pairs with add_table. */
    return atomic_load_explicit(&held_tables, memory_order_acquire);
}

/* The OS thread ends.  Destructors called after this one may lock as well,
 * so it asks to be called again as often as it is. */
static void detach(void *table)
{
    struct held *held = table;
    if (++held->end_rounds < SANITIZER_DESTRUCTOR_ROUNDS
        && pthread_setspecific(key, held) == 0)
        return;
    held_local_self()->held = NULL;
    held->end_rounds = 0;
    atomic_store_explicit(&held->count, 0, memory_order_relaxed);
    /* Release: it is clear for who takes it next; pairs with take_free. */
    atomic_store_explicit(&held->os_thread, 0, memory_order_release);
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, detach) == 0;
}

/* One whose OS thread has ended. */
static struct held *take_free(uint32_t os_thread)
{
    for (struct held *held = held_first(); held; held = held_next(held)) {
        uint32_t none = 0;
        /* Relaxed: a guess. */
        if (atomic_load_explicit(&held->os_thread, memory_order_relaxed) == 0
            && atomic_compare_exchange_strong_explicit(
                &held->os_thread, &none, os_thread, memory_order_acquire,
                memory_order_relaxed))
            return held;
    }
    return NULL;
}

static struct held *make_table(void)
{
    /* Relaxed: nothing but the number matters. */
    uint32_t number = atomic_load_explicit(&first_used, memory_order_relaxed);
    while (number < FIRST_TABLES)
        if (atomic_compare_exchange_weak_explicit(
                &first_used, &number, number + 1, memory_order_relaxed,
                memory_order_relaxed))
            return &first_tables[number];
    struct held *held = memory_alloc_aligned(CACHE_LINE, sizeof *held);
    if (held)
        *held = (struct held){.next = NULL};
    return held;
}

static struct held *add_table(uint32_t os_thread)
{
    struct held *held = make_table();
    if (!held)
        return NULL;
    atomic_store_explicit(&held->os_thread, os_thread, memory_order_relaxed);
    held->next = held_first();
    /* Release: the table is complete; pairs with held_first. */
    while (!atomic_compare_exchange_weak_explicit(
        &held_tables, &held->next, held, memory_order_release,
        memory_order_relaxed))
        continue;
    return held;
}

struct held *held_attach(void)
{
    struct held_local *here = held_local_self();
    if (here->held || here->is_attaching || SANITIZER_IS_SIMULATION)
        return here->held;
    here->is_attaching = true;
    uint32_t os_thread = (uint32_t)os_thread_number();
    pthread_once(&once, make_key);
    struct held *held = take_free(os_thread);
    if (!held)
        held = add_table(os_thread);
    here->held = held;
    if (held && has_key)
        pthread_setspecific(key, held);
    here->is_attaching = false;
    return held;
}

/* ---- Entries ------------------------------------------------------------ */

/* All loads and stores of entries are relaxed: they are the OS thread's own,
 * and what observers make of them is said in held.h. */
#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define SET(field, value)                                                     \
    atomic_store_explicit(&(field), value, memory_order_relaxed)

static struct held_entry *find(struct held *held, const void *lock)
{
    for (uint32_t i = GET(held->count); i-- > 0;)
        if (GET(held->entries[i].object) == lock
            && GET(held->entries[i].kind) != VTHREAD_HOLD_PIN)
            return &held->entries[i];
    return NULL;
}

/* The thread's own continuation, or NULL. */
static struct continuation *outermost(struct thread *self)
{
    return self && self->continuation.kind ? &self->continuation : NULL;
}

static bool raise_pins(struct continuation *c)
{
    if (!c || c->pins == PINS_MAX)
        return false;
    c->pins++;
    return true;
}

__attribute__((noinline)) static struct held_pins
raise_both(struct continuation *inner, struct continuation *outer)
{
    struct held_pins pins = {NULL, NULL};
    pins.inner = raise_pins(inner) ? inner : NULL;
    pins.outer = raise_pins(outer) ? outer : NULL;
    return pins;
}

__attribute__((always_inline)) static inline struct held_pins
raise_all(struct thread *self)
{
    struct continuation *inner = mount_point_self()->current;
    if (likely(!inner))
        return (struct held_pins){NULL, NULL};
    if (likely(inner == &self->continuation && inner->pins < PINS_MAX)) {
        inner->pins++;
        return (struct held_pins){inner, NULL};
    }
    struct continuation *outer = outermost(self);
    return raise_both(inner, outer != inner ? outer : NULL);
}

static void lower_all(struct held_pins pins)
{
    if (pins.inner)
        pins.inner->pins--;
    if (unlikely(pins.outer != NULL))
        pins.outer->pins--;
}

/* NULL: the table is full. */
__attribute__((always_inline)) static inline struct held_entry *
add(struct held *held, const void *object, uint32_t kind, const void *site)
{
    uint32_t count = GET(held->count);
    if (unlikely(count == HELD_MAX))
        return NULL;
    struct held_entry *entry = &held->entries[count];
    SET(entry->object, object);
    SET(entry->site, site);
    SET(entry->given, NULL);
    SET(entry->owner, local_thread(local_self()));
    SET(entry->count, 1);
    SET(entry->kind, kind);
    SET(held->count, count + 1);
    return entry;
}

static void copy_entry(struct held_entry *to, const struct held_entry *from)
{
    SET(to->object, GET(from->object));
    SET(to->site, GET(from->site));
    SET(to->given, GET(from->given));
    SET(to->owner, GET(from->owner));
    SET(to->count, GET(from->count));
    SET(to->kind, GET(from->kind));
    to->pins = from->pins;
}

static void drop(struct held *held, struct held_entry *entry)
{
    uint32_t last = GET(held->count) - 1;
    for (; entry < &held->entries[last]; entry++)
        copy_entry(entry, entry + 1);
    SET(held->count, last);
}

/* A lock's entry goes, whatever its count. */
static void drop_lock(struct held *held, struct held_entry *entry)
{
    lower_all(entry->pins);
    drop(held, entry);
}

/* ---- Pins --------------------------------------------------------------- */

void held_pin(const char *why, const void *site)
{
    struct held *held = held_self();
    if (held)
        add(held, why, VTHREAD_HOLD_PIN, site);
}

/* The last one: pins nest.  One that found the table full is not there. */
void held_unpin(void)
{
    struct held *held = held_local_self()->held;
    if (!held)
        return;
    for (uint32_t i = GET(held->count); i-- > 0;)
        if (GET(held->entries[i].kind) == VTHREAD_HOLD_PIN) {
            drop(held, &held->entries[i]);
            return;
        }
}

struct held_pins held_upcall_begin(void)
{
    struct held *held = held_self();
    if (held)
        held->upcalls++;
    return raise_all(local_thread(local_self()));
}

void held_upcall_end(struct held_pins pins)
{
    struct held *held = held_local_self()->held;
    lower_all(pins);
    if (held && held->upcalls > 0)
        held->upcalls--;
}

/* ---- Locks -------------------------------------------------------------- */

struct held_left_out held_left_out;

void held_leave_out(uintptr_t low, size_t size_bytes)
{
    held_left_out = (struct held_left_out){low, size_bytes};
}

/* With the table full. */
__attribute__((noinline, cold)) static void take_unlisted(struct held *held)
{
    raise_all(local_thread(local_self()));
    held->unlisted++;
}

/* Taken at the same address: once more, or anew after another thread has
 * released it. */
static void take_again(struct held_entry *entry, const void *lock,
                       const void *site)
{
    if (unlikely(GET(entry->given) == lock)) {
        SET(entry->given, NULL);
        SET(entry->site, site);
        SET(entry->count, 1);
    } else {
        SET(entry->count, GET(entry->count) + 1);
    }
}

void vthread_lock_taken(const void *lock, vthread_hold_kind_t kind,
                        const void *site)
{
    struct held *held = held_is_left_out(lock) ? NULL : held_self();
    if (unlikely(!held))
        return;
    if (!site)
        site = __builtin_return_address(0);
    struct held_entry *entry = GET(held->count) > 0 ? find(held, lock) : NULL;
    if (unlikely(entry != NULL)) {
        take_again(entry, lock, site);
        return;
    }
    entry = add(held, lock, kind, site);
    if (likely(entry != NULL))
        entry->pins = raise_all(GET(entry->owner));
    else
        take_unlisted(held);
}

enum oddity { OTHER_RELEASED, HELD_AT_END, GONE_WHILE_HELD, ODDITIES };

/* Once for the process: the program does it again and again, or never. */
static void tell_once(enum oddity oddity, const void *lock)
{
    static const char *const words[ODDITIES] = {
        [OTHER_RELEASED] = "was released by another thread than took it",
        [HELD_AT_END] = "was held by a virtual thread at its end",
        [GONE_WHILE_HELD]
        = "was destroyed, or initialised anew, while it was held",
    };
    static _Atomic bool told[ODDITIES];
    /* Relaxed: nothing depends on who is first. */
    if (!atomic_exchange_explicit(&told[oddity], true, memory_order_relaxed))
        report("lock %p %s; this is told once only", lock, words[oddity]);
}

/* The calling thread has not taken it.  Looks for who has. */
__attribute__((noinline, cold)) static void
release_of_another(struct held *self, const void *lock)
{
    for (struct held *held = held_first(); held; held = held_next(held)) {
        struct held_entry *entry = held != self ? find(held, lock) : NULL;
        if (entry && GET(entry->given) != lock) {
            SET(entry->given, lock);
            tell_once(OTHER_RELEASED, lock);
            return;
        }
    }
}

static void release_unlisted(struct held *held, const void *lock)
{
    struct continuation *inner = mount_point_self()->current;
    struct thread *self = local_thread(local_self());
    struct continuation *outer = outermost(self);
    if (held->unlisted == 0) {
        release_of_another(held, lock);
        return;
    }
    held->unlisted--;
    if (inner && inner->pins > 0)
        inner->pins--;
    if (outer && outer != inner && outer->pins > 0)
        outer->pins--;
}

__attribute__((noinline)) static void release(struct held *held,
                                              const void *lock)
{
    struct held_entry *entry = find(held, lock);
    uint32_t count = entry ? GET(entry->count) : 0;
    if (!entry)
        release_unlisted(held, lock);
    else if (count == 1)
        drop_lock(held, entry);
    else
        SET(entry->count, count - 1);
}

/* Mostly the one that was taken last. */
void vthread_lock_released(const void *lock)
{
    struct held *held = held_is_left_out(lock) ? NULL : held_self();
    if (unlikely(!held))
        return;
    uint32_t count = GET(held->count);
    struct held_entry *entry = &held->entries[count > 0 ? count - 1 : 0];
    if (unlikely(count == 0 || GET(entry->object) != lock
                 || GET(entry->count) != 1
                 || GET(entry->kind) == VTHREAD_HOLD_PIN)) {
        release(held, lock);
        return;
    }
    lower_all(entry->pins);
    SET(held->count, count - 1);
}

void vthread_lock_forget(const void *lock)
{
    struct held *held = held_local_self()->held;
    struct held_entry *entry = held ? find(held, lock) : NULL;
    if (!entry)
        return;
    drop_lock(held, entry);
    tell_once(GONE_WHILE_HELD, lock);
}

vthread_lock_place_t vthread_lock_suspend(const void *lock)
{
    vthread_lock_place_t place = {.site = NULL};
    struct held *held = held_local_self()->held;
    struct held_entry *entry = held ? find(held, lock) : NULL;
    if (!entry)
        return place;
    place.site = GET(entry->site);
    place.private_[0] = GET(entry->count);
    place.private_[1] = GET(entry->kind);
    drop_lock(held, entry);
    return place;
}

void vthread_lock_resume(const void *lock, const vthread_lock_place_t *place)
{
    struct held *held = held_self();
    if (!held || !place || !place->site)
        return;
    struct held_entry *entry = add(held, lock, place->private_[1],
                                   place->site);
    if (!entry) {
        take_unlisted(held);
        return;
    }
    SET(entry->count, place->private_[0]);
    entry->pins = raise_all(GET(entry->owner));
}

/* ---- Looking ------------------------------------------------------------ */

void held_drop_given(struct held *held)
{
    for (uint32_t i = GET(held->count); i-- > 0;) {
        struct held_entry *entry = &held->entries[i];
        if (GET(entry->kind) != VTHREAD_HOLD_PIN
            && GET(entry->given) == GET(entry->object))
            drop_lock(held, entry);
    }
}

void held_thread_ends(void)
{
    struct held *held = held_local_self()->held;
    if (!held)
        return;
    held_drop_given(held);
    for (uint32_t i = GET(held->count); i-- > 0;) {
        struct held_entry *entry = &held->entries[i];
        if (GET(entry->kind) == VTHREAD_HOLD_PIN) {
            drop(held, entry);
            continue;
        }
        tell_once(HELD_AT_END, GET(entry->object));
        drop_lock(held, entry);
    }
    held->unlisted = held->upcalls = 0;
}

/* Its locks are the thread's from now on, and pin that one as before. */
void held_continuation_ends(const struct continuation *c)
{
    struct held *held = held_local_self()->held;
    for (uint32_t i = held ? GET(held->count) : 0; i-- > 0;)
        if (GET(held->entries[i].kind) != VTHREAD_HOLD_PIN
            && held->entries[i].pins.inner == c)
            held->entries[i].pins.inner = NULL;
}

bool held_find_holder(const void *lock, struct thread **owner,
                      uint32_t *os_thread)
{
    for (struct held *held = held_first(); held; held = held_next(held)) {
        /* Relaxed: as above. */
        *os_thread = GET(held->os_thread);
        struct held_entry *entry = *os_thread ? find(held, lock) : NULL;
        if (entry && GET(entry->given) != lock) {
            *owner = GET(entry->owner);
            return true;
        }
    }
    return false;
}
