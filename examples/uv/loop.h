/*
 * loop.h - tasks on a libuv loop: a scheduler of one's own for continuations.
 *
 * A task is a continuation that is run by the loop's OS thread whenever what
 * it waits for has come.  Its code is plain: it calls stream_read (stream.h)
 * or task_sleep and has the result when these return.
 *
 *     struct loop loop;
 *     loop_init(&loop);
 *     task_start(&loop, serve, port);
 *     loop_run(&loop);            // until all tasks have ended
 *     loop_close(&loop);
 *
 * A program may have several loops, each with an OS thread of its own.  Errors
 * are libuv's: 0 or a negative number.
 */
#ifndef EXAMPLES_UV_LOOP_H
#define EXAMPLES_UV_LOOP_H

#include <stdbool.h>
#include <uv.h>

#include <vthread/continuation.h>

/* While a task waits its locals may not be at their addresses: others have
 * the stack.  So what libuv and its callbacks write to is here, or elsewhere
 * in the heap, and the task itself takes it from there when it goes on. */
struct task {
    vthread_continuation_t *continuation;
    struct loop *loop;
    struct task *next;     /* in the loop's list of those to run */
    bool is_ready;         /* it is in that list */
    bool is_waiting;       /* for task_wake */
    bool is_cancelled;
    int result;            /* of what it waits for */
    void (*fn)(void *arg);
    void *arg;
    uv_timer_t timer;
};

struct loop {
    uv_loop_t uv;
    uv_idle_t idle;        /* active while there is somebody to run */
    struct task *first, *last;
    struct task *current;  /* that runs now */
    unsigned tasks;        /* that have not ended */
};

int loop_init(struct loop *loop);
/* Runs all tasks to their ends. */
int loop_run(struct loop *loop);
int loop_close(struct loop *loop);

/* A task that will run fn(arg).  On the loop's OS thread, or before that
 * runs.  task, unless NULL: to cancel it, until it has ended. */
int task_start(struct loop *loop, void (*fn)(void *arg), void *arg,
               struct task **task);

/* Has its wait return UV_ECANCELED, and all that follow. */
void task_cancel(struct task *task);

/* For tasks only: the caller; a pause. */
struct task *task_self(void);
int task_sleep(uint64_t ms);

/* For those who make waiting functions.  task_wait returns what task_wake
 * says, or that the task is cancelled, or cannot wait: after that nothing may
 * wake the task for this. */
int task_wait(void);
void task_wake(struct task *task, int result);

#endif
