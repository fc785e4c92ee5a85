/*
 * futex.c - the futex system call and the slow half of os_lock.
 *
 * Not here: waiting of virtual threads.  Whoever sleeps here blocks the OS
 * thread.
 *
 * Invariant of the lock: if somebody sleeps or is about to, the word is 2
 * until the holder releases it, and that release wakes one of them.
 */
#include "futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "clock.h"

enum { SPINS = 64 };

int futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                                .tv_nsec = (long)(deadline_ns % 1000000000)};
    int saved_errno = errno;
    int result = 0;

    /* FUTEX_WAIT_BITSET, unlike FUTEX_WAIT, takes an absolute time. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                deadline_ns == CLOCK_NEVER ? NULL : &deadline, NULL,
                FUTEX_BITSET_MATCH_ANY)
            < 0
        && errno == ETIMEDOUT)
        result = ETIMEDOUT;
    errno = saved_errno;
    return result;
}

void futex_wake(_Atomic uint32_t *word, int count)
{
    /* Cannot fail in a way that matters: the word may even be unmapped by
     * now, when the sleeper saw the change without our help. */
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved_errno;
}

/* Takes the lock if it becomes free soon.  Acquire pairs with the release
 * in os_lock_release: what the last holder wrote is seen. */
static int try_for_a_while(struct os_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t word =
            atomic_load_explicit(&lock->word, memory_order_relaxed);
        if (word == 2)
            return 0; /* others sleep: the section is not that short */
        if (word == 0
            && atomic_compare_exchange_weak_explicit(&lock->word, &word, 1,
                                                     memory_order_acquire,
                                                     memory_order_relaxed))
            return 1;
        cpu_relax();
    }
    return 0;
}

void os_lock_acquire_slow(struct os_lock *lock)
{
    if (try_for_a_while(lock))
        return;
    /* Whoever has slept takes the lock as 2, for others may sleep still;
     * the price is a wake-up for nobody now and then.  Acquire as above. */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        futex_wait(&lock->word, 2, CLOCK_NEVER);
}

void os_lock_release_slow(struct os_lock *lock)
{
    futex_wake(&lock->word, 1);
}
