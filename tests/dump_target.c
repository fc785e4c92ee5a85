/*
 * dump_target.c - a program to be looked at: threads in every state, each at
 * a place that is known.  For dump_test.sh and gdb_threads_test.sh.
 *
 *     tests/dump_target              until standard input ends
 *     tests/dump_target crowd N      N parked threads, of a few kinds
 *     tests/dump_target exec N       the same, and then it is sleep(1)
 *     tests/dump_target riser        two: one parks at once, the other after a
 *                                    second of sleep
 *     tests/dump_target hogs         one that kept its carrier, while another
 *                                    was ready to run
 *     tests/dump_target leaks        three that nothing can wake, among others;
 *                                    with libgc preloaded
 *     tests/dump_target churn        threads come and go, as fast as they can
 *
 * Says "ready" when all threads are on their way to where they will stay.
 * A user of the library: the public functions only.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vthread.h>
#include <vthread/block.h>
#include <vthread/channel.h>
#include <vthread/continuation.h>
#include <vthread/deadlock.h>
#include <vthread/gc.h>
#include <vthread/latch.h>
#include <vthread/mutex.h>
#include <vthread/pin.h>
#include <vthread/rwlock.h>
#include <vthread/scheduler.h>
#include <vthread/scope.h>

#define AN_HOUR (3600 * UINT64_C(1000000000))

static atomic_int on_their_way;
static int pipe_ends[2];

static void check(int err, const char *what)
{
    if (err == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(err));
    exit(1);
}

static vthread_t start(void *(*fn)(void *), void *arg, const char *name,
                       unsigned flags)
{
    vthread_t thread;
    vthread_attr_t attr = {.name = name, .flags = flags};
    check(vthread_create(&thread, &attr, fn, arg), name ? name : "a thread");
    return thread;
}

static void here(void)
{
    atomic_fetch_add(&on_their_way, 1);
}

/* ---- Those that are parked ---------------------------------------------- */

static __attribute__((noinline)) void waits_inside(int depth)
{
    char room[40];
    __asm__ volatile("" : : "r"(room) : "memory");
    if (depth > 0)
        waits_inside(depth - 1);
    else
        vthread_park();
    __asm__ volatile("" : : "r"(room) : "memory");
}

static void *parks(void *arg)
{
    here();
    waits_inside(arg ? 3 : 0);
    return arg;
}

static void *sleeps(void *arg)
{
    here();
    vthread_sleep(AN_HOUR);
    return arg;
}

static vthread_channel_t *channel;

static void *receives(void *arg)
{
    int value;
    here();
    vthread_channel_receive(channel, &value);
    return arg;
}

static void *joins(void *arg)
{
    here();
    vthread_join((vthread_t)(uintptr_t)arg, NULL);
    return NULL;
}

/* ---- Locks -------------------------------------------------------------- */

static vthread_mutex_t held, left, right;
static vthread_rwlock_t shelf;
static vthread_latch_t both_have_one;

static void *holds(void *arg)
{
    vthread_mutex_lock(&held);
    vthread_rwlock_wrlock(&shelf);
    here();
    vthread_sleep(AN_HOUR);
    return arg;
}

static void *wants(void *arg)
{
    here();
    vthread_mutex_lock(&held);
    return arg;
}

static void *reads_the_shelf(void *arg)
{
    here();
    vthread_rwlock_rdlock(&shelf);
    return arg;
}

static void take_both(vthread_mutex_t *first, vthread_mutex_t *second)
{
    vthread_mutex_lock(first);
    vthread_latch_count_down(&both_have_one, 1);
    vthread_latch_wait(&both_have_one);
    here();
    vthread_mutex_lock(second);
}

static void *takes_left_first(void *arg)
{
    take_both(&left, &right);
    return arg;
}

static void *takes_right_first(void *arg)
{
    take_both(&right, &left);
    return arg;
}

/* ---- Tracked locks, as libvthread-pin has them -------------------------- */

static pthread_mutex_t kept = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t crossed = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t foreign = PTHREAD_MUTEX_INITIALIZER;
static vthread_mutex_t crossing;
static vthread_latch_t both_have_crossed;

static void take(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    vthread_lock_taken(mutex, VTHREAD_HOLD_MUTEX, NULL);
}

static int lock_it(void *request)
{
    return pthread_mutex_lock(*(pthread_mutex_t **)request);
}

static void want(pthread_mutex_t *mutex)
{
    here();
    vthread_lock_wait(mutex, NULL, VTHREAD_HOLD_MUTEX, lock_it, &mutex,
                      sizeof mutex);
}

static void *keeps(void *arg)
{
    take(&kept);
    here();
    vthread_sleep(AN_HOUR);
    return arg;
}

static void *asks(void *arg)
{
    want(arg);
    return arg;
}

static void meet_crossing(void)
{
    vthread_latch_count_down(&both_have_crossed, 1);
    vthread_latch_wait(&both_have_crossed);
}

static void *crosses_here(void *arg)
{
    take(&crossed);
    meet_crossing();
    here();
    vthread_mutex_lock(&crossing);
    return arg;
}

static void *crosses_there(void *arg)
{
    vthread_mutex_lock(&crossing);
    meet_crossing();
    want(&crossed);
    return arg;
}

/* One that the library has never seen otherwise. */
static void *is_no_thread(void *arg)
{
    take(&foreign);
    here();
    want(&kept);
    return arg;
}

/* ---- Those that keep a carrier ------------------------------------------ */

static atomic_bool is_over;

static __attribute__((noinline)) void spins(void)
{
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        usleep(1000); /* for the library it runs all the same */
}

static void *runs(void *arg)
{
    here();
    spins();
    return arg;
}

static void *reads(void *arg)
{
    char byte;
    here();
    return read(pipe_ends[0], &byte, 1) == 1 ? arg : NULL;
}

static void *calls(void *arg)
{
    vthread_block(reads, NULL, NULL);
    return arg;
}

static void *is_pinned(void *arg)
{
    vthread_pin();
    here();
    vthread_park();
    vthread_unpin();
    return arg;
}

/* ---- Continuations and scopes ------------------------------------------- */

static void generates(void *arg)
{
    (void)arg;
    here();
    vthread_park();
}

static void *asks_a_generator(void *arg)
{
    vthread_continuation_t *generator;
    check(vthread_continuation_create(&generator, NULL, generates, NULL),
          "a continuation");
    vthread_continuation_run(generator);
    return arg;
}

static int is_a_leaf(const void *args, void *result)
{
    (void)args;
    (void)result;
    here();
    vthread_park();
    return 0;
}

static int has_leaves(const void *args, void *result)
{
    vthread_scope_t *scope;
    vthread_scope_attr_t attr = {.children.name = "leaf"};
    (void)args;
    (void)result;
    check(vthread_scope_open(&scope, &attr), "a scope");
    for (int i = 0; i < 2; i++)
        check(vthread_scope_fork(scope, NULL, is_a_leaf, NULL, 0, 0), "fork");
    vthread_scope_join(scope);
    return vthread_scope_close(scope);
}

static void *has_branches(void *arg)
{
    vthread_scope_t *scope;
    vthread_scope_attr_t attr = {.children.name = "branch"};
    check(vthread_scope_open(&scope, &attr), "a scope");
    check(vthread_scope_fork(scope, NULL, has_leaves, NULL, 0, 0), "fork");
    check(vthread_scope_fork(scope, NULL, is_a_leaf, NULL, 0, 0), "fork");
    vthread_scope_join(scope);
    vthread_scope_close(scope);
    return arg;
}

static void *ends(void *arg)
{
    here();
    return arg;
}

static void *is_on_a_platform_thread(void *arg)
{
    vthread_self();
    here();
    vthread_park();
    return arg;
}

/* ---- All of them -------------------------------------------------------- */

static void wait_until_on_their_way(int count)
{
    while (atomic_load(&on_their_way) < count)
        usleep(1000);
    printf("ready\n");
    fflush(stdout);
}

static int start_waiters(void)
{
    for (int i = 0; i < 5; i++)
        start(parks, NULL, NULL, 0);
    vthread_t deep = start(parks, &held, "deep", 0);
    start(joins, (void *)(uintptr_t)deep, "joiner", 0);
    for (int i = 0; i < 3; i++)
        start(sleeps, NULL, NULL, i > 0 ? 0 : VTHREAD_STACK_OWN);
    start(receives, NULL, "receiver", 0);
    return 11;
}

static int start_locks(void)
{
    vthread_latch_init(&both_have_one, 2);
    start(holds, NULL, "holder", 0);
    while (atomic_load(&on_their_way) < 12)
        usleep(1000);
    for (int i = 0; i < 3; i++)
        start(wants, NULL, NULL, 0);
    start(reads_the_shelf, NULL, "reader", 0);
    start(takes_left_first, NULL, "left-handed", 0);
    start(takes_right_first, NULL, "right-handed", 0);
    return 7;
}

static int start_tracked(void)
{
    pthread_t platform;
    vthread_latch_init(&both_have_crossed, 2);
    start(keeps, NULL, "keeper", 0);
    while (atomic_load(&on_their_way) < 19)
        usleep(1000);
    start(asks, &kept, "asker of it", 0);
    check(pthread_create(&platform, NULL, is_no_thread, NULL),
          "an OS thread");
    while (atomic_load(&on_their_way) < 22)
        usleep(1000);
    start(asks, &foreign, "asker of them", 0);
    start(crosses_here, NULL, "hither", 0);
    start(crosses_there, NULL, "thither", 0);
    return 7;
}

static int start_others(void)
{
    pthread_t platform;
    start(runs, NULL, "runner", VTHREAD_STACK_OWN); /* which it never leaves */
    start(calls, NULL, "caller", VTHREAD_STACK_OWN);
    start(is_pinned, NULL, "pinned", 0);
    start(asks_a_generator, NULL, "asker", 0);
    start(has_branches, NULL, "root", 0);
    start(ends, NULL, "late", 0);
    check(pthread_create(&platform, NULL, is_on_a_platform_thread, NULL),
          "an OS thread");
    /* The pinned thread and that of the generator say so themselves, the
     * root by its three leaves. */
    return 9;
}

static void wait_for_the_end(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    _exit(0);
}

/* ---- Many --------------------------------------------------------------- */

static void begin_crowd(int count)
{
    for (int i = 0; i < count; i++)
        start(i % 4 == 3 ? sleeps : parks, i % 2 ? &held : NULL, NULL, 0);
    wait_until_on_their_way(count);
}

static void crowd(int count)
{
    begin_crowd(count);
    wait_for_the_end();
}

static void crowd_and_exec(int count)
{
    char byte;
    begin_crowd(count);
    if (read(STDIN_FILENO, &byte, 1) > 0)
        execlp("sleep", "sleep", "100", (char *)NULL);
    _exit(1);
}

/* ---- Leaks -------------------------------------------------------------- */

static volatile vthread_t known[2];

static void *is_lost(void *arg)
{
    here();
    vthread_park();
    return arg;
}

static void *starts_and_forgets(void *arg)
{
    for (int i = 0; i < 3; i++)
        start(is_lost, NULL, NULL, 0);
    return arg;
}

static void leaks(void)
{
    size_t count = 0;
    if (vthread_gc_enable() != 0)
        exit(1);
    for (int i = 0; i < 2; i++)
        known[i] = start(parks, NULL, NULL, 0);
    vthread_join(start(starts_and_forgets, NULL, NULL, 0), NULL);
    while (atomic_load(&on_their_way) < 5)
        usleep(1000);
    /* They park a little after they have said so. */
    while (count < 3)
        check(vthread_gc_leaks(NULL, 0, &count), "leaks");
    wait_until_on_their_way(5);
    wait_for_the_end();
}

/* ---- Of which ages are told --------------------------------------------- */

static void *sleeps_and_parks(void *arg)
{
    vthread_sleep(1000 * VTHREAD_MS);
    here();
    vthread_park();
    return arg;
}

static void riser(void)
{
    start(parks, NULL, "early", 0);
    start(sleeps_and_parks, NULL, "riser", 0);
    wait_until_on_their_way(2);
    wait_for_the_end();
}

static void *comes_and_goes(void *arg)
{
    if (arg)
        vthread_yield();
    return arg;
}

/* ---- Hogs --------------------------------------------------------------- */

static void until_hogs_are_seen(void)
{
    vthread_scheduler_stats_t stats = {.hogs = 0};
    while (stats.hogs == 0)
        vthread_scheduler_stats(vthread_scheduler_default(), &stats);
}

static void *digs(void *arg)
{
    vthread_t other = start(comes_and_goes, NULL, NULL, 0);
    until_hogs_are_seen();
    vthread_join(other, NULL);
    here();
    vthread_park();
    return arg;
}

static void hogs(void)
{
    start(digs, NULL, "digger", 0);
    wait_until_on_their_way(1);
    wait_for_the_end();
}

/* ---- Churn -------------------------------------------------------------- */

static void *starts_others(void *arg)
{
    for (unsigned i = 0;; i++) {
        vthread_t threads[16];
        for (unsigned j = 0; j < 16; j++)
            threads[j] = start(comes_and_goes, i % 2 ? arg : NULL,
                               j == 3 ? "short" : NULL, 0);
        for (unsigned j = 0; j < 16; j++)
            vthread_join(threads[j], NULL);
        atomic_fetch_add(&on_their_way, 16);
    }
    return NULL;
}

/* Says at its end how many there were. */
static void churn(void)
{
    char byte;
    for (int i = 0; i < 8; i++)
        start(starts_others, &held, "starter", 0);
    for (int i = 0; i < 100; i++)
        start(parks, NULL, "still", 0);
    wait_until_on_their_way(200);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    printf("%d\n", atomic_load(&on_their_way));
    fflush(stdout);
    _exit(0);
}

/* One of them all keeps a carrier for good. */
static void ask_for_two_carriers(void)
{
    const char *asked = getenv("VTHREAD_PARALLELISM");
    if ((asked ? atol(asked) : sysconf(_SC_NPROCESSORS_ONLN)) < 2)
        setenv("VTHREAD_PARALLELISM", "2", 1);
}

int main(int argc, char **argv)
{
    setenv("VTHREAD_DEADLOCK", "off", 1);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 2 && strcmp(argv[1], "crowd") == 0)
        crowd(atoi(argv[2]));
    if (argc > 2 && strcmp(argv[1], "exec") == 0)
        crowd_and_exec(atoi(argv[2]));
    if (argc > 1 && strcmp(argv[1], "riser") == 0)
        riser();
    if (argc > 1 && strcmp(argv[1], "hogs") == 0)
        hogs();
    if (argc > 1 && strcmp(argv[1], "leaks") == 0)
        leaks();
    if (argc > 1 && strcmp(argv[1], "churn") == 0)
        churn();
    ask_for_two_carriers();
    check(pipe(pipe_ends), "pipe");
    check(vthread_channel_create(&channel, sizeof(int), 0), "a channel");
    int count = start_waiters();
    count += start_locks();
    count += start_tracked();
    count += start_others();
    wait_until_on_their_way(count);
    wait_for_the_end();
}
