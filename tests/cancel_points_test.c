/*
 * cancel_points_test.c - every cancellable wait but for I/O, cancelled at the
 * nth wait for every n.
 *
 * Where the helper waits for the thread to wait, each point is one wait, and
 * the nth is cancelled for certain.  Where helpers come whenever they like it
 * is a matter of luck who is first, and the same must hold.
 *
 * Descriptors are in cancel_points_io_test.c.  How a thread goes through
 * points, and what is claimed of each, is in cancel_points.h.
 */
#include "tests/cancel_points.h"

/* ---- Park, sleep, join -------------------------------------------------- */

static int park(struct world *w)
{
    (void)w;
    return vthread_park();
}

static void unpark_subject(struct world *w)
{
    until_subject_waits(w);
    require(vthread_unpark(w->subject) == 0);
}

static void no_permit_is_left(struct world *w)
{
    (void)w;
    require(vthread_park_until(1) == ETIMEDOUT);
}

static int sleep_a_while(struct world *w)
{
    (void)w;
    return vthread_sleep(20 * VTHREAD_MS);
}

static void *returns_when_unparked(void *arg)
{
    return vthread_park() == 0 ? arg : NULL;
}

static void start_other(struct world *w)
{
    w->other = start(returns_when_unparked, w);
}

static int join_other(struct world *w)
{
    void *result = NULL;
    int err = vthread_join(w->other, &result);
    require(err != 0 || result == w);
    return err;
}

static void unpark_other(struct world *w)
{
    until_subject_waits(w);
    require(vthread_unpark(w->other) == 0);
}

static void other_has_been_joined(struct world *w)
{
    require(vthread_join(w->other, NULL) == ESRCH);
}

/* ---- Locks and meeting points ------------------------------------------- */

static void init_mutex(struct world *w)
{
    require(vthread_mutex_init(&w->mutex, VTHREAD_MUTEX_ERRORCHECK) == 0);
}

/* Takes one token, and holds the mutex whatever the wait returns. */
static int take_token(struct world *w)
{
    int err = 0;
    require(vthread_mutex_lock(&w->mutex) == 0);
    while (w->tokens == 0 && err == 0)
        err = vthread_cond_wait(&w->cond, &w->mutex);
    if (err == 0)
        w->tokens--;
    require(vthread_mutex_unlock(&w->mutex) == 0);
    return err;
}

static void give_token(struct world *w)
{
    until_subject_waits(w);
    require(vthread_mutex_lock(&w->mutex) == 0);
    w->tokens++;
    require(vthread_cond_signal(&w->cond) == 0);
    require(vthread_mutex_unlock(&w->mutex) == 0);
}

static void no_token_is_left(struct world *w)
{
    require(w->tokens == 0);
    require(vthread_mutex_trylock(&w->mutex) == 0);
    require(vthread_mutex_unlock(&w->mutex) == 0);
}

static int take_permit(struct world *w)
{
    return vthread_semaphore_wait(&w->semaphore);
}

static void post_permit(struct world *w)
{
    until_subject_waits(w);
    require(vthread_semaphore_post(&w->semaphore) == 0);
}

static void no_semaphore_is_left(struct world *w)
{
    require(vthread_semaphore_trywait(&w->semaphore) == EAGAIN);
}

static void init_barrier(struct world *w)
{
    require(vthread_barrier_init(&w->barrier, 2) == 0);
}

static int meet(struct world *w)
{
    bool is_last = false;
    int err = vthread_barrier_wait(&w->barrier, &is_last);
    if (err == 0)
        atomic_fetch_add(&w->passes, is_last ? 10 : 1);
    return err;
}

static void meet_subject(struct world *w)
{
    until_subject_waits(w);
    require(meet(w) == 0);
}

static void both_have_met(struct world *w)
{
    require(w->passes == 11);
    require(vthread_barrier_trywait(&w->barrier) == EBUSY);
}

static void init_latch(struct world *w)
{
    require(vthread_latch_init(&w->latch, 1) == 0);
}

static int wait_for_latch(struct world *w)
{
    return vthread_latch_wait(&w->latch);
}

static void open_latch(struct world *w)
{
    until_subject_waits(w);
    require(vthread_latch_count_down(&w->latch, 1) == 0);
}

static void latch_is_open(struct world *w)
{
    require(vthread_latch_trywait(&w->latch) == 0);
}

static int slowly(void *arg)
{
    struct world *w = arg;
    atomic_store(&w->is_ready, 1);
    until_subject_waits(w);
    w->calls++;
    return 0;
}

/* The helper is at it, or has been. */
static int await_once(struct world *w)
{
    until(&w->is_ready);
    return vthread_once(&w->once, slowly, w);
}

static void do_once(struct world *w)
{
    require(vthread_once(&w->once, slowly, w) == 0);
}

static void done_once(struct world *w)
{
    require(vthread_once_is_done(&w->once) && w->calls == 1);
}

/* ---- Waits that are not cancelled --------------------------------------- */

static void hold_mutex(struct world *w)
{
    require(vthread_mutex_lock(&w->mutex) == 0);
    atomic_store(&w->is_ready, 1);
    until_subject_waits(w);
    require(vthread_mutex_unlock(&w->mutex) == 0);
}

static int lock_mutex(struct world *w)
{
    until(&w->is_ready);
    int err = vthread_mutex_lock(&w->mutex);
    return err == 0 ? vthread_mutex_unlock(&w->mutex) : err;
}

static void hold_rwlock(struct world *w)
{
    require(vthread_rwlock_wrlock(&w->rwlock) == 0);
    atomic_store(&w->is_ready, 1);
    until_subject_waits(w);
    require(vthread_rwlock_unlock(&w->rwlock) == 0);
}

static int lock_for_reading(struct world *w)
{
    until(&w->is_ready);
    int err = vthread_rwlock_rdlock(&w->rwlock);
    return err == 0 ? vthread_rwlock_unlock(&w->rwlock) : err;
}

static int lock_for_writing(struct world *w)
{
    until(&w->is_ready);
    int err = vthread_rwlock_wrlock(&w->rwlock);
    return err == 0 ? vthread_rwlock_unlock(&w->rwlock) : err;
}

/* ---- Channels ----------------------------------------------------------- */

static void open_channels(struct world *w, size_t words, size_t capacity)
{
    for (int i = 0; i < 2; i++)
        require(vthread_channel_create(&w->channels[i], words * 8, capacity)
                == 0);
    for (uint64_t i = 0; i < LARGE_WORDS; i++)
        w->sent[i] = i + 1;
}

static void open_rendezvous(struct world *w)
{
    open_channels(w, 1, 0);
}

static void open_large(struct world *w)
{
    open_channels(w, LARGE_WORDS, 0);
}

static void open_buffered(struct world *w)
{
    open_channels(w, 1, 1);
}

/* No room, in either. */
static void open_full(struct world *w)
{
    uint64_t first = 77;
    open_buffered(w);
    for (int i = 0; i < 2; i++)
        require(vthread_channel_trysend(w->channels[i], &first) == 0);
}

static int send_word(struct world *w)
{
    return vthread_channel_send(w->channels[0], w->sent);
}

static int receive_word(struct world *w)
{
    return vthread_channel_receive(w->channels[0], w->received);
}

static void send_to_subject(struct world *w)
{
    until_subject_waits(w);
    require(send_word(w) == 0);
}

static void receive_from_subject(struct world *w)
{
    until_subject_waits(w);
    require(receive_word(w) == 0);
}

static void close_channels(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        require(vthread_channel_tryreceive(w->channels[i], w->sent) == EAGAIN);
        require(vthread_channel_destroy(w->channels[i]) == 0);
    }
}

static void word_has_come(struct world *w)
{
    require(w->received[0] == 1);
    close_channels(w);
}

static void large_has_come(struct world *w)
{
    require(memcmp(w->received, w->sent, sizeof w->sent) == 0);
    close_channels(w);
}

/* First came what was in the buffer; now the value that was sent. */
static void full_was_emptied(struct world *w)
{
    uint64_t rest;
    require(w->received[0] == 77);
    require(vthread_channel_tryreceive(w->channels[0], w->received) == 0);
    require(vthread_channel_tryreceive(w->channels[1], &rest) == 0
            && rest == 77);
    word_has_come(w);
}

/* To receive from the one, or to send to the other, where nobody is. */
static int select_receive(struct world *w)
{
    size_t chosen = 9;
    vthread_select_case_t cases[] = {
        {.channel = w->channels[1],
         .op = VTHREAD_SELECT_SEND,
         .value = w->sent},
        {.channel = w->channels[0],
         .op = VTHREAD_SELECT_RECEIVE,
         .value = w->received},
    };
    int err = vthread_select(cases, COUNT_OF(cases), &chosen);
    require(err != 0 || (chosen == 1 && cases[1].result == 0));
    return err;
}

static int select_send(struct world *w)
{
    size_t chosen = 9;
    vthread_select_case_t cases[] = {
        {.channel = w->channels[0],
         .op = VTHREAD_SELECT_SEND,
         .value = w->sent},
        {.channel = w->channels[1],
         .op = VTHREAD_SELECT_SEND,
         .value = w->sent},
    };
    int err = vthread_select(cases, COUNT_OF(cases), &chosen);
    require(err != 0 || (chosen == 0 && cases[0].result == 0));
    return err;
}

/* ---- Futures ------------------------------------------------------------ */

static void name_futures(struct world *w)
{
    for (int i = 0; i < 2; i++)
        w->all[i] = &w->futures[i];
}

static int await(struct world *w)
{
    void *value = NULL;
    int err = vthread_future_await(&w->futures[0], &value);
    require(err != 0 || value == w);
    return err;
}

static int await_all(struct world *w)
{
    return vthread_future_all(w->all, 2, NULL, VTHREAD_NEVER);
}

static int await_any(struct world *w)
{
    size_t index = 9;
    int err = vthread_future_any(w->all, 2, &index, VTHREAD_NEVER);
    require(err != 0 || index == 0);
    return err;
}

static int await_race(struct world *w)
{
    size_t index = 9;
    int err = vthread_future_race(w->all, 2, &index, VTHREAD_NEVER);
    require(err != 0 || index == 0);
    return err;
}

static void set_first(struct world *w)
{
    until_subject_waits(w);
    require(vthread_future_set(&w->futures[0], w) == 0);
}

static void set_both(struct world *w)
{
    set_first(w);
    require(vthread_future_set(&w->futures[1], w) == 0);
}

static void nobody_watches(struct world *w)
{
    for (int i = 0; i < 2; i++)
        require(!w->futures[i].watching[0] && w->futures[i].waiting[0] == 0);
}

/* ---- Scopes ------------------------------------------------------------- */

static int adds_up(const void *args, void *result)
{
    struct world *w = *(struct world *const *)args;
    until_subject_waits(w);
    w->calls++;
    *(int *)result = w->calls;
    return 0;
}

static void open_scope(struct world *w)
{
    require(vthread_scope_open(&w->scope, NULL) == 0);
    require(vthread_scope_fork(w->scope, &w->task, adds_up, &w, sizeof w,
                               sizeof(int))
            == 0);
}

static int join_scope(struct world *w)
{
    return vthread_scope_join(w->scope);
}

static void close_scope(struct world *w)
{
    int result = 0;
    require(vthread_scope_result(w->scope, w->task, &result, sizeof result)
            == 0);
    require(result == 1 && w->calls == 1);
    require(vthread_scope_close(w->scope) == 0);
}

/* Not a cancellation point. */
static int close_at_once(struct world *w)
{
    return vthread_scope_close(w->scope);
}

static void child_has_ended(struct world *w)
{
    require(w->calls == 1);
}

/* ---- The points --------------------------------------------------------- */

static const struct point points[] = {
    {"park", NULL, park, unpark_subject, no_permit_is_left},
    {"join", start_other, join_other, unpark_other, other_has_been_joined},
    {"cond", init_mutex, take_token, give_token, no_token_is_left},
    {"semaphore", NULL, take_permit, post_permit, no_semaphore_is_left},
    {"barrier", init_barrier, meet, meet_subject, both_have_met},
    {"latch", init_latch, wait_for_latch, open_latch, latch_is_open},
    {"once", NULL, await_once, do_once, done_once},
    {"send", open_rendezvous, send_word, receive_from_subject, word_has_come},
    {"receive", open_rendezvous, receive_word, send_to_subject, word_has_come},
    {"send a large one", open_large, send_word, receive_from_subject,
     large_has_come},
    {"receive a large one", open_large, receive_word, send_to_subject,
     large_has_come},
    {"send to a full buffer", open_full, send_word, receive_from_subject,
     full_was_emptied},
    {"receive from an empty buffer", open_buffered, receive_word,
     send_to_subject, word_has_come},
    {"select to receive", open_rendezvous, select_receive, send_to_subject,
     word_has_come},
    {"select to send", open_full, select_send, receive_from_subject,
     full_was_emptied},
    {"await", NULL, await, set_first, nobody_watches},
    {"all", name_futures, await_all, set_both, nobody_watches},
    {"any", name_futures, await_any, set_first, nobody_watches},
    {"race", name_futures, await_race, set_first, nobody_watches},
    {"scope", open_scope, join_scope, NULL, close_scope},
    {"sleep", NULL, sleep_a_while, NULL, NULL},
};

static const struct point uncancelled_points[] = {
    {"mutex", NULL, lock_mutex, hold_mutex, NULL},
    {"read lock", NULL, lock_for_reading, hold_rwlock, NULL},
    {"write lock", NULL, lock_for_writing, hold_rwlock, NULL},
    {"close", open_scope, close_at_once, NULL, child_has_ended},
};

/* ---- Claims ------------------------------------------------------------- */

/* Just at the nth. */
static void once_where_asked(void *arg, unsigned n, void *result)
{
    struct program *program = arg;
    ck_assert_ptr_eq(result, program);
    ck_assert_uint_eq(program->cancelled_count, n == 0 ? 0 : 1);
    ck_assert_uint_eq(n == 0 ? 0 : program->cancelled[0], n);
    nobody_is_left();
}

/* At the nth and all that follow. */
static void from_where_asked(void *arg, unsigned n, void *result)
{
    struct program *program = arg;
    ck_assert_ptr_eq(result, program);
    ck_assert_uint_eq(program->cancelled_count,
                      n == 0 ? 0 : program->count - n + 1);
    for (unsigned i = 0; i < program->cancelled_count; i++)
        ck_assert_uint_eq(program->cancelled[i], n + i);
    nobody_is_left();
}

START_TEST(an_interrupt_at_the_nth_wait_is_seen_there_and_nothing_is_lost)
{
    static struct program program = PROGRAM(points, false);
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_INTERRUPT,
                                           goes_through_points, &program,
                                           once_where_asked),
                      COUNT_OF(points));
}
END_TEST

START_TEST(a_cancel_at_the_nth_wait_is_seen_from_there_and_nothing_is_lost)
{
    static struct program program = PROGRAM(points, false);
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_CANCEL, goes_through_points,
                                           &program, from_where_asked),
                      COUNT_OF(points));
}
END_TEST

START_TEST(a_cancel_that_meets_the_wake_up_loses_nothing)
{
    static struct program program = PROGRAM(points, true);
    for (unsigned round = 0; round < how_often(1, 5); round++) {
        cancel_at_every_wait(THREAD_INTERRUPT, goes_through_points, &program,
                             at_most_once);
        cancel_at_every_wait(THREAD_CANCEL, goes_through_points, &program,
                             whenever);
    }
}
END_TEST

START_TEST(locks_and_close_are_no_cancellation_points)
{
    static struct program program = PROGRAM(uncancelled_points, false);
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_CANCEL, goes_through_points,
                                           &program, whenever),
                      0);
    ck_assert_uint_eq(program.cancelled_count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cancel_points");
    TCase *cases = new_case(suite, "nth_wait");
    tcase_add_test(
        cases, an_interrupt_at_the_nth_wait_is_seen_there_and_nothing_is_lost);
    tcase_add_test(
        cases,
        a_cancel_at_the_nth_wait_is_seen_from_there_and_nothing_is_lost);
    tcase_add_test(cases, a_cancel_that_meets_the_wake_up_loses_nothing);
    tcase_add_test(cases, locks_and_close_are_no_cancellation_points);
    return run_suite(suite);
}
