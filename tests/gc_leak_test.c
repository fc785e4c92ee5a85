/*
 * gc_leak_test.c - threads that nothing can ever wake are found, all of them
 * and no others.
 */
#include "tests/collect.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vthread.h>

#include "platform/memory.h"

#define MANY 1000

static uint64_t number_of_leaks(void)
{
    size_t count = SIZE_MAX;
    forget();
    ck_assert_int_eq(vthread_gc_leaks(NULL, 0, &count), 0);
    return count;
}

/* Exactly so many, and never more.  A carrier that is on the way to sleep may
 * have something left over: then some are found later. */
static void expect_leaks(uint64_t count)
{
    uint64_t found = number_of_leaks();
    for (int looks = 1; found < count && looks < 100; looks++) {
        vthread_sleep(VTHREAD_MS);
        found = number_of_leaks();
    }
    ck_assert_uint_eq(found, count);
}

/* Out of line, so that what was there is in no register, either. */
static __attribute__((noinline)) void clear(volatile void *place)
{
    *(volatile uintptr_t *)place = 0;
}

static void *receives(void *channel)
{
    void *value;
    ck_assert_int_eq(vthread_channel_receive(channel, &value), 0);
    return NULL;
}

/* Threads by number, so that no handle is needed to wait for them. */
static void until_all_wait(unsigned count)
{
    for (unsigned waiting = 0; waiting < count;) {
        uint64_t word;
        struct thread *t = thread_in_use_from(1, &word);
        waiting = 0;
        for (; t; t = thread_in_use_from(thread_number(t) + 1, &word))
            waiting += (word & (THREAD_PARKED | THREAD_WAITING)) != 0;
        vthread_yield();
    }
}

/* ---- One of each kind --------------------------------------------------- */

static __attribute__((noinline)) void plant_receiver(void)
{
    vthread_channel_t *c;
    ck_assert_int_eq(vthread_channel_create(&c, sizeof(void *), 0), 0);
    ck_assert_int_eq(vthread_create(NULL, NULL, receives, c), 0);
    c = NULL;
}

START_TEST(a_receiver_whose_channel_nobody_has_is_a_leak)
{
    enable();
    plant_receiver();
    until_all_wait(1);
    expect_leaks(1);
}
END_TEST

static vthread_channel_t *kept;

START_TEST(a_receiver_whose_channel_somebody_has_is_none)
{
    enable();
    ck_assert_int_eq(vthread_channel_create(&kept, sizeof(void *), 0), 0);
    ck_assert_int_eq(vthread_create(NULL, NULL, receives, kept), 0);
    until_all_wait(1);
    expect_leaks(0);
    clear(&kept);
    expect_leaks(1);
}
END_TEST

static __attribute__((noinline)) void plant_parked(vthread_t *place)
{
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, park_once, NULL), 0);
    *place = t;
    t = 0;
}

/* Behind a file that is no program's lies what anybody has mapped. */
static __attribute__((noinline)) void plant_behind_a_file(void)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), (off_t)page_bytes), 0);
    char *start = mmap(NULL, 2 * page_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(start, MAP_FAILED);
    ck_assert_ptr_eq(mmap(start, page_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_FIXED, fileno(file), 0),
                     start);
    fclose(file);
    ck_assert_int_eq(vthread_create((vthread_t *)(start + page_bytes), NULL,
                                    park_once, NULL),
                     0);
}

START_TEST(what_lies_behind_a_file_of_data_is_not_static_data)
{
    enable();
    plant_behind_a_file();
    until_all_wait(1);
    expect_leaks(1);
}
END_TEST

/* Handles kept in every kind of memory. */
START_TEST(a_parked_thread_is_a_leak_when_nobody_has_its_handle)
{
    static vthread_t in_data;
    enable();
    /* Others have a malloc of their own. */
    bool is_glibcs = !UNDER_SANITIZER && !sanitizer_is_valgrind;
    vthread_t *in_malloc =
        is_glibcs ? malloc(sizeof(vthread_t)) : GC_MALLOC(sizeof(vthread_t));
    vthread_t *in_large = is_glibcs ? malloc(4 << 20) : GC_MALLOC(4 << 20);
    vthread_t *in_plain = GC_MALLOC_ATOMIC(sizeof(vthread_t));
    vthread_t *in_heap = GC_MALLOC(sizeof(vthread_t));
    volatile vthread_t on_stack;
    plant_parked(&in_data);
    plant_parked(in_malloc);
    plant_parked(&in_large[100000]);
    plant_parked(in_plain);
    plant_parked(in_heap);
    plant_parked((vthread_t *)&on_stack);
    until_all_wait(6);
    expect_leaks(0);
    clear(&in_data);
    expect_leaks(1);
    clear(in_malloc);
    expect_leaks(2);
    clear(&in_large[100000]);
    expect_leaks(3);
    clear(in_plain);
    expect_leaks(4);
    clear(in_heap);
    expect_leaks(5);
    clear(&on_stack);
    expect_leaks(6);
    if (is_glibcs) {
        free(in_malloc);
        free(in_large);
    }
}
END_TEST

/* Locks in a circle: each of the two has what the other wants. */
struct pair {
    vthread_mutex_t mutexes[2];
    atomic_int locked;
};

static void lock_both(struct pair *p, int first)
{
    vthread_mutex_lock(&p->mutexes[first]);
    atomic_fetch_add(&p->locked, 1);
    while (atomic_load(&p->locked) < 2)
        vthread_yield();
    vthread_mutex_lock(&p->mutexes[1 - first]);
}

static void *locks_up(void *pair)
{
    lock_both(pair, 0);
    return NULL;
}

static void *locks_down(void *pair)
{
    lock_both(pair, 1);
    return NULL;
}

START_TEST(threads_that_lock_each_other_out_are_leaks)
{
    static struct pair in_data; /* which is of no help */
    enable();
    ck_assert_int_eq(vthread_create(NULL, NULL, locks_up, &in_data), 0);
    ck_assert_int_eq(vthread_create(NULL, NULL, locks_down, &in_data), 0);
    until_all_wait(2);
    expect_leaks(2);
}
END_TEST

static vthread_mutex_t held;

static void *holds_and_sleeps(void *unused)
{
    (void)unused;
    vthread_mutex_lock(&held);
    vthread_sleep(3600000 * VTHREAD_MS);
    return NULL;
}

static void *locks(void *unused)
{
    (void)unused;
    vthread_mutex_lock(&held);
    return NULL;
}

START_TEST(who_waits_for_a_lock_of_a_sleeper_is_none)
{
    enable();
    ck_assert_int_eq(vthread_create(NULL, NULL, holds_and_sleeps, NULL), 0);
    until_all_wait(1);
    ck_assert_int_eq(vthread_create(NULL, NULL, locks, NULL), 0);
    until_all_wait(2);
    expect_leaks(0);
}
END_TEST

static void *joins_a_receiver(void *channel)
{
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, receives, channel), 0);
    ck_assert_int_eq(vthread_join(t, NULL), 0);
    return NULL;
}

static __attribute__((noinline)) void plant_joiner(bool keeps)
{
    vthread_channel_t *c;
    ck_assert_int_eq(vthread_channel_create(&c, sizeof(void *), 0), 0);
    if (keeps)
        kept = c;
    ck_assert_int_eq(vthread_create(NULL, NULL, joins_a_receiver, c), 0);
    c = NULL;
}

START_TEST(who_joins_a_leak_is_one_and_who_joins_a_living_thread_is_none)
{
    enable();
    plant_joiner(true);
    until_all_wait(2);
    expect_leaks(0);
    plant_joiner(false);
    until_all_wait(4);
    expect_leaks(2);
}
END_TEST

static vthread_channel_t *several[2];

static void *selects(void *unused)
{
    void *value;
    vthread_select_case_t cases[2] = {
        {several[0], VTHREAD_SELECT_RECEIVE, 0, &value},
        {several[1], VTHREAD_SELECT_RECEIVE, 0, &value},
    };
    (void)unused;
    size_t which;
    vthread_select(cases, 2, &which);
    return NULL;
}

START_TEST(one_of_several_channels_is_enough_to_be_none)
{
    enable();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            vthread_channel_create(&several[i], sizeof(void *), 0), 0);
    ck_assert_int_eq(vthread_create(NULL, NULL, selects, NULL), 0);
    until_all_wait(1);
    expect_leaks(0);
    clear(&several[0]);
    expect_leaks(0);
    clear(&several[1]);
    expect_leaks(1);
}
END_TEST

/* A latch on the stack of the thread that waits, of which another knows. */
static _Atomic(vthread_latch_t *) latch_there;

static void *waits_on_own_stack(void *unused)
{
    vthread_latch_t latch = VTHREAD_LATCH_INITIALIZER(1);
    (void)unused;
    atomic_store(&latch_there, &latch);
    vthread_latch_wait(&latch);
    return NULL;
}

START_TEST(a_pointer_into_the_frames_of_a_thread_keeps_it)
{
    enable();
    vthread_attr_t attr = {.flags = VTHREAD_STACK_OWN};
    ck_assert_int_eq(vthread_create(NULL, &attr, waits_on_own_stack, NULL), 0);
    until_all_wait(1);
    expect_leaks(0);
    clear((volatile void *)&latch_there);
    expect_leaks(1);
}
END_TEST

/* ---- Many, in circles --------------------------------------------------- */

/* A ring of threads, each of which has the channel of the next and waits at
 * its own. */
struct link {
    vthread_channel_t *own, *next;
};

static void *waits_in_ring(void *argument)
{
    struct link *link = argument;
    void *value;
    ck_assert_int_eq(vthread_channel_receive(link->own, &value), 0);
    ck_assert_int_eq(vthread_channel_send(link->next, &value), 0);
    return NULL;
}

enum { RING = 10 };

static __attribute__((noinline)) vthread_channel_t *make_ring(void)
{
    vthread_channel_t *channels[RING];
    for (int i = 0; i < RING; i++)
        ck_assert_int_eq(
            vthread_channel_create(&channels[i], sizeof(void *), 0), 0);
    for (int i = 0; i < RING; i++) {
        struct link *link = GC_MALLOC(sizeof *link);
        *link = (struct link){channels[i], channels[(i + 1) % RING]};
        ck_assert_int_eq(vthread_create(NULL, NULL, waits_in_ring, link), 0);
    }
    vthread_channel_t *first = channels[0];
    memset(channels, 0, sizeof channels);
    __asm__ volatile("" ::"r"(channels) : "memory");
    return first;
}

static __attribute__((noinline)) void leak_ring(void)
{
    (void)make_ring();
    forget(); /* and nothing is returned */
}

/* In check-stress 100,000 that are leaked among 100,000 that live; a tenth
 * where each thread has mappings of its own. */
static unsigned many_rings(void)
{
    const char *mode = getenv("VTHREAD_FREEZE");
    unsigned many = sanitizer_is_valgrind ? MANY / 10 : MANY;
    if (getenv("STRESS"))
        many = mode && strcmp(mode, "guard") == 0 ? 10 * MANY : 100 * MANY;
    return (unsigned)number_from("GC_LEAKS", many) / RING;
}

/* As many live as leaked, in one list. */
static void plant_rings(unsigned count)
{
    vthread_channel_t **living = GC_MALLOC(count * sizeof *living);
    enable();
    for (unsigned i = 0; i < count; i++) {
        living[i] = make_ring();
        leak_ring();
    }
    until_all_wait(2 * count * RING);
    expect_leaks((uint64_t)count * RING);
    ck_assert_ptr_nonnull(living[count - 1]);
}

START_TEST(all_leaks_in_circles_are_found_and_no_others)
{
    enable();
    plant_rings(many_rings());
}
END_TEST

/* ---- What is told ------------------------------------------------------- */

static __attribute__((noinline)) void *waits_below(void *channel)
{
    void *result = receives(channel);
    __asm__ volatile("" ::: "memory");
    return result;
}

static __attribute__((noinline)) void plant_named(void)
{
    vthread_channel_t *c;
    vthread_attr_t attr = {.name = "lost"};
    ck_assert_int_eq(vthread_channel_create(&c, sizeof(void *), 0), 0);
    ck_assert_int_eq(vthread_create(NULL, &attr, waits_below, c), 0);
    c = NULL;
}

static bool lies_in(const void *pc, const void *function, size_t size_bytes)
{
    return (uintptr_t)pc - (uintptr_t)function < size_bytes;
}

static __attribute__((noinline)) void expect_told(void)
{
    static vthread_gc_leak_t leak;
    size_t count;
    forget();
    ck_assert_int_eq(vthread_gc_leaks(&leak, 1, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_ptr_eq((void *)(uintptr_t)leak.entry,
                     (void *)(uintptr_t)waits_below);
    ck_assert_str_eq(leak.name, "lost");
    ck_assert(lies_in(leak.created_by, (void *)(uintptr_t)plant_named, 400));
    ck_assert_str_eq(leak.waits, "waits at a channel");
#if defined __x86_64__
    bool is_there = false;
    for (unsigned i = 0; i < leak.frame_count; i++)
        is_there |=
            lies_in(leak.frames[i], (void *)(uintptr_t)waits_below,
                    UNDER_SANITIZER ? 1000 : 100);
    ck_assert(is_there);
#endif
}

START_TEST(a_leak_tells_its_stack_and_who_created_it)
{
    enable();
    plant_named();
    until_all_wait(1);
    expect_told();
    expect_told(); /* the same again, for the array is cleared */
}
END_TEST

static __attribute__((noinline)) uint64_t plant_inverted(void)
{
    vthread_t t;
    plant_parked(&t);
    return ~t;
}

START_TEST(a_leak_that_was_looked_at_can_still_be_woken)
{
    vthread_gc_leak_t leak;
    size_t count;
    enable();
    uint64_t inverted = plant_inverted();
    until_all_wait(1);
    forget();
    ck_assert_int_eq(vthread_gc_leaks(&leak, 1, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(leak.thread, ~inverted);
    ck_assert_int_eq(vthread_unpark(~inverted), 0);
    ck_assert_int_eq(vthread_join(~inverted, NULL), 0);
}
END_TEST

static unsigned long mapped_pages(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages;
}

/* Each of its requests fails in turn, and all after it.  Not in guard mode,
 * which ends the process if it cannot show a stack again. */
START_TEST(without_memory_it_is_an_error_and_nothing_is_lost)
{
    unsigned long n = 0;
    int err = ENOMEM;
    const char *mode = getenv("VTHREAD_FREEZE");
    if (mode && strcmp(mode, "guard") == 0)
        return;
    enable();
    plant_receiver();
    until_all_wait(1);
    expect_leaks(1);
    unsigned long pages = mapped_pages();
    while (err != 0) {
        size_t count = 42;
        memory_fail_after(++n);
        err = vthread_gc_leaks(NULL, 0, &count);
        memory_fail_after(0);
        ck_assert(err == 0 || (err == ENOMEM && count == 42));
        /* Lost would be 64 GiB; malloc maps 64 MiB for another OS thread. */
        ck_assert_uint_lt(mapped_pages(), pages + ((size_t)1 << 32) / 4096);
    }
    ck_assert_uint_gt(n, 4); /* address space twice, memory for both, ... */
    expect_leaks(1);
}
END_TEST

START_TEST(it_needs_the_collector)
{
    size_t count;
    ck_assert_int_eq(vthread_gc_leaks(NULL, 0, &count), EPERM);
    enable();
    ck_assert_int_eq(vthread_gc_leaks(NULL, 1, &count), EINVAL);
    ck_assert_int_eq(vthread_gc_leaks(NULL, 0, NULL), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc_leak");
    TCase *kinds = new_case(suite, "kinds");
    tcase_add_test(kinds, a_receiver_whose_channel_nobody_has_is_a_leak);
    tcase_add_test(kinds, a_receiver_whose_channel_somebody_has_is_none);
    tcase_add_test(kinds,
                   a_parked_thread_is_a_leak_when_nobody_has_its_handle);
    tcase_add_test(kinds, what_lies_behind_a_file_of_data_is_not_static_data);
    tcase_add_test(kinds, threads_that_lock_each_other_out_are_leaks);
    tcase_add_test(kinds, who_waits_for_a_lock_of_a_sleeper_is_none);
    tcase_add_test(
        kinds, who_joins_a_leak_is_one_and_who_joins_a_living_thread_is_none);
    tcase_add_test(kinds, one_of_several_channels_is_enough_to_be_none);
    tcase_add_test(kinds, a_pointer_into_the_frames_of_a_thread_keeps_it);
    TCase *told = new_case(suite, "told");
    tcase_add_test(told, all_leaks_in_circles_are_found_and_no_others);
    tcase_add_test(told, a_leak_tells_its_stack_and_who_created_it);
    tcase_add_test(told, a_leak_that_was_looked_at_can_still_be_woken);
    tcase_add_test(told, without_memory_it_is_an_error_and_nothing_is_lost);
    tcase_add_test(told, it_needs_the_collector);
    return run_suite(suite);
}
