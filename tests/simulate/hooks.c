/*
 * hooks.c - what the compiler calls in the simulated library.
 *
 * The sources of the library are compiled for TSan and linked with this file
 * in place of TSan's runtime.  So each atomic operation and each access to
 * memory comes here, whether it is written as a function of <stdatomic.h> or
 * not, and the sources know nothing of it.
 *
 * An atomic operation is a point: another context may be chosen before it.
 * A plain access is no point: in a program without races no other context
 * can tell when it is done, and races are found in any order.
 *
 * Taken as one step, without points (see --wrap in Makefile.am): objects and
 * stacks that are taken from their pools and given back, under locks that
 * are tested by themselves, and counters.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler.h"
#include "tests/simulate/machine.h"
#include "thread.h"

#define CALLER __builtin_return_address(0)

/* ---- Atomic operations -------------------------------------------------- */

/* An operation that also reads and writes sees its own stores first. */
static void before(const volatile void *object, const char *operation,
                   const void *pc)
{
    machine_point((const void *)object, operation, pc);
    if (machine_current)
        order_drain(machine_current);
}

static void looked(const volatile void *object, int order)
{
    order_load((const void *)object, order);
    order_read_newest((const void *)object);
    machine_looked((const void *)object);
}

static void changed(const volatile void *object, int order)
{
    order_read_modify_write((const void *)object, order);
    machine_changed();
}

/* Whether the store is seen late. */
static bool is_late(int order)
{
    if (!explore_delays || !machine_current || machine_quiet > 0
        || order == __ATOMIC_SEQ_CST)
        return false;
    /* Behind one that waits this one waits as well. */
    if (order_has_delayed(machine_current))
        return true;
    unsigned self = machine_current->number;
    return explore_choose(1u << self | 1u << MACHINE_DELAY, self,
                          CHOICE_DELAY)
           == MACHINE_DELAY;
}

static bool store_hook(volatile void *object, uint64_t value,
                       unsigned size_bytes, int order, const void *pc)
{
    machine_point((const void *)object, "store", pc);
    machine_changed();
    if (is_late(order)) {
        order_delay((void *)object, value, size_bytes, order);
        return true;
    }
    if (machine_current)
        order_drain(machine_current);
    order_store((const void *)object, order);
    return false;
}

#define MODIFY(bits, type, name)                                              \
    type __tsan_atomic##bits##_fetch_##name(volatile type *a, type value,     \
                                            int order);                       \
    type __tsan_atomic##bits##_fetch_##name(volatile type *a, type value,     \
                                            int order)                        \
    {                                                                         \
        before(a, #name, CALLER);                                             \
        changed(a, order);                                                    \
        type old = __atomic_fetch_##name(a, value, __ATOMIC_SEQ_CST);         \
        order_wrote((const void *)a, old, *a);                                \
        return old;                                                           \
    }

#define COMPARE(bits, type, name)                                             \
    int __tsan_atomic##bits##_compare_exchange_##name(                        \
        volatile type *a, type *expected, type value, int order,              \
        int otherwise);                                                       \
    int __tsan_atomic##bits##_compare_exchange_##name(                        \
        volatile type *a, type *expected, type value, int order,              \
        int otherwise)                                                        \
    {                                                                         \
        before(a, "compare", CALLER);                                         \
        if (__atomic_compare_exchange_n(a, expected, value, false,            \
                                        __ATOMIC_SEQ_CST,                     \
                                        __ATOMIC_SEQ_CST)) {                  \
            changed(a, order);                                                \
            order_wrote((const void *)a, *expected, value);                   \
            return 1;                                                         \
        }                                                                     \
        looked(a, otherwise);                                                 \
        return 0;                                                             \
    }

#define ATOMICS(bits, type)                                                   \
    type __tsan_atomic##bits##_load(const volatile type *a, int order);       \
    type __tsan_atomic##bits##_load(const volatile type *a, int order)        \
    {                                                                         \
        uint64_t value;                                                       \
        machine_point((const void *)a, "load", CALLER);                       \
        if (order_is_delayed((const void *)a, sizeof(type), &value))          \
            return (type)value;                                               \
        value = __atomic_load_n(a, __ATOMIC_SEQ_CST);                         \
        if (order_read_early((const void *)a, order, &value))                 \
            machine_changed(); /* the next one sees more */                   \
        else                                                                  \
            looked(a, order);                                                 \
        return (type)value;                                                   \
    }                                                                         \
    void __tsan_atomic##bits##_store(volatile type *a, type value,            \
                                     int order);                              \
    void __tsan_atomic##bits##_store(volatile type *a, type value, int order) \
    {                                                                         \
        type old;                                                             \
        if (store_hook(a, value, sizeof(type), order, CALLER))                \
            return;                                                           \
        old = __atomic_exchange_n(a, value, __ATOMIC_SEQ_CST);                \
        order_wrote((const void *)a, old, value);                             \
    }                                                                         \
    type __tsan_atomic##bits##_exchange(volatile type *a, type value,         \
                                        int order);                           \
    type __tsan_atomic##bits##_exchange(volatile type *a, type value,         \
                                        int order)                            \
    {                                                                         \
        before(a, "exchange", CALLER);                                        \
        changed(a, order);                                                    \
        type old = __atomic_exchange_n(a, value, __ATOMIC_SEQ_CST);           \
        order_wrote((const void *)a, old, value);                             \
        return old;                                                           \
    }                                                                         \
    MODIFY(bits, type, add)                                                   \
    MODIFY(bits, type, sub)                                                   \
    MODIFY(bits, type, and)                                                   \
    MODIFY(bits, type, or)                                                    \
    MODIFY(bits, type, xor)                                                   \
    COMPARE(bits, type, strong)                                               \
    COMPARE(bits, type, weak)                                                 \
    type __tsan_atomic##bits##_compare_exchange_val(                          \
        volatile type *a, type expected, type value, int order,               \
        int otherwise);                                                       \
    type __tsan_atomic##bits##_compare_exchange_val(                          \
        volatile type *a, type expected, type value, int order,               \
        int otherwise)                                                        \
    {                                                                         \
        __tsan_atomic##bits##_compare_exchange_strong(a, &expected, value,    \
                                                      order, otherwise);      \
        return expected;                                                      \
    }

ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    machine_point(NULL, "fence", CALLER);
    order_fence(order);
}

/* For the compiler only. */
void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

/* ---- Plain accesses ----------------------------------------------------- */

#define ACCESS(name, size, is_write)                                          \
    void __tsan_##name(void *address);                                        \
    void __tsan_##name(void *address)                                         \
    {                                                                         \
        order_access(address, size, is_write, CALLER);                        \
    }

#define ACCESSES(size)                                                        \
    ACCESS(read##size, size, false)                                           \
    ACCESS(write##size, size, true)                                           \
    ACCESS(unaligned_read##size, size, false)                                 \
    ACCESS(unaligned_write##size, size, true)                                 \
    ACCESS(volatile_read##size, size, false)                                  \
    ACCESS(volatile_write##size, size, true)

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void *start, size_t size_bytes);
void __tsan_read_range(void *start, size_t size_bytes)
{
    order_access(start, size_bytes, false, CALLER);
}

void __tsan_write_range(void *start, size_t size_bytes);
void __tsan_write_range(void *start, size_t size_bytes)
{
    order_access(start, size_bytes, true, CALLER);
}

/* Of newer compilers. */
void *__tsan_memset(void *to, int byte, size_t size_bytes);
void *__tsan_memset(void *to, int byte, size_t size_bytes)
{
    order_access(to, size_bytes, true, CALLER);
    return memset(to, byte, size_bytes);
}

void *__tsan_memmove(void *to, const void *from, size_t size_bytes);
void *__tsan_memmove(void *to, const void *from, size_t size_bytes)
{
    order_access(from, size_bytes, false, CALLER);
    order_access(to, size_bytes, true, CALLER);
    return memmove(to, from, size_bytes);
}

void *__tsan_memcpy(void *to, const void *from, size_t size_bytes);
void *__tsan_memcpy(void *to, const void *from, size_t size_bytes)
{
    return __tsan_memmove(to, from, size_bytes);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
    (void)pc;
}

void __tsan_func_exit(void *pc);
void __tsan_func_exit(void *pc)
{
    (void)pc;
}

/* ---- Taken as one step -------------------------------------------------- */

/* Others may come before it. */
static void enter_step(const void *object, const char *operation)
{
    machine_point(object, operation, CALLER);
    machine_quiet++;
}

static void leave_step(void)
{
    machine_quiet--;
    order_one_step();
}

struct thread *__real_thread_alloc(void);
struct thread *__wrap_thread_alloc(void);
struct thread *__wrap_thread_alloc(void)
{
    enter_step(NULL, "alloc");
    struct thread *t = __real_thread_alloc();
    leave_step();
    return t;
}

void __real_thread_free(struct thread *t);
void __wrap_thread_free(struct thread *t);
void __wrap_thread_free(struct thread *t)
{
    enter_step(t, "free");
    __real_thread_free(t);
    leave_step();
}

struct run_stack *__real_run_stack_take_own(size_t stack_size_bytes,
                                            bool insist);
struct run_stack *__wrap_run_stack_take_own(size_t stack_size_bytes,
                                            bool insist);
struct run_stack *__wrap_run_stack_take_own(size_t stack_size_bytes,
                                            bool insist)
{
    machine_quiet++;
    struct run_stack *stack = __real_run_stack_take_own(stack_size_bytes,
                                                        insist);
    leave_step();
    return stack;
}

void __real_run_stack_give_back(struct run_stack *stack);
void __wrap_run_stack_give_back(struct run_stack *stack);
void __wrap_run_stack_give_back(struct run_stack *stack)
{
    machine_quiet++;
    __real_run_stack_give_back(stack);
    leave_step();
}

bool __real_scheduler_thread_comes(struct vthread_scheduler *s,
                                   struct station *station);
bool __wrap_scheduler_thread_comes(struct vthread_scheduler *s,
                                   struct station *station);
bool __wrap_scheduler_thread_comes(struct vthread_scheduler *s,
                                   struct station *station)
{
    machine_quiet++;
    bool comes = __real_scheduler_thread_comes(s, station);
    leave_step();
    return comes;
}

void __real_scheduler_thread_ends(struct station *station);
void __wrap_scheduler_thread_ends(struct station *station);
void __wrap_scheduler_thread_ends(struct station *station)
{
    machine_quiet++;
    __real_scheduler_thread_ends(station);
    leave_step();
}

/* Of a loop that waits for another OS thread. */
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    machine_spin();
    return 0;
}
