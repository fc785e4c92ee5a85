/*
 * escape.c - pointers into a stack that are handed to others.
 *
 * While a thread with a common home is parked its locals are not at their
 * addresses, so a pointer to one is good for nothing.  Who hands one out
 * asks for an own home by that:
 *
 *   its home is its own      right as it is
 *   nobody shares it yet     the home becomes its own
 *   others share it          too late: EFAULT, with words that say the cure
 *
 * In all three cases the entry function is remembered (entry.c), so that
 * threads started with it later have own homes from the beginning.
 */
#include "escape.h"

#include <errno.h>

#include "entry.h"
#include "local.h"
#include "platform/os_thread.h"
#include "platform/panic.h"

static void tell(struct thread *self, const void *address,
                 const char *function, const char *outcome)
{
    char name[80];
    thread_describe(self, name, sizeof name);
    report("%s: %s passes %p, an address on its own stack: %s", function,
           name, address, outcome);
}

static int check_own_stack(struct thread *self, const void *address,
                           const char *function)
{
    struct continuation *c = &self->continuation;
    entry_remember(self->fn, ENTRY_ESCAPES);
    if (continuation_freeze_mode != FREEZE_LAZY
        && !(c->flags & CONTINUATION_WANTS_OWN))
        tell(self, address, function,
             "give the thread VTHREAD_STACK_OWN, or pass a value");
    if (continuation_own_home(c))
        return 0;
    tell(self, address, function,
         "that stack is shared with other threads and copied away while "
         "this one waits. Pass a value, use the heap, or create the thread "
         "with VTHREAD_STACK_OWN");
    return EFAULT;
}

bool escape_stays_valid(const struct thread *self, const void *address)
{
    const struct continuation *c = &self->continuation;
    if (continuation_contains(c, address))
        return (c->flags & (CONTINUATION_HAS_OWN | CONTINUATION_HIDDEN))
               == CONTINUATION_HAS_OWN;
    return !run_stack_is_common_address(address);
}

bool escape_is_on_stack(const void *address)
{
    const struct continuation *c = continuation_current();
    for (; c; c = c->link)
        if (continuation_contains(c, address))
            return true;
    if (run_stack_is_common_address(address)) {
        struct run_stack *stack = run_stack_of_address(address);
        return !stack || !run_stack_is_converted(stack);
    }
    return !vthread_is_virtual() && os_thread_is_on_stack(address);
}

int escape_check(const void *address, const char *function)
{
    struct thread *self = local_thread(local_self());
    if (self && continuation_contains(&self->continuation, address))
        return check_own_stack(self, address, function);
    if (!run_stack_is_common_address(address))
        return 0;
    struct run_stack *stack = run_stack_of_address(address);
    return stack && run_stack_is_converted(stack) ? 0 : EFAULT;
}
