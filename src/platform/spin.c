/*
 * spin.c - the slow half of spin_lock: waiting for one that is held.
 *
 * Invariant: nobody waits for long without giving the processor away, and
 * in the end it sleeps, so that a holder of any priority gets on.
 */
#include "spin.h"

#include <errno.h>
#include <time.h>

#include "atomics.h"
#include "system.h"

/* Of the attempts, so many spin and so many yield; then they sleep. */
enum { SPINS = 100, YIELDS = 20, SLEEP_NS = 50000 };

static void sleep_for_a_moment(void)
{
    const struct timespec moment = {.tv_nsec = SLEEP_NS};
    int saved_errno = errno;
    system_nanosleep(&moment);
    errno = saved_errno;
}

static void wait_a_little(int attempt)
{
    if (attempt < SPINS)
        cpu_relax();
    else if (attempt < SPINS + YIELDS)
        system_yield();
    else
        sleep_for_a_moment();
}

void spin_lock_acquire_slow(struct spin_lock *lock)
{
    int attempt = 0;
    do {
        /* Relaxed: the exchange that takes it acquires. */
        while (atomic_load_explicit(&lock->word, memory_order_relaxed) != 0) {
            wait_a_little(attempt);
            attempt += attempt < SPINS + YIELDS;
        }
    } while (!spin_lock_try(lock));
}
