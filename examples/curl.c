/*
 * curl.c - thousands of virtual threads fetch files through libcurl.
 *
 *     curl [--threads N] [--rounds N] [--carriers N] [--json] [DIRECTORY URL]
 *
 * With examples/httpd, started for this run and gone after it:
 *
 *     $ examples/with.sh httpd . build/examples/curl
 *     threads, a connection each                      2,000
 *     carriers                                            2
 *     different files                                   395
 *     files                                          10,000
 *     time                                          1.198 s
 *     files per second                                8,346
 *     waiting inside the library, at most             1,952
 *     OS threads, at most                                 4
 *     longest pause of the ticker                   0.477 s
 *     memory, at most                              93.8 MiB
 *     fetched                                     156.8 MiB
 *     failures                                            0
 *
 * or with any server of the files of DIRECTORY; HTTPD_DIRECTORY and HTTPD_URL
 * stand for what is not given.
 *
 * What it shows: libcurl knows nothing of virtual threads.  Each thread has an
 * easy handle, calls curl_easy_perform for one file after the other, and
 * compares what comes with the file.  Inside, libcurl connects, sends, receives
 * and waits in poll(), which is libvthread-posix's and parks the thread.
 */
#include "crowd.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILES = 4096, FILE_SIZE_MOST = 4 * 1024 * 1024, SECONDS = 60 };

/* Written by main, before the first thread. */
static struct file {
    char *url;
    const char *bytes;
    size_t size;
} files[FILES];
static unsigned file_count;

/* A body that is coming. */
struct body {
    const struct file *file;
    size_t offset;
    bool is_same;
};

static unsigned threads = 2000, rounds = 5, carriers = 2;
static const char *directory, *url;
static _Atomic uint64_t fetched, fetched_bytes; /* relaxed: counts */

/*
 * A thread's work.
 */

static size_t compare(char *data, size_t one, size_t size, void *arg)
{
    struct body *body = arg;
    (void)one;
    if (size > body->file->size - body->offset
        || memcmp(body->file->bytes + body->offset, data, size) != 0)
        body->is_same = false;
    body->offset += size;
    return body->is_same ? size : 0; /* 0 ends the transfer */
}

static void fetch(CURL *easy, const struct file *file)
{
    struct body body = {.file = file, .is_same = true};
    char error[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(easy, CURLOPT_URL, file->url);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    crowd_enter();
    CURLcode code = curl_easy_perform(easy);
    crowd_leave();
    if (!body.is_same || (code == CURLE_OK && body.offset != file->size))
        crowd_fail("%s: is not the file", file->url);
    else if (code != CURLE_OK)
        crowd_fail("%s: %s", file->url,
                   *error != '\0' ? error : curl_easy_strerror(code));
    else
        atomic_fetch_add_explicit(&fetched, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&fetched_bytes, body.offset,
                              memory_order_relaxed);
    crowd_count();
}

/* The connection is kept from one file to the next. */
static void work(unsigned number)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        crowd_fail("curl_easy_init has failed");
        return;
    }
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)SECONDS);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, compare);
    for (unsigned round = 0; round < rounds; round++)
        fetch(easy, &files[((size_t)number * rounds + round) % file_count]);
    curl_easy_cleanup(easy);
}

/*
 * The files.
 */

static const char *map(const char *path, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *bytes = MAP_FAILED;
    if (fd >= 0)
        bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    return bytes == MAP_FAILED ? NULL : bytes;
}

/* The URL and so much of the path, part by part. */
static char *append(char *to, const char *part, size_t length)
{
    char *escaped = curl_easy_escape(NULL, part, (int)length), *whole = NULL;
    bool has_slash = *to != '\0' && to[strlen(to) - 1] == '/';
    if (escaped == NULL
        || asprintf(&whole, "%s%s%s", to, has_slash ? "" : "/", escaped) < 0)
        whole = NULL;
    curl_free(escaped);
    free(to);
    return whole;
}

static char *url_of(const char *path)
{
    char *whole = strdup(url);
    while (whole != NULL && *path != '\0') {
        size_t length = strcspn(path, "/");
        if (length > 0)
            whole = append(whole, path, length);
        path += length + (path[length] == '/');
    }
    return whole;
}

/* nftw's way of saying what was found. */
static int note(const char *path, const struct stat *status, int kind,
                struct FTW *where)
{
    size_t size = (size_t)status->st_size;
    (void)where;
    if (kind != FTW_F || !S_ISREG(status->st_mode) || size == 0
        || size > FILE_SIZE_MOST || file_count == FILES
        || strstr(path, "/.") != NULL)
        return 0;
    struct file *file = &files[file_count];
    file->size = size;
    file->bytes = map(path, size);
    file->url = url_of(path + strlen(directory));
    if (file->url == NULL)
        return ENOMEM;
    file_count += file->bytes != NULL; /* else it cannot be read */
    return 0;
}

static bool find_files(void)
{
    int err = nftw(directory, note, 32, FTW_PHYS);
    if (err != 0 || file_count == 0)
        fprintf(stderr, "curl: %s: %s\n", directory,
                err == -1  ? strerror(errno)
                : err != 0 ? strerror(err)
                           : "no file that could be fetched");
    return err == 0 && file_count > 0;
}

/* From the command line or the environment. */
static void find_server(int argc, char **argv)
{
    directory = argc > 0 ? argv[0] : getenv("HTTPD_DIRECTORY");
    url = argc > 1 ? argv[1] : getenv("HTTPD_URL");
    if (directory != NULL && url != NULL)
        return;
    fprintf(stderr, "curl: no DIRECTORY or no URL.  Start a server for this "
                    "run with\n"
                    "    examples/with.sh httpd DIRECTORY PROGRAM\n");
    exit(2);
}

static void report(uint64_t taken_ns)
{
    crowd_row("threads", "threads, a connection each", threads, "");
    crowd_row("carriers", "carriers", carriers, "");
    crowd_row("different_files", "different files", file_count, "");
    crowd_costs("files", fetched, taken_ns);
    crowd_row("fetched_mib", "fetched", (double)fetched_bytes / 1048576,
              "MiB");
}

int main(int argc, char **argv)
{
    const struct crowd_option options[] = {
        {"threads", &threads, 1, 100000, "threads"},
        {"rounds", &rounds, 1, 1000000, "each fetches so many files"},
        {"carriers", &carriers, 1, 256, "OS threads that run them"},
        {0}};
    int operand = crowd_parse(argc, argv, "[DIRECTORY URL]", 0, options);
    find_server(argc - operand, argv + operand);
    /* For each handle a connection, and two more to wake it up. */
    crowd_need_descriptors(3 * threads);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !find_files())
        return 1;
    crowd_open("curl", carriers);
    report(
        crowd_run("files", threads, (uint64_t)threads * rounds, work, NULL));
    int status = crowd_close();
    curl_global_cleanup();
    return status;
}
