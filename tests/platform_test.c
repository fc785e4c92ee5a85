/*
 * platform_test.c - the ground floor: words, sleep, memory, OS threads,
 * faults, readiness, and what sanitizers are told.
 *
 * A child process stands in wherever the claim is about how one ends.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/atomics.h"
#include "platform/clock.h"
#include "platform/fault.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/poller.h"
#include "platform/sanitizer.h"

enum { MILLISECOND = 1000000 };

/* Runs fn in a child and returns how it ended; text gets what it wrote to
 * standard error. */
static int end_of_child(void (*fn)(void), char *text, size_t size_bytes)
{
    int ends[2], status;
    size_t length = 0;
    ssize_t size;
    pid_t child;

    ck_assert_int_eq(pipe(ends), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        fn();
        _exit(0);
    }
    close(ends[1]);
    while (length + 1 < size_bytes &&
           (size = read(ends[0], text + length, size_bytes - 1 - length)) > 0)
        length += (size_t)size;
    text[length] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

/* --- panic.h --- */

START_TEST(formats_what_printf_formats)
{
    char ours[200], theirs[200];
    void *pointer = ours;
#define ARGUMENTS                                                              \
    "%s|%d|%d|%u|%x|%c|%%|%ld|%lu|%lx|%lld|%llu|%zu|%zx|%p", "text", -1,       \
        INT_MIN, UINT_MAX, 0xabcu, 'c', LONG_MIN, ULONG_MAX, 0xfeedul,         \
        LLONG_MIN, ULLONG_MAX, (size_t)0, SIZE_MAX, pointer
    size_t length = format_text(ours, sizeof ours, ARGUMENTS);

    snprintf(theirs, sizeof theirs, ARGUMENTS);
    ck_assert_str_eq(ours, theirs);
    ck_assert_uint_eq(length, strlen(theirs));
}
END_TEST

START_TEST(a_format_too_long_is_cut_and_ended)
{
    char buffer[4] = "zzz";

    ck_assert_uint_eq(format_text(buffer, 4, "%u", 123456u), 3);
    ck_assert_str_eq(buffer, "123");
    ck_assert_uint_eq(format_text(buffer, 1, "x"), 0);
    ck_assert_str_eq(buffer, "");
    ck_assert_uint_eq(format_text(NULL, 0, "x"), 0);
}
END_TEST

static void panic_plainly(void)
{
    panic("broken: %d", 7);
}

START_TEST(panic_says_one_line_and_aborts)
{
    char text[200];
    int status = end_of_child(panic_plainly, text, sizeof text);

    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_str_eq(text, "vthread: broken: 7\n");
}
END_TEST

static void describe_and_panic(char *buffer, size_t size_bytes)
{
    format_text(buffer, size_bytes, "thread 5");
    if (getenv("DESCRIPTION_PANICS") != NULL)
        panic("while describing");
}

static void panic_described(void)
{
    panic_describe_self = describe_and_panic;
    panic("broken");
}

START_TEST(panic_describes_the_running_thread)
{
    char text[200];
    int status = end_of_child(panic_described, text, sizeof text);

    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_str_eq(text, "vthread: broken\nvthread: in thread 5\n");
}
END_TEST

START_TEST(panic_inside_the_description_ends_too)
{
    char text[200];
    int status;

    setenv("DESCRIPTION_PANICS", "1", 1);
    status = end_of_child(panic_described, text, sizeof text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_str_eq(text, "vthread: broken\nvthread: while describing\n");
}
END_TEST

/* A line of 5,000 bytes, and a closed standard error. */
static void report_much(void)
{
    char long_text[5000];

    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    errno = EDOM;
    report("%s", long_text);
    close(STDERR_FILENO);
    report("nobody hears");
    _exit(errno == EDOM ? 0 : 1);
}

START_TEST(report_ends_its_line_and_keeps_errno)
{
    char text[8000];
    int status = end_of_child(report_much, text, sizeof text);

    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

/* --- clock.h and futex.h --- */

START_TEST(futex_wait_returns_at_once_if_the_word_differs)
{
    _Atomic uint32_t word = 1;

    ck_assert_int_eq(futex_wait(&word, 0, CLOCK_NEVER), 0);
}
END_TEST

START_TEST(futex_wait_times_out_not_early_and_keeps_errno)
{
    _Atomic uint32_t word = 0;
    uint64_t deadline = clock_now_ns() + 2 * MILLISECOND;

    errno = EDOM;
    ck_assert_int_eq(futex_wait(&word, 0, deadline), ETIMEDOUT);
    ck_assert_int_eq(errno, EDOM);
    ck_assert_uint_ge(clock_now_ns(), deadline);
    ck_assert_int_eq(futex_wait(&word, 0, 0), ETIMEDOUT);
}
END_TEST

static void wait_for_one(void *arg)
{
    _Atomic uint32_t *word = arg;

    while (atomic_load(word) == 0)
        futex_wait(word, 0, CLOCK_NEVER);
}

START_TEST(futex_wake_ends_a_wait)
{
    _Atomic uint32_t word = 0;
    struct os_thread thread;

    ck_assert_int_eq(os_thread_start(&thread, "waiter", wait_for_one, &word),
                     0);
    atomic_store(&word, 1);
    futex_wake(&word, 1);
    os_thread_join(&thread);
}
END_TEST

enum { LOCKERS = 4, ROUNDS = 50000 };

struct counted {
    struct os_lock lock;
    unsigned count; /* L(lock) */
};

static void count_up(void *arg)
{
    struct counted *counted = arg;

    for (int i = 0; i < ROUNDS; i++) {
        os_lock_acquire(&counted->lock);
        counted->count++;
        os_lock_release(&counted->lock);
    }
}

START_TEST(os_lock_excludes)
{
    struct counted counted = {0};
    struct os_thread threads[LOCKERS];

    for (int i = 0; i < LOCKERS; i++)
        ck_assert_int_eq(
            os_thread_start(&threads[i], "locker", count_up, &counted), 0);
    for (int i = 0; i < LOCKERS; i++)
        os_thread_join(&threads[i]);
    ck_assert_uint_eq(counted.count, LOCKERS * ROUNDS);
    ck_assert_uint_eq(atomic_load(&counted.lock.word), 0);
}
END_TEST

/* --- memory.h --- */

static char *reserved(size_t size_bytes)
{
    char *start = memory_reserve(size_bytes);
    ck_assert_ptr_nonnull(start);
    return start;
}

static char *committed(size_t size_bytes)
{
    char *start = reserved(size_bytes);
    ck_assert_int_eq(memory_commit(start, size_bytes), 0);
    return start;
}

/* Whether the kernel would copy a byte from there: a look without a
 * fault. */
static bool is_readable(const void *address)
{
    int ends[2];
    bool readable;

    ck_assert_int_eq(pipe(ends), 0);
    readable = write(ends[1], address, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return readable;
}

START_TEST(reserved_space_is_aligned_and_inaccessible)
{
    size_t size = 3 * HUGE_PAGE_SIZE_BYTES + 5 * PAGE_SIZE_BYTES;
    char *start = reserved(size);

    ck_assert_uint_eq((uintptr_t)start % HUGE_PAGE_SIZE_BYTES, 0);
    ck_assert(!is_readable(start));
    ck_assert(!is_readable(start + size - 1));
    memory_release(start, size);
}
END_TEST

START_TEST(space_that_does_not_exist_is_not_reserved)
{
    ck_assert_ptr_null(memory_reserve((size_t)1 << 60));
    ck_assert_ptr_null(memory_reserve(SIZE_MAX));
}
END_TEST

START_TEST(committed_pages_read_zero_and_can_be_discarded)
{
    size_t size = 16 * PAGE_SIZE_BYTES;
    char *start = committed(size);

    ck_assert_int_eq(start[0] | start[size - 1], 0);
    start[0] = start[size - 1] = 1;
    memory_discard(start, size);
    ck_assert_int_eq(start[0] | start[size - 1], 0);
    memory_release(start, size);
}
END_TEST

START_TEST(dense_pages_read_zero_and_can_be_written)
{
    size_t size = 2 * HUGE_PAGE_SIZE_BYTES;
    char *start = reserved(size);

    ck_assert_int_eq(memory_commit_dense(start, size), 0);
    ck_assert_int_eq(start[0] | start[size - 1], 0);
    memset(start, 1, size);
    memory_release(start, size);
}
END_TEST

START_TEST(a_guard_covers_its_pages_only)
{
    char *start = committed(3 * PAGE_SIZE_BYTES);
    char *guard = start + PAGE_SIZE_BYTES;

    ck_assert_int_eq(memory_guard(guard, PAGE_SIZE_BYTES), 0);
    ck_assert(is_readable(guard - 1));
    ck_assert(!is_readable(guard));
    ck_assert(!is_readable(guard + PAGE_SIZE_BYTES - 1));
    ck_assert(is_readable(guard + PAGE_SIZE_BYTES));
    memory_discard(guard, PAGE_SIZE_BYTES);
    ck_assert(!is_readable(guard));
    memory_release(start, 3 * PAGE_SIZE_BYTES);
}
END_TEST

START_TEST(hidden_pages_keep_their_contents)
{
    char *start = committed(PAGE_SIZE_BYTES);

    start[7] = 7;
    ck_assert_int_eq(memory_hide(start, PAGE_SIZE_BYTES), 0);
    ck_assert(!is_readable(start));
    ck_assert_int_eq(memory_show(start, PAGE_SIZE_BYTES), 0);
    ck_assert_int_eq(start[7], 7);
    memory_release(start, PAGE_SIZE_BYTES);
}
END_TEST

START_TEST(blocks_are_aligned_as_asked)
{
    void *block = memory_alloc_aligned(256, 300);

    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq((uintptr_t)block % 256, 0);
    memory_free(block);
    memory_free(memory_alloc(1));
    memory_free(NULL);
}
END_TEST

START_TEST(every_kind_of_request_can_be_made_to_fail)
{
    char *start = reserved(PAGE_SIZE_BYTES);

    memory_fail_after(1);
    ck_assert_ptr_null(memory_alloc(1));
    ck_assert_ptr_null(memory_alloc_aligned(64, 64));
    ck_assert_ptr_null(memory_reserve(PAGE_SIZE_BYTES));
    ck_assert_int_eq(memory_commit(start, PAGE_SIZE_BYTES), ENOMEM);
    ck_assert_int_eq(memory_commit_dense(start, PAGE_SIZE_BYTES), ENOMEM);
    ck_assert_int_eq(memory_guard(start, PAGE_SIZE_BYTES), ENOMEM);
    ck_assert_int_eq(memory_hide(start, PAGE_SIZE_BYTES), ENOMEM);
    ck_assert_int_eq(memory_show(start, PAGE_SIZE_BYTES), ENOMEM);
    ck_assert(!is_readable(start));
    memory_fail_after(0);
    memory_release(start, PAGE_SIZE_BYTES);
}
END_TEST

START_TEST(the_nth_request_fails_and_all_after_it)
{
    memory_fail_after(3);
    ck_assert(!memory_should_fail());
    ck_assert(!memory_should_fail());
    ck_assert(memory_should_fail());
    ck_assert(memory_should_fail());
    memory_fail_after(0);
    ck_assert(!memory_should_fail());
}
END_TEST

/* --- os_thread.h --- */

struct observed {
    sigset_t blocked;
    char name[16];
    bool has_signal_stack;
};

static void observe(void *arg)
{
    struct observed *observed = arg;
    stack_t stack;

    pthread_sigmask(SIG_SETMASK, NULL, &observed->blocked);
    pthread_getname_np(pthread_self(), observed->name, 16);
    sigaltstack(NULL, &stack);
    observed->has_signal_stack = !(stack.ss_flags & SS_DISABLE);
}

START_TEST(an_os_thread_takes_faults_only_and_has_a_signal_stack)
{
    struct observed observed;
    struct os_thread thread;
    sigset_t own;

    ck_assert_int_eq(os_thread_start(&thread, "a name of more than 15 bytes",
                                     observe, &observed),
                     0);
    os_thread_join(&thread);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGSEGV), 0);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGPROF), 0);
    ck_assert_str_eq(observed.name, "a name of more ");
    ck_assert(observed.has_signal_stack);
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    ck_assert_int_eq(sigismember(&own, SIGTERM), 0);
}
END_TEST

START_TEST(an_os_thread_fails_to_start_when_told)
{
    struct observed observed;
    struct os_thread thread;

    os_thread_fail_after(2);
    ck_assert_int_eq(os_thread_start(&thread, "", observe, &observed), 0);
    os_thread_join(&thread);
    ck_assert_int_eq(os_thread_start(&thread, "", observe, &observed), EAGAIN);
    os_thread_fail_after(0);
    memory_fail_after(1);
    ck_assert_int_eq(os_thread_start(&thread, "", observe, &observed), EAGAIN);
    memory_fail_after(0);
}
END_TEST

START_TEST(there_is_a_processor_and_a_thread_number)
{
    ck_assert_uint_ge(os_thread_processors(), 1);
    ck_assert_int_eq(os_thread_number(), getpid());
}
END_TEST

/* --- fault.h --- */

static char *known_page;

static bool explain_known_page(void *address, char *buffer, size_t size_bytes)
{
    if ((char *)address < known_page ||
        (char *)address >= known_page + PAGE_SIZE_BYTES)
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
    touch(known_page + PAGE_SIZE_BYTES);
}

static void be_sent_a_fault(void)
{
    fault_install(explain_known_page);
    raise(SIGSEGV);
}

static void reserve_two_pages(void)
{
    known_page = reserved(2 * PAGE_SIZE_BYTES);
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
    mprotect(known_page, 2 * PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE);
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

/* --- poller.h --- */

static void open_poller(void)
{
    ck_assert_int_eq(poller_open(), 0);
    ck_assert_int_eq(poller_open(), 0);
    ck_assert(poller_is_open());
}

/* One event at most, without waiting. */
static unsigned ready_now(uint64_t cookie)
{
    struct poller_event event;

    if (poller_wait(&event, 1, 0) == 0)
        return 0;
    ck_assert_uint_eq(event.cookie, cookie);
    return event.ready;
}

START_TEST(a_socket_is_reported_once_for_each_change)
{
    uint64_t cookie = UINT64_C(0xfeedfacecafebeef);
    int ends[2];

    open_poller();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(poller_add(ends[0], cookie), 0);
    ck_assert_uint_eq(ready_now(cookie), POLLER_WRITABLE);
    ck_assert_uint_eq(ready_now(cookie), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_uint_eq(ready_now(cookie), POLLER_READABLE | POLLER_WRITABLE);
    ck_assert_uint_eq(ready_now(cookie), 0);
    shutdown(ends[1], SHUT_WR);
    ck_assert_uint_eq(ready_now(cookie),
                      POLLER_READABLE | POLLER_WRITABLE | POLLER_HANGUP);
    poller_remove(ends[0]);
    close(ends[1]);
    ck_assert_uint_eq(ready_now(cookie), 0);
    close(ends[0]);
}
END_TEST

START_TEST(poller_add_says_what_is_wrong)
{
    int ends[2];
    int file = open("/proc/self/exe", O_RDONLY);

    open_poller();
    ck_assert_int_eq(pipe(ends), 0);
    errno = EDOM;
    ck_assert_int_eq(poller_add(ends[0], 1), 0);
    ck_assert_int_eq(poller_add(ends[0], 2), EEXIST);
    ck_assert_int_eq(poller_add(file, 3), EPERM);
    ck_assert_int_eq(poller_add(1 << 20, 4), EBADF);
    ck_assert_int_eq(errno, EDOM);
    close(file);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(poller_wait_times_out_not_early)
{
    struct poller_event event;
    uint64_t deadline;

    open_poller();
    deadline = clock_now_ns() + 3 * MILLISECOND / 2;
    ck_assert_int_eq(poller_wait(&event, 1, deadline), 0);
    ck_assert_uint_ge(clock_now_ns(), deadline);
}
END_TEST

START_TEST(an_interruption_waits_for_one_that_sleeps)
{
    struct poller_event event;
    uint64_t deadline;

    open_poller();
    poller_interrupt();
    poller_interrupt();
    ck_assert_int_eq(poller_wait(&event, 1, 0), 0);
    ck_assert_int_eq(poller_wait(&event, 1, CLOCK_NEVER), 0);
    /* Both were one. */
    deadline = clock_now_ns() + MILLISECOND;
    ck_assert_int_eq(poller_wait(&event, 1, deadline), 0);
    ck_assert_uint_ge(clock_now_ns(), deadline);
}
END_TEST

/* Each answers the other: a lost interruption stops both for ever. */
struct exchange {
    _Atomic unsigned asked, answered;
};

enum { QUESTIONS = 20000 };

static void answer(void *arg)
{
    struct exchange *exchange = arg;
    struct poller_event event;
    unsigned answered = 0;

    while (answered < QUESTIONS) {
        poller_wait(&event, 1, CLOCK_NEVER);
        answered = atomic_load_explicit(&exchange->asked, memory_order_relaxed);
        atomic_store(&exchange->answered, answered);
        futex_wake(&exchange->answered, 1);
    }
}

static void look_about(void *arg)
{
    struct exchange *exchange = arg;
    struct poller_event event;

    while (atomic_load(&exchange->answered) < QUESTIONS)
        poller_wait(&event, 1, 0);
}

START_TEST(no_interruption_is_lost_nor_carried_off_by_a_look)
{
    struct exchange exchange = {0};
    struct os_thread sleeper, looker;
    unsigned answered;

    open_poller();
    ck_assert_int_eq(os_thread_start(&sleeper, "sleeper", answer, &exchange),
                     0);
    ck_assert_int_eq(os_thread_start(&looker, "looker", look_about, &exchange),
                     0);
    for (unsigned i = 1; i <= QUESTIONS; i++) {
        atomic_store_explicit(&exchange.asked, i, memory_order_relaxed);
        poller_interrupt();
        while (i % 4 == 0 && (answered = atomic_load(&exchange.answered)) < i)
            futex_wait(&exchange.answered, answered, CLOCK_NEVER);
    }
    os_thread_join(&sleeper);
    os_thread_join(&looker);
}
END_TEST

/* --- sanitizer.h --- */

START_TEST(sanitizer_copy_copies)
{
    uint64_t from[5] = {1, 2, 3, 4, 5}, to[5] = {0};

    sanitizer_copy(to, from, sizeof from);
    ck_assert_mem_eq(to, from, sizeof from);
}
END_TEST

#if defined __SANITIZE_ADDRESS__

#include <sanitizer/asan_interface.h>

START_TEST(poison_travels_with_the_frames)
{
    struct sanitizer_stack stack;
    char *place = committed(PAGE_SIZE_BYTES);

    sanitizer_stack_init(&stack);
    __asan_poison_memory_region(place + 64, 32);
    sanitizer_frames_frozen(&stack, place + 8, 248);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 64), 0);
    __asan_poison_memory_region(place + 16, 8);
    sanitizer_frames_thawed(&stack, place + 8, 248);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 16), 0);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 63), 0);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 64), 1);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 95), 1);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 96), 0);
    sanitizer_stack_vacated(place, PAGE_SIZE_BYTES);
    ck_assert_ptr_null(__asan_region_is_poisoned(place, PAGE_SIZE_BYTES));
    sanitizer_stack_destroy(&stack);
    memory_release(place, PAGE_SIZE_BYTES);
}
END_TEST

#else

START_TEST(poison_travels_with_the_frames)
{
    /* Only ASan has any. */
}
END_TEST

#endif

static Suite *platform_suite(void)
{
    Suite *suite = suite_create("platform");
    TCase *words = tcase_create("panic");
    TCase *sleep = tcase_create("futex");
    TCase *memory = tcase_create("memory");
    TCase *threads = tcase_create("os_thread");
    TCase *faults = tcase_create("fault");
    TCase *readiness = tcase_create("poller");
    TCase *hooks = tcase_create("sanitizer");

    tcase_add_test(words, formats_what_printf_formats);
    tcase_add_test(words, a_format_too_long_is_cut_and_ended);
    tcase_add_test(words, panic_says_one_line_and_aborts);
    tcase_add_test(words, panic_describes_the_running_thread);
    tcase_add_test(words, panic_inside_the_description_ends_too);
    tcase_add_test(words, report_ends_its_line_and_keeps_errno);
    suite_add_tcase(suite, words);

    tcase_add_test(sleep, futex_wait_returns_at_once_if_the_word_differs);
    tcase_add_test(sleep, futex_wait_times_out_not_early_and_keeps_errno);
    tcase_add_test(sleep, futex_wake_ends_a_wait);
    tcase_add_test(sleep, os_lock_excludes);
    suite_add_tcase(suite, sleep);

    tcase_add_test(memory, reserved_space_is_aligned_and_inaccessible);
    tcase_add_test(memory, space_that_does_not_exist_is_not_reserved);
    tcase_add_test(memory, committed_pages_read_zero_and_can_be_discarded);
    tcase_add_test(memory, dense_pages_read_zero_and_can_be_written);
    tcase_add_test(memory, a_guard_covers_its_pages_only);
    tcase_add_test(memory, hidden_pages_keep_their_contents);
    tcase_add_test(memory, blocks_are_aligned_as_asked);
    tcase_add_test(memory, every_kind_of_request_can_be_made_to_fail);
    tcase_add_test(memory, the_nth_request_fails_and_all_after_it);
    suite_add_tcase(suite, memory);

    tcase_add_test(threads,
                   an_os_thread_takes_faults_only_and_has_a_signal_stack);
    tcase_add_test(threads, an_os_thread_fails_to_start_when_told);
    tcase_add_test(threads, there_is_a_processor_and_a_thread_number);
    suite_add_tcase(suite, threads);

    tcase_add_test(faults, a_known_fault_is_explained_and_aborts);
    tcase_add_test(faults, an_unknown_fault_takes_its_default_course);
    tcase_add_test(faults, a_fault_signal_that_is_sent_kills);
    tcase_add_test(faults, an_unknown_fault_goes_to_the_previous_handler);
    tcase_add_test(faults, overflow_of_a_stack_can_be_reported);
    suite_add_tcase(suite, faults);

    tcase_add_test(readiness, a_socket_is_reported_once_for_each_change);
    tcase_add_test(readiness, poller_add_says_what_is_wrong);
    tcase_add_test(readiness, poller_wait_times_out_not_early);
    tcase_add_test(readiness, an_interruption_waits_for_one_that_sleeps);
    tcase_add_test(readiness,
                   no_interruption_is_lost_nor_carried_off_by_a_look);
    tcase_set_timeout(readiness, 20);
    suite_add_tcase(suite, readiness);

    tcase_add_test(hooks, sanitizer_copy_copies);
    tcase_add_test(hooks, poison_travels_with_the_frames);
    suite_add_tcase(suite, hooks);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(platform_suite());
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
