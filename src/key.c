/*
 * key.c - keys, and each thread's values.
 *
 * A key is a slot and a generation, odd while the key is in use.  A thread
 * has an array of values by slot, as long as the highest it has used, each
 * with the generation of the key it was set for; so a deleted key's values
 * are recognised, and nobody has to visit the threads.
 *
 * The slots are changed under the lock and read without.
 */
#include "key.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <vthread/key.h>

#include "local.h"
#include "platform/futex.h"
#include "platform/memory.h"

#define VALUES_FIRST 4

struct slot {
    _Atomic uint32_t generation;                  /* A */
    void (*_Atomic destructor)(void *value);      /* A */
};

struct value {
    uint32_t generation;
    void *pointer;
};

struct key_values {
    uint32_t count;
    struct value values[];
};

static struct os_lock lock;
static struct slot slots[VTHREAD_KEYS_MAX];

/* ---- Keys --------------------------------------------------------------- */

static uint32_t generation_of(vthread_key_t key)
{
    return (uint32_t)(key >> 32);
}

/* Beyond all slots for key 0. */
static uint32_t index_of(vthread_key_t key)
{
    return (uint32_t)key - 1;
}

/* The generation of a slot now, acquired: the destructor read after it is
 * that key's, or a later one's. */
static uint32_t generation_at(uint32_t index)
{
    return atomic_load_explicit(&slots[index].generation,
                                memory_order_acquire);
}

static bool is_valid(vthread_key_t key)
{
    return index_of(key) < VTHREAD_KEYS_MAX && generation_of(key) % 2 == 1
           && generation_at(index_of(key)) == generation_of(key);
}

/* The first slot that is free, or VTHREAD_KEYS_MAX.  Under the lock. */
static uint32_t find_free(void)
{
    uint32_t index = 0;
    while (index < VTHREAD_KEYS_MAX && generation_at(index) % 2 == 1)
        index++;
    return index;
}

/* From free to in use or back.  Under the lock. */
static uint32_t next_generation(uint32_t index)
{
    uint32_t generation = generation_at(index) + 1;
    /* Releases the destructor; pairs with generation_at. */
    atomic_store_explicit(&slots[index].generation, generation,
                          memory_order_release);
    return generation;
}

int vthread_key_create(vthread_key_t *key, void (*destructor)(void *value))
{
    if (!key)
        return EINVAL;
    thread_refuse_child();
    os_lock_acquire(&lock);
    uint32_t index = find_free();
    if (index < VTHREAD_KEYS_MAX) {
        /* Release: who reads it sees that the slot was free before; pairs
         * with the fence in take. */
        atomic_store_explicit(&slots[index].destructor, destructor,
                              memory_order_release);
        *key = (uint64_t)next_generation(index) << 32 | (index + 1);
    }
    os_lock_release(&lock);
    return index < VTHREAD_KEYS_MAX ? 0 : EAGAIN;
}

int vthread_key_delete(vthread_key_t key)
{
    thread_refuse_child();
    os_lock_acquire(&lock);
    bool was_valid = is_valid(key);
    if (was_valid)
        next_generation(index_of(key));
    os_lock_release(&lock);
    return was_valid ? 0 : EINVAL;
}

/* ---- Values ------------------------------------------------------------- */

/* The calling thread's place for the key, or NULL. */
static struct value *find(struct thread_extra *extra, vthread_key_t key)
{
    struct key_values *values = extra ? extra->values : NULL;
    if (!values || index_of(key) >= values->count)
        return NULL;
    return &values->values[index_of(key)];
}

/* Makes room for as many slots.  0 or ENOMEM. */
static int grow(struct thread_extra *extra, uint32_t count)
{
    struct key_values *old = extra->values;
    uint32_t had = old ? old->count : 0, size = VALUES_FIRST;
    while (size < count)
        size *= 2;
    struct key_values *values = memory_alloc(
        sizeof *values + size * sizeof values->values[0]);
    if (!values)
        return ENOMEM;
    values->count = size;
    if (old)
        memcpy(values->values, old->values, had * sizeof old->values[0]);
    memset(&values->values[had], 0, (size - had) * sizeof values->values[0]);
    memory_free(old);
    extra->values = values;
    return 0;
}

int vthread_key_set(vthread_key_t key, void *pointer)
{
    struct thread *self = thread_self();
    if (!is_valid(key))
        return EINVAL;
    struct value *value = self ? find(thread_extra(self), key) : NULL;
    if (!value && !pointer)
        return 0;
    struct thread_extra *extra = self ? thread_make_extra(self) : NULL;
    if (!extra || (!value && grow(extra, index_of(key) + 1) != 0))
        return ENOMEM;
    *find(extra, key) = (struct value){generation_of(key), pointer};
    return 0;
}

void *vthread_key_get(vthread_key_t key)
{
    struct thread *self = local_thread(local_self());
    if (unlikely(!self))
        thread_refuse_child();
    struct value *value = self ? find(thread_extra(self), key) : NULL;
    if (!value || value->generation != generation_of(key) || !is_valid(key))
        return NULL;
    return value->pointer;
}

/* ---- The end of a thread ------------------------------------------------ */

/* Takes the value at that index if it has to be destroyed. */
static void *take(struct thread_extra *extra, uint32_t index,
                  void (**destructor)(void *value))
{
    struct value *value = &extra->values->values[index];
    void *pointer = value->pointer;
    if (!pointer || generation_at(index) != value->generation)
        return NULL;
    *destructor = atomic_load_explicit(&slots[index].destructor,
                                       memory_order_relaxed);
    /* If the key is being deleted, and its slot used anew, the destructor
     * may be another's; the fence has the second look see that.  Pairs with
     * the release in vthread_key_create. */
    atomic_thread_fence(memory_order_acquire);
    if (!*destructor || generation_at(index) != value->generation)
        return NULL;
    value->pointer = NULL;
    return pointer;
}

static bool run_round(struct thread_extra *extra)
{
    bool was_due = false;
    for (uint32_t i = 0; i < extra->values->count; i++) {
        void (*destructor)(void *value);
        void *pointer = take(extra, i, &destructor);
        if (pointer) {
            was_due = true;
            destructor(pointer);
        }
    }
    return was_due;
}

bool key_run_destructors(struct thread_extra *extra)
{
    if (!extra->values)
        return false;
    if (extra->key_rounds++ < VTHREAD_DESTRUCTOR_ROUNDS && run_round(extra))
        return true;
    memory_free(extra->values);
    extra->values = NULL;
    return false;
}
