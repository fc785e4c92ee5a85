/*
 * checksum.c - a worker pool: the SHA-256 of every file of a tree.
 *
 *     checksum [-w N] [-s] PATH...
 *
 *     -w, --workers N   so many files at a time (default 8)
 *     -s, --sort        in the order of the names, not as they are done
 *
 * Prints what `find PATH... -type f -print0 | xargs -0 sha256sum` prints, so
 * that `sha256sum -c` checks it.  A file that cannot be read is reported; the
 * others go on, and the status is 1.
 *
 * What it shows: one thread walks the tree and sends names through a channel;
 * N workers receive names and send sums; main, a platform thread, receives
 * the sums and prints.  A channel that is full makes its senders wait, so
 * memory stays small however large the tree is; a channel that is closed
 * tells its receivers that there is no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vthread.h>

enum { BUFFER_SIZE = 64 * 1024, QUEUED = 64 };

/* Goes by value: from the walker to a worker, and on to main. */
struct file {
    char *path; /* on the heap; main frees it */
    int err;    /* why there is no digest */
    uint8_t digest[SHA256_DIGEST_SIZE];
};

static vthread_channel_t *found, *done;
static char **roots;
static unsigned workers = 8;

static int report(const char *what, int err)
{
    fprintf(stderr, "checksum: %s: %s\n", what, strerror(err));
    return 1;
}

/* Sends each regular file, and each place that cannot be looked into. */
static int walk(const void *args, void *result)
{
    (void)args, (void)result;
    FTSENT *entry;
    int err = 0;
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (tree == NULL)
        return vthread_errno();
    while (err == 0 && (entry = fts_read(tree)) != NULL) {
        bool failed = entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR
                      || entry->fts_info == FTS_NS;
        if (entry->fts_info != FTS_F && !failed)
            continue;
        struct file file = {.path = strdup(entry->fts_path),
                            .err = failed ? entry->fts_errno : 0};
        err = file.path == NULL ? ENOMEM : vthread_channel_send(found, &file);
        if (err != 0)
            free(file.path);
    }
    fts_close(tree);
    vthread_channel_close(found);
    return err;
}

/* Fills in the digest.  The buffer is the worker's. */
static int sum_file(struct file *file, uint8_t *buffer)
{
    struct sha256_ctx context;
    size_t n = 0;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vthread_errno();
    sha256_init(&context);
    int err;
    while ((err = vthread_read(fd, buffer, BUFFER_SIZE, &n)) == 0 && n > 0)
        sha256_update(&context, n, buffer);
    sha256_digest(&context, sizeof file->digest, file->digest);
    vthread_close(fd);
    return err;
}

static int work(const void *args, void *result)
{
    (void)args, (void)result;
    struct file file;
    int err;
    uint8_t *buffer = malloc(BUFFER_SIZE);
    if (buffer == NULL)
        return ENOMEM;
    while ((err = vthread_channel_receive(found, &file)) == 0) {
        if (file.err == 0)
            file.err = sum_file(&file, buffer);
        if ((err = vthread_channel_send(done, &file)) != 0) {
            free(file.path);
            break;
        }
    }
    free(buffer);
    return err == EPIPE ? 0 : err; /* closed: all is done */
}

/* The walker and its workers.  If one of them fails the others are cancelled;
 * in any case main learns that nothing more comes. */
static void *run_pool(void *unused)
{
    (void)unused;
    vthread_scope_t *pool;
    int err = vthread_scope_open(&pool, NULL);
    if (err == 0) {
        err = vthread_scope_fork(pool, NULL, walk, NULL, 0, 0);
        for (unsigned i = 0; i < workers && err == 0; i++)
            err = vthread_scope_fork(pool, NULL, work, NULL, 0, 0);
        if (err == 0)
            err = vthread_scope_join(pool);
        vthread_scope_close(pool);
    }
    vthread_channel_close(done);
    return (void *)(intptr_t)err;
}

/* As sha256sum: a backslash in front of the line says that there are some in
 * the name. */
static int print(const struct file *file)
{
    if (file->err != 0)
        return report(file->path, file->err);
    if (strpbrk(file->path, "\\\n\r") != NULL)
        putchar('\\');
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++)
        printf("%02x", file->digest[i]);
    printf("  ");
    for (const char *c = file->path; *c != '\0'; c++)
        if (*c == '\\' || *c == '\n' || *c == '\r')
            printf("\\%c", *c == '\n' ? 'n' : *c == '\r' ? 'r' : '\\');
        else
            putchar(*c);
    putchar('\n');
    return 0;
}

static int by_path(const void *a, const void *b)
{
    const struct file *one = a, *other = b;
    return strcmp(one->path, other->path);
}

static int print_as_they_come(void)
{
    struct file file;
    int status = 0;
    while (vthread_channel_receive(done, &file) == 0) {
        status |= print(&file);
        free(file.path);
    }
    return status;
}

/* Keeps them until the last has come. */
static int print_sorted(void)
{
    struct file *files = NULL, file;
    size_t count = 0;
    int status = 0;
    while (vthread_channel_receive(done, &file) == 0) {
        if ((count & (count - 1)) == 0) /* double at each power of two */
            files = realloc(files, (2 * count + 1) * sizeof *files);
        if (files == NULL)
            exit(report("names", ENOMEM));
        files[count++] = file;
    }
    if (count > 0)
        qsort(files, count, sizeof *files, by_path);
    for (size_t i = 0; i < count; i++) {
        status |= print(&files[i]);
        free(files[i].path);
    }
    free(files);
    return status;
}

static int run(bool sort)
{
    vthread_t pool;
    void *result;
    int err = vthread_channel_create(&found, sizeof(struct file), QUEUED);
    if (err == 0)
        err = vthread_channel_create(&done, sizeof(struct file), QUEUED);
    if (err == 0)
        err = vthread_create(&pool, NULL, run_pool, NULL);
    if (err != 0)
        return report("cannot start", err);
    int status = sort ? print_sorted() : print_as_they_come();
    vthread_join(pool, &result);
    vthread_channel_destroy(found);
    vthread_channel_destroy(done);
    if ((err = (int)(intptr_t)result) != 0)
        status = report("gave up", err);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = report("standard output", errno);
    return status;
}

static int usage(void)
{
    fprintf(stderr, "usage: checksum [-w WORKERS] [-s] PATH...\n"
                    "       -w, --workers N   files at a time, 1 to 10000\n"
                    "       -s, --sort        in the order of the names\n");
    return 2;
}

int main(int argc, char **argv)
{
    const struct option options[] = {{"workers", required_argument, 0, 'w'},
                                     {"sort", no_argument, 0, 's'},
                                     {0}};
    bool sort = false;
    int option;
    while ((option = getopt_long(argc, argv, "w:s", options, NULL)) != -1) {
        char *end = "";
        if (option == 's')
            sort = true;
        else if (option == 'w')
            workers = (unsigned)strtoul(optarg, &end, 10);
        if (option == '?' || *end != '\0' || workers < 1 || workers > 10000)
            return usage();
    }
    roots = argv + optind;
    return *roots == NULL ? usage() : run(sort);
}
