/*
 * loop.c - continuations, run by a libuv loop.
 *
 * This is all that a scheduler needs: a list of those to run, somebody who
 * runs them one after the other (the idle handle, whose callback libuv calls
 * in each turn of the loop), and a wait that yields to it.
 *
 * Callbacks do not run tasks themselves: a task that is woken is put into the
 * list.  So tasks always run on the loop's own stack, never inside one
 * another, and may share their stacks (homes).  Another loop may hold such a
 * stack just now: vthread_continuation_run says EAGAIN, and the task has
 * another try in the next turn.
 */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>

/* What tasks yield to. */
static const char scope[] = "loop";

/* A task stays on its OS thread, so this may be kept. */
static _Thread_local struct loop *here;

/* ---- Those to run -------------------------------------------------------- */

static void run_ready(uv_idle_t *idle);

static void make_ready(struct task *task)
{
    struct loop *loop = task->loop;
    if (task->is_ready)
        return;
    task->is_ready = true;
    task->next = NULL;
    *(loop->first ? &loop->last->next : &loop->first) = task;
    loop->last = task;
    uv_idle_start(&loop->idle, run_ready);
}

static void free_task(uv_handle_t *timer)
{
    free(timer->data);
}

static void end(struct task *task)
{
    vthread_continuation_destroy(task->continuation);
    task->loop->tasks--;
    uv_close((uv_handle_t *)&task->timer, free_task);
}

static int go_on(struct task *task)
{
    if (!task->is_cancelled || !task->is_waiting)
        return vthread_continuation_run(task->continuation);
    return vthread_continuation_cancel(task->continuation, ECANCELED);
}

static void run(struct task *task)
{
    struct loop *loop = task->loop;
    loop->current = task;
    int err = go_on(task);
    loop->current = NULL;
    if (err != 0) /* EAGAIN; or ENOMEM before it has begun */
        make_ready(task);
    else if (vthread_continuation_is_done(task->continuation))
        end(task);
}

/* Those that are there now: who becomes ready meanwhile waits for a turn, in
 * which libuv looks at its descriptors. */
static void run_ready(uv_idle_t *idle)
{
    struct loop *loop = idle->data;
    struct task *task = loop->first, *next;
    loop->first = NULL;
    uv_idle_stop(idle);
    for (; task; task = next) {
        next = task->next;
        task->is_ready = false;
        run(task);
    }
}

/* ---- Loops --------------------------------------------------------------- */

int loop_init(struct loop *loop)
{
    *loop = (struct loop){.first = NULL};
    int err = uv_loop_init(&loop->uv);
    if (err == 0)
        err = uv_idle_init(&loop->uv, &loop->idle);
    loop->idle.data = loop;
    return err;
}

int loop_run(struct loop *loop)
{
    here = loop;
    while (loop->tasks > 0)
        uv_run(&loop->uv, UV_RUN_ONCE);
    here = NULL;
    return 0;
}

int loop_close(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return uv_loop_close(&loop->uv);
}

/* ---- Tasks --------------------------------------------------------------- */

static void task_main(void *task)
{
    struct task *self = task;
    self->fn(self->arg);
}

int task_start(struct loop *loop, void (*fn)(void *arg), void *arg,
               struct task **result)
{
    struct task *task = calloc(1, sizeof *task);
    if (!task)
        return UV_ENOMEM;
    task->loop = loop;
    task->fn = fn;
    task->arg = arg;
    vthread_continuation_attr_t attr = {.scope = scope};
    int err = vthread_continuation_create(&task->continuation, &attr,
                                          task_main, task);
    if (err != 0) {
        free(task);
        return uv_translate_sys_error(err);
    }
    uv_timer_init(&loop->uv, &task->timer);
    task->timer.data = task;
    loop->tasks++;
    make_ready(task);
    if (result)
        *result = task;
    return 0;
}

struct task *task_self(void)
{
    return here->current;
}

/* Only a wait can be cancelled, and a task that has not begun has none yet. */
void task_cancel(struct task *task)
{
    task->is_cancelled = true;
    if (task->is_waiting)
        make_ready(task);
}

int task_wait(void)
{
    struct task *self = task_self();
    if (self->is_cancelled)
        return UV_ECANCELED;
    self->is_waiting = true;
    int err = vthread_continuation_yield(scope);
    self->is_waiting = false;
    return err == 0 ? self->result : uv_translate_sys_error(err);
}

void task_wake(struct task *task, int result)
{
    task->result = result;
    make_ready(task);
}

static void wake_sleeper(uv_timer_t *timer)
{
    task_wake(timer->data, 0);
}

int task_sleep(uint64_t ms)
{
    struct task *self = task_self();
    uv_timer_start(&self->timer, wake_sleeper, ms, 0);
    int err = task_wait();
    uv_timer_stop(&self->timer);
    return err;
}
