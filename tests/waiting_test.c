/*
 * waiting_test.c - each wait tells what it is for, and who could end it.
 */
#include "waiting.h"

#include "tests/threads.h"

static vthread_mutex_t mutex;
static vthread_cond_t cond;
static vthread_semaphore_t semaphore;
static vthread_latch_t latch;
static vthread_barrier_t barrier;
static vthread_rwlock_t rwlock;
static vthread_once_t once;
static vthread_t other;

static struct thread *object_of(vthread_t t)
{
    uint64_t word;
    return thread_of_handle(t, &word);
}

static int holds_until_unparked(void *arg)
{
    (void)arg;
    vthread_park();
    return 0;
}

static void *holds_all(void *arg)
{
    vthread_mutex_lock(&mutex);
    vthread_rwlock_wrlock(&rwlock);
    vthread_once(&once, holds_until_unparked, NULL);
    vthread_rwlock_unlock(&rwlock);
    vthread_mutex_unlock(&mutex);
    return arg;
}

static void *waits(void *kind)
{
    static vthread_mutex_t of_cond;
    switch ((uintptr_t)kind) {
    case 0:
        vthread_mutex_lock(&mutex);
        vthread_mutex_unlock(&mutex);
        break;
    case 1:
        vthread_rwlock_rdlock(&rwlock);
        vthread_rwlock_unlock(&rwlock);
        break;
    case 2:
        vthread_rwlock_wrlock(&rwlock);
        vthread_rwlock_unlock(&rwlock);
        break;
    case 3:
        vthread_once(&once, holds_until_unparked, NULL);
        break;
    case 4:
        vthread_join(other, NULL);
        break;
    case 5:
        vthread_mutex_lock(&of_cond);
        vthread_cond_wait(&cond, &of_cond);
        vthread_mutex_unlock(&of_cond);
        break;
    case 6:
        vthread_semaphore_wait(&semaphore);
        break;
    case 7:
        vthread_latch_wait(&latch);
        break;
    default:
        vthread_barrier_wait(&barrier, NULL);
    }
    return NULL;
}

static void let_go(uintptr_t kind, vthread_t t)
{
    if (kind < 5)
        vthread_unpark(other);
    else
        vthread_interrupt(t);
    join(t);
    if (kind != 4) {
        vthread_unpark(other);
        join(other);
    }
}

START_TEST(a_wait_tells_its_kind_its_object_and_who_holds_it)
{
    const struct {
        const char *kind;
        const void *object;
    } expected[] = {
        {"mutex", &mutex}, {"rwlock", &rwlock}, {"rwlock", &rwlock},
        {"once", &once},   {"join", NULL},      {"condition", &cond},
        {"semaphore", &semaphore}, {"latch", &latch}, {"barrier", &barrier}};
    struct waiting waiting = {0};
    vthread_latch_init(&latch, 1);
    vthread_barrier_init(&barrier, 2);
    other = start(holds_all, NULL);
    until_waiting(other);
    ck_assert(!waiting_of(object_of(other), &waiting));
    vthread_t t = start(waits, pointer((uintptr_t)_i));
    until_waiting(t);
    struct thread *holder = _i < 5 ? object_of(other) : NULL;
    ck_assert(waiting_of(object_of(t), &waiting));
    ck_assert_str_eq(waiting.kind, expected[_i].kind);
    ck_assert_ptr_eq(waiting.object,
                     _i == 4 ? (const void *)holder : expected[_i].object);
    ck_assert_ptr_eq(waiting.holder, holder);
    let_go((uintptr_t)_i, t);
}
END_TEST

START_TEST(a_mutex_after_a_signal_is_what_is_waited_for)
{
    struct waiting waiting = {0};
    vthread_t t = start(waits, pointer(5));
    until_waiting(t);
    ck_assert(waiting_of(object_of(t), &waiting));
    ck_assert_str_eq(waiting.kind, "condition");
    vthread_mutex_t *held = cond.mutex;
    vthread_mutex_lock(held);
    vthread_cond_signal(&cond);
    ck_assert(waiting_of(object_of(t), &waiting));
    ck_assert_str_eq(waiting.kind, "mutex");
    ck_assert_ptr_eq(waiting.object, held);
    ck_assert_ptr_eq(waiting.holder, thread_self());
    vthread_mutex_unlock(held);
    join(t);
}
END_TEST

static vthread_future_t futures[2];

static void *awaits_several(void *arg)
{
    vthread_future_t *const both[] = {&futures[0], &futures[1]};
    ck_assert_int_eq(vthread_future_all(both, 2, NULL, VTHREAD_NEVER), 0);
    return arg;
}

static void *awaits_one(void *arg)
{
    ck_assert_int_eq(vthread_future_await(&futures[0], NULL), 0);
    return arg;
}

/* What their wait_on is, is not for this to know. */
START_TEST(what_has_no_name_is_told_by_its_kind_alone)
{
    struct waiting waiting = {0};
    vthread_t one = start(awaits_one, NULL);
    vthread_t several = start(awaits_several, NULL);
    until_waiting(one);
    until_waiting(several);
    ck_assert_int_eq(waiting_what(object_of(one)), FOR_FUTURE);
    ck_assert(!waiting_of(object_of(one), &waiting));
    ck_assert_int_eq(waiting_what(object_of(several)), FOR_SEVERAL);
    ck_assert(!waiting_of(object_of(several), &waiting));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(vthread_future_set(&futures[i], NULL), 0);
    join(one);
    join(several);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("waiting");
    TCase *cases = new_case(suite, "waiting");
    tcase_add_loop_test(cases,
                        a_wait_tells_its_kind_its_object_and_who_holds_it, 0,
                        9);
    tcase_add_test(cases, a_mutex_after_a_signal_is_what_is_waited_for);
    tcase_add_test(cases, what_has_no_name_is_told_by_its_kind_alone);
    return run_suite(suite);
}
