/*
 * sqlite.c - thousands of virtual threads move money in one SQLite file.
 *
 *     sqlite [--threads N] [--pool N] [--rounds N] [--accounts N]
 *            [--carriers N] [--json] [FILE]
 *
 * FILE is made anew, and kept; without it there is one in a temporary
 * directory, gone at the end.
 *
 *     $ build/examples/sqlite
 *     threads                                         1,000
 *     carriers                                            2
 *     connections                                        16
 *     transactions                                   10,000
 *     time                                          0.607 s
 *     transactions per second                        16,483
 *     waiting inside the library, at most                16
 *     OS threads, at most                                 6
 *     longest pause of the ticker                   0.008 s
 *     memory, at most                              13.7 MiB
 *     connections that waited for the file               16
 *     OS threads meanwhile                                6
 *     failures                                            0
 *
 * What it shows: SQLite knows nothing of virtual threads.  It reads, writes and
 * syncs files, which libvthread-posix lets the OS thread do while the carrier's
 * other threads go on elsewhere.  When another connection has the file, it
 * sleeps and tries again (sqlite3_busy_timeout): the sleep parks the thread.
 *
 * A connection serves one thread at a time, from the pool, and has no mutex of
 * its own (SQLITE_OPEN_NOMUTEX).  That is needed: the mutex is a pthread one,
 * which belongs to the OS thread, and SQLite holds it while it sleeps.
 *
 * First each thread moves amounts between accounts, each in a transaction, and
 * every tenth asks whether the sum of all has stayed the same.  Then one
 * connection takes the file for itself while all of the pool want it, and gives
 * it back only when they all wait, and the ticker has ticked on: were the
 * carriers blocked, these could not come to wait, and the program would not
 * end.
 */
#include "crowd.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BALANCE = 1000, BUSY_MS = 60000, TICKS = 50 };

static unsigned threads = 1000, pool_size = 16, rounds = 10, accounts = 100,
                carriers = 2;
static const char *path;
static vthread_channel_t *pool; /* of sqlite3 * */
static sqlite3 *keeper;         /* a connection more */
static unsigned waited, os_threads;
static uint64_t moving_ns;
static _Atomic uint64_t moved; /* relaxed: a count */

/*
 * One statement.
 */

/* Whether it does what it says; and its first column, if it has any. */
static bool run(sqlite3 *db, int64_t *result, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW && result != NULL)
            *result = sqlite3_column_int64(statement, 0);
    }
    if (code != SQLITE_DONE)
        crowd_fail("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}

static bool runf(sqlite3 *db, const char *format, unsigned a, unsigned b,
                 unsigned c)
{
    char sql[256];
    snprintf(sql, sizeof sql, format, a, b, c);
    return run(db, NULL, sql);
}

/* Begins to write: waits until no other connection does. */
static bool begin(sqlite3 *db)
{
    crowd_enter();
    bool has_begun = run(db, NULL, "begin immediate");
    crowd_leave();
    return has_begun;
}

/*
 * A thread's work.
 */

static sqlite3 *take(void)
{
    sqlite3 *db = NULL;
    int err = vthread_channel_receive(pool, &db);
    if (err != 0)
        crowd_fail("the pool: %s", strerror(err));
    return db;
}

static void give_back(sqlite3 *db)
{
    vthread_channel_send(pool, &db);
}

/* All of it or nothing. */
static void move(sqlite3 *db, unsigned number, unsigned round)
{
    unsigned from = (number * 7 + round) % accounts;
    unsigned to = (number * 13 + round * 5 + 1) % accounts;
    unsigned amount = 1 + (number + round) % 9;
    if (!begin(db))
        return;
    bool is_right =
        runf(db, "update account set balance = balance - %u where id = %u",
             amount, from, 0)
        && runf(db, "update account set balance = balance + %u where id = %u",
                amount, to, 0)
        && runf(db, "insert into journal values (%u, %u, %u)", from, to,
                amount);
    if (!is_right)
        run(db, NULL, "rollback");
    else if (run(db, NULL, "commit"))
        atomic_fetch_add_explicit(&moved, 1, memory_order_relaxed);
    crowd_count();
}

static void check_sum(sqlite3 *db)
{
    int64_t sum = -1;
    if (run(db, &sum, "select sum(balance) from account")
        && sum != (int64_t)accounts * BALANCE)
        crowd_fail("the sum of all balances is %" PRId64 ", not %u", sum,
                   accounts * BALANCE);
}

static void work(unsigned number)
{
    for (unsigned round = 0; round < rounds; round++) {
        sqlite3 *db = take();
        if (db == NULL)
            return;
        move(db, number, round);
        if (number % 10 == 0)
            check_sum(db);
        give_back(db);
    }
}

/*
 * All wait for the file.
 */

static void wait_for_file(unsigned number)
{
    sqlite3 *db = take();
    (void)number;
    if (db == NULL)
        return;
    if (begin(db))
        run(db, NULL, "commit");
    crowd_count();
    give_back(db);
}

/* Who has entered, and did not come out, waits. */
static void release_when_all_wait(unsigned count)
{
    unsigned wanted = count < pool_size ? count : pool_size;
    while (crowd_inside() < wanted && crowd_failures() == 0)
        vthread_sleep(VTHREAD_MS);
    waited = crowd_inside();
    crowd_await_ticks(TICKS);
    os_threads = crowd_os_threads();
    run(keeper, NULL, "commit");
}

/*
 * The whole: file, connections, crowds, what it all sums up to.
 */

static sqlite3 *open_file(void)
{
    sqlite3 *db = NULL;
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(path, &db, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(db, BUSY_MS);
    if (code == SQLITE_OK && run(db, NULL, "pragma journal_mode = wal")
        && run(db, NULL, "pragma synchronous = normal"))
        return db;
    crowd_fail("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_close(db);
    return NULL;
}

static bool prepare(void)
{
    keeper = open_file();
    int err = vthread_channel_create(&pool, sizeof(sqlite3 *), pool_size);
    if (err != 0)
        crowd_fail("the pool: %s", strerror(err));
    if (keeper == NULL || err != 0
        || !run(keeper, NULL, "drop table if exists account")
        || !run(keeper, NULL, "drop table if exists journal")
        || !run(keeper, NULL,
                "create table account (id integer primary key, balance int)")
        || !run(keeper, NULL,
                "create table journal (debit int, credit int, amount int)")
        || !run(keeper, NULL, "begin"))
        return false;
    for (unsigned i = 0; i < accounts; i++)
        runf(keeper, "insert into account values (%u, %u)", i, BALANCE, 0);
    return run(keeper, NULL, "commit") && crowd_failures() == 0;
}

static bool fill_pool(void)
{
    for (unsigned i = 0; i < pool_size; i++) {
        sqlite3 *db = open_file();
        if (db == NULL)
            return false;
        give_back(db);
    }
    return true;
}

static void check_all(void)
{
    int64_t rows = -1, faults = -1;
    check_sum(keeper);
    if (run(keeper, &rows, "select count(*) from journal")
        && (uint64_t)rows != moved)
        crowd_fail("%" PRId64 " rows in the journal, not %" PRIu64, rows,
                   moved);
    if (run(keeper, &faults,
            "select count(*) from pragma_integrity_check"
            " where integrity_check <> 'ok'")
        && faults != 0)
        crowd_fail("the file is damaged");
    if (moved != (uint64_t)threads * rounds)
        crowd_fail("%" PRIu64 " transactions, not %" PRIu64, moved,
                   (uint64_t)threads * rounds);
}

static void run_crowds(void)
{
    moving_ns = crowd_run("transactions", threads, (uint64_t)threads * rounds,
                          work, NULL);
    check_all();
    if (crowd_failures() == 0 && run(keeper, NULL, "begin exclusive"))
        crowd_run("wait for the file", threads, threads, wait_for_file,
                  release_when_all_wait);
}

static void report(void)
{
    crowd_row("threads", "threads", threads, "");
    crowd_row("carriers", "carriers", carriers, "");
    crowd_row("connections", "connections", pool_size, "");
    crowd_costs("transactions", moved, moving_ns);
    crowd_row("waited", "connections that waited for the file", waited, "");
    crowd_row("os_threads_waiting", "OS threads meanwhile", os_threads, "");
}

static void close_all(void)
{
    sqlite3 *db;
    while (vthread_channel_tryreceive(pool, &db) == 0)
        sqlite3_close(db);
    vthread_channel_destroy(pool);
    sqlite3_close(keeper);
}

/*
 * The directory, if there is no FILE; with what SQLite may have put beside it.
 */

static char directory[4000], file[sizeof directory + 16];

static bool make_directory(void)
{
    const char *temporary = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/sqlite.XXXXXX",
             temporary == NULL ? "/tmp" : temporary);
    if (mkdtemp(directory) == NULL) {
        fprintf(stderr, "sqlite: %s: %s\n", directory, strerror(errno));
        return false;
    }
    snprintf(file, sizeof file, "%s/bank", directory);
    path = file;
    return true;
}

/* Nothing that a signal handler may not do. */
static void remove_directory(void)
{
    static const char *const suffixes[] = {"-journal", "-shm", "-wal", ""};
    size_t length = strlen(file);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        strcpy(file + length, suffixes[i]);
        unlink(file);
    }
    rmdir(directory);
}

/* Main runs it, for carriers block signals. */
static void end_by_signal(int signal)
{
    if (path == file)
        remove_directory();
    _exit(128 + signal);
}

static void run_all(void)
{
    crowd_open("sqlite", carriers);
    if (prepare() && fill_pool()) {
        run_crowds();
        report();
    }
    close_all();
}

int main(int argc, char **argv)
{
    const struct crowd_option options[] = {
        {"threads", &threads, 1, 1000000, "threads"},
        {"pool", &pool_size, 1, 10000, "connections that they share"},
        {"rounds", &rounds, 1, 1000000, "each has one so many times"},
        {"accounts", &accounts, 2, 1000000, "accounts"},
        {"carriers", &carriers, 1, 256, "OS threads that run them"},
        {0}};
    int operand = crowd_parse(argc, argv, "[FILE]", 0, options);
    if (operand < argc)
        path = argv[operand];
    crowd_need_descriptors(4 * pool_size);
    signal(SIGINT, end_by_signal);
    signal(SIGTERM, end_by_signal);
    if (path == NULL && !make_directory())
        return 1;
    run_all();
    if (path == file)
        remove_directory();
    return crowd_close();
}
