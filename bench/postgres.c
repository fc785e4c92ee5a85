/*
 * postgres.c - queries per second to PostgreSQL through libpq, from 1,000
 * threads that share 20 connections.
 *
 *   postgres.pthreads      the reference: pthreads
 *   postgres.2             virtual threads on two carriers, libvthread-posix
 *   postgres.2.ratio       median of the ratios to the reference
 *   postgres.KIND.cpu      ns of this process's CPU time for a query
 *   postgres.KIND.threads  OS threads of this process
 *
 * Each thread takes a connection from the pool, asks for a row by its key,
 * looks whether the answer is right, and gives the connection back; so many
 * times.  Both kinds run the same lines (postgres_threads.h) on the same
 * connections, and take turns.
 *
 * The server is the one that the environment names (PGHOST and so on);
 * bench/run starts one with examples/with.sh.  It runs on the same processors
 * and takes most of their time, so the rates tell little on a machine of two:
 * the CPU time tells more.  Where other programs run as well, the scheduler of
 * the system gives many pthreads a larger share than two carriers.
 */
#include "bench/bench.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 1000
#define MOST_CONNECTIONS 300

static unsigned long threads = 1000, connection_count = 20, carriers = 2;
static unsigned long queries; /* of each thread */

static PGconn *connections[MOST_CONNECTIONS];

struct sample {
    uint64_t start_ns, cpu_ns; /* at first when they began, then how much */
    unsigned long os_threads;
};

struct figures {
    struct bench_samples rate, ratio, cpu, os_threads;
};

static _Noreturn void die(PGconn *connection, const char *what)
{
    bench_die("%s: %s", what, PQerrorMessage(connection));
}

/* The row n has the value 7 n. */
static void ask(PGconn *connection, unsigned n)
{
    char key[16];
    const char *values[] = {key};

    snprintf(key, sizeof key, "%u", n);
    PGresult *result =
        PQexecPrepared(connection, "ask", 1, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1
        || strtoul(PQgetvalue(result, 0, 0), NULL, 10) != 7 * n)
        die(connection, "a wrong answer");
    PQclear(result);
}

static unsigned long count_os_threads(void)
{
    char line[256];
    unsigned long count = 0;
    FILE *in = fopen("/proc/self/status", "re");

    while (in != NULL && fgets(line, sizeof line, in) != NULL)
        sscanf(line, "Threads: %lu", &count);
    if (in == NULL || count == 0)
        bench_die("/proc/self/status does not tell the number of threads");
    fclose(in);
    return count;
}

static void begin_sample(struct sample *sample)
{
    sample->os_threads = count_os_threads();
    sample->cpu_ns = bench_cpu_ns(getpid());
    sample->start_ns = bench_now_ns();
}

static void end_sample(struct sample *sample)
{
    sample->start_ns = bench_now_ns() - sample->start_ns;
    sample->cpu_ns = bench_cpu_ns(getpid()) - sample->cpu_ns;
}

#define THREADS(name) pthread_##name
#include "bench/postgres_threads.h"
#undef THREADS

#define THREADS(name) vthread_##name
#include "bench/postgres_threads.h"
#undef THREADS

static void *measure_virtual(void *sample)
{
    vthread_measure(sample);
    return NULL;
}

/* Returns the rate. */
static double add(struct figures *figures, const struct sample *sample)
{
    double count = (double)(threads * queries);
    double rate = count * 1e9 / (double)sample->start_ns;

    bench_add(&figures->rate, rate);
    bench_add(&figures->cpu, (double)sample->cpu_ns / count);
    bench_add(&figures->os_threads, (double)sample->os_threads);
    return rate;
}

static void play_round(struct figures *reference, struct figures *virtual)
{
    static struct sample sample; /* not on a stack: another thread fills it */

    pthread_measure(&sample);
    double rate = add(reference, &sample);
    bench_run_on((unsigned)carriers, measure_virtual, &sample);
    bench_add(&virtual->ratio, add(virtual, &sample) / rate);
}

static void report(const char *kind, const struct figures *figures)
{
    char name[64];

    snprintf(name, sizeof name, "postgres.%s", kind);
    bench_report(name, &figures->rate, "queries/s");
    snprintf(name, sizeof name, "postgres.%s.cpu", kind);
    bench_report(name, &figures->cpu, "ns");
    snprintf(name, sizeof name, "postgres.%s.threads", kind);
    bench_report(name, &figures->os_threads, "OS threads");
}

static void run_sql(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        die(connection, sql);
    PQclear(result);
}

static void open_connections(void)
{
    for (unsigned long i = 0; i < connection_count; i++) {
        connections[i] = PQconnectdb("");
        if (PQstatus(connections[i]) != CONNECTION_OK)
            die(connections[i], "examples/with.sh postgres starts a server");
        if (i == 0)
            run_sql(connections[0],
                    "set client_min_messages = warning;"
                    "drop table if exists vthread_row;"
                    "create unlogged table vthread_row as select n as key,"
                    " 7 * n as value from generate_series(0, 999) n;"
                    "alter table vthread_row add primary key (key)");
        PGresult *result =
            PQprepare(connections[i], "ask",
                      "select value from vthread_row where key = $1", 1, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            die(connections[i], "prepare");
        PQclear(result);
    }
}

static void close_connections(void)
{
    run_sql(connections[0], "drop table vthread_row");
    for (unsigned long i = 0; i < connection_count; i++)
        PQfinish(connections[i]);
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, "threads", NULL},
        {"connections", &connection_count, "connections that they share",
         NULL},
        {"queries", &queries, "queries of each thread; 0: choose", NULL},
        {"carriers", &carriers, "carriers of the virtual threads", NULL},
        {0}};
    static struct figures reference, virtual;
    char kind[16], name[64];

    bench_parse(argc, argv, "Queries to PostgreSQL.", options);
    if (connection_count == 0 || connection_count > MOST_CONNECTIONS)
        bench_die("1 to %d connections", MOST_CONNECTIONS);
    if (!vthread_posix_is_active())
        bench_die("libvthread-posix is not active");
    if (queries == 0)
        queries = bench_is_quick ? 20 : 50;
    open_connections();
    for (unsigned i = 0; i < bench_rounds(7, 3); i++)
        play_round(&reference, &virtual);
    close_connections();
    snprintf(kind, sizeof kind, "%lu", carriers);
    report("pthreads", &reference);
    report(kind, &virtual);
    snprintf(name, sizeof name, "postgres.%s.ratio", kind);
    bench_report(name, &virtual.ratio, "pthreads");
    return 0;
}
