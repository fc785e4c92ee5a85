/*
 * real.c - finding the functions that ours stand before.
 *
 * They are looked for when the library is loaded.  But who is loaded before
 * may have called us by then: the constructor of a library that needs us or
 * was preloaded too, or an allocator that reads its settings.  So each can
 * be looked for at its first call as well.
 *
 * dlsym itself may call us on its way: it may allocate, and an allocator
 * may read a file.  Such a call, and it alone, goes to the kernel directly:
 * that is libc's function without its being a cancellation point.
 */
#include "posix/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "posix/own.h"

_Atomic(real_address) real_addresses[REAL_COUNT];

static const char *const names[REAL_COUNT] = {
#define REAL_NAME(name) #name,
    REAL_FUNCTIONS(REAL_NAME)
#undef REAL_NAME
};

/* This OS thread is inside dlsym. */
static __thread bool is_looking;

/* ---- For those who are called by dlsym ---------------------------------- */

static ssize_t raw_read(int fd, void *buffer, size_t size_bytes)
{
    return syscall(SYS_read, fd, buffer, size_bytes);
}

static ssize_t raw_write(int fd, const void *buffer, size_t size_bytes)
{
    return syscall(SYS_write, fd, buffer, size_bytes);
}

static int raw_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

static int raw_openat(int directory, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = own_needs_mode(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static int raw_open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = own_needs_mode(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return raw_openat(AT_FDCWD, path, flags, mode);
}

static int raw_nanosleep(const struct timespec *duration,
                         struct timespec *left)
{
    return (int)syscall(SYS_nanosleep, duration, left);
}

static int raw_sched_yield(void)
{
    return (int)syscall(SYS_sched_yield);
}

/* Nothing that dlsym could want, or that this libc has: getaddrinfo and the
 * like take it for an error too. */
static long refuse(void)
{
    errno = ENOSYS;
    return -1;
}

static real_address raw(enum real_function function)
{
    switch (function) {
    case REAL_read:
        return (real_address)raw_read;
    case REAL_write:
        return (real_address)raw_write;
    case REAL_close:
        return (real_address)raw_close;
    case REAL_open:
        return (real_address)raw_open;
    case REAL_openat:
        return (real_address)raw_openat;
    case REAL_nanosleep:
        return (real_address)raw_nanosleep;
    case REAL_sched_yield:
        return (real_address)raw_sched_yield;
    default:
        return (real_address)refuse;
    }
}

/* ---- Looking ------------------------------------------------------------ */

/* dlsym of glibc before 2.36 prefers the oldest of several versions.  The
 * one of 2.2.5 is in librt, as far as that is still there. */
static void *look_for(enum real_function function)
{
    void *found = NULL;
    if (function == REAL_clock_nanosleep)
        found = dlvsym(RTLD_NEXT, names[function], "GLIBC_2.17");
    if (!found)
        found = dlsym(RTLD_NEXT, names[function]);
    if (!found)
        dlerror(); /* the program shall not find our failure there */
    return found;
}

real_address real_find(enum real_function function)
{
    if (is_looking)
        return raw(function);
    int saved_errno = errno;
    is_looking = true;
    void *found = look_for(function);
    is_looking = false;
    errno = saved_errno;
    real_address address
        = found ? (real_address)found : (real_address)refuse;
    /* Relaxed, as in real_address_of; whoever is faster stores the same. */
    atomic_store_explicit(&real_addresses[function], address,
                          memory_order_relaxed);
    return address;
}

/* Early: later there may be a virtual thread's stack below. */
__attribute__((constructor(101))) static void find_all(void)
{
    for (int i = 0; i < REAL_COUNT; i++)
        real_address_of((enum real_function)i);
}
