/*
 * request.c - a detached call: all that it needs in one block of the heap,
 * which outlives a caller that gives it up.
 *
 * Not here: the OS threads that make them (offload.c).
 *
 * The word of a request, and whose the block is:
 *
 *   from      to         who         when
 *   --------  ---------  ----------  --------------------------------------
 *   WAITING   RUNNING    the worker  it begins the call
 *   WAITING   ABANDONED  the caller  its wait has ended early; the worker
 *                                    will find that, and free the block
 *   RUNNING   DONE       the worker  the call has returned; wakes the caller,
 *                                    who frees the block
 *   RUNNING   ABANDONED  the caller  the worker frees the block
 *
 * While a job is queued no worker knows of it.  A caller whose wait has ended
 * early takes it out of the queue first, and then the block is its own again
 * (offload_remove: under the lock of the queue it is there, or a worker's).
 * Only if it is not there does it change the word.  Who finds the other's
 * change has lost: the worker ABANDONED, the caller DONE, and then the wake-up
 * is certain to come.  So a block is freed once, by whoever is last.
 *
 * What the caller passes is copied to the block before the job is submitted,
 * and back by the caller itself, when it runs: so nobody reaches for a stack
 * that is not there.
 *
 * tests/models/request.pml is this protocol.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <vthread.h>

#include "call/call.h"
#include "call/offload.h"
#include "escape.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/panic.h"

enum word { WAITING, RUNNING, DONE, ABANDONED };

enum { ALIGNMENT_BYTES = 16 };

/* What is copied back. */
struct copy {
    void *to;
    const void *from; /* in the block */
    size_t size_bytes;
};

/* I: before it is submitted; W: the worker's, then, when it is DONE, the
 * caller's; A: atomic. */
struct request {
    struct offload_job job;
    _Atomic uint32_t word;               /* A: enum word */
    int error;                           /* W: errno of the call */
    struct thread *caller;               /* I */
    struct vthread_signature *signature; /* I: kept */
    void (*fn)(void);                    /* I */
    bool is_interruptible;               /* I */
    bool has_failed;                     /* W: it cannot be interrupted, so
                                            the call was not made */
    struct os_interrupt interrupt;
    void *result;                        /* I: in the block, like these: */
    void **args;                         /* I */
    struct copy *copies;                 /* I: with the result */
    unsigned copy_count;                 /* I */
};

static void free_request(struct request *r)
{
    signature_release(r->signature);
    memory_free(r);
}

/* ---- What it consists of ------------------------------------------------ */

/* Room in the block; measured first, without a block. */
struct room {
    char *block;       /* NULL: only measured */
    size_t used_bytes;
    bool is_too_large;
};

static void *take(struct room *room, size_t size_bytes)
{
    void *place = room->block ? room->block + room->used_bytes : NULL;
    size_t rounded;
    if (__builtin_add_overflow(size_bytes, ALIGNMENT_BYTES - 1, &rounded)
        || __builtin_add_overflow(room->used_bytes,
                                  rounded & ~(size_t)(ALIGNMENT_BYTES - 1),
                                  &room->used_bytes)
        || room->used_bytes > PTRDIFF_MAX)
        room->is_too_large = true;
    return place;
}

static size_t integer_value(const ffi_type *type, const void *from)
{
    uint64_t value;
    if (type->size < sizeof(ffi_arg))
        return (size_t)signature_load_small(type, from);
    memcpy(&value, from, sizeof value);
    return (size_t)value;
}

/* Of what the pointer points to; false: it is passed as it is. */
static bool size_of_copy(const struct site *site,
                         const struct vthread_signature *signature,
                         unsigned argument, void *const args[],
                         size_t *size_bytes, unsigned *direction)
{
    const struct vthread_call_pointer *p = site_pointer(site, argument);
    *direction = p ? p->direction : VTHREAD_CALL_IN;
    if (p && p->size_bytes > 0)
        *size_bytes = p->size_bytes;
    else if (p)
        *size_bytes = integer_value(signature->given[p->size_argument],
                                    args[p->size_argument]);
    else if (signature_is_string(signature, argument)
             && *(char *const *)args[argument])
        *size_bytes = strlen(*(char *const *)args[argument]) + 1;
    else
        return false;
    return *(void *const *)args[argument] != NULL;
}

/* The place of one argument in the block, with its value. */
static void *lay_out_argument(struct room *room, struct request *r,
                              const struct site *site,
                              struct vthread_signature *signature,
                              unsigned i, void *const args[])
{
    size_t size_bytes = signature->given[i]->size, copy_bytes;
    unsigned direction;
    void *value = take(room, size_bytes);
    if (value)
        memcpy(value, args[i], size_bytes);
    if (signature->given[i]->type != FFI_TYPE_POINTER
        || !size_of_copy(site, signature, i, args, &copy_bytes, &direction))
        return value;
    void *copy = take(room, copy_bytes);
    if (!copy)
        return value;
    void *outside = *(void **)value;
    *(void **)value = copy;
    if (direction & VTHREAD_CALL_IN)
        memcpy(copy, outside, copy_bytes);
    else
        memset(copy, 0, copy_bytes);
    if (direction & VTHREAD_CALL_OUT)
        r->copies[r->copy_count++] = (struct copy){outside, copy, copy_bytes};
    return value;
}

/* The same way twice: to measure, and to fill. */
static void lay_out(struct room *room, struct request *r,
                    const struct site *site,
                    struct vthread_signature *signature, void *result,
                    void *const args[])
{
    unsigned count = signature->cif.nargs;
    const ffi_type *type = signature->cif.rtype;
    size_t result_bytes = type->type == FFI_TYPE_VOID ? 0 : type->size;
    take(room, sizeof *r);
    void **places = take(room, count * sizeof *places);
    struct copy *copies = take(room,
                               (site->pointer_count + 1) * sizeof *copies);
    void *own_result = take(room, result_bytes);
    if (room->block) {
        r->args = places;
        r->copies = copies;
        r->result = own_result;
    }
    for (unsigned i = 0; i < count; i++) {
        void *value = lay_out_argument(room, r, site, signature, i, args);
        if (room->block)
            places[i] = value;
    }
    if (room->block && result && result_bytes > 0)
        r->copies[r->copy_count++] =
            (struct copy){result, own_result, result_bytes};
}

static struct request *create(const struct site *site,
                              struct vthread_signature *signature,
                              void (*fn)(void), void *result,
                              void *const args[])
{
    struct room room = {.block = NULL};
    lay_out(&room, NULL, site, signature, result, args);
    struct request *r = room.is_too_large ? NULL
                                          : memory_alloc(room.used_bytes);
    if (!r)
        return NULL;
    *r = (struct request){
        .signature = signature,
        .fn = fn,
        .is_interruptible = site->flags & VTHREAD_CALL_INTERRUPTIBLE,
    };
    signature_retain(signature);
    room = (struct room){.block = (char *)r};
    lay_out(&room, r, site, signature, result, args);
    return r;
}

/* ---- Pointers to stacks ------------------------------------------------- */

/* The first pointer to a stack in a value; NULL: there is none. */
static const void *find_stack_address(const ffi_type *type, const char *value)
{
    if (type->type == FFI_TYPE_POINTER) {
        const void *address = *(void *const *)value;
        return escape_is_on_stack(address) ? address : NULL;
    }
    size_t offset = 0;
    if (type->type != FFI_TYPE_STRUCT)
        return NULL;
    for (ffi_type **member = type->elements; *member; member++) {
        size_t alignment = (*member)->alignment;
        offset = (offset + alignment - 1) / alignment * alignment;
        const void *found = find_stack_address(*member, value + offset);
        if (found)
            return found;
        offset += (*member)->size;
    }
    return NULL;
}

static int refuse_stack(struct site *site, unsigned argument,
                        const void *address)
{
    char name[80] = "a thread";
    struct thread *self = local_thread(local_self());
    if (self)
        thread_describe(self, name, sizeof name);
    if (site_tells(site, SITE_TOLD_STACK))
        report("vthread_call: %s passes %p, an address on a stack, as "
               "argument %u of a detached call, which would reach for it "
               "while that stack is another's. Declare the argument in the "
               "site's pointers, as IN, OUT or INOUT with its size; or pass "
               "heap memory; or let the call be VTHREAD_CALL_BLOCKING",
               name, address, argument);
    return EFAULT;
}

static int check_pointers(struct site *site,
                          const struct vthread_signature *signature,
                          void *const args[])
{
    for (unsigned i = 0; i < signature->cif.nargs; i++) {
        if (signature_is_string(signature, i) || site_pointer(site, i))
            continue;
        const void *address = find_stack_address(signature->given[i],
                                                 args[i]);
        if (address)
            return refuse_stack(site, i, address);
    }
    return 0;
}

/* ---- The worker --------------------------------------------------------- */

/* Acquire and release: what each side did before, the other sees after; both
 * ends are in this file. */
static bool change(struct request *r, enum word from, enum word to)
{
    uint32_t word = from;
    return atomic_compare_exchange_strong_explicit(
        &r->word, &word, to, memory_order_acq_rel, memory_order_acquire);
}

static void make_call(struct request *r)
{
    if (r->is_interruptible
        && os_interrupt_open(&r->interrupt, VTHREAD_NEVER) != 0) {
        r->has_failed = true;
        return;
    }
    errno = 0;
    signature_call(r->signature, r->fn, r->result, r->args);
    r->error = errno;
    if (r->is_interruptible)
        os_interrupt_close(&r->interrupt);
}

static void run(struct offload_job *job)
{
    struct request *r = (struct request *)job;
    if (change(r, WAITING, RUNNING)) {
        struct thread *caller = r->caller;
        if (trace_is_on())
            trace_note(TRACE_CALL, 0);
        trace_call((uintptr_t)r->fn);
        make_call(r);
        if (trace_is_on())
            trace_note(TRACE_CALL_END, 0);
        if (change(r, RUNNING, DONE)) {
            thread_wake(caller);
            return;
        }
    }
    free_request(r);
}

/* ---- The caller --------------------------------------------------------- */

/* The wait has ended with err.  0: the call has returned all the same; an
 * interrupt counts as not seen then.  Else: the block is gone, or its
 * worker's. */
static int give_up(struct request *r, struct thread *self, int err)
{
    if (offload_remove(&r->job)) {
        free_request(r);
        return err;
    }
    if (change(r, WAITING, ABANDONED))
        return err;
    if (r->is_interruptible)
        os_interrupt_fire(&r->interrupt);
    else if (change(r, RUNNING, ABANDONED))
        return err;
    thread_wait_out(self, err);
    return 0;
}

/* Whether the deadline or a cancellation has ended the call. */
static int cause_of_end(const struct request *r, int ended_by)
{
    if (!r->is_interruptible || r->error != EINTR)
        return 0;
    return ended_by == ECANCELED ? vthread_testcancel() : ended_by;
}

static void copy_back(const struct request *r, int *error)
{
    for (unsigned i = 0; i < r->copy_count; i++)
        memcpy(r->copies[i].to, r->copies[i].from, r->copies[i].size_bytes);
    if (error)
        *error = r->error;
}

/* What would end the wait before it begins: then the call is not made. */
static int look_before(uint64_t deadline_ns)
{
    if (deadline_ns != VTHREAD_NEVER && deadline_ns <= clock_now_ns())
        return ETIMEDOUT;
    return vthread_testcancel();
}

int request_call(struct site *site, struct vthread_signature *signature,
                 void (*fn)(void), void *result, void *const args[],
                 int *error, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    int err = self ? check_pointers(site, signature, args) : ENOMEM;
    if (err == 0)
        err = look_before(deadline_ns);
    if (err != 0)
        return err;
    struct request *r = create(site, signature, fn, result, args);
    if (!r)
        return ENOMEM;
    r->caller = self;
    r->job.run = run;
    err = offload_submit(&r->job, site->flags & VTHREAD_CALL_NOWAIT);
    if (err != 0) {
        free_request(r);
        return err;
    }
    int ended_by = thread_wait_for(self, FOR_CALL, deadline_ns, true);
    if (ended_by != 0 && (err = give_up(r, self, ended_by)) != 0)
        return err;
    err = r->has_failed ? ENOMEM : cause_of_end(r, ended_by);
    if (!r->has_failed)
        copy_back(r, error);
    free_request(r);
    return err;
}
