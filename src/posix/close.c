/*
 * close.c - close, which wakes whoever waits for the descriptor.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"

/* The child of a vfork has numbers of its own, but runs in our memory: what
 * it closes is not closed here.  A forked child has no virtual threads. */
static _Atomic pid_t process; /* relaxed: everybody stores the same */

static bool is_vforked_child(void)
{
    return getpid() != atomic_load_explicit(&process, memory_order_relaxed);
}

static void note_process(void)
{
    atomic_store_explicit(&process, getpid(), memory_order_relaxed);
}

__attribute__((constructor)) static void begin(void)
{
    note_process();
    pthread_atfork(NULL, NULL, note_process);
}

OWN int close(int fd)
{
    if (!own_concerns_us() || fd < 0 || is_vforked_child())
        return REAL(close)(fd);
    own_close_begins(fd);
    int err = own_close(fd);
    own_close_ends(fd);
    return own_result(err);
}

OWN_ALIAS(close) int __close(int fd);
