/*
 * blocking.c - calls that block the OS thread, made where they stand.
 *
 * A thread in such a call is pinned: should it wait inside, in a callback
 * perhaps, it waits on this OS thread.
 */
#include "blocking.h"

#include <errno.h>

#include <vthread.h>

#include "carrier/pool.h"
#include "local.h"

int blocking_begin(struct blocking *blocking, enum blocking_kind kind,
                   uint64_t deadline_ns)
{
    (void)kind;
    (void)deadline_ns;
    *blocking = (struct blocking){.self = thread_self()};
    if (!blocking->self)
        return ENOMEM;
    if (!vthread_is_virtual())
        return 0;
    int err = vthread_pin();
    if (err != 0)
        return err;
    blocking->carrier = local_self()->carrier;
    carrier_block_begin(blocking->carrier);
    return 0;
}

void blocking_end(struct blocking *blocking)
{
    if (!blocking->carrier)
        return;
    int saved = errno;
    carrier_block_end(blocking->carrier);
    vthread_unpin();
    errno = saved;
}

int vthread_block(void *(*fn)(void *), void *arg, void **result)
{
    if (!fn)
        return EINVAL;
    struct blocking blocking;
    int err = blocking_begin(&blocking, BLOCKING_LONG, VTHREAD_NEVER);
    if (err != 0)
        return err;
    void *value = fn(arg);
    blocking_end(&blocking);
    if (result)
        *result = value;
    return 0;
}
