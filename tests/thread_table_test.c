/*
 * thread_table_test.c - thread objects: lives, handles, caches, growth.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "platform/memory.h"
#include "tests/random.h"
#include "tests/support.h"
#include "thread.h"

/* What the table takes at once, and a cache keeps at most. */
enum { BATCH = 128, CACHE = 2 * BATCH };

#define LAST_GENERATION UINT64_C(0xffffffff)

static void setup(void)
{
    ck_assert_int_eq(thread_table_init(), 0);
}

static void setup_entered(void)
{
    setup();
    thread_table_enter();
}

static uint64_t word_of(struct thread *t)
{
    return atomic_load_explicit(&t->word, memory_order_relaxed);
}

static struct thread *alloc(void)
{
    struct thread *t = thread_alloc();

    if (t == NULL)
        ck_abort_msg("no memory for a thread");
    return t;
}

static struct thread *look_up(vthread_t handle)
{
    uint64_t word;

    return thread_of_handle(handle, &word);
}

static void alloc_all(struct thread **all, int count)
{
    for (int i = 0; i < count; i++)
        all[i] = alloc();
}

static void free_all(struct thread **all, int count)
{
    for (int i = 0; i < count; i++)
        thread_free(all[i]);
}

/* What a thread of the table may look like after its life. */
static void make_dirty(struct thread *t)
{
    uint64_t word = word_of(t);

    memset(t, 0xa5, sizeof *t);
    atomic_store_explicit(&t->word, word | 0x3fff, memory_order_relaxed);
}

/* Control fields zero but for the word. */
static bool is_clean(struct thread *t)
{
    const unsigned char *bytes = (const unsigned char *)t;
    size_t word = offsetof(struct thread, word);

    for (size_t i = 0; i < offsetof(struct thread, chunk); i++)
        if (bytes[i] != 0 && (i < word || i >= word + sizeof t->word))
            return false;
    return true;
}

/* Lives and handles. */

START_TEST(a_new_thread_is_zero_but_for_its_generation)
{
    for (int life = 1; life < 10; life++) {
        struct thread *t = alloc();
        ck_assert(is_clean(t));
        ck_assert_uint_eq((uint32_t)word_of(t), 0);
        ck_assert_uint_ge(word_of(t) >> 32, 1);
        make_dirty(t);
        thread_free(t);
    }
}
END_TEST

START_TEST(a_thread_is_aligned_and_found_by_its_number)
{
    struct thread *t = alloc();

    ck_assert_uint_eq((uintptr_t)t % CACHE_LINE, 0);
    ck_assert_uint_gt(thread_number(t), 0);
    ck_assert_uint_lt(thread_number(t), thread_table_size());
    ck_assert_ptr_eq(thread_at(thread_number(t)), t);
}
END_TEST

START_TEST(a_handle_finds_its_thread_and_word)
{
    struct thread *t = alloc();
    vthread_t handle = thread_handle(t);
    uint64_t word;

    atomic_fetch_or(&t->word, THREAD_PERMIT);
    ck_assert_uint_eq(thread_handle(t), handle);
    ck_assert_ptr_eq(thread_of_handle(handle, &word), t);
    ck_assert_uint_eq(word, word_of(t));
    ck_assert(word & THREAD_PERMIT);
}
END_TEST

START_TEST(a_thread_is_found_whatever_its_flags)
{
    struct thread *t = alloc();
    vthread_t handle = thread_handle(t);
    uint32_t flags =
        THREAD_PARKED | THREAD_WAITING | THREAD_PERMIT | THREAD_WOKEN |
        THREAD_CANCELLABLE | THREAD_KERNEL | THREAD_TIMED | THREAD_ARMED |
        THREAD_TIMEOUT | THREAD_CANCELED | THREAD_INTERRUPT | THREAD_DONE |
        THREAD_DETACHED | THREAD_JOINING | THREAD_JOINER | THREAD_PLATFORM |
        THREAD_BOUND_ONE;

    atomic_fetch_or(&t->word, flags);
    ck_assert_ptr_eq(look_up(handle), t);
}
END_TEST

START_TEST(a_freed_threads_handle_is_stale_for_ever)
{
    struct thread *t = alloc();
    vthread_t handle = thread_handle(t);

    thread_free(t);
    for (int life = 0; life < 1000; life++) {
        ck_assert_ptr_null(look_up(handle));
        ck_assert_ptr_eq(alloc(), t);
        ck_assert_uint_ne(thread_handle(t), handle);
        ck_assert_ptr_null(look_up(handle));
        ck_assert_ptr_eq(look_up(thread_handle(t)), t);
        thread_free(t);
    }
}
END_TEST

START_TEST(an_invented_handle_finds_nobody)
{
    struct thread *t = alloc();
    uint64_t number = thread_number(t);
    uint64_t generation = word_of(t) >> 32;

    ck_assert_ptr_null(look_up(0));
    ck_assert_ptr_null(look_up(UINT64_MAX));
    ck_assert_ptr_null(look_up(number));
    ck_assert_ptr_null(look_up(generation << 32));
    ck_assert_ptr_null(look_up(generation << 32 | thread_table_size()));
    ck_assert_ptr_null(look_up((generation + 1) << 32 | number));
    thread_free(t);
    ck_assert_ptr_null(look_up((generation + 1) << 32 | number));
    ck_assert_ptr_null(look_up(1ull << 32 | (thread_table_size() - 1)));
}
END_TEST

START_TEST(a_number_that_nobody_had_yet_is_safe_to_ask_for)
{
    /* At some of these sizes the next object is not accessible yet. */
    for (int i = 0; i < 2000; i++) {
        alloc();
        ck_assert_ptr_null(look_up(1ull << 32 | thread_table_size()));
    }
}
END_TEST

START_TEST(the_last_generation_of_an_object_is_followed_by_none)
{
    struct thread *t = alloc();
    vthread_t handle;

    atomic_store(&t->word, LAST_GENERATION << 32);
    handle = thread_handle(t);
    ck_assert_ptr_eq(look_up(handle), t);
    thread_free(t);
    ck_assert_ptr_null(look_up(handle));
    for (int i = 0; i < 10 * BATCH; i++)
        ck_assert_ptr_ne(alloc(), t);
    ck_assert_ptr_null(look_up(handle));
    ck_assert_ptr_null(look_up(thread_number(t)));
}
END_TEST

START_TEST(a_look_around_meets_those_in_use_only)
{
    enum { COUNT = 1000 };
    static struct thread *all[COUNT];
    uint32_t number = 0;
    uint64_t word;
    struct thread *t;

    alloc_all(all, COUNT);
    for (int i = 0; i < COUNT; i += 3)
        thread_free(all[i]);
    for (int i = 0; i < COUNT; i++) {
        if (i % 3 == 0)
            continue;
        t = thread_in_use_from(number, &word);
        ck_assert_ptr_eq(t, all[i]);
        ck_assert_uint_eq(word, word_of(t));
        number = thread_number(t) + 1;
    }
    ck_assert_ptr_null(thread_in_use_from(number, &word));
}
END_TEST

/* Growth. */

START_TEST(the_first_thread_costs_a_page_or_two)
{
    unsigned char resident[16] = {0};
    size_t pages = 0;

    alloc();
    ck_assert_uint_le(thread_table_size(), BATCH);
    ck_assert_int_eq(mincore(thread_table, 64 * 1024, resident), 0);
    for (int i = 0; i < 16; i++)
        pages += resident[i] & 1;
    ck_assert_uint_le(pages, 2);
}
END_TEST

static int by_address(const void *a, const void *b)
{
    struct thread *const *p = a, *const *q = b;

    return (*p > *q) - (*p < *q);
}

START_TEST(many_threads_are_all_different)
{
    enum { COUNT = 50000 };
    static struct thread *all[COUNT];

    alloc_all(all, COUNT);
    qsort(all, COUNT, sizeof *all, by_address);
    for (int i = 1; i < COUNT; i++)
        if (all[i - 1] == all[i])
            ck_abort_msg("number %u twice", thread_number(all[i]));
    ck_assert_uint_gt(thread_number(all[0]), 0);
    ck_assert_uint_lt(thread_number(all[COUNT - 1]), thread_table_size());
    ck_assert_uint_le(thread_table_size(), COUNT + BATCH);
}
END_TEST

START_TEST(threads_used_before_come_before_new_ones)
{
    enum { COUNT = 1000 };
    static struct thread *all[COUNT];
    uint32_t size;

    alloc_all(all, COUNT);
    size = thread_table_size();
    for (int round = 0; round < 10; round++) {
        free_all(all, COUNT);
        alloc_all(all, COUNT);
        ck_assert_uint_eq(thread_table_size(), size);
    }
}
END_TEST

START_TEST(without_memory_there_is_no_thread_and_no_harm)
{
    struct thread *t;
    int count = 0;

    memory_fail_after(1);
    while ((t = thread_alloc()) != NULL)
        count++;
    ck_assert_int_lt(count, 64 * 1024 / 256);
    ck_assert_ptr_null(thread_alloc());
    memory_fail_after(0);
    for (int i = 0; i < 20000; i++)
        alloc();
}
END_TEST

START_TEST(a_table_that_cannot_be_had_is_reported)
{
    memory_fail_after(1);
    ck_assert_int_eq(thread_table_init(), ENOMEM);
    ck_assert_ptr_null(thread_table);
    memory_fail_after(0);
    ck_assert_int_eq(thread_table_init(), 0);
    alloc();
}
END_TEST

START_TEST(where_addresses_are_scarce_most_are_left_for_stacks)
{
    const size_t limit_bytes = (size_t)6 << 30;
    struct rlimit limit = {limit_bytes, limit_bytes};
    void *rest;

    if (UNDER_SANITIZER) /* their shadow is larger than any limit */
        return;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(thread_table_init(), 0);
    rest = memory_reserve(limit_bytes / 2);
    ck_assert_ptr_nonnull(rest);
    for (int i = 0; i < 20000; i++)
        alloc();
}
END_TEST

/* Caches. */

static void *fill_cache_and_leave(void *unused)
{
    static struct thread *all[CACHE];

    thread_table_enter();
    alloc_all(all, CACHE);
    free_all(all, CACHE);
    thread_table_leave();
    return unused;
}

static void *fill_cache_and_stay(void *all)
{
    thread_table_enter();
    free_all(all, 10 * CACHE);
    return NULL;
}

static void run(void *(*fn)(void *), void *argument)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, argument), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(what_an_os_thread_kept_goes_back_when_it_leaves)
{
    uint32_t size;

    run(fill_cache_and_leave, NULL);
    size = thread_table_size();
    /* All but number 0 is there for others. */
    for (uint32_t i = 1; i < size; i++)
        alloc();
    ck_assert_uint_eq(thread_table_size(), size);
    alloc();
    ck_assert_uint_gt(thread_table_size(), size);
}
END_TEST

START_TEST(leaving_and_entering_again_loses_nothing)
{
    uint32_t size;

    run(fill_cache_and_leave, NULL);
    size = thread_table_size();
    for (int i = 0; i < 100; i++)
        run(fill_cache_and_leave, NULL);
    ck_assert_uint_eq(thread_table_size(), size);
}
END_TEST

START_TEST(an_os_thread_keeps_two_batches_at_most)
{
    static struct thread *all[10 * CACHE];
    uint32_t size;

    alloc_all(all, 10 * CACHE);
    size = thread_table_size();
    run(fill_cache_and_stay, all);
    alloc_all(all, 9 * CACHE);
    ck_assert_uint_eq(thread_table_size(), size);
}
END_TEST

/* Several at once. */

enum { WORKERS = 4 };

static _Atomic bool broken;

struct worker {
    pthread_t os_thread;
    struct random random;
    bool enters;
};

/* Marks a thread as its own, or checks that it still is and frees it. */
static void use(struct worker *worker, struct thread **t)
{
    if (*t == NULL) {
        *t = thread_alloc();
        if (*t == NULL || !is_clean(*t) || (uint32_t)word_of(*t) != 0)
            atomic_store(&broken, true);
        (*t)->argument = worker;
    } else {
        if ((*t)->argument != worker)
            atomic_store(&broken, true);
        thread_free(*t);
        *t = NULL;
    }
}

static void *work(void *argument)
{
    enum { KEPT = 1000, ROUNDS = 200000 };
    struct worker *worker = argument;
    struct thread **kept = calloc(KEPT, sizeof *kept);

    if (worker->enters)
        thread_table_enter();
    for (int i = 0; i < ROUNDS && !atomic_load(&broken); i++)
        use(worker, &kept[random_below(&worker->random, KEPT)]);
    for (int i = 0; i < KEPT; i++)
        if (kept[i] != NULL)
            use(worker, &kept[i]);
    if (worker->enters)
        thread_table_leave();
    free(kept);
    return NULL;
}

START_TEST(os_threads_at_once_never_get_the_same_thread)
{
    struct random random = random_start("thread_table_test");
    struct worker workers[WORKERS];
    uint64_t word;

    for (int i = 0; i < WORKERS; i++) {
        workers[i].random.state = random_next(&random);
        workers[i].enters = i % 2 == 0;
        pthread_create(&workers[i].os_thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i].os_thread, NULL);
    ck_assert(!atomic_load(&broken));
    ck_assert_ptr_null(thread_in_use_from(0, &word));
}
END_TEST

static _Atomic uint64_t published;
static _Atomic bool enough;

/* Unparks through whatever handle was published last, like vthread_unpark. */
static void *unpark_for_ever(void *unused)
{
    uint64_t word;

    while (!atomic_load_explicit(&enough, memory_order_relaxed)) {
        vthread_t handle =
            atomic_load_explicit(&published, memory_order_relaxed);
        struct thread *t = thread_of_handle(handle, &word);
        if (t != NULL)
            atomic_compare_exchange_strong(&t->word, &word,
                                           word | THREAD_PERMIT);
    }
    return unused;
}

START_TEST(a_stale_unpark_never_reaches_the_next_life)
{
    pthread_t unparker;
    int reached = 0, wrong = 0, enough_reached = (int)how_often(2000, 50000);

    pthread_create(&unparker, NULL, unpark_for_ever, NULL);
    for (int i = 0; reached < enough_reached && i < 20 * enough_reached; i++) {
        struct thread *t = alloc();
        /* Nobody has this handle, so nobody may give a permit. */
        for (int look = 0; look < 5; look++)
            wrong += (uint32_t)word_of(t) != 0;
        atomic_store_explicit(&published, thread_handle(t),
                              memory_order_relaxed);
        for (int look = 0; look < i % 64; look++)
            cpu_relax();
        reached += (word_of(t) & THREAD_PERMIT) != 0;
        thread_free(t);
    }
    atomic_store(&enough, true);
    pthread_join(unparker, NULL);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

static Suite *thread_table_suite(void)
{
    Suite *suite = suite_create("thread_table");
    TCase *lives = tcase_create("lives");
    TCase *growth = tcase_create("growth");
    TCase *scarcity = tcase_create("scarcity");
    TCase *caches = tcase_create("caches");
    TCase *at_once = tcase_create("at_once");

    tcase_add_checked_fixture(lives, setup_entered, NULL);
    tcase_add_test(lives, a_new_thread_is_zero_but_for_its_generation);
    tcase_add_test(lives, a_thread_is_aligned_and_found_by_its_number);
    tcase_add_test(lives, a_handle_finds_its_thread_and_word);
    tcase_add_test(lives, a_thread_is_found_whatever_its_flags);
    tcase_add_test(lives, a_freed_threads_handle_is_stale_for_ever);
    tcase_add_test(lives, an_invented_handle_finds_nobody);
    tcase_add_test(lives, a_number_that_nobody_had_yet_is_safe_to_ask_for);
    tcase_add_test(lives,
                   the_last_generation_of_an_object_is_followed_by_none);
    tcase_add_test(lives, a_look_around_meets_those_in_use_only);
    suite_add_tcase(suite, lives);

    tcase_add_checked_fixture(growth, setup, NULL);
    tcase_add_test(growth, the_first_thread_costs_a_page_or_two);
    tcase_add_test(growth, many_threads_are_all_different);
    tcase_add_test(growth, threads_used_before_come_before_new_ones);
    tcase_add_test(growth, without_memory_there_is_no_thread_and_no_harm);
    suite_add_tcase(suite, growth);

    tcase_add_test(scarcity, a_table_that_cannot_be_had_is_reported);
    tcase_add_test(scarcity,
                   where_addresses_are_scarce_most_are_left_for_stacks);
    suite_add_tcase(suite, scarcity);

    tcase_add_checked_fixture(caches, setup, NULL);
    tcase_add_test(caches, what_an_os_thread_kept_goes_back_when_it_leaves);
    tcase_add_test(caches, leaving_and_entering_again_loses_nothing);
    tcase_add_test(caches, an_os_thread_keeps_two_batches_at_most);
    suite_add_tcase(suite, caches);

    tcase_add_checked_fixture(at_once, setup_entered, NULL);
    tcase_add_test(at_once, os_threads_at_once_never_get_the_same_thread);
    tcase_add_test(at_once, a_stale_unpark_never_reaches_the_next_life);
    tcase_set_timeout(at_once, PATIENCE_S);
    suite_add_tcase(suite, at_once);
    return suite;
}

int main(void)
{
    return run_suite(thread_table_suite());
}
