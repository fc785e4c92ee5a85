/*
 * libc.h - what not every C library has, made of what each has.
 *
 * musl 1.2.3 lacks epoll_pwait2, preadv2, pwritev2 and statx, which are
 * system calls, posix_spawn_file_actions_addclosefrom_np, dladdr1 and
 * <execinfo.h>.
 */
#ifndef PLATFORM_LIBC_H
#define PLATFORM_LIBC_H

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if !defined HAVE_EPOLL_PWAIT2
static inline int epoll_pwait2(int fd, struct epoll_event *events,
                               int capacity, const struct timespec *timeout,
                               const sigset_t *mask)
{
    return (int)syscall(SYS_epoll_pwait2, fd, events, capacity, timeout, mask,
                        8 /* bytes of the kernel's own signal sets */);
}
#endif

#if !defined RWF_NOWAIT
#define RWF_NOWAIT 8 /* of <linux/fs.h>, which does not mix with musl's */
#endif

#if !defined HAVE_PREADV2
/* The kernel takes the offset in two halves, of which the first is all of it
 * where a long has 64 bits. */
static inline ssize_t preadv2(int fd, const struct iovec *iov, int count,
                              off_t offset, int flags)
{
    return syscall(SYS_preadv2, fd, iov, count, offset, 0L, flags);
}

static inline ssize_t pwritev2(int fd, const struct iovec *iov, int count,
                               off_t offset, int flags)
{
    return syscall(SYS_pwritev2, fd, iov, count, offset, 0L, flags);
}
#endif

#if !defined HAVE_STATX
static inline int statx(int fd, const char *path, int flags, unsigned mask,
                        void *status)
{
    return (int)syscall(SYS_statx, fd, path, flags, mask, status);
}
#endif

#if !defined HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCLOSEFROM_NP
/* Nothing does the same: which descriptors will be open is not known yet. */
static inline int
posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions,
                                         int from)
{
    (void)actions, (void)from;
    return ENOSYS;
}
#endif

/* Whether address is in a function or variable that the loader knows by name,
 * which *info says then. */
#if defined HAVE_DLADDR1
static inline bool is_in_symbol(const void *address, Dl_info *info)
{
    const ElfW(Sym) *symbol = NULL;
    return dladdr1(address, info, (void **)&symbol, RTLD_DL_SYMENT) && symbol
           && (uintptr_t)address - (uintptr_t)info->dli_saddr
                  < symbol->st_size;
}
#else
static inline bool is_in_symbol(const void *address, Dl_info *info)
{
    return dladdr(address, info) && info->dli_sname; /* musl heeds the size */
}
#endif

#if !defined HAVE_STRERRORDESC_NP
#include <string.h>
static inline const char *strerrordesc_np(int err)
{
    return strerror(err); /* musl's has its words in a table, too */
}
#endif

/* Else backtrace finds nothing. */
#if defined HAVE_EXECINFO_H || defined HAVE_UNWINDER
enum { backtrace_can_walk = 1 };
#else
enum { backtrace_can_walk = 0 };
#endif

#if defined HAVE_EXECINFO_H
#include <execinfo.h>
#else
int backtrace(void **frames, int capacity);
void backtrace_symbols_fd(void *const *frames, int count, int fd);
#endif

#endif
