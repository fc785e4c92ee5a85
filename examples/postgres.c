/*
 * postgres.c - thousands of virtual threads ask PostgreSQL through libpq.
 *
 *     postgres [--threads N] [--pool N] [--rounds N] [--carriers N] [--json]
 *              [CONNINFO]
 *
 * With a server that is started for this run and gone after it:
 *
 *     $ examples/with.sh postgres build/examples/postgres
 *     threads                                         2,000
 *     carriers                                            2
 *     connections                                        20
 *     statements                                     20,220
 *     time                                          1.141 s
 *     statements per second                          17,728
 *     waiting inside the library, at most                21
 *     OS threads, at most                                 4
 *     longest pause of the ticker                   0.007 s
 *     memory, at most                              20.0 MiB
 *     connections that waited for a lock                 20
 *     OS threads meanwhile                                4
 *     failures                                            0
 *
 * or with one of yours: CONNINFO, or the environment (PGHOST and so on), says
 * where it is.  It gets a table vthread_ledger, which is dropped at the end.
 *
 * What it shows: libpq knows nothing of virtual threads.  Its plain calls,
 * PQconnectdb and PQexecParams, wait for the server in poll(), and poll() is
 * libvthread-posix's, which parks the thread.  A channel is the pool of
 * connections: who wants one receives it, and sends it back.
 *
 * First each thread inserts rows and asks for them, and checks every answer: a
 * large one, and an error, too.  Then all connections but one wait in the
 * server for a lock which the last one holds.  That gives it back only when the
 * server says that all the others wait, and the ticker has ticked on: were the
 * carriers blocked, neither could happen, and the program would not end.
 */
#include "crowd.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 100000, TICKS = 50 };

#define LOCK "7391526"

static unsigned threads = 2000, pool_size = 20, rounds = 5, carriers = 2;
static const char *conninfo = "";
static vthread_channel_t *pool; /* of PGconn * */
static PGconn *holder;          /* of the lock */
static unsigned waited, os_threads;
static _Atomic uint64_t statements;  /* relaxed: a count */
static uint64_t counted, counted_ns; /* those of the threads */

/*
 * One statement.
 */

static PGresult *ask(PGconn *connection, const char *sql, int count,
                     const char *const *values)
{
    crowd_enter();
    PGresult *result =
        PQexecParams(connection, sql, count, NULL, values, NULL, NULL, 0);
    crowd_leave();
    crowd_count();
    atomic_fetch_add_explicit(&statements, 1, memory_order_relaxed);
    return result;
}

static void fail(PGconn *connection, const char *sql, const char *what)
{
    crowd_fail("%s: %s %s", sql, what, PQerrorMessage(connection));
}

/* Whether the statement's answer is one row of these columns. */
static bool answers(PGconn *connection, const char *sql, int count,
                    const char *const *values, int columns,
                    const char *const *wanted)
{
    PGresult *result = ask(connection, sql, count, values);
    bool is_right = PQresultStatus(result) == PGRES_TUPLES_OK
                    && PQntuples(result) == 1 && PQnfields(result) == columns;
    for (int i = 0; is_right && i < columns; i++)
        is_right = strcmp(PQgetvalue(result, 0, i), wanted[i]) == 0;
    if (!is_right)
        fail(connection, sql, "a wrong answer");
    PQclear(result);
    return is_right;
}

/* Whether the statement, which asks for nothing, does so. */
static bool does(PGconn *connection, const char *sql)
{
    PGresult *result = ask(connection, sql, 0, NULL);
    ExecStatusType status = PQresultStatus(result);
    bool is_done = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!is_done)
        fail(connection, sql, "");
    PQclear(result);
    return is_done;
}

/*
 * A thread's work.
 */

static uint64_t amount_of(unsigned number, unsigned round)
{
    return (uint64_t)number * 31 + round * 7 + 1;
}

static void insert_and_ask(PGconn *connection, unsigned number, unsigned round)
{
    char thread[16], turn[16], amount[32], note[64];
    const char *values[] = {thread, turn, amount, note};
    snprintf(thread, sizeof thread, "%u", number);
    snprintf(turn, sizeof turn, "%u", round);
    snprintf(amount, sizeof amount, "%" PRIu64, amount_of(number, round));
    snprintf(note, sizeof note, "round '%u' of thread \"%u\"", round, number);
    answers(connection,
            "insert into vthread_ledger values ($1, $2, $3, $4)"
            " returning amount, note",
            4, values, 2, values + 2);
    answers(connection,
            "select amount, note from vthread_ledger"
            " where thread = $1 and round = $2",
            2, values, 2, values + 2);
}

/* More than fits into the buffers of a socket. */
static void ask_for_much(PGconn *connection, unsigned number)
{
    char letter[2] = {(char)('a' + number % 26), '\0'};
    const char *values[] = {letter};
    char *wanted = malloc(LARGE + 1);
    if (wanted == NULL) {
        crowd_fail("no memory");
        return;
    }
    memset(wanted, letter[0], LARGE);
    wanted[LARGE] = '\0';
    answers(connection, "select repeat($1, 100000)", 1, values, 1,
            (const char *const *)&wanted);
    free(wanted);
}

static void ask_wrongly(PGconn *connection)
{
    const char *sql = "select 1 / 0";
    PGresult *result = ask(connection, sql, 0, NULL);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == NULL || strcmp(state, "22012") != 0)
        fail(connection, sql, "is no division by zero?");
    PQclear(result);
}

static void give_back(PGconn *connection)
{
    vthread_channel_send(pool, &connection);
}

/* NULL if what it gets is of no use, as others will see, too. */
static PGconn *take(void)
{
    PGconn *connection = NULL;
    int err = vthread_channel_receive(pool, &connection);
    if (err != 0) {
        crowd_fail("the pool: %s", strerror(err));
        return NULL;
    }
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    crowd_fail("a connection was lost");
    give_back(connection);
    return NULL;
}

static void work(unsigned number)
{
    for (unsigned round = 0; round < rounds; round++) {
        PGconn *connection = take();
        if (connection == NULL)
            return;
        insert_and_ask(connection, number, round);
        if (round == 0 && number % 10 == 0)
            ask_for_much(connection, number);
        if (round == 0 && number % 100 == 1)
            ask_wrongly(connection);
        give_back(connection);
    }
}

/*
 * All wait for a lock.
 */

static void wait_for_lock(unsigned number)
{
    PGconn *connection = take();
    (void)number;
    if (connection == NULL)
        return;
    if (does(connection, "select pg_advisory_lock_shared(" LOCK ")"))
        does(connection, "select pg_advisory_unlock_shared(" LOCK ")");
    give_back(connection);
}

/* How many connections wait for it, as the server knows. */
static unsigned count_waiting(void)
{
    PGresult *result = ask(holder,
                           "select count(*) from pg_locks where not granted"
                           " and locktype = 'advisory' and objid = " LOCK,
                           0, NULL);
    unsigned count = 0;
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        count = (unsigned)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    else
        crowd_fail("pg_locks: %s", PQerrorMessage(holder));
    PQclear(result);
    return count;
}

static void release_when_all_wait(unsigned count)
{
    unsigned wanted = count < pool_size ? count : pool_size;
    while (waited < wanted && crowd_failures() == 0) {
        vthread_sleep(5 * VTHREAD_MS);
        waited = count_waiting();
    }
    crowd_await_ticks(TICKS);
    os_threads = crowd_os_threads();
    does(holder, "select pg_advisory_unlock(" LOCK ")");
}

/*
 * The whole: connections, table, crowds, what the table sums up to.
 */

/* Prints why, if there is no connection. */
static PGconn *connect_to_server(void)
{
    PGconn *connection = PQconnectdb(conninfo);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    crowd_fail("%s", PQerrorMessage(connection));
    PQfinish(connection);
    return NULL;
}

static void open_connection(unsigned number)
{
    crowd_enter();
    PGconn *connection = connect_to_server();
    crowd_leave();
    (void)number;
    crowd_count();
    if (connection != NULL)
        give_back(connection);
}

static bool prepare(void)
{
    holder = connect_to_server();
    if (holder == NULL) {
        fprintf(stderr, "Start a server for this run with\n"
                        "    examples/with.sh postgres PROGRAM\n");
        return false;
    }
    int err = vthread_channel_create(&pool, sizeof(PGconn *), pool_size);
    if (err != 0)
        crowd_fail("the pool: %s", strerror(err));
    return err == 0 && does(holder, "set client_min_messages = warning")
           && does(holder, "drop table if exists vthread_ledger")
           && does(holder, "create unlogged table vthread_ledger (thread int,"
                           " round int, amount bigint, note text,"
                           " primary key (thread, round))")
           && does(holder, "select pg_advisory_lock(" LOCK ")");
}

static void check_sum(void)
{
    uint64_t sum = 0;
    char rows[32], amount[32];
    const char *wanted[] = {rows, amount};
    for (unsigned i = 0; i < threads; i++)
        for (unsigned round = 0; round < rounds; round++)
            sum += amount_of(i, round);
    snprintf(rows, sizeof rows, "%" PRIu64, (uint64_t)threads * rounds);
    snprintf(amount, sizeof amount, "%" PRIu64, sum);
    answers(holder,
            "select count(*), coalesce(sum(amount), 0)"
            " from vthread_ledger",
            0, NULL, 2, wanted);
}

static void close_all(void)
{
    PGconn *connection;
    while (vthread_channel_tryreceive(pool, &connection) == 0)
        PQfinish(connection);
    vthread_channel_destroy(pool);
    does(holder, "drop table vthread_ledger");
    PQfinish(holder);
}

static void run_crowds(void)
{
    uint64_t before = statements;
    counted_ns = crowd_run("statements", threads,
                           (uint64_t)threads * rounds * 2, work, NULL);
    counted = statements - before;
    if (crowd_failures() > 0)
        return;
    check_sum();
    crowd_run("wait for a lock", threads, (uint64_t)threads * 2, wait_for_lock,
              release_when_all_wait);
}

static void report(void)
{
    crowd_row("threads", "threads", threads, "");
    crowd_row("carriers", "carriers", carriers, "");
    crowd_row("connections", "connections", pool_size, "");
    crowd_costs("statements", counted, counted_ns);
    crowd_row("waited", "connections that waited for a lock", waited, "");
    crowd_row("os_threads_waiting", "OS threads meanwhile", os_threads, "");
}

int main(int argc, char **argv)
{
    const struct crowd_option options[] = {
        {"threads", &threads, 1, 1000000, "threads"},
        {"pool", &pool_size, 1, 10000, "connections that they share"},
        {"rounds", &rounds, 1, 1000000, "each has one so many times"},
        {"carriers", &carriers, 1, 256, "OS threads that run them"},
        {0}};
    int operand = crowd_parse(argc, argv, "[CONNINFO]", 0, options);
    if (operand < argc)
        conninfo = argv[operand];
    crowd_need_descriptors(pool_size);
    if (!prepare())
        return 1;
    crowd_open("postgres", carriers);
    crowd_run("connect", pool_size, pool_size, open_connection, NULL);
    if (crowd_failures() == 0)
        run_crowds();
    report();
    close_all();
    return crowd_close();
}
