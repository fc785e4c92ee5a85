/*
 * redis.c - thousands of virtual threads talk to Redis through hiredis, each
 * on a connection of its own.
 *
 *     redis [--threads N] [--rounds N] [--carriers N] [--json] [HOST [PORT]]
 *
 * With a server that is started for this run and gone after it:
 *
 *     $ examples/with.sh redis build/examples/redis
 *     threads, a connection each                      1,000
 *     carriers                                            2
 *     commands                                       74,162
 *     time                                          1.984 s
 *     commands per second                            37,373
 *     waiting inside the library, at most             1,001
 *     OS threads, at most                                 8
 *     longest pause of the ticker                   0.051 s
 *     memory, at most                              27.0 MiB
 *     threads that waited in BLPOP                    1,000
 *     OS threads meanwhile                                8
 *     failures                                            0
 *
 * or with one of yours: HOST and PORT, or REDIS_HOST and REDIS_PORT, say where
 * it is (127.0.0.1, 6379).  Its keys begin with "vthread:" and are gone at the
 * end.
 *
 * What it shows: hiredis knows nothing of virtual threads.  redisConnect and
 * redisCommand are its plain blocking calls; their connect, read, write and
 * poll are libvthread-posix's, which parks the thread.
 *
 * First each thread stores and fetches values, and checks every answer: large
 * ones, errors and a pipeline, too.  Then it asks for an element of a list that
 * is empty, with BLPOP, which waits in the server.  A thread more fills the
 * list, but only when the server says that all the others wait, and the ticker
 * has ticked on: were the carriers blocked, neither could happen, and the
 * program would not end.
 */
#include "crowd.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 200000, PIPELINE = 10, TICKS = 50 };

static unsigned threads = 1000, rounds = 20, carriers = 2;
static const char *host = "127.0.0.1";
static unsigned port = 6379;

/* Relaxed: counts, read when all threads have returned. */
static _Atomic uint64_t commands, popped_sum;
static unsigned waited, os_threads;
static uint64_t counted_ns;

/*
 * One command.
 */

static redisReply *receive(redisContext *connection)
{
    void *reply = NULL;
    redisGetReply(connection, &reply);
    crowd_count();
    atomic_fetch_add_explicit(&commands, 1, memory_order_relaxed);
    return reply;
}

/* NULL, and a failure, if no answer comes; the connection is of no use
 * then. */
static redisReply *ask(redisContext *connection, const char *format, ...)
{
    va_list arguments;
    crowd_enter();
    va_start(arguments, format);
    redisvAppendCommand(connection, format, arguments);
    va_end(arguments);
    redisReply *reply = receive(connection);
    crowd_leave();
    if (reply == NULL)
        crowd_fail("%s: %s", format, connection->errstr);
    return reply;
}

/* Whether the reply, which it frees, is of that type and value. */
static bool is_text(redisReply *reply, int type, const char *wanted,
                    size_t size)
{
    bool is_right = reply != NULL && reply->type == type
                    && (size_t)reply->len == size
                    && memcmp(reply->str, wanted, size) == 0;
    if (reply != NULL && !is_right)
        crowd_fail("a wrong answer: '%.40s', not '%.40s'",
                   reply->str == NULL ? "" : reply->str, wanted);
    if (reply != NULL)
        freeReplyObject(reply);
    return is_right;
}

static bool is_status(redisReply *reply, const char *wanted)
{
    return is_text(reply, REDIS_REPLY_STATUS, wanted, strlen(wanted));
}

static bool is_string(redisReply *reply, const char *wanted)
{
    return is_text(reply, REDIS_REPLY_STRING, wanted, strlen(wanted));
}

/* -1 if it is no number. */
static long long number_of(redisReply *reply)
{
    long long number = -1;
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        number = reply->integer;
    else if (reply != NULL)
        crowd_fail("a wrong answer: '%.80s', not a number",
                   reply->str == NULL ? "" : reply->str);
    if (reply != NULL)
        freeReplyObject(reply);
    return number;
}

/*
 * A thread's work.
 */

static void store_and_fetch(redisContext *c, unsigned number, unsigned round)
{
    char value[64];
    snprintf(value, sizeof value, "round %u of\r\n thread %u", round, number);
    is_status(ask(c, "SET vthread:%u %s", number, value), "OK");
    is_string(ask(c, "GET vthread:%u", number), value);
    number_of(ask(c, "INCR vthread:count"));
}

static void talk_in_a_pipeline(redisContext *c, unsigned number)
{
    for (int i = 0; i < PIPELINE; i++)
        redisAppendCommand(c, "INCRBY vthread:%u:sum %d", number, i);
    for (long long i = 0, sum = 0; i < PIPELINE; i++) {
        sum += i;
        crowd_enter();
        redisReply *reply = receive(c);
        crowd_leave();
        if (number_of(reply) != sum) {
            crowd_fail("the sum of a pipeline is not %lld %s", sum, c->errstr);
            return;
        }
    }
}

/* More than fits into the buffers of a socket. */
static void fetch_much(redisContext *c, unsigned number)
{
    char *large = malloc(LARGE);
    if (large == NULL) {
        crowd_fail("no memory");
        return;
    }
    memset(large, 'a' + number % 26, LARGE);
    is_status(ask(c, "SET vthread:%u:large %b", number, large, (size_t)LARGE),
              "OK");
    is_text(ask(c, "GET vthread:%u:large", number), REDIS_REPLY_STRING, large,
            LARGE);
    free(large);
}

static void ask_wrongly(redisContext *c, unsigned number)
{
    const char *wrong =
        "WRONGTYPE Operation against a key holding the wrong kind of value";
    is_text(ask(c, "LPUSH vthread:%u x", number), REDIS_REPLY_ERROR, wrong,
            strlen(wrong));
}

/* Waits for as long as it takes. */
static void pop(redisContext *c)
{
    redisReply *reply = ask(c, "BLPOP vthread:gate 0");
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        atomic_fetch_add_explicit(&popped_sum,
                                  strtoull(reply->element[1]->str, NULL, 10),
                                  memory_order_relaxed);
    else
        crowd_fail("BLPOP: a wrong answer");
    freeReplyObject(reply);
}

/* NULL, and a failure, if there is no server. */
static redisContext *connect_to_server(void)
{
    crowd_enter();
    redisContext *c = redisConnect(host, (int)port);
    crowd_leave();
    if (c != NULL && c->err == 0)
        return c;
    crowd_fail("no Redis at %s, port %u: %s", host, port,
               c == NULL ? "no memory" : c->errstr);
    if (c != NULL)
        redisFree(c);
    return NULL;
}

static void work(unsigned number)
{
    redisContext *c = connect_to_server();
    if (c == NULL)
        return;
    for (unsigned round = 0; round < rounds && c->err == 0; round++)
        store_and_fetch(c, number, round);
    if (c->err == 0)
        talk_in_a_pipeline(c, number);
    if (c->err == 0 && number % 20 == 0)
        fetch_much(c, number);
    if (c->err == 0)
        ask_wrongly(c, number);
    if (c->err == 0
        && number_of(ask(c, "DEL vthread:%u vthread:%u:sum vthread:%u:large",
                         number, number, number))
               >= 0)
        pop(c);
    redisFree(c);
}

/*
 * The one more.
 */

/* How many connections wait, as the server knows. */
static unsigned count_waiting(redisContext *c)
{
    redisReply *reply = ask(c, "INFO clients");
    const char *found = reply == NULL || reply->str == NULL
                            ? NULL
                            : strstr(reply->str, "blocked_clients:");
    unsigned count = 0;
    if (found != NULL)
        count = (unsigned)strtoul(strchr(found, ':') + 1, NULL, 10);
    else
        crowd_fail("INFO clients: a wrong answer");
    if (reply != NULL)
        freeReplyObject(reply);
    return count;
}

static void fill_when_all_wait(unsigned count)
{
    uint64_t start_ns = vthread_now();
    redisContext *c = connect_to_server();
    while (c != NULL && c->err == 0 && waited + crowd_failures() < count) {
        vthread_sleep(5 * VTHREAD_MS);
        waited = count_waiting(c);
    }
    counted_ns = vthread_now() - start_ns;
    crowd_await_ticks(TICKS);
    os_threads = crowd_os_threads();
    for (unsigned i = 0; c != NULL && c->err == 0 && i < count; i++)
        number_of(ask(c, "RPUSH vthread:gate %u", i + 1));
    if (c != NULL)
        redisFree(c);
}

/*
 * The whole.
 */

static void check_sums(redisContext *c)
{
    char count[32];
    snprintf(count, sizeof count, "%" PRIu64, (uint64_t)threads * rounds);
    is_string(ask(c, "GET vthread:count"), count);
    if (popped_sum != (uint64_t)threads * (threads + 1) / 2)
        crowd_fail("what was popped is not what was pushed");
}

static void report(void)
{
    crowd_row("threads", "threads, a connection each", threads, "");
    crowd_row("carriers", "carriers", carriers, "");
    crowd_costs("commands", commands, counted_ns);
    crowd_row("waited", "threads that waited in BLPOP", waited, "");
    crowd_row("os_threads_waiting", "OS threads meanwhile", os_threads, "");
}

/* From the command line or the environment. */
static void find_server(int argc, char **argv)
{
    const char *name = argc > 0 ? argv[0] : getenv("REDIS_HOST");
    const char *number = argc > 1 ? argv[1] : getenv("REDIS_PORT");
    char *end = NULL;
    if (name != NULL)
        host = name;
    if (number != NULL)
        port = (unsigned)strtoul(number, &end, 10);
    if (end != NULL && (*end != '\0' || port == 0 || port > 65535)) {
        fprintf(stderr, "redis: '%s' is no port\n", number);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    const struct crowd_option options[] = {
        {"threads", &threads, 1, 100000, "threads"},
        {"rounds", &rounds, 1, 1000000, "each talks so many times"},
        {"carriers", &carriers, 1, 256, "OS threads that run them"},
        {0}};
    int operand = crowd_parse(argc, argv, "[HOST [PORT]]", 0, options);
    find_server(argc - operand, argv + operand);
    crowd_need_descriptors(threads);
    redisContext *c = connect_to_server();
    if (c == NULL) {
        fprintf(stderr, "Start a server for this run with\n"
                        "    examples/with.sh redis PROGRAM\n");
        return 1;
    }
    number_of(ask(c, "DEL vthread:count vthread:gate"));
    crowd_open("redis", carriers);
    crowd_run("commands", threads,
              (uint64_t)threads * (3 * rounds + PIPELINE + 3), work,
              fill_when_all_wait);
    if (crowd_failures() == 0)
        check_sums(c);
    if (c->err == 0)
        number_of(ask(c, "DEL vthread:count vthread:gate"));
    report();
    redisFree(c);
    return crowd_close();
}
