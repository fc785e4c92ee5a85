/*
 * limiter.c - a rate limiter: copies lines, so many in a second and no more.
 *
 *     limiter [-r RATE] [-b BURST] FILE...
 *
 *     -r RATE    lines per second, from all files together (default 10)
 *     -b BURST   so many may go at once after a pause (default 1)
 *
 * Prints the lines of the files, those of each file in order, and at the end,
 * on standard error, their number and the rate that was measured.  Named pipes
 * are read as they fill; /dev/stdin is standard input.  A file that cannot be
 * read is reported, the others go on, and the status is 1.
 *
 * What it shows: a token bucket.  The permits of a semaphore are the tokens; a
 * thread adds one at each tick unless the bucket is full; who wants to send a
 * line takes one first.  The semaphore serves in the order of arrival, so the
 * files take turns, however many they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vthread.h>

enum { BUFFER_SIZE = 64 * 1024 }; /* a longer line counts as several */

struct line {
    char *text; /* on the heap; whoever receives it frees it */
    size_t size;
};

static vthread_semaphore_t tokens;
static vthread_channel_t *lines; /* of struct line */
static uint64_t interval_ns = VTHREAD_SECOND / 10;
static uint32_t burst = 1;
static char **paths;

static int report(const char *what, int err)
{
    fprintf(stderr, "limiter: %s: %s\n", what, strerror(err));
    return 1;
}

/* Until it is interrupted.  After a long pause of the whole process it adds
 * no more than fit into the bucket. */
static void *add_tokens(void *unused)
{
    uint64_t next_ns = vthread_now();
    while (vthread_sleep_until(next_ns += interval_ns) == 0) {
        uint64_t late_ns = vthread_now() - next_ns;
        uint32_t filled;
        if (late_ns > burst * interval_ns)
            next_ns += late_ns - burst * interval_ns;
        vthread_semaphore_getvalue(&tokens, &filled);
        if (filled < burst) /* nobody else adds any */
            vthread_semaphore_post(&tokens);
    }
    return unused;
}

/* Waits for a token first. */
static int send_line(const char *text, size_t size)
{
    struct line line = {malloc(size), size};
    if (line.text == NULL)
        return ENOMEM;
    memcpy(line.text, text, size);
    int err = vthread_semaphore_wait(&tokens);
    if (err == 0)
        err = vthread_channel_send(lines, &line);
    if (err != 0)
        free(line.text);
    return err;
}

/* Sends the lines that are whole (at the end, or if the buffer is full, all),
 * and moves the rest to the front. */
static int send_lines(char *buffer, size_t *size, bool is_end)
{
    char *rest = buffer, *end = buffer + *size;
    int err = 0;
    while (rest < end && err == 0) {
        char *newline = memchr(rest, '\n', (size_t)(end - rest));
        if (newline == NULL && !is_end && *size < BUFFER_SIZE)
            break;
        char *next = newline == NULL ? end : newline + 1;
        err = send_line(rest, (size_t)(next - rest));
        rest = next;
    }
    *size = (size_t)(end - rest);
    memmove(buffer, rest, *size);
    return err;
}

static int copy_lines(int fd, char *buffer)
{
    size_t size = 0, n = 1;
    unsigned ready;
    /* A named pipe is empty, and not at its end, until somebody writes. */
    int err = vthread_poll(&(struct pollfd){fd, POLLIN, 0}, 1, &ready);
    while (err == 0 && n > 0) {
        err = vthread_read(fd, buffer + size, BUFFER_SIZE - size, &n);
        if (err == 0) {
            size += n;
            err = send_lines(buffer, &size, n == 0);
        }
    }
    return err;
}

/* A child for each file. */
static int copy_file(const void *args, void *result)
{
    const char *path = *(char *const *)args;
    (void)result;
    char *buffer = malloc(BUFFER_SIZE);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int err = fd < 0 ? vthread_errno() : buffer == NULL ? ENOMEM : 0;
    if (err == 0)
        err = copy_lines(fd, buffer);
    if (err != 0)
        report(path, err);
    if (fd >= 0)
        vthread_close(fd);
    free(buffer);
    return err;
}

static void *copy_all(void *unused)
{
    const vthread_scope_attr_t each = {.policy = VTHREAD_SCOPE_WAIT_ALL};
    vthread_scope_t *scope;
    (void)unused;
    int err = vthread_scope_open(&scope, &each);
    if (err != 0) {
        report("scope", err);
    } else {
        for (char **path = paths; *path != NULL && err == 0; path++)
            err = vthread_scope_fork(scope, NULL, copy_file, path,
                                     sizeof *path, 0);
        if (err != 0)
            report("thread", err);
        else
            err = vthread_scope_join(scope);
        vthread_scope_close(scope);
    }
    vthread_channel_close(lines); /* nobody sends any more */
    return (void *)(intptr_t)err;
}

/* Main prints: a platform thread may block in write(2) as it likes. */
static void print_lines(uint64_t start_ns)
{
    uint64_t count = 0;
    struct line line;
    for (; vthread_channel_receive(lines, &line) == 0; count++) {
        fwrite(line.text, 1, line.size, stdout);
        fflush(stdout);
        free(line.text);
    }
    double seconds = (double)(vthread_now() - start_ns) / VTHREAD_SECOND;
    fprintf(stderr, "limiter: %" PRIu64 " lines in %.3f s: %.2f a second\n",
            count, seconds, (double)count / seconds);
}

static int run(void)
{
    vthread_t filler, copier;
    void *err_of_copier;
    uint64_t start_ns = vthread_now();
    int err = vthread_semaphore_init(&tokens, burst);
    if (err == 0)
        err = vthread_channel_create(&lines, sizeof(struct line), 0);
    if (err == 0)
        err = vthread_create(&filler, NULL, add_tokens, NULL);
    if (err == 0)
        err = vthread_create(&copier, NULL, copy_all, NULL);
    if (err != 0)
        return report("cannot start", err);
    print_lines(start_ns);
    vthread_join(copier, &err_of_copier);
    vthread_interrupt(filler);
    vthread_join(filler, NULL);
    vthread_channel_destroy(lines);
    if (ferror(stdout))
        return report("standard output", EIO);
    return err_of_copier == NULL ? 0 : 1;
}

int main(int argc, char **argv)
{
    double rate = 10;
    int option;
    while ((option = getopt(argc, argv, "r:b:")) != -1) {
        char *end = "x";
        if (option == 'r')
            rate = strtod(optarg, &end);
        else if (option == 'b')
            burst = (uint32_t)strtoul(optarg, &end, 10);
        if (*end != '\0')
            rate = 0;
    }
    paths = argv + optind;
    if (*paths == NULL || !(rate >= 0.001 && rate <= 1e6) || burst < 1
        || burst > 1000000) {
        fprintf(stderr, "usage: limiter [-r RATE] [-b BURST] FILE...\n"
                        "       RATE from 0.001 to 1000000 lines a second, "
                        "BURST from 1 to 1000000\n");
        return 2;
    }
    interval_ns = (uint64_t)(1e9 / rate);
    return run();
}
