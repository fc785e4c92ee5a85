/*
 * gzip.c - a pipeline: many files through N compressors.
 *
 *     gzip [-w N] FILE...        -w: compressors (default 4)
 *
 * Makes FILE.gz beside each FILE, which is kept; gunzip gives back the same
 * bytes.  Prints a line for each file: both sizes, and the name.  What cannot
 * be done is reported, the other files go on, and the status is 1.  A FILE.gz
 * that exists is not touched; Ctrl-C leaves no half of one.
 *
 *     reader -> jobs -> N compressors
 *        |                 (each block's future is set)
 *        +----> order --------------------> writer
 *        ^                                     |
 *        +---------------- empty <-------------+
 *
 * What it shows: the stages are threads, the arrows channels.  The blocks of
 * one file are compressed at the same time, as gzip members of their own; the
 * writer awaits the future of each in the order in which they were read.  A
 * fixed number of blocks goes round, which bounds the memory: who has none
 * waits.  On SIGINT the scope is cancelled: every wait returns ECANCELED, and
 * each stage puts away what it has.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vthread.h>
#include <zlib.h>

enum { BLOCK_SIZE = 128 * 1024, GZIP_FORMAT = 15 + 16 };

struct block {
    vthread_future_t done; /* set when it has been compressed */
    const char *path;
    bool is_last; /* of its file */
    int err;      /* of reading */
    size_t in_size, out_size;
    unsigned char in[BLOCK_SIZE];
    unsigned char out[BLOCK_SIZE + 1024]; /* deflateBound() is less */
};

static char **paths;
static unsigned workers = 4;
static sigset_t signals; /* that end it */
static int status; /* the writer's, until it has ended */
static vthread_channel_t *empty, *jobs, *order; /* of struct block * */

static void check(const char *what, int err)
{
    if (err == 0)
        return;
    fprintf(stderr, "gzip: %s: %s\n", what, strerror(err));
    exit(1);
}

/* Fills the block; a short one is the last of its file. */
static void fill(struct block *block, int fd)
{
    size_t n = 1;
    while (block->err == 0 && n > 0 && block->in_size < BLOCK_SIZE) {
        block->err = vthread_read(fd, block->in + block->in_size,
                                  BLOCK_SIZE - block->in_size, &n);
        if (block->err == 0)
            block->in_size += n;
    }
    block->is_last = block->err != 0 || n == 0;
}

/* Sends a file on, in blocks; a file that cannot be read as a block that
 * says so. */
static int read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int open_err = fd < 0 ? vthread_errno() : 0;
    bool is_last = false;
    int err = 0;
    while (err == 0 && !is_last) {
        struct block *block;
        if ((err = vthread_channel_receive(empty, &block)) != 0)
            break;
        block->done = (vthread_future_t){0};
        block->path = path;
        block->err = open_err;
        block->in_size = 0;
        fill(block, fd);
        is_last = block->is_last;
        err = vthread_channel_send(order, &block);
        if (err == 0)
            err = vthread_channel_send(jobs, &block);
    }
    if (fd >= 0)
        vthread_close(fd);
    return err;
}

static int read_all(const void *args, void *result)
{
    (void)args, (void)result;
    int err = 0;
    for (char **path = paths; *path != NULL && err == 0; path++)
        err = read_file(*path);
    vthread_channel_close(jobs);
    vthread_channel_close(order);
    return err;
}

static int compress_block(struct block *block, z_stream *stream)
{
    stream->next_in = block->in;
    stream->avail_in = (unsigned)block->in_size;
    stream->next_out = block->out;
    stream->avail_out = sizeof block->out;
    if (deflateReset(stream) != Z_OK ||
        deflate(stream, Z_FINISH) != Z_STREAM_END)
        return EIO;
    block->out_size = sizeof block->out - stream->avail_out;
    return vthread_future_set(&block->done, NULL);
}

static int compress_all(const void *args, void *result)
{
    (void)args, (void)result;
    z_stream stream = {0}; /* a local: only this thread uses it */
    struct block *block;
    int err = 0;
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_FORMAT, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return ENOMEM;
    while (err == 0 && (err = vthread_channel_receive(jobs, &block)) == 0)
        err = compress_block(block, &stream);
    deflateEnd(&stream);
    return err == EPIPE ? 0 : err;
}

/* The file that is being written. */
struct output {
    const char *path; /* what it is made of; NULL: none */
    char *name;
    int fd;
    int err; /* sticky: then the rest of the file is left out */
    size_t in_size, out_size;
};

static void open_output(struct output *output, const struct block *block)
{
    *output = (struct output){.path = block->path, .fd = -1};
    if (asprintf(&output->name, "%s.gz", block->path) < 0)
        check("name", ENOMEM);
    if (block->err != 0)
        return;
    output->fd =
        open(output->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (output->fd < 0)
        output->err = vthread_errno();
}

static void write_block(struct output *output, const struct block *block)
{
    if (output->err == 0)
        output->err = block->err;
    if (output->err == 0)
        output->err =
            vthread_write_all(output->fd, block->out, block->out_size);
    output->in_size += block->in_size;
    output->out_size += block->out_size;
}

/* Removes the file unless it is whole, and says what has become of it. */
static void close_output(struct output *output)
{
    int err = output->fd >= 0 ? vthread_close(output->fd) : 0;
    if (output->err == 0)
        output->err = err;
    if (output->fd >= 0 && output->err != 0)
        unlink(output->name);
    if (output->err == 0)
        printf("%10zu %10zu %s\n", output->in_size, output->out_size,
               output->name);
    else
        fprintf(stderr, "gzip: %s: %s\n",
                output->fd < 0 && output->err == EEXIST ? output->name
                                                        : output->path,
                strerror(output->err));
    if (output->err != 0)
        status = 1;
    free(output->name);
    output->path = NULL;
}

static int write_all(const void *args, void *result)
{
    (void)args, (void)result;
    struct output output = {0};
    struct block *block;
    int err = 0;
    while (err == 0 && (err = vthread_channel_receive(order, &block)) == 0 &&
           (err = vthread_future_await(&block->done, NULL)) == 0) {
        if (output.path == NULL)
            open_output(&output, block);
        write_block(&output, block);
        if (block->is_last)
            close_output(&output);
        err = vthread_channel_send(empty, &block);
    }
    if (output.path != NULL) { /* cancelled in the middle */
        output.err = err;
        close_output(&output);
    }
    return err == EPIPE ? 0 : err;
}

/* Cancels the pipeline when a signal comes, and returns its number. */
static void *cancel_on_signal(void *pipeline)
{
    int signal;
    if (vthread_sigwait(&signals, &signal) != 0)
        return NULL; /* interrupted: all is done */
    vthread_scope_cancel(pipeline);
    return (void *)(uintptr_t)signal;
}

/* The stages, and `count` blocks that go round. */
static int run_stages(vthread_scope_t *pipeline, struct block *blocks,
                      unsigned count)
{
    int err = 0;
    for (unsigned i = 0; i < count && err == 0; i++) {
        struct block *block = &blocks[i];
        err = vthread_channel_send(empty, &block);
    }
    if (err == 0)
        err = vthread_scope_fork(pipeline, NULL, read_all, NULL, 0, 0);
    for (unsigned i = 0; i < workers && err == 0; i++)
        err = vthread_scope_fork(pipeline, NULL, compress_all, NULL, 0, 0);
    if (err == 0)
        err = vthread_scope_fork(pipeline, NULL, write_all, NULL, 0, 0);
    return err != 0 ? err : vthread_scope_join(pipeline);
}

/* Returns the number of the signal that has ended it, or 0. */
static int run(void)
{
    unsigned count = 2 * workers + 2; /* the reader and the writer have one */
    struct block *blocks = malloc(count * sizeof *blocks);
    vthread_scope_t *pipeline;
    vthread_t watcher;
    void *signal_number;
    check("blocks", blocks == NULL ? ENOMEM : 0);
    check("channel", vthread_channel_create(&empty, sizeof blocks, count));
    check("channel", vthread_channel_create(&jobs, sizeof blocks, count));
    check("channel", vthread_channel_create(&order, sizeof blocks, count));
    check("scope", vthread_scope_open(&pipeline, NULL));
    check("thread", vthread_create(&watcher, NULL, cancel_on_signal, pipeline));
    int err = run_stages(pipeline, blocks, count);
    vthread_interrupt(watcher);
    vthread_join(watcher, &signal_number);
    vthread_scope_close(pipeline); /* nobody uses the blocks any more */
    vthread_channel_destroy(empty);
    vthread_channel_destroy(jobs);
    vthread_channel_destroy(order);
    free(blocks);
    if (signal_number == NULL)
        check("gave up", err);
    return (int)(intptr_t)signal_number;
}

int main(int argc, char **argv)
{
    char *end = "";
    int option;
    while ((option = getopt(argc, argv, "w:")) == 'w')
        workers = (unsigned)strtoul(optarg, &end, 10);
    paths = argv + optind;
    if (option != -1 || *end != '\0' || workers < 1 || workers > 256 ||
        *paths == NULL) {
        fprintf(stderr, "usage: gzip [-w COMPRESSORS] FILE...   (1 to 256)\n");
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    check("signals", vthread_signal_take(&signals));
    int signal_number = run();
    check("standard output", fflush(stdout) == 0 ? 0 : errno);
    return signal_number != 0 ? 128 + signal_number : status;
}
