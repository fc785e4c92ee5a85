/*
 * system.c - the system calls in whose place tests put themselves.
 */
#include "platform/system.h"

/* ASan misses nothing by it; TSan must see it, or takes the next file of that
 * number for the same one. */
int system_close(int fd)
{
#if defined __SANITIZE_THREAD__
    return close(fd);
#else
    return (int)syscall(SYS_close, fd);
#endif
}

ssize_t system_recv(int fd, void *buffer, size_t size_bytes, int flags)
{
    if (SANITIZER_WATCHES_CALLS)
        return recv(fd, buffer, size_bytes, flags);
    return syscall(SYS_recvfrom, fd, buffer, size_bytes, flags, NULL, NULL);
}

ssize_t system_send(int fd, const void *buffer, size_t size_bytes, int flags)
{
    if (SANITIZER_WATCHES_CALLS)
        return send(fd, buffer, size_bytes, flags);
    return syscall(SYS_sendto, fd, buffer, size_bytes, flags, NULL, 0);
}
