/*
 * gc_tracked_test.c - the Boehm collector in a program whose pthread locks are
 * tracked and whose blocking calls are interposed: it takes locks of its own
 * around switches, and sleeps while all others are stopped.
 */
#define GC_THREADS 1
#define GC_NO_THREAD_REDIRECTS 1
#include <gc/gc.h>
#include <pthread.h>
#include <sched.h>

#include <vthread/embed.h>
#include <vthread/gc.h>

#include "tests/posix.h"

enum { THREADS = 24, CHAIN = 40 };

struct link {
    struct link *next;
    uintptr_t owner;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static bool is_whole(const struct link *chain, uintptr_t owner, int length)
{
    for (; chain && chain->owner == owner; chain = chain->next)
        length--;
    return !chain && length == 0;
}

/* Makes room for frames on common homes, and leaves the stack in all ways. */
static void wait_somehow(int round)
{
    if (round % 4 == 0) {
        vthread_yield();
    } else if (round % 4 == 1) {
        pthread_mutex_lock(&mutex);
        vthread_yield();
        pthread_mutex_unlock(&mutex);
    } else if (round % 4 == 2) {
        usleep(50);
    } else {
        sched_yield();
    }
}

static void *holds_a_chain(void *arg)
{
    struct link *chain = NULL;
    int length = 0;
    for (int round = 0; round < (int)how_often(100, 200); round++) {
        if (length == CHAIN) {
            chain = NULL;
            length = 0;
        }
        struct link *made = GC_MALLOC(sizeof *made);
        require(made != NULL);
        *made = (struct link){chain, (uintptr_t)arg};
        chain = made;
        length++;
        size_t leaks = 0;
        if (round % 50 == 25)
            GC_gcollect();
        if (round % 100 == 45)
            require(vthread_gc_leaks(NULL, 0, &leaks) == 0 && leaks == 0);
        wait_somehow(round);
        require(is_whole(chain, (uintptr_t)arg, length));
    }
    return NULL;
}

START_TEST(a_collector_whose_locks_are_interposed_works)
{
    vthread_t threads[THREADS];
    int err = vthread_gc_enable();
    if (err == ENOTSUP)
        return; /* ThreadSanitizer */
    ck_assert_int_eq(err, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(
            vthread_create(&threads[i], NULL, holds_a_chain, (void *)(i + 1)),
            0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(vthread_join(threads[i], NULL), 0);
}
END_TEST

/* ---- A machine's own lock ----------------------------------------------- */

static int mounts;
static pthread_mutex_t machine_mutex = PTHREAD_MUTEX_INITIALIZER;

static void count_mount(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&machine_mutex);
    require(!vthread_is_virtual());
    for (volatile int i = 0; i < 200; i++)
        continue; /* so that others find it taken */
    mounts++;
    pthread_mutex_unlock(&machine_mutex);
}

static void *yields(void *unused)
{
    for (int i = 0; i < 500; i++)
        vthread_yield();
    require(vthread_is_virtual());
    return unused;
}

START_TEST(a_callback_on_the_native_stack_may_wait_for_a_tracked_lock)
{
    static const vthread_embedder_t machine = {.mounting = count_mount};
    vthread_t threads[THREADS];
    setenv("VTHREAD_PARALLELISM", "4", 1);
    ck_assert_int_eq(vthread_embed(&machine), 0);
    ck_assert_int_eq(vthread_set_user(&mounts), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(vthread_create(&threads[i], NULL, yields, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(vthread_join(threads[i], NULL), 0);
    ck_assert_int_ge(mounts, THREADS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc_tracked");
    TCase *tcase = new_case(suite, "interposed");
    tcase_add_test(tcase, a_collector_whose_locks_are_interposed_works);
    tcase_add_test(tcase,
                   a_callback_on_the_native_stack_may_wait_for_a_tracked_lock);
    return run_suite(suite);
}
