/*
 * vthread/embed.h - what a language virtual machine needs of its threads.
 *
 * A machine that runs its threads on virtual threads has a structure of its
 * own for each of them, and a notion of which is current.  It says so once,
 * before anything else:
 *
 *     static const vthread_embedder_t machine = {
 *         .created = make_vm_thread,       // a child of the caller's
 *         .ended = free_vm_thread,
 *         .mounting = set_current_vm_thread,
 *         .time_slice_ns = 10 * VTHREAD_MS,
 *     };
 *     int err = vthread_embed(&machine);
 *     ...
 *     for (;;) {                           // the interpreter's loop
 *         execute(&frame);
 *         if (jumps_back)
 *             vthread_safepoint();
 *     }
 *
 * The pointer of a thread (its "user pointer") is whatever the machine wants;
 * NULL: the machine does not care for this thread, and is told nothing of it.
 *
 * A collector of the machine's own stops the world, looks at what the threads
 * hold, and lets them go on:
 *
 *     vthread_world_stop();
 *     vthread_world_roots(mark_range, &heap);
 *     vthread_world_start();
 *
 * For the Boehm collector all of that is done already: vthread/gc.h.
 *
 * This header is not part of vthread.h.
 */
#ifndef VTHREAD_EMBED_H
#define VTHREAD_EMBED_H

#include <stddef.h>
#include <stdint.h>

#include <vthread.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The machine has a collector of its own, and will call vthread_world_stop.
 * Costs some 20 ns at each mount. */
#define VTHREAD_EMBED_WORLD 1u

/*
 * What the machine wants to be told, and how it wants things done.  Zero is
 * valid and means that it does not.  A thread is a virtual thread in all of
 * this.  All but `created` are called on the OS thread's own stack: they may
 * not call what waits.
 */
typedef struct vthread_embedder {
    /* A thread is being created by one whose user pointer is given (NULL from
     * platform threads that have none).  Returns the pointer of the new
     * thread.  On the creator, which may still fail to create it; then
     * `ended` is called.  NULL here: the pointer is inherited as it is. */
    void *(*created)(void *creator);
    /* The thread is about to run on this OS thread; and has left it, parked
     * or ended. */
    void (*mounting)(void *user);
    void (*unmounted)(void *user);
    /* It has ended, and been unmounted for the last time; or it could not be
     * started. */
    void (*ended)(void *user);
    /* An OS thread that will run threads has come, and goes. */
    void (*carrier_started)(void);
    void (*carrier_stopped)(void);
    /* vthread_world_stop has stopped all threads, and vthread_world_start is
     * about to let them go on: by the thread that called these. */
    void (*world_stopped)(void);
    void (*world_starting)(void);
    /* How long a thread may run while others wait and no carrier is free,
     * before vthread_safepoint yields; 0: as long as it likes.  At least a
     * millisecond; the monitor looks every 10 ms at worst. */
    uint64_t time_slice_ns;
    /* Where the library's memory comes from, in place of malloc and free:
     * blocks for frames (chunks), continuations, channels and all else.  NULL
     * without memory, which is ENOMEM to whoever wanted it.  Both or neither;
     * on any OS thread, at any time: they may not call this library. */
    void *(*alloc)(size_t alignment_bytes, size_t size_bytes);
    void (*free)(void *block);
    /* And that of thread objects, in place of mmap and mprotect: one range of
     * address space for as many as there may ever be, to a multiple of 4096,
     * or NULL, then it is asked for half of that; and the next part of it made
     * memory that reads as zero: 0 or ENOMEM.  Both or neither. */
    void *(*reserve_threads)(size_t size_bytes);
    int (*commit_threads)(void *start, size_t size_bytes);
    unsigned flags;       /* VTHREAD_EMBED_WORLD */
    unsigned reserved[5]; /* 0 */
} vthread_embedder_t;

/*
 * Says who embeds the library; *embedder is copied.  Once for the process, and
 * before other OS threads call the library.
 *
 * Returns  0; EINVAL for a bad value; EBUSY if that has been said already, or
 *          a virtual thread, continuation or scheduler has been made, or there
 *          is memory already that was not `alloc`'s or `reserve_threads`';
 *          ENOTSUP for VTHREAD_EMBED_WORLD or `alloc` after
 *          vthread_gc_enable.  vthread_gc_enable refuses in turn after these.
 * Blocks   never.
 */
VTHREAD_API int vthread_embed(const vthread_embedder_t *embedder);

/* ---- The user pointer --------------------------------------------------- */

/* That of the calling thread; NULL if it has none.  Platform threads may have
 * one too; it is not inherited by other platform threads, and nobody is told
 * of their ends.  Blocks never. */
VTHREAD_API void *vthread_user(void);

/* Sets it.  0 or ENOMEM.  Blocks never. */
VTHREAD_API int vthread_set_user(void *user);

/* ---- The stack ---------------------------------------------------------- */

/* Where the calling thread's frames may lie: [low, high), growing down, and
 * for as long as the thread lives.  Below low is a guard. */
typedef struct vthread_stack_bounds {
    void *low, *high;
} vthread_stack_bounds_t;

/*
 * For the machine's own check for overflow: compare the address of a local
 * with low + reserve.  Within a continuation (vthread/continuation.h) they are
 * those of its stack; on a platform thread, those that the system gave it.
 *
 * Returns  0; EINVAL for NULL; on a platform thread what
 *          pthread_getattr_np returned.
 * Blocks   never.
 */
VTHREAD_API int vthread_stack_bounds(vthread_stack_bounds_t *bounds);

/*
 * Whether so many bytes are left on the calling stack, below the caller's
 * frame.  A handful of instructions on a virtual thread: two loads, a
 * subtraction and a compare.  A foreign function may need many more bytes than
 * the machine's own: a printf takes 8 KiB.
 */
VTHREAD_API bool vthread_stack_has(size_t bytes);

/* ---- Safepoints --------------------------------------------------------- */

/* Not zero: somebody wants a thread to come to a safepoint. */
VTHREAD_API extern uint32_t vthread_safepoint_requests;

/* What vthread_safepoint does then.  May yield, and wait. */
VTHREAD_API void vthread_safepoint_reached(void);

/*
 * To be called where the machine's state is in order, at every jump back and
 * at every call: yields if the thread has used up its time slice, waits while
 * the world is stopped.  A load and a branch while nobody wants anything.
 */
static inline void vthread_safepoint(void)
{
    if (__builtin_expect(
            __atomic_load_n(&vthread_safepoint_requests, __ATOMIC_RELAXED)
                != 0,
            0))
        vthread_safepoint_reached();
}

/* ---- Collectors --------------------------------------------------------- */

/*
 * Stops all virtual threads, and all continuations (vthread/continuation.h) on
 * whatever OS thread: those that run come to a safepoint, or park, or end;
 * those in foreign calls (vthread_call, vthread_block, and the like) go on with
 * these, and wait when they come back.  Needs VTHREAD_EMBED_WORLD.  Until
 * vthread_world_start the caller, a virtual or a platform thread, may not call
 * what waits; it is pinned.  What platform threads do outside of continuations
 * is not stopped.
 *
 * Returns  0; ENOTSUP without that flag; EDEADLK if the caller has stopped it
 *          already; EAGAIN if it is pinned too often; ENOMEM.
 * Blocks   the OS thread, until all have stopped; while another thread has
 *          stopped the world the caller counts as stopped.
 * Orders   all that the threads did before happens before the return.
 */
VTHREAD_API int vthread_world_stop(void);

/* Lets them go on.  Returns 0, or EPERM if the caller has not stopped it. */
VTHREAD_API int vthread_world_start(void);

/* Memory that may hold references: [low, high), of the thread with that handle
 * and user pointer; 0 and NULL where it is nobody's or not known whose. */
typedef void vthread_roots_fn(void *arg, vthread_t thread, void *user,
                              const void *low, const void *high);

/*
 * Calls fn for each range of memory in which virtual threads and continuations
 * hold what they work with: frames with the registers saved in them, wherever
 * they are at the moment, and what the library keeps in their objects.  Frames
 * may lie elsewhere than at the address at which they run.  They are to be
 * read, not changed: some are copies, as are the registers of a thread in a
 * foreign call.  So what they refer to stays where it is.  Not among them are
 * what the machine keeps elsewhere, values of keys, and what is in channels;
 * nor the frames of platform threads outside of continuations.  fn may not
 * call the library, but for what says that it blocks never.
 *
 * Returns  0; EINVAL without fn; EPERM if the caller has not stopped the world.
 */
VTHREAD_API int vthread_world_roots(vthread_roots_fn *fn, void *arg);

/* ---- Frames ------------------------------------------------------------- */

/* A frame: where its function goes on, and the frame's lowest address, from
 * which on it reaches to that of the next.  False: no more of them.  May not
 * call what waits, nor what concerns the one looked at. */
typedef bool vthread_frame_fn(void *arg, const void *code,
                              const void *frame);

/*
 * Calls fn for each frame of a thread that waits, innermost first; those at
 * both ends are the library's.  All that the code must have for it are the
 * tables that exceptions and debuggers use (which compilers make by default).
 * The world must have been stopped by the caller.  For the calling thread
 * itself there is _Unwind_Backtrace.
 *
 * Returns  0, also if it has not begun, and has no frames; EINVAL without fn;
 *          ESRCH; EPERM if the caller has not stopped the world; EBUSY if it
 *          does not wait but was stopped at a safepoint, or is in a foreign
 *          call, or a platform thread, or shares its stack with such a one:
 *          not so with VTHREAD_STACK_OWN; ENOTSUP with musl.
 * Blocks   never.
 */
VTHREAD_API int vthread_walk(vthread_t thread, vthread_frame_fn *fn,
                             void *arg);

/*
 * The same for a continuation that has yielded, together with those that were
 * unmounted with it, innermost first.  The world need not be stopped: nobody
 * can run it meanwhile.
 *
 * Returns  0, also if it has not run yet; EINVAL for NULL; EBUSY if it is
 *          mounted, or being run or walked; ESRCH when it is done; EAGAIN when
 *          its home is held by another that is mounted; ENOTSUP as above;
 *          ENOMEM.
 * Blocks   never.
 */
VTHREAD_API int vthread_continuation_walk(vthread_continuation_t *continuation,
                                          vthread_frame_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif

#endif
