/*
 * walk.c - the frames of who does not run.
 *
 * The unwinder of the C runtime walks, on the caller's stack: switch_unwind
 * makes it find the saved frames there.  So it needs nothing but what a
 * debugger or an exception needs.  A common home is claimed and cleared as for
 * a mount, and settled as after one.  Those who watch are told of no mount,
 * for there is none.
 *
 * The machine is told of frames when the unwinder has returned, for it may
 * take its time: a deep stack takes several rounds, each of which walks anew
 * from the top.
 */
#include "embed/walk.h"

#include <errno.h>

#include "continuation/mount.h"
#include "continuation/switch.h"
#include "embed/world.h"
#include "platform/unwinder.h"
#include "thread.h"

enum { FRAMES = 128 };

struct frame {
    const void *code, *address;
};

struct walk {
    const char *sp, *top;  /* frames in between are of interest */
    unsigned skip, seen;   /* those of earlier rounds; all, in this one */
    unsigned count;
    struct frame frames[FRAMES];
};

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *argument)
{
    struct walk *walk = argument;
    const char *address = (const char *)_Unwind_GetCFA(context);
    if (address <= walk->sp || address > walk->top || walk->seen++ < walk->skip)
        return _URC_NO_REASON;
    if (walk->count == FRAMES)
        return _URC_END_OF_STACK;
    walk->frames[walk->count++] = (struct frame){
        (const void *)(uintptr_t)_Unwind_GetIP(context), address};
    return _URC_NO_REASON;
}

static void unwind(void *walk)
{
    (void)_Unwind_Backtrace(note, walk);
}

/* False: fn has seen enough. */
static bool tell(const struct walk *walk, vthread_frame_fn *fn, void *arg)
{
    for (unsigned i = 0; i < walk->count; i++)
        if (!fn(arg, walk->frames[i].code, walk->frames[i].address))
            return false;
    return true;
}

static bool walk_stack(struct continuation *inner, vthread_frame_fn *fn,
                       void *arg)
{
    struct walk walk = {.sp = inner->sp, .top = inner->home->top};
    do {
        walk.seen = walk.count = 0;
        switch_unwind(inner->sp, unwind, &walk);
        if (!tell(&walk, fn, arg))
            return false;
        walk.skip += walk.count;
    } while (walk.count == FRAMES);
    return true;
}

static void walk_chain(struct continuation *c, vthread_frame_fn *fn, void *arg)
{
    struct continuation *inner = c->link;
    while (walk_stack(inner, fn, arg) && inner != c)
        inner = inner->link;
}

int walk_frames(struct continuation *c, vthread_frame_fn *fn, void *arg)
{
    if (c->state != CONTINUATION_UNMOUNTED)
        return c->state == CONTINUATION_MOUNTED ? EBUSY : 0;
    if (!UNWINDER_WALKS)
        return ENOTSUP;
    bool is_simple = mount_is_simple(c);
    if (!is_simple && mount_enter(c, NULL) != RUN_RETURNED)
        return EBUSY;
    walk_chain(c, fn, arg);
    if (!is_simple)
        /* The chunks that the frames have come from take them again. */
        (void)mount_settle(c);
    return 0;
}

int vthread_walk(vthread_t thread, vthread_frame_fn *fn, void *arg)
{
    uint64_t word;
    if (!fn)
        return EINVAL;
    if (!world_is_stopped_by_caller())
        return EPERM;
    struct thread *t = thread_of_handle(thread, &word);
    if (!t || word & THREAD_DONE)
        return ESRCH;
    if (word & THREAD_PLATFORM)
        return EBUSY;
    continuation_thread_enter();
    return walk_frames(&t->continuation, fn, arg);
}
