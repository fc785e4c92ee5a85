/*
 * fault_test.c - faults that are ours are told, the others take their course.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "platform/fault.h"
#include "platform/libc.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "tests/pages.h"
#include "tests/support.h"

static char *known_page;

static bool explain_known_page(void *address, char *buffer, size_t size_bytes)
{
    if ((char *)address < known_page
        || (char *)address >= known_page + memory_page_bytes())
        return false;
    format_text(buffer, size_bytes, "a stray access to our page");
    return true;
}

static volatile char sink;

static void touch(const char *address)
{
    sink = *(const volatile char *)address;
}

static void touch_known_page(void)
{
    fault_install(explain_known_page);
    fault_thread_enter();
    touch(known_page);
}

static void touch_other_page(void)
{
    fault_install(explain_known_page);
    touch(known_page + memory_page_bytes());
}

static void be_sent_a_fault(void)
{
    fault_install(explain_known_page);
    raise(SIGSEGV);
}

static void reserve_two_pages(void)
{
    known_page = reserved(2 * memory_page_bytes());
}

START_TEST(a_known_fault_is_explained_and_aborts)
{
    char text[8000];
    int status;

    reserve_two_pages();
    status = end_of_child(touch_known_page, text, sizeof text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_eq(strstr(text, "vthread: a stray access to our page\n"),
                     text);
    if (backtrace_can_walk)
        ck_assert_ptr_nonnull(strstr(text, program_invocation_short_name));
}
END_TEST

/* Sanitizers' own handlers say more and exit. */
static void check_died_of_segv(int status)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    ck_assert(WIFEXITED(status) ? WEXITSTATUS(status) != 0 : true);
#else
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
}

START_TEST(an_unknown_fault_takes_its_default_course)
{
    char text[8000];

    reserve_two_pages();
    check_died_of_segv(end_of_child(touch_other_page, text, sizeof text));
    ck_assert_ptr_null(strstr(text, "vthread: "));
}
END_TEST

START_TEST(a_fault_signal_that_is_sent_kills)
{
    char text[8000];

    reserve_two_pages();
    check_died_of_segv(end_of_child(be_sent_a_fault, text, sizeof text));
    ck_assert_ptr_null(strstr(text, "vthread: "));
}
END_TEST

/* A program that repairs its own faults, as collectors and emulators do. */
static void repair(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    mprotect(known_page, 2 * memory_page_bytes(), PROT_READ | PROT_WRITE);
}

START_TEST(an_unknown_fault_goes_to_the_previous_handler)
{
    struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};

    if (sanitizer_is_valgrind)
        return; /* it does not restore registers for the second attempt */
    reserve_two_pages();
    sigaction(SIGSEGV, &action, NULL);
    touch_other_page();
    touch(known_page);
}
END_TEST

static int recurse(int depth)
{
    volatile char frame[1000];

    frame[0] = (char)depth;
    return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}

static bool explain_anything(void *address, char *buffer, size_t size_bytes)
{
    (void)address;
    format_text(buffer, size_bytes, "stack overflow");
    return true;
}

static void overflow(void *arg)
{
    *(int *)arg = recurse(0);
}

static void overflow_an_os_thread(void)
{
    struct os_thread thread;
    int result;

    fault_install(explain_anything);
    if (os_thread_start(&thread, "deep", overflow, &result) == 0)
        os_thread_join(&thread);
}

START_TEST(overflow_of_a_stack_can_be_reported)
{
    char text[8000];
    int status = end_of_child(overflow_an_os_thread, text, sizeof text);

    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_eq(strstr(text, "vthread: stack overflow\n"), text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault");
    TCase *cases = new_case(suite, "fault");
    tcase_add_test(cases, a_known_fault_is_explained_and_aborts);
    tcase_add_test(cases, an_unknown_fault_takes_its_default_course);
    tcase_add_test(cases, a_fault_signal_that_is_sent_kills);
    tcase_add_test(cases, an_unknown_fault_goes_to_the_previous_handler);
    tcase_add_test(cases, overflow_of_a_stack_can_be_reported);
    return run_suite(suite);
}
