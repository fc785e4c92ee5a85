/*
 * gc_test.c - the Boehm collector sees all that virtual threads hold, and
 * nothing more.
 */
#include "tests/collect.h"

#include <errno.h>

#include <vthread.h>

#define OBJECTS 200
/* All but a few, which stray words may keep. */
#define MOST (OBJECTS * 9 / 10)

static uintptr_t hidden[OBJECTS];
static vthread_t threads[OBJECTS];
static atomic_int arrived, go_on;

/* None is lost before it has got to its place: expect_survival comes next. */
static void make_objects(void)
{
    GC_disable();
    atomic_store(&objects_died, 0);
    for (int i = 0; i < OBJECTS; i++)
        hidden[i] = object_hidden((uint64_t)i);
}

/* They are all there, however often the collector looks. */
static void expect_survival(void)
{
    if (GC_is_disabled())
        GC_enable();
    collect();
    vthread_sleep(VTHREAD_MS); /* finalizers would run */
    ck_assert_int_eq(atomic_load(&objects_died), 0);
}

/* ---- Frames ------------------------------------------------------------- */

/* Holds an object on its frame while it waits. */
static __attribute__((noinline)) void *holds_parked(void *number)
{
    struct object *volatile held = object_at(hidden[(uintptr_t)number]);
    atomic_fetch_add(&arrived, 1);
    vthread_park();
    ck_assert(object_is_intact(held, (uintptr_t)number));
    held = NULL;
    return NULL;
}

/* The same as deep as many frames, so that they do not fit the object. */
static __attribute__((noinline)) int holds_deep(uintptr_t number, int depth)
{
    volatile char room[256];
    room[depth % 256] = 1;
    if (depth > 0)
        return holds_deep(number, depth - 1) + room[depth % 256];
    holds_parked(pointer(number));
    return 0;
}

static void *holds_deeply(void *number)
{
    return pointer((uintptr_t)holds_deep((uintptr_t)number, 20));
}

static void hold_and_let_go(void *(*holds)(void *))
{
    enable();
    make_objects();
    for (int i = 0; i < OBJECTS; i++)
        threads[i] = start(holds, pointer((uintptr_t)i));
    for (int i = 0; i < OBJECTS; i++)
        until_waiting(threads[i]);
    for (int round = 0; round < 5; round++)
        expect_survival();
    for (int i = 0; i < OBJECTS; i++)
        vthread_unpark(threads[i]);
    for (int i = 0; i < OBJECTS; i++)
        join(threads[i]);
    until_died(MOST);
}

START_TEST(what_a_parked_frame_holds_lives_as_long)
{
    hold_and_let_go(holds_parked);
}
END_TEST

START_TEST(what_deep_frames_hold_lives_as_long)
{
    hold_and_let_go(holds_deeply);
}
END_TEST

START_TEST(what_copied_frames_hold_lives_as_long)
{
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    setenv("VTHREAD_COMMON_HOMES", "2", 1);
    hold_and_let_go(holds_deeply);
}
END_TEST

/* Runs and runs, and allocates, with the object in a local variable. */
static void *holds_mounted(void *number)
{
    struct object *volatile held = object_at(hidden[(uintptr_t)number]);
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < 2)
        continue;
    while (!atomic_load(&go_on))
        GC_MALLOC(64);
    ck_assert(object_is_intact(held, (uintptr_t)number));
    return NULL;
}

START_TEST(what_a_mounted_frame_holds_lives_as_long)
{
    enable();
    make_objects();
    vthread_scheduler_t *s = scheduler_of(2);
    for (int i = 0; i < 2; i++)
        threads[i] = start_on(s, holds_mounted, pointer((uintptr_t)i));
    while (atomic_load(&arrived) < 2)
        vthread_yield();
    GC_enable();
    for (int round = 0; round < 5; round++)
        collect();
    /* The others are held by nobody. */
    while (GC_should_invoke_finalizers())
        GC_invoke_finalizers();
    ck_assert_uint_eq(object_at(hidden[0])->begin, INTACT);
    ck_assert_uint_eq(object_at(hidden[1])->begin, INTACT);
    atomic_store(&go_on, 1);
    join(threads[0]);
    join(threads[1]);
    shut_down(s);
}
END_TEST

#if defined __x86_64__
/* Yields until it may go on, with the object in a register that calls
 * preserve, and nowhere else. */
static void (*yield)(void) = vthread_yield;

static __attribute__((noinline)) uintptr_t
yields_with_register(uintptr_t inverted)
{
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t" /* the red zone */
                     "pushq %%rbp\n\t"
                     "movq %%rsp, %%rbp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "movq %0, %%r12\n\t"
                     "notq %%r12\n\t"
                     "lock incl (%2)\n"
                     "1:\n\t"
                     "call *(%1)\n\t"
                     "cmpl $0, (%3)\n\t"
                     "je 1b\n\t"
                     "notq %%r12\n\t"
                     "movq %%r12, %0\n\t"
                     "movq %%rbp, %%rsp\n\t"
                     "popq %%rbp\n\t"
                     "leaq 128(%%rsp), %%rsp\n\t"
                     : "+b"(inverted)
                     : "r"(&yield), "r"(&arrived), "r"(&go_on)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",
                       "r11", "r12", "memory", "cc");
    return inverted;
}

static void *holds_in_register(void *number)
{
    uintptr_t mine = hidden[(uintptr_t)number];
    ck_assert_uint_eq(yields_with_register(mine), mine);
    ck_assert(object_is_intact(object_at(mine), (uintptr_t)number));
    return NULL;
}

START_TEST(what_a_register_holds_at_a_switch_lives_as_long)
{
    enable();
    make_objects();
    for (int i = 0; i < OBJECTS; i++)
        threads[i] = start(holds_in_register, pointer((uintptr_t)i));
    while (atomic_load(&arrived) < OBJECTS)
        vthread_yield();
    GC_enable();
    for (int round = 0; round < 20; round++)
        GC_gcollect();
    ck_assert_int_eq(atomic_load(&objects_died), 0);
    atomic_store(&go_on, 1);
    for (int i = 0; i < OBJECTS; i++)
        join(threads[i]);
    until_died(MOST);
}
END_TEST
#endif

/* ---- What the library keeps --------------------------------------------- */

START_TEST(what_a_channel_holds_lives_as_long)
{
    enable();
    make_objects();
    vthread_channel_t *c;
    ck_assert_int_eq(vthread_channel_create(&c, sizeof(void *), OBJECTS), 0);
    for (int i = 0; i < OBJECTS; i++) {
        struct object *o = object_at(hidden[i]);
        ck_assert_int_eq(vthread_channel_send(c, &o), 0);
        o = NULL;
    }
    expect_survival();
    for (int i = 0; i < OBJECTS; i++) {
        struct object *o = NULL;
        ck_assert_int_eq(vthread_channel_receive(c, &o), 0);
        ck_assert(object_is_intact(o, (uint64_t)i));
        o = NULL;
    }
    vthread_channel_destroy(c);
    vthread_scheduler_default();
    until_died(MOST);
}
END_TEST

static void *sends(void *channel)
{
    static atomic_int numbers;
    int number = atomic_fetch_add(&numbers, 1);
    struct object *o = object_at(hidden[number]);
    ck_assert_int_eq(vthread_channel_send(channel, &o), 0);
    return NULL;
}

START_TEST(what_a_waiting_sender_hands_over_lives_as_long)
{
    enable();
    make_objects();
    vthread_channel_t *c;
    ck_assert_int_eq(vthread_channel_create(&c, sizeof(void *), 0), 0);
    for (int i = 0; i < OBJECTS; i++)
        threads[i] = start(sends, c);
    for (int i = 0; i < OBJECTS; i++)
        until_waiting(threads[i]);
    expect_survival();
    for (int i = 0; i < OBJECTS; i++) {
        struct object *o = NULL;
        ck_assert_int_eq(vthread_channel_receive(c, &o), 0);
        ck_assert_uint_eq(o->begin, INTACT);
        o = NULL;
    }
    for (int i = 0; i < OBJECTS; i++)
        join(threads[i]);
    vthread_channel_destroy(c);
    until_died(MOST);
}
END_TEST

static void *returns_object(void *number)
{
    return object_at(hidden[(uintptr_t)number]);
}

START_TEST(what_a_thread_has_returned_lives_until_it_is_joined)
{
    enable();
    make_objects();
    for (int i = 0; i < OBJECTS; i++)
        threads[i] = start(returns_object, pointer((uintptr_t)i));
    for (int i = 0; i < OBJECTS; i++)
        until_ended(threads[i]);
    expect_survival();
    for (int i = 0; i < OBJECTS; i++)
        ck_assert(object_is_intact(join(threads[i]), (uint64_t)i));
    until_died(MOST);
}
END_TEST

static vthread_key_t key;

static void *keeps_value(void *number)
{
    uintptr_t n = (uintptr_t)number;
    ck_assert_int_eq(vthread_key_set(key, object_at(hidden[n])), 0);
    forget();
    vthread_park();
    ck_assert(object_is_intact(vthread_key_get(key), n));
    return NULL;
}

START_TEST(values_of_keys_live_as_long_as_their_thread)
{
    ck_assert_int_eq(vthread_key_create(&key, NULL), 0);
    hold_and_let_go(keeps_value);
}
END_TEST

/* ---- Switches ----------------------------------------------------------- */

/* A list of its own, which it changes, and whose objects it counts. */
static void *works_on_list(void *unused)
{
    struct object *list = NULL;
    (void)unused;
    for (uint64_t i = 0; i < 50; i++) {
        struct object *o = GC_MALLOC(sizeof *o);
        *o = (struct object){
            .begin = INTACT, .number = i, .next = list, .end = ~INTACT};
        list = o;
        vthread_yield();
        uint64_t expected = i;
        for (o = list; o; o = o->next)
            ck_assert(object_is_intact(o, expected--));
    }
    return NULL;
}

/* The stop signal lands wherever it does. */
static void *collects(void *unused)
{
    (void)unused;
    vthread_self(); /* makes the OS thread known */
    while (!atomic_load(&go_on))
        GC_gcollect();
    return NULL;
}

START_TEST(a_collection_may_come_at_any_instruction_of_a_switch)
{
    enable();
    pthread_t collector = start_platform(collects, NULL);
    int count = (int)how_often(10, 40);
    for (int i = 0; i < count; i++)
        threads[i] = start(works_on_list, NULL);
    for (int i = 0; i < count; i++)
        join(threads[i]);
    atomic_store(&go_on, 1);
    join_platform(collector);
}
END_TEST

/* Another that is mounted may have its home, where there are few. */
static void run_when_it_can(vthread_continuation_t *c)
{
    int err;
    while ((err = vthread_continuation_run(c)) == EAGAIN)
        vthread_yield();
    ck_assert_int_eq(err, 0);
}

/* A generator inside of a thread, and one inside of that. */
static void generates(void *depth)
{
    struct object *held = GC_MALLOC(sizeof *held);
    *held = (struct object){
        .begin = INTACT, .number = (uintptr_t)depth, .end = ~INTACT};
    vthread_continuation_t *inner = NULL;
    if ((uintptr_t)depth > 0)
        ck_assert_int_eq(
            vthread_continuation_create(&inner, NULL, generates,
                                        pointer((uintptr_t)depth - 1)),
            0);
    for (int i = 0; i < 20; i++) {
        if (inner && !vthread_continuation_is_done(inner))
            run_when_it_can(inner);
        GC_MALLOC(32);
        if (i % 3 == 0)
            vthread_yield(); /* the whole thread */
        ck_assert(object_is_intact(held, (uintptr_t)depth));
        ck_assert_int_eq(vthread_continuation_yield(NULL), 0);
        ck_assert(object_is_intact(held, (uintptr_t)depth));
    }
    if (inner) {
        while (!vthread_continuation_is_done(inner))
            run_when_it_can(inner);
        vthread_continuation_destroy(inner);
    }
}

static void *runs_generators(void *unused)
{
    vthread_continuation_t *c;
    (void)unused;
    ck_assert_int_eq(
        vthread_continuation_create(&c, NULL, generates, pointer(2)), 0);
    while (!vthread_continuation_is_done(c))
        run_when_it_can(c);
    vthread_continuation_destroy(c);
    return NULL;
}

START_TEST(continuations_inside_of_others_are_seen)
{
    enable();
    pthread_t collector = start_platform(collects, NULL);
    int count = (int)how_often(5, 20);
    for (int i = 0; i < count; i++)
        threads[i] = start(runs_generators, NULL);
    runs_generators(NULL); /* on the platform thread's own stack */
    for (int i = 0; i < count; i++)
        join(threads[i]);
    atomic_store(&go_on, 1);
    join_platform(collector);
}
END_TEST

/* ---- Finalizers --------------------------------------------------------- */

static atomic_int on_virtual, elsewhere;

static void says_where(void *object, void *unused)
{
    (void)object;
    (void)unused;
    vthread_yield();
    atomic_fetch_add(vthread_is_virtual() ? &on_virtual : &elsewhere, 1);
}

static __attribute__((noinline)) void make_finalizable(void)
{
    for (int i = 0; i < OBJECTS; i++)
        GC_REGISTER_FINALIZER_NO_ORDER(GC_MALLOC(32), says_where, NULL, NULL,
                                       NULL);
}

START_TEST(finalizers_are_run_by_virtual_threads)
{
    enable();
    ck_assert_ptr_nonnull(vthread_scheduler_default());
    join(start(return_argument, NULL));
    make_finalizable();
    while (atomic_load(&on_virtual) < MOST) {
        collect();
        vthread_sleep(VTHREAD_MS);
    }
    ck_assert_int_eq(atomic_load(&elsewhere), 0);
}
END_TEST

/* ---- Interruptions ------------------------------------------------------ */

static void *reads(void *fd)
{
    char byte = 0;
    size_t size = 0;
    int err = vthread_read((int)(uintptr_t)fd, &byte, 1, &size);
    ck_assert_int_eq(err, 0);
    ck_assert_uint_eq(size, 1);
    return NULL;
}

static void *sleeps_long(void *unused)
{
    (void)unused;
    ck_assert_int_eq(vthread_sleep(15 * VTHREAD_MS), 0);
    return NULL;
}

START_TEST(the_collectors_signals_interrupt_no_call)
{
    int ends[2];
    enable();
    pthread_t collector = start_platform(collects, NULL);
    ck_assert_int_eq(pipe(ends), 0);
    pthread_t platform = start_platform(reads, pointer((uintptr_t)ends[0]));
    pthread_t sleeper = start_platform(sleeps_long, NULL);
    threads[0] = start(reads, pointer((uintptr_t)ends[0]));
    threads[1] = start(sleeps_long, NULL);
    join(threads[1]);
    join_platform(sleeper);
    ck_assert_int_eq(write(ends[1], "ab", 2), 2);
    join(threads[0]);
    join_platform(platform);
    atomic_store(&go_on, 1);
    join_platform(collector);
}
END_TEST

/* ---- Turning it on ------------------------------------------------------ */

static void enables_incremental(void)
{
    setenv("GC_ENABLE_INCREMENTAL", "1", 1);
    _exit(vthread_gc_enable() == ENOTSUP ? 0 : 1);
}

START_TEST(incremental_mode_is_refused_in_words)
{
    char text[1024];
    int status = end_of_child(enables_incremental, text, sizeof text);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_ptr_nonnull(strstr(text, "incremental"));
}
END_TEST

START_TEST(it_is_turned_on_before_anything_else_or_not_at_all)
{
    join(start(return_argument, NULL));
    ck_assert_int_eq(vthread_gc_enable(), EBUSY);
}
END_TEST

START_TEST(turning_it_on_twice_is_once)
{
    enable();
    join(start(return_argument, NULL));
    enable();
}
END_TEST

/* The collector has threads of its own, which wake nobody. */
static void locks_itself_out(void)
{
    enable();
    if (!GC_get_parallel())
        GC_start_mark_threads();
    join(start(park_once, NULL));
}

START_TEST(a_deadlock_is_found_beside_the_collectors_threads)
{
    char text[4096];
    setenv("GC_MARKERS", "3", 1);
    int status = end_of_child(locks_itself_out, text, sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 2,
                  "ended with status %#x, saying:\n%.2000s", status, text);
    ck_assert_ptr_nonnull(strstr(text, "deadlock: all 2 threads wait"));
}
END_TEST

/* ---- Fork --------------------------------------------------------------- */

static void *forks(void *unused)
{
    struct object *volatile held = object_at(object_hidden(7));
    (void)unused;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        for (int i = 0; i < 20000; i++)
            GC_MALLOC(64);
        GC_gcollect();
        _exit(object_is_intact(held, 7) ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    return NULL;
}

START_TEST(the_child_of_a_fork_allocates_and_collects)
{
    enable();
    for (int i = 0; i < 50; i++)
        threads[i] = start(park_once, NULL);
    for (int i = 0; i < 50; i++)
        until_waiting(threads[i]);
    join(start(forks, NULL));
    forks(NULL);
    for (int i = 0; i < 50; i++)
        vthread_unpark(threads[i]);
    for (int i = 0; i < 50; i++)
        join(threads[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc");
    TCase *frames = new_case(suite, "frames");
    tcase_add_test(frames, what_a_parked_frame_holds_lives_as_long);
    tcase_add_test(frames, what_deep_frames_hold_lives_as_long);
    tcase_add_test(frames, what_copied_frames_hold_lives_as_long);
    tcase_add_test(frames, what_a_mounted_frame_holds_lives_as_long);
#if defined __x86_64__
    tcase_add_test(frames, what_a_register_holds_at_a_switch_lives_as_long);
#endif
    TCase *kept = new_case(suite, "kept");
    tcase_add_test(kept, what_a_channel_holds_lives_as_long);
    tcase_add_test(kept, what_a_waiting_sender_hands_over_lives_as_long);
    tcase_add_test(kept, what_a_thread_has_returned_lives_until_it_is_joined);
    tcase_add_test(kept, values_of_keys_live_as_long_as_their_thread);
    TCase *switches = new_case(suite, "switches");
    tcase_add_test(switches,
                   a_collection_may_come_at_any_instruction_of_a_switch);
    tcase_add_test(switches, continuations_inside_of_others_are_seen);
    TCase *others = new_case(suite, "others");
    tcase_add_test(others, finalizers_are_run_by_virtual_threads);
    tcase_add_test(others, the_collectors_signals_interrupt_no_call);
    tcase_add_test(others, incremental_mode_is_refused_in_words);
    tcase_add_test(others, it_is_turned_on_before_anything_else_or_not_at_all);
    tcase_add_test(others, turning_it_on_twice_is_once);
    tcase_add_test(others, a_deadlock_is_found_beside_the_collectors_threads);
    tcase_add_test(others, the_child_of_a_fork_allocates_and_collects);
    return run_suite(suite);
}
