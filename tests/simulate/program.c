/*
 * program.c - one schedule of a program: begin, run, look what is left.
 *
 * Each schedule starts from the same state: the clock, the wheels and what
 * is ordered before what are reset; the carriers and platform threads have
 * come back to where they wait for work.
 *
 * Not here: who makes which step (explore.c).
 */
#include "tests/simulate/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler.h"
#include "tests/simulate/machine.h"
#include "thread.h"

const uint64_t simulate_begin_ns = UINT64_C(1) << 40;

static vthread_scheduler_t *scheduler;
static vthread_t handles[SIMULATE_THREADS_MAX
                         + SIMULATE_PLATFORM_THREADS_MAX];
static void *results[SIMULATE_THREADS_MAX + SIMULATE_PLATFORM_THREADS_MAX];
static bool is_joined[SIMULATE_THREADS_MAX];
static const struct simulate_program *program;
static unsigned virtual_count, platform_count;

vthread_t simulate_thread(unsigned number)
{
    return handles[number];
}

_Noreturn void simulate_claim_failed(const char *file, int line,
                                     const char *claim)
{
    machine_fail("%s:%d: %s does not hold", file, line, claim);
}

/* ---- Platform threads --------------------------------------------------- */

/* Its object comes and goes with the schedule. */
static void platform_main(void)
{
    struct context *c = machine_current;
    unsigned n = c->number - MACHINE_CARRIERS;
    for (;;) {
        local_self()->thread = NULL;
        machine_block("the next schedule", CLOCK_NEVER);
        unsigned i = virtual_count + n;
        uint64_t word;
        struct thread *t = thread_of_handle(handles[i], &word);
        local_self()->thread = t;
        results[i] = program->platform_threads[n]((void *)(uintptr_t)i);
        /* Marked only: the handle is good until the schedule ends. */
        order_drain(c);
        atomic_fetch_or_explicit(&t->word, THREAD_DONE,
                                 memory_order_relaxed);
    }
}

static void start_platform_thread(unsigned n)
{
    struct thread *t = thread_alloc();
    if (!t)
        machine_fail("no memory for a thread");
    atomic_fetch_or_explicit(&t->word, THREAD_PLATFORM,
                             memory_order_relaxed);
    handles[virtual_count + n] = thread_handle(t);
    context_ready(&machine_contexts[MACHINE_CARRIERS + n]);
}

/* ---- Beginning ---------------------------------------------------------- */

void program_open(void)
{
    static const char letters[] = "pqr";
    vthread_scheduler_attr_t attr = {.parallelism = MACHINE_CARRIERS};
    if (scheduler)
        return;
    machine_now_ns = simulate_begin_ns;
    /* Which carrier runs what is of no consequence here. */
    unsetenv("VTHREAD_MIGRATE");
    if (vthread_scheduler_create(&scheduler, &attr) != 0)
        machine_fail("no scheduler");
    for (unsigned i = 0; i < MACHINE_PLATFORM_THREADS; i++) {
        machine_start(MACHINE_CARRIERS + i, letters[i], platform_main);
        machine_run();
    }
}

static void reset(void)
{
    machine_reset_thread_locals();
    machine_now_ns = simulate_begin_ns;
    for (unsigned i = 0; i < MACHINE_CARRIERS; i++) {
        struct wheel *wheel = &scheduler->stations[i].wheel;
        if (wheel->count != 0)
            machine_fail("a timer is left behind");
        wheel_init(wheel, (uint8_t)i, machine_now_ns);
    }
    order_forget();
}

static void start_threads(void)
{
    virtual_count = platform_count = 0;
    while (virtual_count < SIMULATE_THREADS_MAX
           && program->threads[virtual_count])
        virtual_count++;
    pool_limit(program->carriers ? program->carriers
               : virtual_count   ? virtual_count
                                 : 1);
    vthread_attr_t attr = {.scheduler = scheduler};
    for (unsigned i = 0; i < virtual_count; i++)
        if (vthread_create(&handles[i], &attr, program->threads[i],
                           (void *)(uintptr_t)i) != 0)
            machine_fail("no thread");
    while (platform_count < SIMULATE_PLATFORM_THREADS_MAX
           && program->platform_threads[platform_count])
        start_platform_thread(platform_count++);
}

/* ---- Ending ------------------------------------------------------------- */

static bool has_ended(vthread_t handle)
{
    uint64_t word;
    struct thread *t = thread_of_handle(handle, &word);
    return !t || word & THREAD_DONE;
}

static unsigned threads_in_use(void)
{
    unsigned count = 0;
    uint64_t word;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t; t = thread_in_use_from(thread_number(t) + 1, &word))
        count++;
    return count;
}

static void describe_waiting(void)
{
    uint64_t word;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t; t = thread_in_use_from(thread_number(t) + 1, &word)) {
        char name[80];
        if (!(word & (THREAD_PARKED | THREAD_WAITING)))
            continue;
        thread_describe(t, name, sizeof name);
        fprintf(stderr, "simulate: %s, flags %#x, waits on %p\n", name,
                (unsigned)word, t->wait_on);
    }
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++) {
        struct context *c = &machine_contexts[i];
        if (c->main && c->blocked_on)
            fprintf(stderr, "simulate: %c waits for %s\n", c->letter,
                    c->blocked_on);
    }
}

static void expect_all_ended(void)
{
    for (unsigned i = 0; i < virtual_count + platform_count; i++) {
        if (has_ended(handles[i]))
            continue;
        describe_waiting();
        machine_fail("thread %u of the program waits for ever", i);
    }
}

static void join_threads(void)
{
    for (unsigned i = 0; i < virtual_count; i++) {
        int err = vthread_join(handles[i], &results[i]);
        is_joined[i] = err == 0;
        if (err != 0 && err != ESRCH)
            machine_fail("thread %u of the program cannot be joined: %s", i,
                         strerror(err));
    }
    for (unsigned i = 0; i < platform_count; i++) {
        uint64_t word;
        thread_free(thread_of_handle(handles[virtual_count + i], &word));
    }
}

void *simulate_result_of(unsigned number)
{
    if (number < virtual_count && !is_joined[number])
        machine_fail("thread %u has been joined by another", number);
    return results[number];
}

void program_run(const struct simulate_program *given)
{
    program = given;
    reset();
    memory_schedule_begins();
    unsigned before = threads_in_use();
    if (program->begin)
        program->begin();
    start_threads();
    machine_run();
    expect_all_ended();
    join_threads();
    if (program->end)
        program->end();
    memory_schedule_ends();
    if (threads_in_use() != before)
        machine_fail("%u threads are left behind", threads_in_use() - before);
}
