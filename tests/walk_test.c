/*
 * walk_test.c - the frames of threads and continuations that wait.
 */
#include <errno.h>

#include <vthread/embed.h>

#include "continuation/switch.h"
#include "platform/unwinder.h"
#include "tests/threads.h"

static const vthread_embedder_t machine = {.flags = VTHREAD_EMBED_WORLD};
static const char scope[] = "outer", inner_scope[] = "inner";

/* ---- Frames that are known ----------------------------------------------- */

enum { DEPTH = 300 };

struct trail {
    unsigned depth;
    void (*at_the_end)(void);
    const void *code[DEPTH];  /* return addresses, outermost first */
    const void *local[DEPTH]; /* an address within each caller's frame */
};

static __attribute__((noinline)) unsigned go_down(struct trail *trail,
                                                  unsigned depth,
                                                  const void *callers)
{
    volatile unsigned here = depth;
    trail->code[depth] = __builtin_return_address(0);
    trail->local[depth] = callers;
    if (depth + 1 < trail->depth)
        return go_down(trail, depth + 1, (const void *)&here) + here;
    trail->at_the_end();
    return here;
}

/* Nothing has changed of what was there. */
static void go_down_and_back(struct trail *trail)
{
    volatile unsigned here = 0;
    unsigned sum = go_down(trail, 0, (const void *)&here);
    ck_assert_uint_eq(sum, trail->depth * (trail->depth - 1) / 2);
}

/* Addresses on stacks, that may not be there: compared, never followed. */
struct seen {
    unsigned count, most;
    const void *code[4 * DEPTH], *frame[4 * DEPTH];
};

static bool note(void *arg, const void *code, const void *frame)
{
    struct seen *seen = arg;
    ck_assert_uint_lt(seen->count, 4 * DEPTH);
    seen->code[seen->count] = code;
    seen->frame[seen->count++] = frame;
    return seen->most == 0 || seen->count < seen->most;
}

/* All of the trail, innermost first, and nothing between. */
static unsigned ck_seen_from(const struct seen *seen, unsigned from,
                             const struct trail *trail)
{
    unsigned at = from, last = trail->depth - 1;
    while (at < seen->count && seen->code[at] != trail->code[last])
        at++;
    for (unsigned i = 0; i <= last; i++, at++) {
        ck_assert_uint_lt(at, seen->count);
        ck_assert_ptr_eq(seen->code[at], trail->code[last - i]);
        ck_assert(seen->frame[at] <= trail->local[last - i]);
        ck_assert(at + 1 == seen->count
                  || seen->frame[at + 1] > trail->local[last - i]);
    }
    return at;
}

/* ---- Continuations ------------------------------------------------------- */

static void yield_outer(void)
{
    ck_assert_int_eq(vthread_continuation_yield(scope), 0);
}

static void goes_down(void *trail)
{
    go_down_and_back(trail);
}

static vthread_continuation_t *make(void (*fn)(void *), void *arg,
                                    const void *its_scope)
{
    vthread_continuation_t *c;
    vthread_continuation_attr_t attr = {.scope = its_scope};
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, fn, arg), 0);
    return c;
}

static void run_to_the_end(vthread_continuation_t *c)
{
    while (!vthread_continuation_is_done(c))
        ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

static struct trail a = {.depth = DEPTH, .at_the_end = yield_outer};
static struct trail b = {.depth = 20, .at_the_end = yield_outer};

START_TEST(all_frames_of_a_deep_stack_are_seen_and_none_is_changed)
{
    static struct seen seen;
    vthread_continuation_t *c = make(goes_down, &a, scope);
    vthread_continuation_t *other = make(goes_down, &b, scope);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_run(other), 0);
    for (int i = 0; i < 3; i++) {
        seen.count = 0;
        ck_assert_int_eq(vthread_continuation_walk(c, note, &seen), 0);
        ck_seen_from(&seen, 0, &a);
        seen.count = 0;
        ck_assert_int_eq(vthread_continuation_walk(other, note, &seen), 0);
        ck_seen_from(&seen, 0, &b);
    }
    run_to_the_end(c);
    run_to_the_end(other);
}
END_TEST

static void *walks(void *c)
{
    static struct seen seen;
    seen.count = 0;
    ck_assert_int_eq(vthread_continuation_walk(c, note, &seen), 0);
    ck_seen_from(&seen, 0, &b);
    return NULL;
}

static void walks_inside(void *c)
{
    walks(c);
}

START_TEST(anybody_may_walk_it)
{
    vthread_continuation_t *c = make(goes_down, &b, scope);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    join(start(walks, c));
    join_platform(start_platform(walks, c));
    vthread_continuation_t *walker = make(walks_inside, c, NULL);
    run_to_the_end(walker);
    run_to_the_end(c);
}
END_TEST

static void run_inner(void)
{
    vthread_continuation_t *c = make(goes_down, &b, inner_scope);
    run_to_the_end(c);
}

START_TEST(those_that_were_unmounted_together_are_walked_together)
{
    static struct trail outer = {.depth = 30, .at_the_end = run_inner};
    static struct seen seen;
    vthread_continuation_t *c = make(goes_down, &outer, scope);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_walk(c, note, &seen), 0);
    unsigned at = 0;
    while (seen.code[at] != b.code[b.depth - 1])
        at++;
    at += b.depth;
    while (seen.code[at] != outer.code[outer.depth - 1])
        at++;
    ck_seen_from(&seen, at, &outer);
    run_to_the_end(c);
}
END_TEST

static bool tries_to_run(void *c, const void *code, const void *frame)
{
    (void)code;
    (void)frame;
    ck_assert_int_eq(vthread_continuation_run(c), EBUSY);
    ck_assert_int_eq(vthread_continuation_destroy(c), EBUSY);
    ck_assert_int_eq(vthread_continuation_walk(c, tries_to_run, c), EBUSY);
    return false;
}

static void walks_itself(void *arg)
{
    vthread_continuation_t *c = vthread_continuation_current(scope);
    ck_assert_int_eq(vthread_continuation_walk(c, note, arg), EBUSY);
    yield_outer();
}

START_TEST(wrong_walks_are_errors)
{
    static struct seen seen = {.most = 3};
    vthread_continuation_t *c = make(walks_itself, &seen, scope);
    ck_assert_int_eq(vthread_continuation_walk(NULL, note, &seen), EINVAL);
    ck_assert_int_eq(vthread_continuation_walk(c, NULL, NULL), EINVAL);
    ck_assert_int_eq(vthread_continuation_walk(c, note, &seen), 0);
    ck_assert_uint_eq(seen.count, 0); /* it has no frames yet */
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_walk(c, tries_to_run, c), 0);
    ck_assert_int_eq(vthread_continuation_walk(c, note, &seen), 0);
    ck_assert_uint_eq(seen.count, 3); /* no more were wanted */
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_walk(c, note, &seen), ESRCH);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}
END_TEST

static __attribute__((noinline)) int fill_stack(void)
{
    volatile char bytes[512] = {1};
    if (vthread_stack_has(3 * 1024))
        return fill_stack() + bytes[0];
    yield_outer();
    return bytes[0];
}

static void fills_its_stack(void *arg)
{
    *(int *)arg = fill_stack();
}

static bool count(void *arg, const void *code, const void *frame)
{
    (void)code;
    (void)frame;
    ++*(int *)arg;
    return true;
}

START_TEST(a_walk_takes_no_room_on_the_stack_that_is_walked)
{
    static int depth, frames;
    vthread_continuation_t *c = make(fills_its_stack, &depth, scope);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_walk(c, count, &frames), 0);
    run_to_the_end(c);
    ck_assert_int_gt(frames, depth);
}
END_TEST

/* ---- Threads ------------------------------------------------------------- */

enum { THREADS = 20 };

static struct trail trails[THREADS];

static void park(void)
{
    ck_assert_int_eq(vthread_park(), 0);
}

static void *goes_down_as_thread(void *trail)
{
    go_down_and_back(trail);
    return NULL;
}

static void ck_walks_all(const vthread_t t[THREADS])
{
    static struct seen seen;
    ck_assert_int_eq(vthread_world_stop(), 0);
    for (int i = 0; i < THREADS; i++) {
        seen.count = 0;
        ck_assert_int_eq(vthread_walk(t[i], note, &seen), 0);
        ck_seen_from(&seen, 0, &trails[i]);
    }
    ck_assert_int_eq(vthread_world_start(), 0);
}

static void *walks_all(void *t)
{
    ck_walks_all(t);
    return NULL;
}

START_TEST(threads_that_wait_are_walked_while_the_world_is_stopped)
{
    static vthread_t t[THREADS];
    set_mode("VTHREAD_OWN_LIMIT", "3");
    set_mode("VTHREAD_COMMON_HOMES", "2");
    ck_assert_int_eq(vthread_embed(&machine), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        trails[i] = (struct trail){.depth = 5 + i, .at_the_end = park};
        t[i] = start(goes_down_as_thread, &trails[i]);
    }
    for (int i = 0; i < THREADS; i++)
        until_waiting(t[i]);
    ck_walks_all(t);
    join(start_attr((vthread_attr_t){.flags = VTHREAD_STACK_OWN}, walks_all,
                    t));
    for (int i = 0; i < THREADS; i++)
        vthread_unpark(t[i]);
    for (int i = 0; i < THREADS; i++)
        join(t[i]);
}
END_TEST

static _Atomic bool is_running, is_over;

static void *spins(void *arg)
{
    is_running = true;
    while (!is_over)
        vthread_safepoint();
    return arg;
}

START_TEST(threads_that_do_not_wait_are_refused)
{
    static struct seen seen;
    ck_assert_int_eq(vthread_embed(&machine), 0);
    vthread_t gone = start(return_argument, NULL);
    join(gone);
    vthread_t spinner = start(spins, NULL);
    while (!is_running)
        sched_yield();
    ck_assert_int_eq(vthread_walk(spinner, note, &seen), EPERM);
    ck_assert_int_eq(vthread_walk(spinner, NULL, NULL), EINVAL);
    ck_assert_int_eq(vthread_world_stop(), 0);
    ck_assert_int_eq(vthread_walk(spinner, note, &seen), EBUSY);
    ck_assert_int_eq(vthread_walk(vthread_self(), note, &seen), EBUSY);
    ck_assert_int_eq(vthread_walk(gone, note, &seen), ESRCH);
    ck_assert_int_eq(vthread_walk(0, note, &seen), ESRCH);
    ck_assert_uint_eq(seen.count, 0);
    ck_assert_int_eq(vthread_world_start(), 0);
    is_over = true;
    join(spinner);
}
END_TEST

int main(void)
{
    if (!UNWINDER_WALKS)
        return 77; /* not with this libc */
    Suite *suite = suite_create("walk");
    TCase *cases = new_case(suite, "continuations");
    tcase_add_test(cases,
                   all_frames_of_a_deep_stack_are_seen_and_none_is_changed);
    tcase_add_test(cases, anybody_may_walk_it);
    tcase_add_test(cases,
                   those_that_were_unmounted_together_are_walked_together);
    tcase_add_test(cases, wrong_walks_are_errors);
    if (!UNDER_SANITIZER) /* whose functions take any room there is */
        tcase_add_test(cases,
                       a_walk_takes_no_room_on_the_stack_that_is_walked);
    cases = new_case(suite, "threads");
    tcase_add_test(cases,
                   threads_that_wait_are_walked_while_the_world_is_stopped);
    tcase_add_test(cases, threads_that_do_not_wait_are_refused);
    return run_suite(suite);
}
