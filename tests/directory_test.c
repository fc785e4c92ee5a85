/*
 * directory_test.c - reading directories.
 */
#include "tests/files.h"

enum { FILES = 600 }; /* two batches */

static char base[] = "/tmp/vthread-dir-XXXXXX";

static void name_of(int i, char *path, size_t size)
{
    snprintf(path, size, "%s/a-name-that-fills-a-batch-the-sooner-%d", base,
             i);
}

static void make_files(void)
{
    char path[128];
    require(mkdtemp(base));
    for (int i = 0; i < FILES; i++) {
        name_of(i, path, sizeof path);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        require(fd >= 0);
        close(fd);
    }
}

static void remove_files(void)
{
    char path[128];
    for (int i = 0; i < FILES; i++) {
        name_of(i, path, sizeof path);
        require(unlink(path) == 0);
    }
    require(rmdir(base) == 0);
}

static void *reads_directory(void *arg)
{
    (void)arg;
    vthread_dir_t *dir;
    const struct dirent *entry;
    bool *seen = calloc(FILES, 1);
    int count = 0, others = 0;
    require(vthread_opendir(base, &dir) == 0);
    require(fcntl(vthread_dirfd(dir), F_GETFD) == FD_CLOEXEC);
    while (require(vthread_readdir(dir, &entry) == 0), entry) {
        const char *dash = strrchr(entry->d_name, '-');
        if (!dash) {
            others++;
            continue;
        }
        int i = atoi(dash + 1);
        require(i >= 0 && i < FILES && !seen[i]);
        require(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
        seen[i] = true;
        count++;
    }
    require(vthread_readdir(dir, &entry) == 0 && !entry);
    require(count == FILES && others == 2);
    require(vthread_closedir(dir) == 0);
    free(seen);
    return NULL;
}

START_TEST(each_entry_is_seen_once)
{
    vthread_t threads[8];
    make_files();
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(reads_directory, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    reads_directory(NULL);
    remove_files();
}
END_TEST

static void *makes_mistakes(void *arg)
{
    (void)arg;
    vthread_dir_t *dir = NULL;
    const struct dirent *entry;
    char path[] = "/tmp/vthread-gone-XXXXXX";
    ck_assert_int_eq(vthread_opendir("/nowhere", &dir), ENOENT);
    ck_assert_int_eq(vthread_opendir("/dev/null", &dir), ENOTDIR);
    ck_assert_ptr_null(dir);
    require(mkdtemp(path));
    ck_assert_int_eq(vthread_opendir(path, &dir), 0);
    require(rmdir(path) == 0);
    ck_assert_int_eq(vthread_readdir(dir, &entry), 0);
    ck_assert_ptr_null(entry);
    ck_assert_int_eq(vthread_closedir(dir), 0);
    return NULL;
}

START_TEST(what_is_no_directory_is_refused_and_one_removed_is_empty)
{
    on_both_kinds(makes_mistakes);
}
END_TEST

START_TEST(a_result_without_a_place_is_refused)
{
    vthread_dir_t *dir;
    ck_assert_int_eq(vthread_opendir("/", NULL), EINVAL);
    ck_assert_int_eq(vthread_opendir("/", &dir), 0);
    ck_assert_int_eq(vthread_readdir(dir, NULL), EINVAL);
    ck_assert_int_eq(vthread_closedir(dir), 0);
    ck_assert_int_eq(vthread_closedir(NULL), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("directory");
    TCase *cases = new_case(suite, "directory");
    tcase_add_test(cases, each_entry_is_seen_once);
    tcase_add_test(cases,
                   what_is_no_directory_is_refused_and_one_removed_is_empty);
    tcase_add_test(cases, a_result_without_a_place_is_refused);
    return run_suite(suite);
}
