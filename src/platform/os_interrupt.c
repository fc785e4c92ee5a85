/*
 * os_interrupt.c - ending what an OS thread waits for in the kernel.
 *
 * A realtime signal whose action is the default when it is first needed: so
 * no handler of the program is replaced.  Its own handler does nothing, and
 * has no SA_RESTART.  OS threads have it blocked but inside of a bracket.
 */
#include "os_interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os_signal.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { AGAIN_NS = 2 * 1000 * 1000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int number; /* S: of the signal; 0: all of them are in use */

static void do_nothing(int signal)
{
    (void)signal;
}

static void take_signal(void)
{
    struct sigaction action = {.sa_handler = do_nothing,
                               .sa_flags = SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    number = os_signal_take(&action);
}

/* For the calling thread; returns whether it was.  Touches no errno. */
static bool set_blocked(bool is_blocked)
{
    sigset_t set, old;

    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(is_blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, &old);
    return sigismember(&old, number) == 1;
}

static struct timespec time_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

static void disarm(struct os_interrupt *interrupt)
{
    timer_settime(interrupt->timer, 0, &(struct itimerspec){0}, NULL);
}

/* From that time on, 0: now; under the lock. */
static void arm(struct os_interrupt *interrupt, uint64_t deadline_ns)
{
    struct itimerspec times = {
        .it_value = time_of(deadline_ns > 0 ? deadline_ns : 1),
        .it_interval = {.tv_nsec = AGAIN_NS},
    };

    timer_settime(interrupt->timer, TIMER_ABSTIME, &times, NULL);
}

/* As much as there is reason to; under the lock. */
static void arm_if_due(struct os_interrupt *interrupt)
{
    if (interrupt->is_fired)
        arm(interrupt, 0);
    else if (interrupt->deadline_ns != UINT64_MAX)
        arm(interrupt, interrupt->deadline_ns);
}

static int create_timer(timer_t *timer)
{
    struct sigevent event;

    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = number;
    event.sigev_notify_thread_id = gettid();
    return timer_create(CLOCK_MONOTONIC, &event, timer) == 0 ? 0 : EAGAIN;
}

int os_interrupt_open(struct os_interrupt *interrupt, uint64_t deadline_ns)
{
    timer_t timer;

    pthread_once(&once, take_signal);
    if (number == 0 || create_timer(&timer) != 0)
        return EAGAIN;
    os_lock_acquire(&interrupt->lock);
    interrupt->timer = timer;
    interrupt->is_open = true;
    interrupt->deadline_ns = deadline_ns;
    arm_if_due(interrupt);
    os_lock_release(&interrupt->lock);
    interrupt->was_blocked = set_blocked(false);
    return 0;
}

void os_interrupt_close(struct os_interrupt *interrupt)
{
    int saved = errno;

    os_lock_acquire(&interrupt->lock);
    interrupt->is_open = false;
    timer_delete(interrupt->timer);
    os_lock_release(&interrupt->lock);
    /* What was pending has come by now, and ends no other call. */
    set_blocked(interrupt->was_blocked);
    errno = saved;
}

/* The timer would go on, and its signal end what another bracket has been
 * opened for meanwhile.  One that is pending comes before it is blocked. */
void os_interrupt_pause(struct os_interrupt *interrupt)
{
    os_lock_acquire(&interrupt->lock);
    interrupt->is_paused = true;
    if (interrupt->is_fired || interrupt->deadline_ns != UINT64_MAX)
        disarm(interrupt);
    os_lock_release(&interrupt->lock);
    set_blocked(true);
}

void os_interrupt_resume(struct os_interrupt *interrupt)
{
    os_lock_acquire(&interrupt->lock);
    interrupt->is_paused = false;
    arm_if_due(interrupt);
    os_lock_release(&interrupt->lock);
    set_blocked(false);
}

void os_interrupt_fire(struct os_interrupt *interrupt)
{
    os_lock_acquire(&interrupt->lock);
    interrupt->is_fired = true;
    if (interrupt->is_open && !interrupt->is_paused)
        arm(interrupt, 0);
    os_lock_release(&interrupt->lock);
}
