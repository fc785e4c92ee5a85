/*
 * file_test.c - files: reading and writing at an offset, from the cache and
 * from the disk; opening, names and status.
 */
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "tests/files.h"

enum { BLOCKS = 256 };

/* ---- At an offset ------------------------------------------------------- */

static void *writes_and_reads_back(void *arg)
{
    (void)arg;
    char text[32];
    size_t n;
    int fd = temporary_file();
    ck_assert_int_eq(vthread_pwrite(fd, "0123456789", 10, 5, &n), 0);
    ck_assert_uint_eq(n, 10);
    struct iovec out[] = {{"ab", 2}, {"", 0}, {"cd", 2}};
    ck_assert_int_eq(vthread_pwritev(fd, out, 3, 0, &n), 0);
    ck_assert_uint_eq(n, 4);
    struct iovec in[] = {{text + 8, 3}, {NULL, 0}, {text, 8}, {text + 11, 9}};
    ck_assert_int_eq(vthread_preadv(fd, in, 4, 0, &n), 0);
    ck_assert_uint_eq(n, 15);
    ck_assert_mem_eq(text, "d\0" "012345abc6789", 15);
    ck_assert_int_eq(vthread_pread(fd, text, sizeof text, 12, &n), 0);
    ck_assert_uint_eq(n, 3);
    ck_assert_int_eq(vthread_pread(fd, text, sizeof text, 15, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(vthread_pread(fd, text, 0, 0, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(vthread_ftruncate(fd, 6), 0);
    ck_assert_int_eq(vthread_fsync(fd), 0);
    ck_assert_int_eq(vthread_fdatasync(fd), 0);
    ck_assert_int_eq(vthread_pread(fd, text, sizeof text, 0, &n), 0);
    ck_assert_uint_eq(n, 6);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
    vthread_close(fd);
    return NULL;
}

START_TEST(what_is_written_at_an_offset_is_read_back)
{
    on_both_kinds(writes_and_reads_back);
}
END_TEST

struct reader {
    int fd;
    unsigned number, rounds;
};

/* Into the stack, whatever lies there while the kernel reads. */
static void *reads_blocks(void *arg)
{
    const struct reader *r = arg;
    _Alignas(BLOCK_BYTES) unsigned char block[BLOCK_BYTES];
    size_t n;
    for (unsigned i = 0; i < r->rounds; i++) {
        size_t offset
            = (size_t)(r->number * 31 + i * 97) % BLOCKS * BLOCK_BYTES;
        require(vthread_pread(r->fd, block, sizeof block, (off_t)offset, &n)
                == 0);
        require(n == sizeof block && holds(block, n, offset));
    }
    return NULL;
}

static void *reads_blocks_to_the_heap(void *arg)
{
    const struct reader *r = arg;
    unsigned char *block = aligned_alloc(BLOCK_BYTES, 3 * BLOCK_BYTES);
    size_t n;
    for (unsigned i = 0; i < r->rounds; i++) {
        size_t offset
            = (size_t)(r->number * 31 + i * 97) % (BLOCKS - 3) * BLOCK_BYTES;
        struct iovec iov[] = {{block, 1024},
                              {block + 1024, 512},
                              {block + 1536, 3 * BLOCK_BYTES - 1536}};
        require(vthread_preadv(r->fd, iov, 3, (off_t)offset, &n) == 0);
        require(n == 3 * BLOCK_BYTES && holds(block, n, offset));
    }
    free(block);
    return NULL;
}

static void read_by_many(int fd)
{
    enum { READERS = 64, ROUNDS = 8 };
    static struct reader readers[READERS];
    vthread_t threads[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){fd, i, ROUNDS};
        threads[i] = start(i % 2 ? reads_blocks : reads_blocks_to_the_heap,
                           &readers[i]);
    }
    for (unsigned i = 0; i < READERS; i++)
        join(threads[i]);
}

/* By io_uring where that can be had, and without it. */
START_TEST(many_threads_read_right_what_is_not_in_the_cache)
{
    set_mode("VTHREAD_IO_URING", _i == 0 ? "on" : "off");
    int fd = file_of(BLOCKS);
    cool(fd);
    read_by_many(fd);
    cool(fd);
    join_platform(start_platform(reads_blocks, &(struct reader){fd, 1, 20}));
    vthread_close(fd);
}
END_TEST

START_TEST(many_threads_read_right_past_the_cache)
{
    set_mode("VTHREAD_IO_URING", _i == 0 ? "on" : "off");
    int fd = file_of(BLOCKS), direct = open_direct(fd);
    require(fsync(fd) == 0);
    if (direct >= 0) {
        read_by_many(direct);
        vthread_close(direct);
    }
    vthread_close(fd);
}
END_TEST

static void *writes_block(void *arg)
{
    const struct reader *r = arg;
    _Alignas(BLOCK_BYTES) unsigned char block[BLOCK_BYTES];
    size_t n, offset = (size_t)r->number * BLOCK_BYTES;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = byte_at(offset + i);
    require(vthread_pwrite(r->fd, block, sizeof block, (off_t)offset, &n)
            == 0);
    require(n == sizeof block);
    return NULL;
}

START_TEST(many_threads_write_past_the_cache)
{
    static struct reader writers[BLOCKS];
    vthread_t threads[BLOCKS];
    int fd = temporary_file(), direct = open_direct(fd);
    if (direct >= 0) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            writers[i] = (struct reader){direct, i, 1};
            threads[i] = start(writes_block, &writers[i]);
        }
        for (unsigned i = 0; i < BLOCKS; i++)
            join(threads[i]);
        read_by_many(fd);
        vthread_close(direct);
    }
    vthread_close(fd);
}
END_TEST

static void *reads_all(void *arg)
{
    size_t n, size = (size_t)BLOCKS * BLOCK_BYTES;
    unsigned char *all = malloc(2 * size);
    int fd = *(int *)arg;
    require(vthread_pread(fd, all, size + 100, 0, &n) == 0);
    require(n == size && holds(all, size, 0));
    struct iovec iov[] = {{all, 100}, {all + 100, 9000}, {all + 9100, size}};
    require(vthread_preadv(fd, iov, 3, 10, &n) == 0);
    require(n == size - 10 && holds(all, n, 10));
    free(all);
    return NULL;
}

START_TEST(a_read_is_whole_where_parts_are_in_the_cache)
{
    int fd = file_of(BLOCKS);
    char byte;
    for (int i = 0; i < 3; i++) {
        cool(fd);
        for (int block = i; block < BLOCKS; block += 1 + 2 * i)
            require(pread(fd, &byte, 1, block * BLOCK_BYTES) == 1);
        join(start(reads_all, &fd));
    }
    vthread_close(fd);
}
END_TEST

/* ---- At the position ---------------------------------------------------- */

struct shared {
    int fd;
    atomic_int sum;
};

static void *reads_records(void *arg)
{
    struct shared *shared = arg;
    uint32_t record[16];
    size_t n;
    while (require(vthread_read(shared->fd, record, sizeof record, &n) == 0),
           n > 0) {
        require(n == sizeof record);
        for (int i = 1; i < 16; i++)
            require(record[i] == record[0]);
        atomic_fetch_add(&shared->sum, (int)record[0]);
        vthread_yield();
    }
    return NULL;
}

START_TEST(threads_that_share_a_position_get_each_record_once)
{
    enum { RECORDS = 4000, READERS = 16 };
    static struct shared shared;
    vthread_t threads[READERS];
    uint32_t record[16];
    shared.fd = temporary_file();
    for (uint32_t i = 1; i <= RECORDS; i++) {
        for (int j = 0; j < 16; j++)
            record[j] = i;
        require(write(shared.fd, record, sizeof record) == sizeof record);
    }
    cool(shared.fd);
    require(lseek(shared.fd, 0, SEEK_SET) == 0);
    for (int i = 0; i < READERS; i++)
        threads[i] = start(reads_records, &shared);
    for (int i = 0; i < READERS; i++)
        join(threads[i]);
    ck_assert_int_eq(shared.sum, RECORDS * (RECORDS + 1) / 2);
    vthread_close(shared.fd);
}
END_TEST

/* ---- Opening ------------------------------------------------------------ */

static void *opens_files(void *arg)
{
    (void)arg;
    struct stat status;
    int fd = -1, directory;
    ck_assert_int_eq(vthread_open("/nowhere/at/all", O_RDONLY, 0, &fd),
                     ENOENT);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(vthread_open("/", O_RDONLY | O_DIRECTORY, 0, &directory),
                     0);
    ck_assert_int_eq(vthread_openat(directory, "dev/null", O_RDWR, 0, &fd),
                     0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(vthread_fstat(fd, &status), 0);
    ck_assert(S_ISCHR(status.st_mode));
    ck_assert_int_eq(vthread_stat("/dev/null", &status), 0);
    ck_assert(S_ISCHR(status.st_mode));
    ck_assert_int_eq(vthread_lstat("/proc/self", &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
    ck_assert_int_eq(vthread_fstatat(directory, "dev", &status, 0), 0);
    ck_assert(S_ISDIR(status.st_mode));
#if defined STATX_TYPE /* not by musl before 1.2.4 */
    struct statx extended;
    ck_assert_int_eq(vthread_statx(directory, "dev", 0, STATX_TYPE,
                                   &extended),
                     0);
    ck_assert(S_ISDIR(extended.stx_mode));
#endif
    ck_assert_int_eq(vthread_stat("/nowhere", &status), ENOENT);
    ck_assert_int_eq(vthread_close(fd), 0);
    ck_assert_int_eq(vthread_close(directory), 0);
    return NULL;
}

START_TEST(files_are_opened_and_known)
{
    on_both_kinds(opens_files);
}
END_TEST

static void *changes_names(void *arg)
{
    (void)arg;
    char base[] = "/tmp/vthread-names-XXXXXX", one[64], two[64], sub[64];
    int fd;
    require(mkdtemp(base));
    snprintf(one, sizeof one, "%s/one", base);
    snprintf(two, sizeof two, "%s/two", base);
    snprintf(sub, sizeof sub, "%s/sub", base);
    ck_assert_int_eq(vthread_open(one, O_CREAT | O_EXCL | O_RDWR, 0600, &fd),
                     0);
    vthread_close(fd);
    ck_assert_int_eq(vthread_open(one, O_CREAT | O_EXCL | O_RDWR, 0600, &fd),
                     EEXIST);
    ck_assert_int_eq(vthread_rename(one, two), 0);
    ck_assert_int_eq(vthread_unlink(one), ENOENT);
    ck_assert_int_eq(vthread_mkdir(sub, 0700), 0);
    ck_assert_int_eq(vthread_mkdir(sub, 0700), EEXIST);
    ck_assert_int_eq(vthread_rmdir(base), ENOTEMPTY);
    ck_assert_int_eq(vthread_unlink(two), 0);
    ck_assert_int_eq(vthread_rmdir(sub), 0);
    ck_assert_int_eq(vthread_rmdir(base), 0);
    return NULL;
}

START_TEST(names_are_changed)
{
    on_both_kinds(changes_names);
}
END_TEST

/* The number was that of a pipe, which close(2) took away. */
START_TEST(a_number_that_is_opened_anew_is_known_anew)
{
    int fds[2], fd;
    char byte;
    size_t n;
    require(pipe(fds) == 0);
    ck_assert_int_eq(vthread_read_until(fds[0], &byte, 1, &n, 0), ETIMEDOUT);
    close(fds[0]);
    ck_assert_int_eq(vthread_open("/proc/self/exe", O_RDONLY, 0, &fd), 0);
    ck_assert_int_eq(fd, fds[0]);
    ck_assert_int_eq(vthread_read(fd, &byte, 1, &n), 0);
    ck_assert_int_eq(byte, 0x7f);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    vthread_close(fd);
    close(fds[1]);
}
END_TEST

static const char *fifo;

static void *opens_fifo(void *flags)
{
    int fd;
    require(vthread_open(fifo, (int)(intptr_t)flags, 0, &fd) == 0);
    return (void *)(intptr_t)fd;
}

START_TEST(opening_a_fifo_waits_for_the_other_end_and_others_go_on)
{
    char base[] = "/tmp/vthread-fifo-XXXXXX", path[64], text[8];
    vthread_scheduler_t *s = scheduler_of(1);
    size_t n;
    require(mkdtemp(base));
    snprintf(path, sizeof path, "%s/fifo", base);
    require(mkfifo(path, 0600) == 0);
    fifo = path;
    vthread_t reader = start_on(s, opens_fifo, (void *)(intptr_t)O_RDONLY);
    vthread_t writer = start_on(s, opens_fifo, (void *)(intptr_t)O_WRONLY);
    int in = (int)(intptr_t)join(reader), out = (int)(intptr_t)join(writer);
    ck_assert_int_eq(vthread_write_all(out, "fifo", 5), 0);
    ck_assert_int_eq(vthread_read(in, text, sizeof text, &n), 0);
    ck_assert_str_eq(text, "fifo");
    vthread_close(in);
    vthread_close(out);
    unlink(path);
    rmdir(base);
    shut_down(s);
}
END_TEST

/* ---- What is refused, and what is short --------------------------------- */

static void *makes_mistakes(void *arg)
{
    (void)arg;
    char byte = 0;
    struct iovec iov = {&byte, 1};
    struct pair pair = open_pair(PIPE);
    int fd = temporary_file(), root = open("/", O_RDONLY);
    size_t n = 77;
    ck_assert_int_eq(vthread_pread(-1, &byte, 1, 0, &n), EBADF);
    ck_assert_int_eq(vthread_pread(9999, &byte, 1, 0, &n), EBADF);
    ck_assert_int_eq(vthread_pwrite(9999, &byte, 1, 0, &n), EBADF);
    ck_assert_int_eq(vthread_pread(fd, &byte, 1, -1, &n), EINVAL);
    ck_assert_int_eq(vthread_pwrite(fd, &byte, 1, -2, &n), EINVAL);
    ck_assert_int_eq(vthread_preadv(fd, &iov, -1, 0, &n), EINVAL);
    require(write(fd, "x", 1) == 1);
    begin_meant_errors();
    ck_assert_int_eq(vthread_pread(fd, (void *)8, 100, 0, &n), EFAULT);
    ck_assert_int_eq(vthread_pwrite(fd, (void *)8, 100, 0, &n), EFAULT);
    end_meant_errors();
    ck_assert_int_eq(vthread_pread(pair.reader, &byte, 1, 0, &n), ESPIPE);
    ck_assert_int_eq(vthread_pread(root, &byte, 1, 0, &n), EISDIR);
    ck_assert_int_eq(vthread_pwrite(root, &byte, 1, 0, &n), EBADF);
    ck_assert_int_eq(vthread_fsync(9999), EBADF);
    ck_assert_int_eq(vthread_fdatasync(-1), EBADF);
    ck_assert_int_eq(vthread_ftruncate(fd, -1), EINVAL);
    ck_assert_uint_eq(n, 77);
    vthread_close(fd);
    vthread_close(root);
    close_pair(pair);
    return NULL;
}

START_TEST(mistakes_are_refused_with_the_error_of_the_call)
{
    on_both_kinds(makes_mistakes);
}
END_TEST

static void *reads_though_interrupted(void *arg)
{
    int fd = *(int *)arg;
    unsigned char *block = malloc(BLOCK_BYTES);
    size_t n;
    require(vthread_pread(fd, block, BLOCK_BYTES, 0, &n) == 0);
    require(vthread_interrupt(vthread_self()) == 0);
    require(vthread_pread_until(fd, block, BLOCK_BYTES, 0, &n, 0) == 0);
    require(n == BLOCK_BYTES && holds(block, n, 0));
    require(vthread_interrupted());
    cool(fd);
    int err = vthread_pread_until(fd, block, BLOCK_BYTES, 0, &n, 0);
    require(err == ETIMEDOUT || (err == 0 && holds(block, n, 0)));
    cool(fd);
    require(vthread_interrupt(vthread_self()) == 0);
    err = vthread_pread(fd, block, BLOCK_BYTES, 0, &n);
    require(err == ECANCELED || (err == 0 && holds(block, n, 0)));
    require(vthread_interrupted() == (err == 0));
    free(block);
    return NULL;
}

START_TEST(what_is_cached_is_read_though_late_or_interrupted)
{
    int fd = file_of(1);
    join(start(reads_though_interrupted, &fd));
    join_platform(start_platform(reads_though_interrupted, &fd));
    vthread_close(fd);
}
END_TEST

static void *reads_without_memory(void *arg)
{
    int fd = *(int *)arg;
    _Alignas(BLOCK_BYTES) unsigned char block[BLOCK_BYTES];
    size_t n;
    vthread_dir_t *dir = NULL;
    memory_fail_after(1);
    int err = vthread_pread(fd, block, BLOCK_BYTES, 0, &n);
    int dir_err = vthread_opendir("/", &dir);
    memory_fail_after(0);
    require(err == 0 && holds(block, n, 0));
    require(dir_err == ENOMEM && !dir);
    return NULL;
}

START_TEST(reading_takes_no_memory_that_it_cannot_do_without)
{
    int fd = file_of(1);
    ck_assert_int_ge(descriptor_get(fd, &(struct descriptor *){NULL}), 0);
    for (int i = 0; i < 2; i++) {
        cool(fd);
        join(start(reads_without_memory, &fd));
    }
    vthread_close(fd);
}
END_TEST

START_TEST(out_of_descriptors_is_an_error_and_passes)
{
    struct scarcity scarcity;
    int fd = -1;
    vthread_dir_t *dir;
    join(start(return_argument, NULL));
    take_descriptors(&scarcity);
    ck_assert_int_eq(vthread_open("/dev/null", O_RDONLY, 0, &fd), EMFILE);
    ck_assert_int_eq(vthread_opendir("/", &dir), EMFILE);
    give_descriptors(&scarcity, INT32_MAX);
    ck_assert_int_eq(vthread_open("/dev/null", O_RDONLY, 0, &fd), 0);
    vthread_close(fd);
}
END_TEST

/* Without a ring, for want of descriptors or of an OS thread, files are read
 * in place; with both there again, by it. */
START_TEST(what_the_ring_lacks_is_done_without_and_passes)
{
    struct scarcity scarcity;
    int fd = file_of(BLOCKS), direct = open_direct(fd);
    struct reader reader = {direct >= 0 ? direct : fd, 1, 3};
    vthread_t t = start(park_once, NULL);
    until_waiting(t);
    take_descriptors(&scarcity);
    join(start(reads_blocks, &reader));
    give_descriptors(&scarcity, INT32_MAX);
    os_thread_fail_after(1);
    join(start(reads_blocks, &reader));
    os_thread_fail_after(0);
    join(start(reads_blocks, &reader));
    vthread_unpark(t);
    join(t);
    close(direct);
    vthread_close(fd);
}
END_TEST

START_TEST(a_result_without_a_place_is_refused)
{
    int fd = temporary_file();
    char text[4] = "abc";
    struct iovec iov = {text, 4};
    size_t n;
    ck_assert_int_eq(vthread_pwrite(fd, text, 4, 0, NULL), EINVAL);
    ck_assert_int_eq(vthread_pwritev(fd, &iov, 1, 0, NULL), EINVAL);
    ck_assert_int_eq(vthread_pread(fd, text, 4, 0, &n), 0);
    ck_assert_uint_eq(n, 0); /* nothing was written */
    ck_assert_int_eq(vthread_pread(fd, text, 4, 0, NULL), EINVAL);
    ck_assert_int_eq(vthread_preadv(fd, &iov, 1, 0, NULL), EINVAL);
    ck_assert_int_eq(vthread_preadv(fd, NULL, 1, 0, &n), EFAULT);
    ck_assert_int_eq(vthread_open("/dev/null", O_RDONLY, 0, NULL), EINVAL);
    ck_assert_int_eq(
        vthread_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0, NULL), EINVAL);
    vthread_close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file");
    TCase *cases = new_case(suite, "transfers");
    tcase_add_test(cases, what_is_written_at_an_offset_is_read_back);
    tcase_add_loop_test(cases,
                        many_threads_read_right_what_is_not_in_the_cache, 0,
                        2);
    tcase_add_loop_test(cases, many_threads_read_right_past_the_cache, 0, 2);
    tcase_add_test(cases, many_threads_write_past_the_cache);
    tcase_add_test(cases, a_read_is_whole_where_parts_are_in_the_cache);
    tcase_add_test(cases, threads_that_share_a_position_get_each_record_once);
    cases = new_case(suite, "opening");
    tcase_add_test(cases, files_are_opened_and_known);
    tcase_add_test(cases, names_are_changed);
    tcase_add_test(cases, a_number_that_is_opened_anew_is_known_anew);
    tcase_add_test(cases,
                   opening_a_fifo_waits_for_the_other_end_and_others_go_on);
    cases = new_case(suite, "errors");
    tcase_add_test(cases, mistakes_are_refused_with_the_error_of_the_call);
    tcase_add_test(cases, what_is_cached_is_read_though_late_or_interrupted);
    tcase_add_test(cases,
                   reading_takes_no_memory_that_it_cannot_do_without);
    tcase_add_test(cases, out_of_descriptors_is_an_error_and_passes);
    tcase_add_test(cases, what_the_ring_lacks_is_done_without_and_passes);
    tcase_add_test(cases, a_result_without_a_place_is_refused);
    return run_suite(suite);
}
