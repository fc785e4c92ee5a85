/*
 * carrier_local.c - a pointer for each OS thread that runs virtual threads,
 * or is a platform thread.
 *
 *   local  --values-->  [value of carrier 0] --> [value of carrier 1] --> .
 *                            ^                        ^
 *   block of carrier 0  --slots[index]                |
 *   block of carrier 1  --slots[index]----------------+
 *
 * An OS thread finds its value through its block; the list is for destroying
 * them all.  A slot is written by the OS thread that has the block, and by
 * destroy, when by agreement nobody uses it.  The lists are under the lock.
 */
#include "carrier_local.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <vthread.h>

#include "escape.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "thread.h"

struct block {
    struct value *slots[VTHREAD_CARRIER_LOCALS_MAX];
};

struct value {
    struct value *next, **link; /* L: the list of its local */
    vthread_carrier_local_t *local;
    struct block *block;
    void *pointer;
};

struct vthread_carrier_local {
    unsigned index;
    void *(*constructor)(void *arg);
    void (*destructor)(void *value);
    void *arg;
    struct value *values; /* L */
};

__thread struct own_values own_values;

static struct os_lock lock;
static uint64_t used; /* L: a bit for each index */

_Static_assert(VTHREAD_CARRIER_LOCALS_MAX == 64, "bits of `used`");

/* ---- Making and getting ------------------------------------------------- */

/* Takes an index; false: all are in use. */
static bool take_index(unsigned *index)
{
    os_lock_acquire(&lock);
    bool is_full = used == UINT64_MAX;
    if (!is_full) {
        *index = (unsigned)__builtin_ctzll(~used);
        used |= UINT64_C(1) << *index;
    }
    os_lock_release(&lock);
    return !is_full;
}

int vthread_carrier_local_create(vthread_carrier_local_t **local,
                                 void *(*constructor)(void *arg),
                                 void (*destructor)(void *value), void *arg)
{
    if (!local || !constructor)
        return EINVAL;
    thread_refuse_child();
    int err = escape_check(arg, "vthread_carrier_local_create");
    if (err != 0)
        return err;
    vthread_carrier_local_t *made = memory_alloc(sizeof *made);
    if (!made)
        return ENOMEM;
    *made = (vthread_carrier_local_t){.constructor = constructor,
                                      .destructor = destructor,
                                      .arg = arg};
    if (!take_index(&made->index)) {
        memory_free(made);
        return EAGAIN;
    }
    *local = made;
    return 0;
}

static struct block *make_block(void)
{
    struct own_values *own = own_values_self();
    if (!own->block && (own->block = memory_alloc(sizeof *own->block)))
        memset(own->block, 0, sizeof *own->block);
    return own->block;
}

/* Pinned, so the OS thread stays the same.  Nothing is kept while the
 * constructor runs, for it may end the thread. */
static struct value *make_value(vthread_carrier_local_t *local)
{
    struct block *block = make_block();
    void *pointer = block ? local->constructor(local->arg) : NULL;
    struct value *value = pointer ? memory_alloc(sizeof *value) : NULL;
    if (pointer && !value && local->destructor)
        local->destructor(pointer);
    if (!value)
        return NULL;
    *value = (struct value){.local = local, .block = block,
                            .pointer = pointer};
    os_lock_acquire(&lock);
    value->next = local->values;
    value->link = &local->values;
    if (value->next)
        value->next->link = &value->next;
    local->values = value;
    os_lock_release(&lock);
    block->slots[local->index] = value;
    return value;
}

void *vthread_carrier_local_get(vthread_carrier_local_t *local)
{
    struct block *block = own_values_self()->block;
    struct value *value = block ? block->slots[local->index] : NULL;
    if (likely(value != NULL))
        return value->pointer;
    /* Becomes known, so that the value is destroyed at its end; and pinned,
     * should the constructor wait all the same. */
    if (vthread_pin() != 0)
        return NULL;
    value = make_value(local);
    vthread_unpin();
    return value ? value->pointer : NULL;
}

/* ---- Destroying --------------------------------------------------------- */

/* Takes it out of list and slot.  Under the lock. */
static void unlink_value(struct value *value)
{
    *value->link = value->next;
    if (value->next)
        value->next->link = value->link;
    value->block->slots[value->local->index] = NULL;
}

static void destroy_value(struct value *value,
                          void (*destructor)(void *value))
{
    if (destructor)
        destructor(value->pointer);
    memory_free(value);
}

static struct value *take_first(vthread_carrier_local_t *local)
{
    os_lock_acquire(&lock);
    struct value *value = local->values;
    if (value)
        unlink_value(value);
    os_lock_release(&lock);
    return value;
}

int vthread_carrier_local_destroy(vthread_carrier_local_t *local)
{
    if (!local)
        return EINVAL;
    struct value *value;
    while ((value = take_first(local)) != NULL)
        destroy_value(value, local->destructor);
    os_lock_acquire(&lock);
    used &= ~(UINT64_C(1) << local->index);
    os_lock_release(&lock);
    memory_free(local);
    return 0;
}

/* Any value of the block, or NULL.  The destructor is read under the lock:
 * afterwards the local may be gone. */
static struct value *take_any(struct block *block,
                              void (**destructor)(void *value))
{
    struct value *value = NULL;
    os_lock_acquire(&lock);
    for (unsigned i = 0; i < VTHREAD_CARRIER_LOCALS_MAX && !value; i++)
        value = block->slots[i];
    if (value) {
        unlink_value(value);
        *destructor = value->local->destructor;
    }
    os_lock_release(&lock);
    return value;
}

void carrier_local_leave(void)
{
    struct block *block = own_values_self()->block;
    struct value *value;
    void (*destructor)(void *value);
    if (!block)
        return;
    while ((value = take_any(block, &destructor)) != NULL)
        destroy_value(value, destructor);
    own_values_self()->block = NULL;
    memory_free(block);
}
