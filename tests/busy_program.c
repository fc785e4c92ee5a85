/*
 * busy_program.c - a program to look into: threads of each kind, known by
 * number and name.  It says "ready", and ends when its input does.
 *
 *     5 readers   parked
 *     2 sleepers  parked with a deadline
 *     1 holder    pinned, and parked
 *     2 turners   yield, and sleep for moments
 *     1 caller    makes calls that block, one after the other
 */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <vthread.h>

static atomic_int is_pinned;

static void *reads(void *arg)
{
    vthread_park();
    return arg;
}

static void *sleeps(void *arg)
{
    vthread_sleep(3600 * VTHREAD_SECOND);
    return arg;
}

static void *holds(void *arg)
{
    vthread_pin();
    atomic_store(&is_pinned, 1);
    vthread_park();
    return arg;
}

static void *turns(void *arg)
{
    for (unsigned i = 1;; i++)
        if (i % 1000 != 0)
            vthread_yield();
        else /* others want the processor, too */
            vthread_sleep(VTHREAD_MS);
    return arg;
}

static void *naps(void *arg)
{
    usleep(1000);
    return arg;
}

static void *calls(void *arg)
{
    for (;;)
        vthread_block(naps, NULL, NULL);
    return arg;
}

static void start(unsigned count, const char *name, void *(*fn)(void *))
{
    vthread_attr_t attr = {.name = name};
    for (unsigned i = 0; i < count; i++) {
        vthread_t t;
        if (vthread_create(&t, &attr, fn, NULL) != 0)
            _exit(1);
    }
}

int main(void)
{
    char byte;
    start(5, "reader", reads);
    start(2, "sleeper", sleeps);
    start(1, "holder", holds);
    start(2, "turner", turns);
    start(1, "caller", calls);
    while (!atomic_load(&is_pinned))
        usleep(1000);
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) == 1)
        ;
    return 0;
}
