/*
 * stack_sample_test.c - asking another OS thread where it is.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "platform/os_thread.h"
#include "platform/stack_sample.h"
#include "tests/support.h"

struct asked {
    atomic_int os_thread;
    atomic_bool is_over;
    bool is_allowed;
    int ends[2]; /* of a pipe */
    int result, error;
};

static void say_who(struct asked *asked)
{
    if (asked->is_allowed)
        ck_assert_int_eq(stack_sample_allow(), 0);
    atomic_store(&asked->os_thread, os_thread_number());
}

static pthread_t start_asked(struct asked *asked, void *(*fn)(void *))
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fn, asked), 0);
    while (!atomic_load(&asked->os_thread))
        sched_yield();
    return thread;
}

/* Named in the table of symbols, see Makefile.am. */
__attribute__((visibility("default"))) void spins_here(struct asked *asked);

__attribute__((noinline)) void spins_here(struct asked *asked)
{
    while (!atomic_load(&asked->is_over))
        continue;
}

static void *spins(void *arg)
{
    say_who(arg);
    spins_here(arg);
    return NULL;
}

static bool has_function(const struct stack_sample *sample, const char *name)
{
    Dl_info info;
    for (unsigned i = 0; i < sample->count; i++)
        if (dladdr(sample->frames[i], &info) && info.dli_sname
            && strcmp(info.dli_sname, name) == 0)
            return true;
    return false;
}

START_TEST(one_that_runs_is_found_in_its_function)
{
    struct asked asked = {.is_allowed = true};
    struct stack_sample sample = {.count = 0};
    pthread_t thread = start_asked(&asked, spins);
    while (!stack_sample_take(atomic_load(&asked.os_thread), &sample)
           || sample.is_in_kernel || !has_function(&sample, "spins_here"))
        sched_yield();
    ck_assert_uint_ge(sample.count, 2);
    atomic_store(&asked.is_over, true);
    pthread_join(thread, NULL);
}
END_TEST

static void *polls(void *arg)
{
    struct asked *asked = arg;
    struct pollfd fds = {.fd = asked->ends[0], .events = POLLIN};
    say_who(asked);
    asked->result = ppoll(&fds, 1, NULL, NULL);
    asked->error = errno;
    return NULL;
}

START_TEST(one_that_waits_in_the_kernel_is_not_disturbed)
{
    struct asked asked = {.is_allowed = true};
    struct stack_sample sample = {.count = 0};
    ck_assert_int_eq(pipe(asked.ends), 0);
    pthread_t thread = start_asked(&asked, polls);
    /* Until it has got there it may be asked by a signal. */
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall",
             atomic_load(&asked.os_thread));
    while (atoi(text) != SYS_ppoll) {
        FILE *file = fopen(path, "r");
        ck_assert_ptr_nonnull(file);
        if (!fgets(text, sizeof text, file))
            text[0] = '\0';
        fclose(file);
    }
    for (int i = 0; i < 100; i++) {
        ck_assert(stack_sample_take(atomic_load(&asked.os_thread), &sample));
        ck_assert(sample.is_in_kernel);
        ck_assert_int_eq(sample.call, SYS_ppoll);
        ck_assert_uint_eq(sample.count, 1);
    }
    ck_assert_int_eq(write(asked.ends[1], "", 1), 1);
    pthread_join(thread, NULL);
    ck_assert_int_eq(asked.result, 1);
}
END_TEST

START_TEST(one_that_has_not_allowed_it_gives_no_answer)
{
    struct asked asked = {.is_allowed = false};
    struct stack_sample sample = {.count = 0};
    sigset_t all;
    ck_assert_int_eq(stack_sample_allow(), 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); /* inherited */
    pthread_t thread = start_asked(&asked, spins);
    bool has_answer =
        stack_sample_take(atomic_load(&asked.os_thread), &sample);
    ck_assert(!has_answer || sample.is_in_kernel);
    atomic_store(&asked.is_over, true);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(one_that_is_gone_gives_no_answer)
{
    struct asked asked = {.is_allowed = true, .is_over = true};
    struct stack_sample sample = {.count = 0};
    pthread_t thread = start_asked(&asked, spins);
    pthread_join(thread, NULL);
    /* The kernel may need a moment for it. */
    while (stack_sample_take(atomic_load(&asked.os_thread), &sample))
        sched_yield();
    ck_assert(!stack_sample_take(0, &sample));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stack_sample");
    TCase *cases = new_case(suite, "samples");
    if (!UNDER_SANITIZER) /* TSan keeps signals for later */
        tcase_add_test(cases, one_that_runs_is_found_in_its_function);
    tcase_add_test(cases, one_that_waits_in_the_kernel_is_not_disturbed);
    tcase_add_test(cases, one_that_has_not_allowed_it_gives_no_answer);
    tcase_add_test(cases, one_that_is_gone_gives_no_answer);
    return run_suite(suite);
}
