/*
 * simulate.h - for tests: a small program, run in every order of its steps,
 * or in many that are chosen by chance.
 *
 * A program has a few threads, each a function.  In a schedule each of its
 * virtual threads has a simulated carrier to itself; platform threads, and
 * time itself, go on at any moment as well.  The library is the real one:
 * replaced are OS threads and their pool, the futex and the clock.
 *
 * At each atomic operation another thread may be chosen to go on:
 *
 *   SIMULATE_EXHAUSTIVE  all schedules with at most so many preemptions
 *                        (a change of a thread that could have gone on);
 *                        changes where a thread waits are free
 *   SIMULATE_RANDOM      any choice, by seed
 *   SIMULATE_PCT         priorities by seed, lowered at so many moments by
 *                        seed: finds what takes few preemptions far apart
 *
 * Found is: a claim that does not hold, a panic, a data race (two accesses
 * that nothing orders, whatever their order in this schedule), threads that
 * wait for ever, threads that go round for ever, threads left behind.  The
 * schedule is printed with the command that replays it.
 *
 *     static void *parks(void *unused) { vthread_park(); return unused; }
 *     static void *unparks(void *unused)
 *     {
 *         vthread_unpark(simulate_thread(0));
 *         return unused;
 *     }
 *     static const struct simulate_program program = {
 *         .name = "park_unpark", .threads = {parks, unparks}};
 *     simulate(&program, 2);
 *
 * Threads get their number as the argument.  A program starts from the same
 * state each time (begin sees to that) and reads neither clocks nor chance
 * but those of the library.
 *
 * The environment: SIMULATE_SCHEDULES, how many by chance; SIMULATE_SEED;
 * SIMULATE_PREEMPTIONS, instead of what the tests ask for;
 * SIMULATE_REPLAY=program:schedule, only that one; SIMULATE_TRACE, each step
 * in words.
 *
 * Memory is that of x86 with stores that are seen late, or that of C11 with
 * loads that are made early, as on ARM and RISC-V.  Not shown: an early load
 * of a value that is stored later still (nobody has seen a processor do it),
 * and loads of sequentially consistent order, which see what is newest.
 * Chance inside the library (the order in which a select tries) is the same
 * in each schedule.
 */
#ifndef TESTS_SIMULATE_SIMULATE_H
#define TESTS_SIMULATE_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include <vthread.h>

#define SIMULATE_THREADS_MAX 4
#define SIMULATE_PLATFORM_THREADS_MAX 3

struct simulate_program {
    const char *name;
    void (*begin)(void); /* before the threads; or NULL */
    void *(*threads[SIMULATE_THREADS_MAX])(void *number);
    void *(*platform_threads[SIMULATE_PLATFORM_THREADS_MAX])(void *number);
    void (*end)(void);   /* when all have ended; or NULL */
    unsigned carriers;   /* 0: one for each virtual thread */
};

enum simulate_strategy {
    SIMULATE_EXHAUSTIVE,
    SIMULATE_RANDOM,
    SIMULATE_PCT,
};

struct simulate_bounds {
    enum simulate_strategy strategy;
    unsigned preemptions;    /* EXHAUSTIVE, PCT */
    unsigned long schedules; /* at most; 0: as the environment says */
    bool delays;             /* stores that are not sequentially consistent
                                may be seen late, as on x86; each that is
                                counts as a preemption */
    bool early;              /* loads that are not may be made early, as on
                                ARM; likewise */
};

struct simulate_result {
    unsigned long schedules;
    unsigned steps_max;
    bool is_complete; /* EXHAUSTIVE: nothing was left out */
};

/* A failure aborts the process. */
struct simulate_result simulate_explore(const struct simulate_program *program,
                                        const struct simulate_bounds *bounds);

/* All strategies, one after the other. */
void simulate(const struct simulate_program *program, unsigned preemptions);

/* The handle of a thread of the program: virtual ones first. */
vthread_t simulate_thread(unsigned number);

/* What it returned; when it has ended and nobody else has joined it. */
void *simulate_result_of(unsigned number);

/* A claim of a program. */
#define simulate_expect(claim)                                                \
    ((claim) ? (void)0                                                        \
             : simulate_claim_failed(__FILE__, __LINE__, #claim))
_Noreturn void simulate_claim_failed(const char *file, int line,
                                     const char *claim);

/* For tcase_set_timeout, in seconds: when more is asked for than usual. */
#define SIMULATE_TIMEOUT 600

/* A moment so far away that only time-outs of the program lie between. */
#define SIMULATE_SOON (simulate_begin_ns + 1 * VTHREAD_SECOND)
#define SIMULATE_LATER (simulate_begin_ns + 2 * VTHREAD_SECOND)
extern const uint64_t simulate_begin_ns;

#endif
