/*
 * vthread/netdb.h - names and addresses.
 *
 *     struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
 *     int reason;
 *     int err = vthread_getaddrinfo("example.org", "http", &hints, &list,
 *                                   &reason);
 *     if (err != 0)
 *         fprintf(stderr, "%s\n", reason != 0 ? gai_strerror(reason)
 *                                             : strerror(err));
 *     else
 *         freeaddrinfo(list);
 *
 * libc looks names up in files and asks servers, and may take seconds for
 * it.  The thread makes the call itself, on its own stack, which wants some
 * 64 KiB; the other threads of its carrier go on elsewhere meanwhile.  A
 * look-up that has begun is not given up: a thread that is to be free at
 * a certain time starts another one for it.
 */
#ifndef VTHREAD_NETDB_H
#define VTHREAD_NETDB_H

#include <netdb.h>
#include <sys/socket.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct addrinfo; /* of <netdb.h>, unless in plain ISO C */

/*
 * As getaddrinfo(3).  *reason (unless NULL) becomes the EAI_ code of the
 * look-up, for gai_strerror; 0 if the error is not one of its own.  *list is
 * stored with result 0 only, and given to freeaddrinfo(3).
 *
 * Returns  0; and for these codes
 *          EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY   ENOENT
 *          EAI_AGAIN                                EAGAIN
 *          EAI_FAIL                                 EIO
 *          EAI_SERVICE, EAI_SOCKTYPE, EAI_FAMILY,
 *          EAI_BADFLAGS                             EINVAL
 *          EAI_MEMORY                               ENOMEM
 *          EAI_SYSTEM                               the errno of that
 *          ECANCELED while it waits for its turn.
 * Blocks   the virtual thread, and its OS thread.
 */
VTHREAD_API int vthread_getaddrinfo(const char *node, const char *service,
                                    const struct addrinfo *hints,
                                    struct addrinfo **list, int *reason);

/* As getnameinfo(3), with *reason as above; EAI_OVERFLOW is EOVERFLOW. */
VTHREAD_API int vthread_getnameinfo(const struct sockaddr *address,
                                    socklen_t length, char *host,
                                    socklen_t host_bytes, char *service,
                                    socklen_t service_bytes, int flags,
                                    int *reason);

#ifdef __cplusplus
}
#endif

#endif
