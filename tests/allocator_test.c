/*
 * allocator_test.c - the library's memory comes from the machine that embeds
 * it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vthread/embed.h>

#include "tests/threads.h"

/* ---- The machine's allocator --------------------------------------------- */

enum { HEADER_BYTES = 64 };
static const char ours[] = "ours";

static _Atomic long blocks, requests, fails_at;
static _Thread_local long own_blocks; /* of the calling OS thread */

static bool is_to_fail(void)
{
    return ++requests == fails_at;
}

/* In front of each block, to know it again. */
static void *take(size_t alignment_bytes, size_t size_bytes)
{
    void *start;
    if (alignment_bytes < sizeof(void *))
        alignment_bytes = sizeof(void *);
    size_t header = HEADER_BYTES;
    while (header % alignment_bytes)
        header *= 2;
    if (is_to_fail()
        || posix_memalign(&start, alignment_bytes, header + size_bytes) != 0)
        return NULL;
    char *block = (char *)start + header;
    memcpy(block - 8, &(const void *){ours}, 8);
    memcpy(block - 16, &start, 8);
    blocks++;
    own_blocks++;
    return block;
}

static void give_back(void *block)
{
    const void *whose;
    void *start;
    memcpy(&whose, (char *)block - 8, 8);
    memcpy(&start, (char *)block - 16, 8);
    ck_assert_ptr_eq(whose, ours);
    blocks--;
    own_blocks--;
    free(start);
}

static char *table;
static size_t table_bytes, committed_bytes, reserves_most = SIZE_MAX;

static void *reserve(size_t size_bytes)
{
    if (is_to_fail() || size_bytes > reserves_most)
        return NULL;
    void *start = mmap(NULL, size_bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) /* few addresses: under Valgrind, qemu-user */
        return NULL;
    table = start;
    table_bytes = size_bytes;
    return start;
}

static int commit(void *start, size_t size_bytes)
{
    ck_assert_ptr_eq(start, table + committed_bytes);
    if (is_to_fail()
        || mprotect(start, size_bytes, PROT_READ | PROT_WRITE) != 0)
        return ENOMEM;
    committed_bytes += size_bytes;
    return 0;
}

static const vthread_embedder_t machine = {
    .alloc = take,
    .free = give_back,
    .reserve_threads = reserve,
    .commit_threads = commit,
};

/* ---- Users of memory ----------------------------------------------------- */

/* Too deep for what a thread object has room for. */
static __attribute__((noinline)) int yields_deep(int depth)
{
    volatile char bytes[256] = {(char)depth};
    if (depth > 0)
        return yields_deep(depth - 1) + bytes[0];
    vthread_yield();
    return bytes[0];
}

static void *deep(void *arg)
{
    ck_assert_int_eq(yields_deep(10), 55);
    return arg;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void ck_done_or_no_memory(int err)
{
    ck_assert_msg(err == 0 || err == ENOMEM || err == EAGAIN, "error %d", err);
}

static void use_a_continuation(void)
{
    vthread_continuation_t *c = NULL;
    int err = vthread_continuation_create(&c, NULL, nothing, NULL);
    ck_done_or_no_memory(err);
    if (err == 0)
        ck_done_or_no_memory(vthread_continuation_run(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

static void use_a_channel(void)
{
    vthread_channel_t *channel;
    int err = vthread_channel_create(&channel, sizeof(int), 10);
    ck_done_or_no_memory(err);
    if (err == 0)
        vthread_channel_destroy(channel);
}

static void use_threads(void)
{
    vthread_t t[4];
    int err[4];
    for (int i = 0; i < 4; i++)
        ck_done_or_no_memory(err[i] = vthread_create(&t[i], NULL, deep, NULL));
    for (int i = 0; i < 4; i++)
        if (err[i] == 0)
            join(t[i]);
}

static void use_all(void)
{
    use_a_continuation();
    use_a_channel();
    use_threads();
}

static void copy_frames(void)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
}

/* ---- What holds ---------------------------------------------------------- */

START_TEST(blocks_and_thread_objects_are_the_machine_s)
{
    copy_frames();
    ck_assert_int_eq(vthread_embed(&machine), 0);
    vthread_t t = start(deep, NULL);
    uint64_t word;
    char *object = (char *)thread_of_handle(t, &word);
    ck_assert(object > table && object < table + committed_bytes);
    join(t);
    use_all();
    ck_assert_int_gt(blocks, 0);
    vthread_channel_t *channel;
    long before = own_blocks; /* others come and go with their OS threads */
    ck_assert_int_eq(vthread_channel_create(&channel, sizeof(int), 10), 0);
    ck_assert_int_gt(own_blocks, before);
    vthread_channel_destroy(channel);
    ck_assert_int_eq(own_blocks, before);
}
END_TEST

START_TEST(each_of_its_refusals_is_an_error_and_loses_nothing)
{
    copy_frames();
    ck_assert_int_eq(vthread_embed(&machine), 0);
    long n = 0;
    do {
        fails_at = requests + ++n;
        use_all();
    } while (requests >= fails_at);
    ck_assert_int_gt(n, 2);
    fails_at = 0;
    use_all();
    /* Some blocks come and go with OS threads. */
    vthread_scheduler_t *s = scheduler_of(1);
    long before = blocks;
    for (int i = 0; i < 100; i++) {
        use_a_channel();
        use_a_continuation();
    }
    ck_assert_int_lt(blocks, before + 50);
    shut_down(s);
}
END_TEST

START_TEST(the_nth_refusal_of_a_fresh_process_is_an_error_too)
{
    copy_frames();
    ck_assert_int_eq(vthread_embed(&machine), 0);
    fails_at = _i;
    use_all();
    if (_i <= 10) /* so many there are in every mode */
        ck_assert_int_ge(requests, _i);
    use_all();
}
END_TEST

START_TEST(a_smaller_table_of_threads_will_do)
{
    reserves_most = (size_t)256 << 20;
    ck_assert_int_eq(vthread_embed(&machine), 0);
    use_all();
    ck_assert_uint_le(table_bytes, reserves_most);
}
END_TEST

START_TEST(without_a_table_there_are_no_threads)
{
    vthread_t t;
    reserves_most = 0;
    ck_assert_int_eq(vthread_embed(&machine), 0);
    ck_assert_int_eq(vthread_create(&t, NULL, deep, NULL), ENOMEM);
}
END_TEST

START_TEST(half_an_allocator_or_a_late_one_is_refused)
{
    vthread_embedder_t half = {.alloc = take};
    ck_assert_int_eq(vthread_embed(&half), EINVAL);
    half = (vthread_embedder_t){.commit_threads = commit};
    ck_assert_int_eq(vthread_embed(&half), EINVAL);
    ck_assert_uint_ne(vthread_self(), 0);
    ck_assert_int_eq(vthread_embed(&machine), EBUSY); /* there is a table */
    use_a_channel();
    half = (vthread_embedder_t){.alloc = take, .free = give_back};
    ck_assert_int_eq(vthread_embed(&half), EBUSY); /* there was a block */
    ck_assert_int_eq(blocks, 0);
    ck_assert_int_eq(vthread_embed(&(vthread_embedder_t){.flags = 0}), 0);
}
END_TEST

START_TEST(the_boehm_collector_does_not_go_with_it)
{
    ck_assert_int_eq(vthread_embed(&machine), 0);
    ck_assert_int_eq(vthread_gc_enable(), ENOTSUP);
    use_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("allocator");
    TCase *cases = new_case(suite, "allocator");
    tcase_add_test(cases, blocks_and_thread_objects_are_the_machine_s);
    tcase_add_test(cases, each_of_its_refusals_is_an_error_and_loses_nothing);
    tcase_add_loop_test(
        cases, the_nth_refusal_of_a_fresh_process_is_an_error_too, 1, 24);
    tcase_add_test(cases, a_smaller_table_of_threads_will_do);
    tcase_add_test(cases, without_a_table_there_are_no_threads);
    tcase_add_test(cases, half_an_allocator_or_a_late_one_is_refused);
    tcase_add_test(cases, the_boehm_collector_does_not_go_with_it);
    return run_suite(suite);
}
