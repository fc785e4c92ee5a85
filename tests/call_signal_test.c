/*
 * call_signal_test.c - signal handlers in the middle of foreign calls: raised
 * by the call itself, and sent by another OS thread, at whatever instruction
 * of the call, of what it calls back, or of the way in and out they land.
 *
 * A carrier blocks the signals of the program, so what is sent lands between
 * the foreign function's unblocking them and its blocking them again.
 */
#include <signal.h>

#include "tests/calls.h"

enum { THREADS = 12, SIGNALS = 4 };

/* Of each thread. */
static int calls(void)
{
    return getenv("STRESS") ? 30 : 4;
}

static const int handler_flags[] = {SA_RESTART, SA_RESTART | SA_ONSTACK};

/* Of this OS thread: the foreign function stays on one. */
static _Thread_local atomic_int handled;

/* Overwrites what lies below, if anything does, and all that is not its. */
static void handles(int signal)
{
    volatile char space[2000];
    volatile double sum = signal;
    memset((char *)space, 1, sizeof space);
    for (int i = 0; i < 10; i++)
        sum = sum * 1.5 + space[100 * i];
    atomic_fetch_add(&handled, 1);
}

static void handle(int flags)
{
    struct sigaction action = {.sa_handler = handles, .sa_flags = flags};
    ck_assert_int_eq(sigaction(SIGPROF, &action, NULL), 0);
}

/* ---- Raised by the call ------------------------------------------------- */

static int raises(int n, char *word)
{
    int before = atomic_load(&handled);
    for (int i = 0; i < n; i++)
        raise(SIGPROF);
    word[0] = 'r';
    errno = EDOM;
    return atomic_load(&handled) - before;
}

static void *calls_raises(void *site)
{
    for (int i = 0; i < calls(); i++) {
        char word[8] = "-aised", *place = word;
        int n = SIGNALS, result = 0, error = 0;
        void *args[] = {&n, &place};
        ck_assert_int_eq(
            vthread_call(site, FN(raises), &result, args, &error), 0);
        ck_assert_int_eq(result, SIGNALS);
        ck_assert_int_eq(error, EDOM);
        ck_assert_str_eq(word, "raised");
        vthread_yield();
    }
    return NULL;
}

START_TEST(a_handler_may_run_in_the_middle_of_a_call)
{
    static vthread_call_site_t sites[3];
    vthread_t threads[THREADS];
    handle(handler_flags[_i]);
    for (unsigned i = 0; i < COUNT_OF(sites); i++)
        sites[i] = (vthread_call_site_t){.signature = "i(ip)",
                                         .policy = calls_policies[i]};
    for (unsigned i = 0; i < THREADS; i++)
        threads[i] = start(calls_raises, &sites[i % COUNT_OF(sites)]);
    for (unsigned i = 0; i < THREADS; i++)
        join(threads[i]);
}
END_TEST

/* ---- Sent by another OS thread ------------------------------------------ */

/* Who wants signals now.  The lock is held while one is sent, so that nobody
 * who is about to leave, and may end, is sent one. */
static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    bool is_open;
} targets[THREADS];

static atomic_bool is_over;

static void *sends(void *unused)
{
    while (!atomic_load(&is_over)) {
        for (unsigned i = 0; i < THREADS; i++) {
            pthread_mutex_lock(&targets[i].lock);
            if (targets[i].is_open)
                pthread_kill(targets[i].thread, SIGPROF);
            pthread_mutex_unlock(&targets[i].lock);
        }
        sched_yield();
    }
    return unused;
}

static void open_to_signals(int at, bool is_open)
{
    pthread_mutex_lock(&targets[at].lock);
    targets[at].thread = pthread_self();
    targets[at].is_open = is_open;
    pthread_mutex_unlock(&targets[at].lock);
}

/* Computes until so many have come. */
static double works_until(int wanted, double sum)
{
    for (int n = 0; atomic_load(&handled) < wanted; n++)
        sum = (sum + n) - n;
    return sum;
}

/* Half of the signals before it calls back, half after. */
static double is_hit(int at, double x, double (*back)(double))
{
    sigset_t prof, before;
    int already = atomic_load(&handled);
    sigemptyset(&prof);
    sigaddset(&prof, SIGPROF);
    pthread_sigmask(SIG_UNBLOCK, &prof, &before);
    open_to_signals(at, true);
    x = works_until(already + SIGNALS / 2, x);
    x = back(x);
    x = works_until(already + SIGNALS, x);
    open_to_signals(at, false);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = ERANGE;
    return x;
}

/* May wait where there is a virtual thread that could: signals land in the
 * switch, too. */
static void halves(void *user, void *result, void *const args[])
{
    atomic_int *upcalls = user;
    atomic_fetch_add(upcalls, 1);
    vthread_yield();
    vthread_sleep(VTHREAD_US);
    *(double *)result = *(double *)args[0] / 2;
}

static struct {
    vthread_call_site_t sites[3];
    void (*code)(void);
    atomic_int next;
} hit;

static void *calls_is_hit(void *site)
{
    int at = atomic_fetch_add(&hit.next, 1), error;
    for (int i = 0; i < calls(); i++) {
        double x = 3 + i, result = 0;
        void *args[] = {&at, &x, &hit.code};
        error = 0;
        ck_assert_int_eq(
            vthread_call(site, FN(is_hit), &result, args, &error), 0);
        ck_assert_double_eq(result, (3 + i) / 2.0);
        ck_assert_int_eq(error, ERANGE);
    }
    return NULL;
}

START_TEST(signals_from_outside_may_land_anywhere_in_a_call)
{
    static const unsigned policies[] = {
        VTHREAD_CALL_AUTO, VTHREAD_CALL_BLOCKING, VTHREAD_CALL_DETACHED};
    atomic_int upcalls = 0;
    vthread_signature_t *signature;
    vthread_closure_t *closure;
    vthread_t threads[THREADS];
    handle(handler_flags[_i]);
    ck_assert_int_eq(vthread_signature_parse(&signature, "d(d)", NULL), 0);
    ck_assert_int_eq(vthread_closure_create(&closure, &hit.code, signature,
                                            halves, &upcalls),
                     0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_mutex_init(&targets[i].lock, NULL);
    pthread_t sender = start_platform(sends, NULL);
    for (unsigned i = 0; i < COUNT_OF(policies); i++)
        hit.sites[i] = (vthread_call_site_t){.signature = "d(idp)",
                                             .policy = policies[i]};
    for (unsigned i = 0; i < THREADS; i++)
        threads[i] =
            start(calls_is_hit, &hit.sites[i % COUNT_OF(hit.sites)]);
    for (unsigned i = 0; i < THREADS; i++)
        join(threads[i]);
    atomic_store(&is_over, true);
    join_platform(sender);
    ck_assert_int_eq(upcalls, THREADS * calls());
    vthread_closure_destroy(closure);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("call_signal");
    TCase *cases = new_case(suite, "signals");
    tcase_add_loop_test(cases, a_handler_may_run_in_the_middle_of_a_call, 0,
                        COUNT_OF(handler_flags));
    tcase_add_loop_test(cases,
                        signals_from_outside_may_land_anywhere_in_a_call, 0,
                        COUNT_OF(handler_flags));
    return run_suite(suite);
}
