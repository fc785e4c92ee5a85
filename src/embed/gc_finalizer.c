/*
 * gc_finalizer.c - finalizers, run by virtual threads.
 *
 * libgc notifies at the end of a collection, from within an allocation: the
 * caller may hold locks of ours, so all that is done then is to write to an
 * eventfd.  The carrier that polls starts a thread, which runs finalizers
 * until there are none.  They may do what threads do, and wait; those of the
 * next collection do not wait for them, for they get a thread of their own.
 *
 * Rejected: one thread for all of them, which would have to wait for ever,
 * and keep a scheduler from shutting down, and deadlocks from being found.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "embed/gc.h"
#include "embed/gc_library.h"
#include "io/descriptor.h"
#include "lifecycle.h"
#include "local.h"
#include "platform/system.h"

static int event_fd = -1;

static void GC_CALLBACK notify(void)
{
    static const uint64_t one = 1;
    int saved_errno = errno;
    ssize_t size = system_write(event_fd, &one, sizeof one);
    (void)size; /* cannot be full */
    errno = saved_errno;
}

static void *run_finalizers(void *unused)
{
    (void)unused;
    while (GC_should_invoke_finalizers())
        GC_invoke_finalizers();
    return NULL;
}

/* Somebody who polls has heard of something.  A monitor leaves it to the next
 * carrier.  Without memory for a thread the next collection notifies again. */
static void hear(void)
{
    uint64_t count;
    int saved_errno = errno;
    if (system_read(event_fd, &count, sizeof count) != sizeof count)
        errno = saved_errno;
    else if (!local_self()->scheduler)
        notify();
    else
        (void)lifecycle_start_detached(run_finalizers);
}

int gc_finalizer_start(void)
{
    event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd < 0)
        return errno;
    int err = descriptor_listen(event_fd, hear);
    if (err != 0) {
        system_close(event_fd);
        return err;
    }
    GC_set_finalize_on_demand(1);
    GC_set_finalizer_notifier(notify);
    return 0;
}
