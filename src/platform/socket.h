/*
 * socket.h - recv(2) and send(2), and nothing with them.
 *
 * Those of libc are cancellation points of pthread_cancel, which costs some
 * 20 ns a call in a process of several OS threads, and for which carriers
 * have no use.
 */
#ifndef PLATFORM_SOCKET_H
#define PLATFORM_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

ssize_t socket_recv(int fd, void *buffer, size_t size_bytes, int flags);
ssize_t socket_send(int fd, const void *buffer, size_t size_bytes,
                    int flags);

#endif
