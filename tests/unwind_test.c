/*
 * unwind_test.c - a walk of the stack of what runs ends at the entry
 * function: by libgcc, libunwind and libdw, wherever the stack lies and
 * however it came to be there.
 *
 * A scene knows its calls: each function of it enters itself.  A probe
 * walks, and holds the walk against them: the walker's own frames, those
 * calls in their order, main, the base, no more.  What a walker would take
 * for one more return address lies above the base, so a walk that goes on
 * there finds a function.
 */
#include <alloca.h>
#include <execinfo.h>
#include <pthread.h>

#include "continuation/continuation.h"
#include "settings.h"
#include "tests/threads.h"
#include "tests/walk.h"
#ifdef HAVE_LIBDW
#include "tests/tracer.h"
#endif

#define CALLS 512

extern char switch_base[];

struct scene {
    unsigned depth;
    struct call {
        const void *function; /* NULL: some of others, as of qsort */
        const char *name;
    } calls[CALLS]; /* the base first */
    unsigned probes;
    struct walk walk;
};

/* ---- Calls -------------------------------------------------------------- */

static void enter(struct scene *s, const void *function, const char *name)
{
    ck_assert_uint_lt(s->depth, CALLS);
    s->calls[s->depth++] = (struct call){function, name};
}

#define ENTER(scene, function)                                                 \
    enter(scene, (const void *)(uintptr_t)(function), #function)

/* Comes last, so that the call before it is no tail call. */
static void leave(struct scene *s)
{
    s->depth--;
}

/* By the first function of a continuation. */
static struct scene *begin(const void *function, const char *name)
{
    struct scene *s = calloc(1, sizeof *s);
    ck_assert_ptr_nonnull(s);
    ENTER(s, switch_base);
    ENTER(s, continuation_current()->kind->main);
    enter(s, function, name);
    return s;
}

#define BEGIN(function) begin((const void *)(uintptr_t)(function), #function)

static void finish(struct scene *s)
{
    leave(s);
    ck_assert_uint_eq(s->depth, 2);
    ck_assert_uint_gt(s->probes, 0);
    free(s);
}

/* ---- Claims ------------------------------------------------------------- */

static void claim_calls(const struct scene *s, const char *walker)
{
    const struct walk *w = &s->walk;
    unsigned i = walk_skip_to(w, 0, s->calls[s->depth - 1].function);
    for (unsigned n = s->depth; n-- > 0;) {
        const struct call *call = &s->calls[n];
        if (!call->function) {
            i = walk_skip_to(w, i, s->calls[n - 1].function);
            continue;
        }
        ck_assert_msg(i < w->depth, "%s: ends before %s", walker, call->name);
        ck_assert_msg(walk_function_at(w, i) == call->function,
                      "%s: frame %u, at %p, is not of %s", walker, i,
                      (void *)w->frames[i].pc, call->name);
        i++;
    }
    ck_assert_msg(i == w->depth, "%s: beyond the base is a frame, at %p",
                  walker, (void *)w->frames[i].pc);
}

/* No frame lies elsewhere, as on the carrier's own stack. */
static void claim_addresses(const struct scene *s, const char *walker)
{
    const struct run_stack *home = continuation_current()->home;
    uintptr_t before = (uintptr_t)home->bottom;
    for (unsigned i = 0; i < s->walk.depth; i++) {
        uintptr_t sp = s->walk.frames[i].sp;
        if (sp == 0)
            continue;
        ck_assert_msg(sp >= before && sp <= (uintptr_t)home->top,
                      "%s: the sp of frame %u is %p", walker, i, (void *)sp);
        before = sp;
    }
}

static void claim(const struct scene *s, const char *walker)
{
    ck_assert_msg(s->walk.ended, "%s: %s", walker, s->walk.why);
    claim_calls(s, walker);
    claim_addresses(s, walker);
}

/* ---- Probes ------------------------------------------------------------- */

/* backtrace() is libgcc's walk, and tells addresses only: its end is not
 * told from being lost. */
__attribute__((noinline)) static void walk_by_backtrace(struct walk *w)
{
    static void *addresses[WALK_FRAMES];
    walk_begin(w);
    int count = backtrace(addresses, WALK_FRAMES);
    for (int i = 0; i < count; i++)
        walk_add(w, (uintptr_t)addresses[i], 0);
    w->ended = count > 0 && count < WALK_FRAMES;
}

__attribute__((noinline)) static void probe(struct scene *s)
{
    /* They wait here for one another, on different carriers. */
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    ENTER(s, probe);
    pthread_mutex_lock(&one_at_a_time);
    walk_plant_above(continuation_current()->home->top);
    walk_by_libgcc(&s->walk);
    claim(s, "libgcc");
    walk_by_backtrace(&s->walk);
    claim(s, "backtrace");
#ifdef HAVE_LIBUNWIND
    walk_by_libunwind(&s->walk);
    claim(s, "libunwind");
#endif
#ifdef HAVE_LIBDW
    if (walk_by_tracer(&s->walk))
        claim(s, "libdw");
#endif
    pthread_mutex_unlock(&one_at_a_time);
    s->probes++;
    leave(s);
}

/* ---- Shapes of stacks --------------------------------------------------- */

__attribute__((noinline)) static void yields(struct scene *s)
{
    ENTER(s, yields);
    probe(s);
    vthread_yield();
    probe(s);
    leave(s);
}

__attribute__((noinline)) static void descends(struct scene *s, unsigned levels)
{
    ENTER(s, descends);
    if (levels > 0)
        descends(s, levels - 1);
    else
        yields(s);
    leave(s);
}

static int compares(const void *a, const void *b, void *arg)
{
    struct scene *s = arg;
    int order = *(const int *)a - *(const int *)b;
    ENTER(s, compares);
    yields(s);
    leave(s);
    return order;
}

__attribute__((noinline)) static void sorts(struct scene *s)
{
    int numbers[] = {3, 1, 2};
    ENTER(s, sorts);
    enter(s, NULL, "the C library");
    qsort_r(numbers, COUNT_OF(numbers), sizeof numbers[0], compares, s);
    ck_assert_int_eq(numbers[0], 1);
    leave(s);
    leave(s);
}

/* A frame whose size the compiler does not know. */
__attribute__((noinline)) static void allocates(struct scene *s,
                                                size_t size_bytes)
{
    volatile char *room = alloca(size_bytes);
    room[0] = 1;
    ENTER(s, allocates);
    yields(s);
    leave(s);
    room[size_bytes - 1] = room[0];
}

__attribute__((noinline)) static void takes_all_shapes(struct scene *s)
{
    ENTER(s, takes_all_shapes);
    probe(s);
    descends(s, 200);
    sorts(s);
    allocates(s, 1000 + s->depth);
    leave(s);
}

/* ---- Homes -------------------------------------------------------------- */

static bool is_on_common_home(void)
{
    struct continuation *c = continuation_current();
    return !(c->flags & CONTINUATION_HAS_OWN);
}

static void *shows_on_an_own_home(void *arg)
{
    struct scene *s = BEGIN(shows_on_an_own_home);
    ck_assert(!is_on_common_home());
    takes_all_shapes(s);
    finish(s);
    return arg;
}

static void shows_with(vthread_attr_t attr)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    attr.flags |= VTHREAD_STACK_OWN;
    join(start_attr(attr, shows_on_an_own_home, NULL));
}

START_TEST(it_ends_at_the_base_of_an_own_home)
{
    shows_with((vthread_attr_t){0});
}
END_TEST

START_TEST(it_ends_at_the_base_of_a_large_home)
{
    shows_with((vthread_attr_t){.stack_size_bytes = 1 << 20});
}
END_TEST

/* Whether none has an own home unless it asks for one. */
static bool homes_are_shared(void)
{
    return continuation_freeze_mode != FREEZE_GUARD
           && settings_get()->own_limit == 0;
}

static void *shows_among_others(void *number)
{
    struct scene *s = BEGIN(shows_among_others);
    ck_assert(homes_are_shared() == is_on_common_home());
    yields(s);
    if ((uintptr_t)number % 8 == 0)
        takes_all_shapes(s);
    yields(s);
    finish(s);
    return NULL;
}

/* Threads that take turns, two or three on each of the 16 homes that there
 * are at least, so that frames come from copies. */
static void several_show(void)
{
    vthread_t threads[40];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    vthread_scheduler_t *s = scheduler_of(1);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, shows_among_others, pointer(i));
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    if (homes_are_shared() && run_stack_common_count() < COUNT_OF(threads))
        ck_assert_uint_gt(stats_of(s).freezes, 0);
    shut_down(s);
}

START_TEST(it_ends_at_the_base_of_a_common_home)
{
    several_show();
}
END_TEST

START_TEST(it_ends_at_the_base_of_frames_copied_at_each_yield)
{
    set_mode("VTHREAD_FREEZE", "eager");
    several_show();
}
END_TEST

START_TEST(it_ends_at_the_base_of_a_guarded_home)
{
    set_mode("VTHREAD_FREEZE", "guard");
    several_show();
}
END_TEST

/* ---- Elsewhere ---------------------------------------------------------- */

static void *shows_elsewhere(void *arg)
{
    struct scene *s = BEGIN(shows_elsewhere);
    for (unsigned i = 0; i < 2; i++) {
        long before = os_thread();
        probe(s);
        while (os_thread() == before)
            vthread_yield();
        probe(s);
    }
    takes_all_shapes(s);
    finish(s);
    return arg;
}

START_TEST(it_ends_at_the_base_on_another_carrier)
{
    set_mode("VTHREAD_MIGRATE", "always");
    if (!mode_is("VTHREAD_MIGRATE", "always"))
        return;
    vthread_scheduler_t *s = scheduler_of(2);
    join(start_on(s, shows_elsewhere, NULL));
    shut_down(s);
}
END_TEST

static void *shows_pinned(void *arg)
{
    struct scene *s = BEGIN(shows_pinned);
    ck_assert_int_eq(vthread_pin(), 0);
    takes_all_shapes(s);
    ck_assert_int_eq(vthread_unpin(), 0);
    finish(s);
    return arg;
}

START_TEST(it_ends_at_the_base_of_a_pinned_thread)
{
    join(start(shows_pinned, NULL));
}
END_TEST

/* ---- Bare continuations ------------------------------------------------- */

static const char scope[] = "scope";

static vthread_continuation_t *make(void (*fn)(void *))
{
    vthread_continuation_t *c = NULL;
    vthread_continuation_attr_t attr = {.scope = scope};
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, fn, NULL), 0);
    return c;
}

static void inner(void *arg)
{
    struct scene *s = BEGIN(inner);
    (void)arg;
    takes_all_shapes(s);
    ck_assert_int_eq(vthread_continuation_yield(scope), 0);
    takes_all_shapes(s);
    finish(s);
}

/* In `outer` it is seen that it ends at its base as well, before, between
 * and after. */
static void run_inner(struct scene *outer)
{
    vthread_continuation_t *c = make(inner);
    for (unsigned runs = 0; runs < 2; runs++) {
        probe(outer);
        ck_assert_int_eq(vthread_continuation_run(c), 0);
    }
    ck_assert(vthread_continuation_is_done(c));
    probe(outer);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

static void middle(void *arg)
{
    struct scene *s = BEGIN(middle);
    (void)arg;
    ENTER(s, run_inner);
    run_inner(s);
    leave(s);
    finish(s);
}

static void run_middle(void)
{
    vthread_continuation_t *c = make(middle);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

static void *shows_what_runs_inside(void *arg)
{
    struct scene *s = BEGIN(shows_what_runs_inside);
    ENTER(s, run_inner);
    run_inner(s);
    leave(s);
    run_middle();
    finish(s);
    return arg;
}

START_TEST(it_ends_at_the_base_of_the_innermost_continuation)
{
    join(start(shows_what_runs_inside, NULL));
}
END_TEST

START_TEST(it_ends_at_the_base_of_a_bare_continuation)
{
    run_middle();
}
END_TEST

/* ---- All of it ---------------------------------------------------------- */

static void open_the_walkers(void)
{
    static bool is_open;
    if (is_open)
        return;
    is_open = true;
    libgcc_open();
#ifdef HAVE_LIBDW
    tracer_start();
#endif
}

int main(void)
{
    Suite *suite = suite_create("unwind");
    TCase *cases = new_case(suite, "homes");
    tcase_add_checked_fixture(cases, open_the_walkers, NULL);
    tcase_add_test(cases, it_ends_at_the_base_of_an_own_home);
    tcase_add_test(cases, it_ends_at_the_base_of_a_large_home);
    tcase_add_test(cases, it_ends_at_the_base_of_a_common_home);
    tcase_add_test(cases, it_ends_at_the_base_of_frames_copied_at_each_yield);
    tcase_add_test(cases, it_ends_at_the_base_of_a_guarded_home);

    cases = new_case(suite, "elsewhere");
    tcase_add_checked_fixture(cases, open_the_walkers, NULL);
    tcase_add_test(cases, it_ends_at_the_base_on_another_carrier);
    tcase_add_test(cases, it_ends_at_the_base_of_a_pinned_thread);
    tcase_add_test(cases, it_ends_at_the_base_of_the_innermost_continuation);
    tcase_add_test(cases, it_ends_at_the_base_of_a_bare_continuation);
    return run_suite(suite);
}
