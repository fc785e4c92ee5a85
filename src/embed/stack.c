/*
 * stack.c - where the calling thread's frames may lie.
 */
#include <errno.h>

#include <vthread/embed.h>

#include "continuation/continuation.h"
#include "platform/os_thread.h"

int vthread_stack_bounds(vthread_stack_bounds_t *bounds)
{
    if (!bounds)
        return EINVAL;
    const struct continuation *c = continuation_current();
    if (!c)
        return os_thread_stack(&bounds->low, &bounds->high);
    bounds->low = c->home->bottom;
    bounds->high = c->home->top;
    return 0;
}

bool vthread_stack_has(size_t bytes)
{
    vthread_stack_bounds_t bounds;
    const char *here = __builtin_frame_address(0);
    return vthread_stack_bounds(&bounds) == 0
           && (size_t)(here - (const char *)bounds.low) >= bytes;
}
