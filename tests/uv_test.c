/*
 * uv_test.c - examples/uv: continuations on libuv loops.
 */
#include "examples/uv/loop.h"
#include "examples/uv/stream.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

enum { CLIENTS = 200, ROUNDS = 10, LARGE = 300000 };

/* One for each loop. */
struct meeting {
    struct loop loop;
    struct stream *listener;
    struct task *server;
    int port;
    unsigned left, echoed;
};

static void run_loop(struct meeting *m, void (*fn)(void *))
{
    ck_assert_int_eq(loop_init(&m->loop), 0);
    ck_assert_int_eq(task_start(&m->loop, fn, m, NULL), 0);
    ck_assert_int_eq(loop_run(&m->loop), 0);
    ck_assert_int_eq(loop_close(&m->loop), 0);
}

/* ---- Echo ---------------------------------------------------------------- */

static void echo(void *connection)
{
    char buffer[100];
    long size;
    while ((size = stream_read(connection, buffer, sizeof buffer)) > 0)
        ck_assert_int_eq(stream_write(connection, buffer, (size_t)size), 0);
    ck_assert_int_eq(size, 0);
    stream_close(connection);
}

static void serve(void *meeting)
{
    struct meeting *m = meeting;
    struct stream *connection;
    int err;
    while ((err = stream_accept(m->listener, &connection)) == 0)
        ck_assert_int_eq(task_start(&m->loop, echo, connection, NULL), 0);
    ck_assert_int_eq(err, UV_ECANCELED);
    stream_close(m->listener);
}

static void ask(void *meeting)
{
    struct meeting *m = meeting;
    struct stream *stream;
    volatile uint64_t mine = m->left * UINT64_C(0x9e3779b97f4a7c15);
    ck_assert_int_eq(stream_connect(&stream, m->port), 0);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t said = mine + (unsigned)i, heard = 0;
        ck_assert_int_eq(stream_write(stream, &said, sizeof said), 0);
        for (size_t n = 0; n < sizeof heard;)
            n += (size_t)stream_read(stream, (char *)&heard + n,
                                     sizeof heard - n);
        ck_assert_uint_eq(heard, mine + (unsigned)i);
        m->echoed++;
        if (i % 8 == 0)
            ck_assert_int_eq(task_sleep(1), 0);
    }
    stream_close(stream);
    if (--m->left == 0)
        task_cancel(m->server);
}

static void begin_echo(void *meeting)
{
    struct meeting *m = meeting;
    ck_assert_int_eq(stream_listen(&m->listener, &m->port), 0);
    ck_assert_int_eq(task_start(&m->loop, serve, m, &m->server), 0);
    for (m->left = 0; m->left < CLIENTS; m->left++)
        ck_assert_int_eq(task_start(&m->loop, ask, m, NULL), 0);
}

static void *meets(void *meeting)
{
    struct meeting *m = meeting;
    run_loop(m, begin_echo);
    ck_assert_uint_eq(m->echoed, CLIENTS * ROUNDS);
    return NULL;
}

START_TEST(hundreds_of_tasks_share_stacks_on_one_loop)
{
    static struct meeting m;
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "2");
    meets(&m);
}
END_TEST

START_TEST(loops_on_several_os_threads_share_them_too)
{
    static struct meeting m[3];
    pthread_t t[3];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, meets, &m[i]), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
}
END_TEST

/* ---- A writer that must wait --------------------------------------------- */

static void write_much(void *meeting)
{
    struct meeting *m = meeting;
    struct stream *stream;
    char *data = malloc(LARGE);
    ck_assert_int_eq(stream_connect(&stream, m->port), 0);
    for (int round = 0; round < 20; round++) {
        memset(data, 'a' + round, LARGE);
        ck_assert_int_eq(stream_write(stream, data, LARGE), 0);
        memset(data, 0, LARGE);
    }
    free(data);
    stream_close(stream);
}

static void read_much(void *meeting)
{
    struct meeting *m = meeting;
    struct stream *stream;
    char buffer[1000];
    ck_assert_int_eq(stream_listen(&m->listener, &m->port), 0);
    ck_assert_int_eq(task_start(&m->loop, write_much, m, NULL), 0);
    ck_assert_int_eq(stream_accept(m->listener, &stream), 0);
    ck_assert_int_eq(task_sleep(20), 0); /* the writer has to wait */
    long size, sum = 0;
    while ((size = stream_read(stream, buffer, sizeof buffer)) > 0)
        for (long i = 0; i < size; i++, sum++)
            ck_assert_int_eq(buffer[i], 'a' + sum / LARGE);
    ck_assert_int_eq(sum, 20L * LARGE);
    stream_close(stream);
    stream_close(m->listener);
}

START_TEST(what_is_written_arrives_in_order_however_much)
{
    static struct meeting m;
    run_loop(&m, read_much);
}
END_TEST

/* ---- Errors and cancelling ----------------------------------------------- */

static int cancelled;

static void read_for_ever(void *stream)
{
    char byte;
    cancelled += stream_read(stream, &byte, 1) == UV_ECANCELED;
    cancelled += task_sleep(1000000) == UV_ECANCELED;
    stream_close(stream);
}

static void sleep_for_ever(void *arg)
{
    (void)arg;
    cancelled += task_sleep(1000000) == UV_ECANCELED;
}

static void cancel_others(void *meeting)
{
    struct meeting *m = meeting;
    struct task *reader, *sleeper, *fresh;
    struct stream *client, *connection, *none;
    int nobody = 0;
    ck_assert_int_eq(stream_listen(&m->listener, &nobody), 0);
    ck_assert_int_eq(stream_connect(&client, nobody), 0);
    ck_assert_int_eq(stream_accept(m->listener, &connection), 0);
    ck_assert_int_eq(task_start(&m->loop, read_for_ever, connection, &reader),
                     0);
    ck_assert_int_eq(task_start(&m->loop, sleep_for_ever, NULL, &sleeper), 0);
    while (!reader->is_waiting || !sleeper->is_waiting)
        ck_assert_int_eq(task_sleep(1), 0);
    ck_assert_int_eq(task_start(&m->loop, sleep_for_ever, NULL, &fresh), 0);
    task_cancel(reader);
    task_cancel(sleeper);
    task_cancel(fresh); /* it has not begun */
    stream_close(client);
    stream_close(m->listener);
    ck_assert_int_eq(task_sleep(5), 0);
    ck_assert_int_eq(stream_connect(&none, nobody), UV_ECONNREFUSED);
}

START_TEST(a_cancelled_task_finds_it_in_its_wait)
{
    static struct meeting m;
    run_loop(&m, cancel_others);
    ck_assert_int_eq(cancelled, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uv");
    TCase *cases = new_case(suite, "loops");
    tcase_add_test(cases, hundreds_of_tasks_share_stacks_on_one_loop);
    tcase_add_test(cases, loops_on_several_os_threads_share_them_too);
    tcase_add_test(cases, what_is_written_arrives_in_order_however_much);
    tcase_add_test(cases, a_cancelled_task_finds_it_in_its_wait);
    return run_suite(suite);
}
