/*
 * machine.c - contexts, and how one takes over from another; sleeping in the
 * simulated kernel; the clock.
 *
 * This takes the place of src/platform/futex.c and clock.c, and of OS
 * threads.  Not here: who goes on (explore.c), what order operations have
 * (order.c), tasks (pool.c).
 *
 * Invariant: `local`, `mount_point` and `own_values` are those of
 * machine_current; of the other contexts they are kept in the context.
 */
#include "tests/simulate/machine.h"

#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "continuation/switch.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "thread.h"

#define STACK_BYTES ((size_t)256 * 1024)
/* After so many looks in a row, or at the same object, and every few from
 * then on, a context is taken to wait for others. */
#define LOOKS_MAX 32
#define LOOKS_SAME_MAX 6
#define LOOKS_AGAIN 4

struct context machine_contexts[MACHINE_CONTEXTS];
struct context *machine_current;
unsigned machine_quiet;
uint64_t machine_now_ns;

static struct context explorer;
static bool is_traced;

/* ---- Who can go on ------------------------------------------------------ */

static bool is_enabled(const struct context *c)
{
    if (!c->main)
        return false;
    if (!c->is_blocked)
        return true;
    return (c->deadline_ns == MACHINE_NEXT_TIMER ? pool_next_deadline()
                                                 : c->deadline_ns)
           != CLOCK_NEVER;
}

static unsigned enabled_contexts(void)
{
    unsigned enabled = 0;
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++)
        if (is_enabled(&machine_contexts[i]))
            enabled |= 1u << i;
    return enabled;
}

/* ---- Thread-locals ------------------------------------------------------ */

/* Those of the program.  All contexts use the same: the three of the invariant
 * are exchanged, the rest are caches and the like, which any OS thread could
 * have in that state. */
static struct {
    char *start, *first; /* as they are, and as they were at first */
    size_t size_bytes;
} locals;

static int find_locals(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            locals.start = info->dlpi_tls_data;
            locals.size_bytes = info->dlpi_phdr[i].p_memsz;
        }
    return 1; /* the program is the first */
}

bool machine_is_thread_local(const void *address)
{
    return (uintptr_t)address - (uintptr_t)locals.start < locals.size_bytes;
}

void machine_reset_thread_locals(void)
{
    if (locals.first) {
        memcpy(locals.start, locals.first, locals.size_bytes);
        return;
    }
    locals.first = malloc(locals.size_bytes);
    if (!locals.first)
        machine_fail("no memory for thread-locals");
    memcpy(locals.first, locals.start, locals.size_bytes);
}

/* ---- From one to another ------------------------------------------------ */

static void change_to(struct context *next)
{
    struct context *self = machine_current ? machine_current : &explorer;
    self->local = *local_self();
    self->mount_point = *mount_point_self();
    machine_current = next == &explorer ? NULL : next;
    self->own_values = *own_values_self();
    *local_self() = next->local;
    *mount_point_self() = next->mount_point;
    *own_values_self() = next->own_values;
    switch_stacks(&self->sp, next->sp, 0);
    self->looks = self->looks_same = 0;
    self->was_away = true;
    self->has_relaxed = false;
    if (machine_current)
        order_drain(self);
}

static void choose(enum choice kind)
{
    unsigned enabled = enabled_contexts();
    struct context *self = machine_current;
    unsigned current = self ? self->number : 0;
    if (enabled == 0) {
        change_to(&explorer);
        return;
    }
    unsigned next = explore_choose(enabled, current, kind);
    if (&machine_contexts[next] != self)
        change_to(&machine_contexts[next]);
}

void machine_point(const void *object, const char *operation, const void *pc)
{
    if (!machine_current || machine_quiet > 0
        || machine_is_thread_local(object))
        return;
    choose(CHOICE_STAY);
    if (is_traced)
        fprintf(stderr, "  %c %-8s %p at %#zx\n", machine_current->letter,
                operation, object, machine_place(pc));
}

static void give_way(enum choice kind)
{
    struct context *c = machine_current;
    order_drain(c);
    c->was_away = false;
    choose(kind);
    c->has_relaxed = !c->was_away;
}

void machine_yield(void)
{
    if (machine_current && machine_quiet == 0)
        give_way(CHOICE_YIELD);
}

void machine_spin(void)
{
    if (machine_current && machine_quiet == 0)
        give_way(CHOICE_SPIN);
}

void machine_looked(const void *object)
{
    struct context *c = machine_current;
    if (!c || machine_quiet > 0)
        return;
    c->looks_same = c->looked_at == object ? c->looks_same + 1 : 1;
    c->looked_at = object;
    if (++c->looks < LOOKS_MAX && c->looks_same < LOOKS_SAME_MAX)
        return;
    give_way(CHOICE_SPIN);
    c->looks = LOOKS_MAX - LOOKS_AGAIN;
    c->looks_same = LOOKS_SAME_MAX - LOOKS_AGAIN;
}

void machine_changed(void)
{
    if (machine_current)
        machine_current->looks = machine_current->looks_same = 0;
}

bool machine_block(const char *on, uint64_t deadline_ns)
{
    struct context *c = machine_current;
    order_drain(c);
    c->is_blocked = true;
    c->blocked_on = on;
    c->deadline_ns = deadline_ns;
    choose(CHOICE_BLOCKED);
    bool is_late = c->is_blocked;
    c->is_blocked = false;
    c->blocked_on = NULL;
    return is_late;
}

void context_ready(struct context *c)
{
    c->is_blocked = false;
}

void machine_run(void)
{
    choose(CHOICE_BLOCKED);
}

/* ---- Beginning ---------------------------------------------------------- */

static void context_main(void *context)
{
    struct context *c = context;
    c->main();
}

struct context *machine_start(unsigned number, char letter,
                              void (*main)(void))
{
    struct context *c = &machine_contexts[number];
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        machine_fail("no memory for a stack");
    *c = (struct context){
        .number = (uint8_t)number,
        .letter = letter,
        .main = main,
        .deadline_ns = CLOCK_NEVER,
        .sp = switch_prepare(stack + STACK_BYTES, context_main, c),
    };
    is_traced = getenv("SIMULATE_TRACE") != NULL;
    dl_iterate_phdr(find_locals, NULL);
    return c;
}

/* ---- The kernel --------------------------------------------------------- */

struct clock_recent clock_recent;

uint64_t clock_now_ns(void)
{
    return machine_now_ns;
}

int futex_wait(_Atomic uint32_t *word, uint32_t expected,
               uint64_t deadline_ns)
{
    machine_point(word, "futex", __builtin_return_address(0));
    order_drain(machine_current);
    if (*word != expected)
        return 0;
    machine_current->futex = word;
    bool is_late = machine_block("a futex", deadline_ns);
    machine_current->futex = NULL;
    if (is_late && machine_now_ns < deadline_ns)
        machine_now_ns = deadline_ns;
    return is_late ? ETIMEDOUT : 0;
}

void futex_wake(_Atomic uint32_t *word, int count)
{
    machine_point(word, "wake", __builtin_return_address(0));
    if (machine_current)
        order_drain(machine_current);
    for (unsigned i = 0; i < MACHINE_CONTEXTS && count > 0; i++) {
        struct context *c = &machine_contexts[i];
        if (c->main && c->is_blocked && c->futex == word) {
            context_ready(c);
            count--;
        }
    }
}

/* Without the spinning of the real one: that changes nothing but time. */
void os_lock_acquire_slow(struct os_lock *lock)
{
    if (!machine_current)
        machine_fail("a lock is held at the end");
    for (;;) {
        machine_point(lock, "lock", __builtin_return_address(0));
        order_drain(machine_current);
        order_read_modify_write(&lock->word, __ATOMIC_ACQUIRE);
        if (atomic_exchange(&lock->word, 2) == 0)
            return;
        futex_wait(&lock->word, 2, CLOCK_NEVER);
    }
}

void os_lock_release_slow(struct os_lock *lock)
{
    futex_wake(&lock->word, 1);
}

/* ---- The end ------------------------------------------------------------ */

static int find_program(struct dl_phdr_info *info, size_t size, void *result)
{
    (void)size;
    *(uintptr_t *)result = info->dlpi_addr;
    return 1; /* the program is the first */
}

uintptr_t machine_place(const void *pc)
{
    uintptr_t base = 0;
    dl_iterate_phdr(find_program, &base);
    return (uintptr_t)pc - base;
}

_Noreturn void machine_fail(const char *format, ...)
{
    va_list args;
    machine_quiet++;
    va_start(args, format);
    fprintf(stderr, "simulate: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort(); /* its handler tells the schedule */
}
