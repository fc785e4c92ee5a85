/*
 * pinned.c - a shop's server with a mistake in it, and the tool that finds it.
 *
 *     VTHREAD_PIN=report pinned            the mistake, and its report
 *     VTHREAD_PIN=report pinned --fixed    without: no report
 *
 * Customers ask for prices.  They are kept in a table, under a mutex; those
 * that are not there yet come from a database, which takes its time.  The
 * server asks it with the mutex locked.  So it serves one customer at a time
 * as long as there are new articles, also those who want a price that is in
 * the table; and since a virtual thread that holds a pthread mutex is pinned,
 * each query blocks a carrier besides.
 *
 * What it shows: libvthread-pin, linked in (vthread-pin.pc), and a report that
 * leads to the line.  The last line of each is a command that prints lines:
 *
 *     vthread: pin:   lines: addr2line -Cfipe .../pinned 0x1a2b 0x1a4e ...
 *
 * Run it: first comes where the mutex was taken, then where the thread waited
 * with it, and who had called that.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vthread.h>

enum {
    CUSTOMERS = 8,
    ARTICLES = 6,
    QUESTIONS = 3 * ARTICLES, /* of each customer */
    QUERY_MS = 40
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static int table[ARTICLES]; /* under the lock; 0: not known yet */

static bool is_fixed;

static void check(int err, const char *what)
{
    if (err == 0)
        return;
    fprintf(stderr, "pinned: %s: %s\n", what, strerror(err));
    exit(1);
}

static void receive(int fd, int *number, const char *what)
{
    size_t size = 0;
    check(vthread_read(fd, number, sizeof *number, &size), what);
    if (size != sizeof *number)
        exit(0); /* the other side has ended */
}

/* ---- The database ------------------------------------------------------- */

/* Serves one connection. */
static void *answer_queries(void *connection)
{
    int fd = *(int *)connection, article;
    for (;;) {
        receive(fd, &article, "database");
        vthread_sleep(QUERY_MS * VTHREAD_MS); /* it thinks */
        int price = 100 + 7 * article;
        check(vthread_write_all(fd, &price, sizeof price), "database");
    }
    return NULL;
}

static int query_price(int database, int article)
{
    int price = 0;
    check(vthread_write_all(database, &article, sizeof article), "query");
    receive(database, &price, "query");
    return price;
}

/* ---- The server --------------------------------------------------------- */

static int price_with_mistake(int database, int article)
{
    pthread_mutex_lock(&table_lock);
    if (table[article] == 0)
        table[article] = query_price(database, article);
    int price = table[article];
    pthread_mutex_unlock(&table_lock);
    return price;
}

/* Two may ask for the same at once; that does no harm. */
static int price_fixed(int database, int article)
{
    pthread_mutex_lock(&table_lock);
    int price = table[article];
    pthread_mutex_unlock(&table_lock);
    if (price != 0)
        return price;
    price = query_price(database, article);
    pthread_mutex_lock(&table_lock);
    table[article] = price;
    pthread_mutex_unlock(&table_lock);
    return price;
}

/* Each customer's thread begins with another article. */
static void *serve_customer(void *argument)
{
    int number = (int)(size_t)argument, ends[2];
    long bill = 0;
    vthread_t database;
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
    vthread_attr_t attr = {.name = "database",
                           .flags = VTHREAD_DETACHED | VTHREAD_STACK_OWN};
    check(vthread_create(&database, &attr, answer_queries, &ends[1]),
          "vthread_create");
    for (int i = 0; i < QUESTIONS; i++) {
        int article = (number + i) % ARTICLES;
        bill += is_fixed ? price_fixed(ends[0], article)
                         : price_with_mistake(ends[0], article);
    }
    return (void *)bill;
}

int main(int argc, char **argv)
{
    vthread_t customers[CUSTOMERS];
    long sum = 0;
    is_fixed = argc == 2 && strcmp(argv[1], "--fixed") == 0;
    if (argc > 1 && !is_fixed) {
        fprintf(stderr, "usage: pinned [--fixed]\n");
        return 2;
    }
    uint64_t start_ns = vthread_now();
    for (size_t i = 0; i < CUSTOMERS; i++) {
        vthread_attr_t attr = {.flags = VTHREAD_STACK_OWN};
        char name[32];
        snprintf(name, sizeof name, "customer %zu", i);
        attr.name = name;
        check(vthread_create(&customers[i], &attr, serve_customer,
                             (void *)i),
              "vthread_create");
    }
    for (size_t i = 0; i < CUSTOMERS; i++) {
        void *bill;
        check(vthread_join(customers[i], &bill), "vthread_join");
        sum += (long)bill;
    }
    printf("%d customers, %ld in all, after %llu ms\n", CUSTOMERS, sum,
           (unsigned long long)((vthread_now() - start_ns) / VTHREAD_MS));
    return 0;
}
