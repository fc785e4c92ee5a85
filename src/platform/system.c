/*
 * system.c - closing, straight to the kernel: tests put themselves in its
 * place.  TSan must see it, or takes the next file of that number for the
 * same one.
 */
#include "platform/system.h"

int system_close(int fd)
{
#if defined __SANITIZE_THREAD__
    return close(fd);
#else
    return (int)syscall(SYS_close, fd);
#endif
}
