/*
 * roots.h - all memory in which virtual threads and continuations may hold
 * pointers of the program: frames, and what thread objects carry.
 *
 * For collectors.  What they bring along: a way to stop all OS threads that
 * use the library, at any instruction, and to learn where each was stopped.
 *
 *     roots_on();                   at the start, before any thread
 *     roots_enter(), roots_leave()  each OS thread that runs continuations
 *     everything is stopped; record->stopped_sp tells where
 *     roots_begin(); roots_each(&visitor); roots_end();
 *
 * Nothing here allocates, locks, or waits while all is stopped.
 */
#ifndef EMBED_ROOTS_H
#define EMBED_ROOTS_H

#include <stdatomic.h>
#include <stdbool.h>

struct continuation;
struct local;
struct mount_point;
struct thread;

enum root_kind {
    ROOT_FRAMES,  /* of a continuation that nobody runs, or that is just being
                    mounted or unmounted, or that runs another */
    ROOT_THREAD,  /* of a thread object: its argument or result, a value that
                    it hands over */
    ROOT_NATIVE,  /* the native stack of an OS thread that was stopped on a run
                    stack: the part below the mount */
    ROOT_STOPPED, /* the stack on which an OS thread was stopped, from
                     stopped_sp on; registers are the collector's affair */
};

/* range is called for each; owner is the thread that it belongs to, NULL
 * where there is none or none is known.  Aligned to words. */
struct roots_os_thread;
struct roots_visitor {
    const struct roots_os_thread *os_thread; /* of ROOT_NATIVE, _STOPPED */
    void (*range)(struct roots_visitor *visitor, enum root_kind kind,
                  const struct thread *owner, const void *low,
                  const void *high);
};

/* An OS thread; its own affair but for `next`.  A: atomic. */
struct roots_os_thread {
    struct roots_os_thread *_Atomic next; /* A */
    struct mount_point *mount_point;
    struct local *local;
    char *native_bottom;      /* the highest address of its own stack */
    char *_Atomic stopped_sp; /* A: where it is stopped; NULL: it is not,
                                   and has no continuation mounted */
    bool is_asleep;           /* in gc_thread_sleep, or on the way; read
                                 while all is stopped */
    _Atomic bool is_busy; /* A: see world.c */
};

/* A continuation that is no thread's. */
struct roots_link {
    struct roots_link *_Atomic next; /* A */
    struct roots_link *previous;
    const struct continuation *continuation;
};

/* From now on continuations are remembered; `hides`: in guard mode.  Before
 * the first of them. */
void roots_on(bool hides);

/* The calling OS thread comes, and goes.  The record is the caller's. */
void roots_enter(struct roots_os_thread *record, void *native_bottom);
void roots_leave(struct roots_os_thread *record);

/* A continuation comes, and goes; nothing unless roots_on. */
void roots_add(struct roots_link *link, const struct continuation *c);
void roots_remove(struct roots_link *link);

/* Between the two nobody comes or goes: for those who have not stopped what
 * does. */
void roots_hold(void);
void roots_release(void);

/* All is stopped: finds out who was stopped on which stack.  The end of
 * that. */
void roots_begin(void);
void roots_end(void);

/* In between: all of them; those of one thread alone (its own frames and
 * object); those of OS threads and of continuations that are no thread's. */
void roots_each(struct roots_visitor *visitor);
void roots_of_thread(struct roots_visitor *visitor, const struct thread *t);
void roots_of_others(struct roots_visitor *visitor);

/* The thread that an OS thread was stopped in, or NULL. */
const struct thread *roots_stopped_in(const struct roots_os_thread *record);
/* The first record; the others by `next`. */
struct roots_os_thread *roots_first(void);

/* In the child of a fork: the calling OS thread is all there is, and no
 * thread but those mounted on it has roots. */
void roots_forked(struct roots_os_thread *own);

#endif
