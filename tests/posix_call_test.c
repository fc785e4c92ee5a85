/*
 * posix_call_test.c - files, host names and children, by virtual threads.
 */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/posix.h"

/* ---- Files -------------------------------------------------------------- */

enum { FILE_BYTES = 300 * 1000 };

static int temporary_file(void)
{
    char path[] = "/tmp/posix-call-XXXXXX";
    int fd = mkstemp(path);
    require(fd >= 0 && unlink(path) == 0);
    return fd;
}

static void *file_claims(void *arg)
{
    unsigned char *bytes = malloc(FILE_BYTES), *got = malloc(FILE_BYTES + 9);
    struct iovec iov[2] = {{got, 1000}, {got + 1000, FILE_BYTES - 1000}};
    int fd = temporary_file();
    (void)arg;
    fill_pattern(bytes, FILE_BYTES);
    require(write(fd, bytes, FILE_BYTES) == FILE_BYTES);
    require(lseek(fd, 0, SEEK_CUR) == FILE_BYTES);
    require(fsync(fd) == 0 && fdatasync(fd) == 0);
    require(read(fd, got, 9) == 0);
    require(lseek(fd, 5, SEEK_SET) == 5);
    require(read(fd, got, FILE_BYTES + 9) == FILE_BYTES - 5);
    require(memcmp(got, bytes + 5, FILE_BYTES - 5) == 0);
    require(pread(fd, got, FILE_BYTES, 7) == FILE_BYTES - 7);
    require(memcmp(got, bytes + 7, FILE_BYTES - 7) == 0);
    require(pread(fd, got, 9, FILE_BYTES) == 0);
    require(preadv(fd, iov, 2, 0) == FILE_BYTES);
    require(memcmp(got, bytes, FILE_BYTES) == 0);
    require(pwrite(fd, "abc", 3, 0) == 3);
    require(pwritev(fd, (struct iovec[]){{"de", 2}}, 1, 3) == 2);
    require(pread64(fd, got, 5, 0) == 5 && memcmp(got, "abcde", 5) == 0);
    require(preadv2(fd, iov, 1, 1, 0) == 1000);
    require(preadv2(fd, iov, 1, 1, RWF_NOWAIT) == 1000);
    require(memcmp(got, "bcde", 4) == 0 && got[4] == bytes[5]);
    require(lseek(fd, 2, SEEK_SET) == 2);
    require(preadv2(fd, iov, 1, -1, 0) == 1000 && got[0] == 'c');
    require(pwritev2(fd, (struct iovec[]){{"fg", 2}}, 1, 0, RWF_DSYNC) == 2);
    require(lseek(fd, 2, SEEK_SET) == 2);
    require(pwritev2(fd, (struct iovec[]){{"hi", 2}}, 1, -1, 0) == 2);
    require(pread(fd, got, 5, 0) == 5 && memcmp(got, "fghie", 5) == 0);
    require(ftruncate(fd, 3) == 0);
    require(pread(fd, got, 9, 0) == 3);
    close(fd);
    free(bytes);
    free(got);
    return NULL;
}

START_TEST(files_are_read_and_written)
{
    on_virtual(file_claims);
}
END_TEST

static off_t size_of(int fd)
{
    struct stat status;
    require(fstat(fd, &status) == 0);
    return status.st_size;
}

static void *storage_claims(void *arg)
{
    char path[] = "/tmp/posix-call-XXXXXX", text[4];
    int from = mkstemp(path), to = temporary_file();
    off_t offset = 1;
    (void)arg;
    require(from >= 0 && write(from, "abcdef", 6) == 6);
    require(sync_file_range(from, 0, 6, SYNC_FILE_RANGE_WRITE) == 0);
    require(syncfs(from) == 0);
    require(copy_file_range(from, &offset, to, NULL, 3, 0) == 3);
    require(offset == 4 && lseek(to, 0, SEEK_CUR) == 3);
    require(pread(to, text, 4, 0) == 3 && memcmp(text, "bcd", 3) == 0);
    require(posix_fallocate(to, 0, 5000) == 0 && size_of(to) == 5000);
    require(fallocate(to, 0, 0, 6000) == 0 && size_of(to) == 6000);
    require(truncate(path, 2) == 0 && size_of(from) == 2);
    int again = creat(path, 0600);
    require(again >= 0 && size_of(from) == 0 && write(again, "x", 1) == 1);
    require(fails(EBADF, read(again, text, 1)));
    unlink(path);
    close(again);
    require(fails(ENOENT, truncate(path, 2)));
    require(fails(ENOENT, creat("/nowhere/at/all", 0600)));
    require(fails(EBADF, syncfs(-1)));
    require(fails(EINVAL, sync_file_range(from, -1, 6, 0)));
    require(fails(EINVAL, fallocate(to, 0, 0, 0)));
    require(fails(EINVAL, copy_file_range(from, NULL, to, NULL, 1, 77)));
    errno = 0;
    require(posix_fallocate(-1, 0, 1) == EBADF && errno == 0);
    close(from);
    close(to);
    return NULL;
}

START_TEST(files_are_made_sure_of_resized_and_copied)
{
    on_virtual(storage_claims);
}
END_TEST

static void *file_error_claims(void *arg)
{
    char text[4] = "";
    int fds[2];
    (void)arg;
    require(pipe(fds) == 0);
    require(fails(ENOENT, open("/nowhere/at/all", O_RDONLY)));
    require(fails(ENOTDIR, open("/dev/null/x", O_RDWR | O_CREAT, 0600)));
    require(fails(EBADF, openat(-1, "x", O_RDONLY)));
    require(fails(EBADF, pread(-1, text, 4, 0)));
    require(fails(ESPIPE, pread(fds[0], text, 4, 0)));
    require(fails(EINVAL, pread(fds[0], text, 4, -1)));
    require(fails(ESPIPE, pwrite(fds[1], text, 4, 0)));
    require(fails(EINVAL, fsync(fds[1])));
    require(fails(EBADF, fdatasync(-1)));
    require(fails(EINVAL, ftruncate(fds[0], 0)));
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    require(fd >= 0);
    require(fails(EISDIR, read(fd, text, 4)));
    close(fd);
    fd = open("/dev/full", O_WRONLY);
    require(fails(ENOSPC, write(fd, text, 4)));
    close(fd);
    close(fds[0]);
    close(fds[1]);
    return NULL;
}

START_TEST(errors_of_files_are_libcs)
{
    on_virtual(file_error_claims);
}
END_TEST

/* The mode that open was given. */
static void *mode_claims(void *arg)
{
    char path[] = "/tmp/posix-mode-XXXXXX", name[64];
    struct stat status;
    (void)arg;
    require(mkdtemp(path) != NULL);
    snprintf(name, sizeof name, "%s/file", path);
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0640);
    require(fd >= 0 && fstat(fd, &status) == 0);
    require((status.st_mode & 0777) == (0640 & ~0022));
    close(fd);
    unlink(name);
    rmdir(path);
    return NULL;
}

START_TEST(open_passes_the_mode_on)
{
    umask(0022);
    on_virtual(mode_claims);
}
END_TEST

/* A library that locks a mutex of its own around the disk. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int shared_fd;

enum { LOCKERS = 100 };

static void *write_locked(void *arg)
{
    intptr_t n = as_number(arg);
    pthread_mutex_lock(&mutex);
    require(pwrite(shared_fd, &n, sizeof n, n * (off_t)sizeof n)
            == sizeof n);
    require(fdatasync(shared_fd) == 0);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

START_TEST(a_pthread_mutex_may_be_held_across_a_file_call)
{
    vthread_t t[LOCKERS];
    shared_fd = temporary_file();
    for (int i = 0; i < LOCKERS; i++)
        t[i] = start(write_locked, as_pointer(i));
    for (int i = 0; i < LOCKERS; i++)
        join(t[i]);
    for (intptr_t i = 0, n; i < LOCKERS; i++) {
        ck_assert_int_eq(pread(shared_fd, &n, sizeof n,
                               i * (off_t)sizeof n),
                         sizeof n);
        ck_assert_int_eq(n, i);
    }
    close(shared_fd);
}
END_TEST

/* ---- Names -------------------------------------------------------------- */

static void *name_claims(void *arg)
{
    struct addrinfo hints = {.ai_family = AF_INET,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    struct hostent host, *result = NULL;
    char buffer[1024], node[64], service[32];
    int error;
    (void)arg;
    require(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0);
    struct sockaddr_in *address = (struct sockaddr_in *)found->ai_addr;
    require(address->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    require(address->sin_port == htons(80));
    require(getnameinfo(found->ai_addr, found->ai_addrlen, node, sizeof node,
                        service, sizeof service,
                        NI_NUMERICHOST | NI_NUMERICSERV)
            == 0);
    require(strcmp(node, "127.0.0.1") == 0 && strcmp(service, "80") == 0);
    freeaddrinfo(found);
    require(getaddrinfo("no number", NULL, &hints, &found) == EAI_NONAME);
    require(gethostbyname_r("127.0.0.1", &host, buffer, sizeof buffer,
                            &result, &error)
            == 0);
    require(result == &host && host.h_length == 4);
    require(gethostbyname("127.0.0.2")->h_length == 4);
    require(gethostbyname2("::1", AF_INET6)->h_length == 16);
    return NULL;
}

START_TEST(names_of_hosts_are_found)
{
    on_virtual(name_claims);
}
END_TEST

/* ---- Children ----------------------------------------------------------- */

/* Ends when its standard input does, with that status. */
static pid_t start_child(int status, int *end)
{
    int ends[2];
    char text;
    require(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        close(ends[1]);
        while (read(ends[0], &text, 1) > 0)
            ;
        _exit(status);
    }
    close(ends[0]);
    *end = ends[1];
    return child;
}

static void *wait_for_pid(void *arg)
{
    int status = 0;
    require(waitpid((pid_t)as_number(arg), &status, 0)
            == (pid_t)as_number(arg));
    require(WIFEXITED(status));
    return as_pointer(WEXITSTATUS(status));
}

static void *wait_for_any(void *arg)
{
    int status = 0;
    require(wait(&status) == (pid_t)as_number(arg));
    return as_pointer(WEXITSTATUS(status));
}

static void *waitid_for_pid(void *arg)
{
    siginfo_t info;
    id_t id = (id_t)as_number(arg);
    require(waitid(P_PID, id, &info, WEXITED | WNOWAIT) == 0);
    require(info.si_pid == (pid_t)id && info.si_code == CLD_EXITED);
    require(waitid(P_ALL, 0, &info, WEXITED) == 0);
    return as_pointer(info.si_status);
}

START_TEST(a_child_is_waited_for)
{
    void *(*const fns[])(void *) = {wait_for_pid, wait_for_any,
                                    waitid_for_pid};
    for (int i = 0; i < (int)COUNT_OF(fns); i++) {
        int end;
        pid_t child = start_child(i + 5, &end);
        vthread_t t = start(fns[i], as_pointer(child));
        until_waiting(fns[i], 1);
        close(end);
        ck_assert_int_eq(as_number(join(t)), i + 5);
    }
}
END_TEST

/* The thread that ends the child's input has the same carrier. */
static void *close_end(void *arg)
{
    usleep(1000);
    close((int)as_number(arg));
    return NULL;
}

static void *feed_claims(void *arg)
{
    int end, status;
    pid_t child = start_child(3, &end);
    vthread_t t = start(close_end, as_pointer(end));
    (void)arg;
    require(waitpid(child, &status, 0) == child);
    require(WEXITSTATUS(status) == 3);
    join(t);
    return NULL;
}

START_TEST(a_child_may_wait_for_another_thread)
{
    on_virtual(feed_claims);
}
END_TEST

static void *child_claims(void *arg)
{
    int end, status;
    siginfo_t info;
    (void)arg;
    require(fails(ECHILD, wait(&status)));
    require(fails(ECHILD, waitpid(1, &status, 0)));
    require(fails(ECHILD, waitid(P_ALL, 0, &info, WEXITED)));
    require(fails(EINVAL, waitid(P_ALL, 0, &info, 0)));
    pid_t child = start_child(0, &end);
    require(waitpid(child, &status, WNOHANG) == 0);
    require(kill(child, SIGSTOP) == 0);
    require(waitpid(child, &status, WUNTRACED) == child);
    require(WIFSTOPPED(status));
    require(kill(child, SIGKILL) == 0);
    require(wait3(&status, 0, NULL) == child);
    require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(end);
    return NULL;
}

START_TEST(waiting_for_children_answers_as_the_kernel_does)
{
    on_virtual(child_claims);
}
END_TEST

/* In the child of a fork there are no virtual threads, and everything is
 * libc's. */
static void *fork_claims(void *arg)
{
    struct pair pair = open_pair(PIPE);
    int status;
    char text[4];
    (void)arg;
    usleep(1000);
    pid_t child = fork();
    if (child == 0) {
        close(pair.reader);
        usleep(1000);
        _exit(write(pair.writer, "abc", 3) == 3 ? 0 : 1);
    }
    require(read(pair.reader, text, 3) == 3);
    require(waitpid(child, &status, 0) == child && status == 0);
    close_pair(pair);
    return NULL;
}

START_TEST(a_forked_child_calls_libc)
{
    on_virtual(fork_claims);
}
END_TEST

/* What the child of a vfork closes, its parent has still, and waits for. */
static void *read_byte(void *arg)
{
    char text;
    return as_pointer(read((int)as_number(arg), &text, 1));
}

static void *vfork_claims(void *arg)
{
    int fd = (int)as_number(arg), status;
    pid_t child = vfork();
    if (child == 0) {
        close(fd);
        _exit(0);
    }
    require(waitpid(child, &status, 0) == child && status == 0);
    return NULL;
}

START_TEST(the_child_of_a_vfork_closes_nothing_of_ours)
{
    struct pair pair = open_pair(PIPE);
    vthread_t t = start(read_byte, as_pointer(pair.reader));
    until_waiting(read_byte, 1);
    join(start(vfork_claims, as_pointer(pair.reader)));
    ck_assert_int_eq(write(pair.writer, "x", 1), 1);
    ck_assert_int_eq(as_number(join(t)), 1);
    close_pair(pair);
}
END_TEST

/* ---- _FORTIFY_SOURCE ---------------------------------------------------- */

ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t room);

static void *fortified_claims(void *arg)
{
    struct pair *pair = arg;
    char text[4];
    require(__read_chk(pair->reader, text, 1, 4) == 1);
    require(__recv_chk(pair->reader, text, 1, 4, 0) == 1);
    require(__poll_chk(NULL, 0, 1, 0) == 0);
    return NULL;
}

START_TEST(the_names_of_fortify_source_wait_too)
{
    struct pair pair = open_pair(UNIX_STREAM);
    vthread_t t = start(fortified_claims, &pair);
    for (int i = 0; i < 2; i++) {
        until_waiting(fortified_claims, 1);
        ck_assert_int_eq(write(pair.writer, "x", 1), 1);
    }
    join(t);
    close_pair(pair);
}
END_TEST

static void *overflow(void *arg)
{
    char text[4];
    __read_chk(STDIN_FILENO, text, 5, 4);
    return arg;
}

static void overflow_in_child(void)
{
    on_virtual(overflow);
}

START_TEST(they_end_the_process_at_an_overflow)
{
    char text[4096];
    int status = end_of_child(overflow_in_child, text, sizeof text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_msg(strstr(text, "buffer overflow detected") != NULL, "%s",
                  text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("posix_call");
    TCase *files = new_case(suite, "files");
    tcase_add_test(files, files_are_read_and_written);
    TCase *cases = new_case(suite, "posix_call");
    set_mode("VTHREAD_PARALLELISM", "2");
    tcase_add_test(cases, files_are_made_sure_of_resized_and_copied);
    tcase_add_test(cases, errors_of_files_are_libcs);
    tcase_add_test(cases, open_passes_the_mode_on);
    tcase_add_test(cases, a_pthread_mutex_may_be_held_across_a_file_call);
    tcase_add_test(cases, names_of_hosts_are_found);
    tcase_add_test(cases, a_child_is_waited_for);
    tcase_add_test(cases, a_child_may_wait_for_another_thread);
    tcase_add_test(cases, waiting_for_children_answers_as_the_kernel_does);
    tcase_add_test(cases, a_forked_child_calls_libc);
    tcase_add_test(cases, the_child_of_a_vfork_closes_nothing_of_ours);
    tcase_add_test(cases, the_names_of_fortify_source_wait_too);
    tcase_add_test(cases, they_end_the_process_at_an_overflow);
    return run_suite(suite);
}
