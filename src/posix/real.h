/*
 * real.h - the functions that ours stand before: libc's, or those of the
 * next library that does as we do.
 *
 *     return REAL(read)(fd, buffer, size_bytes);
 */
#ifndef POSIX_REAL_H
#define POSIX_REAL_H

#include <stdatomic.h>

#define REAL_FUNCTIONS(X)                                                     \
    X(accept)                                                                 \
    X(accept4)                                                                \
    X(clock_nanosleep)                                                        \
    X(close)                                                                  \
    X(connect)                                                                \
    X(copy_file_range)                                                        \
    X(creat)                                                                  \
    X(epoll_pwait)                                                            \
    X(epoll_pwait2)                                                           \
    X(epoll_wait)                                                             \
    X(fallocate)                                                              \
    X(fdatasync)                                                              \
    X(fsync)                                                                  \
    X(ftruncate)                                                              \
    X(getaddrinfo)                                                            \
    X(gethostbyaddr)                                                          \
    X(gethostbyaddr_r)                                                        \
    X(gethostbyname)                                                          \
    X(gethostbyname2)                                                         \
    X(gethostbyname2_r)                                                       \
    X(gethostbyname_r)                                                        \
    X(getnameinfo)                                                            \
    X(nanosleep)                                                              \
    X(open)                                                                   \
    X(openat)                                                                 \
    X(poll)                                                                   \
    X(posix_fallocate)                                                        \
    X(ppoll)                                                                  \
    X(pread)                                                                  \
    X(preadv)                                                                 \
    X(preadv2)                                                                \
    X(pselect)                                                                \
    X(pwrite)                                                                 \
    X(pwritev)                                                                \
    X(pwritev2)                                                               \
    X(read)                                                                   \
    X(readv)                                                                  \
    X(recv)                                                                   \
    X(recvfrom)                                                               \
    X(recvmmsg)                                                               \
    X(recvmsg)                                                                \
    X(sched_yield)                                                            \
    X(select)                                                                 \
    X(send)                                                                   \
    X(sendfile)                                                               \
    X(sendmmsg)                                                               \
    X(sendmsg)                                                                \
    X(sendto)                                                                 \
    X(sleep)                                                                  \
    X(sync_file_range)                                                        \
    X(syncfs)                                                                 \
    X(truncate)                                                               \
    X(usleep)                                                                 \
    X(wait)                                                                   \
    X(wait3)                                                                  \
    X(wait4)                                                                  \
    X(waitid)                                                                 \
    X(waitpid)                                                                \
    X(write)                                                                  \
    X(writev)

enum real_function {
#define REAL_NUMBER(name) REAL_##name,
    REAL_FUNCTIONS(REAL_NUMBER)
#undef REAL_NUMBER
        REAL_COUNT
};

typedef void (*real_address)(void);

extern _Atomic(real_address) real_addresses[REAL_COUNT];

/* Finds the function and remembers it.  Never NULL. */
real_address real_find(enum real_function function);

static inline real_address real_address_of(enum real_function function)
{
    /* Relaxed: what is stored there is code, which was there before. */
    real_address address = atomic_load_explicit(&real_addresses[function],
                                                memory_order_relaxed);
    return __builtin_expect(address != 0, 1) ? address : real_find(function);
}

#define REAL(name) ((__typeof__(&name))real_address_of(REAL_##name))

#endif
