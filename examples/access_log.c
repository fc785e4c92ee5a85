/*
 * access_log.c - a line for each request, in the common log format.
 *
 * What is here: two buffers.  Lines are appended to one of them under a lock
 * that is held for the copy alone; a virtual thread of its own, the writer,
 * swaps the buffers every second or when one is half full, and writes the
 * other.  So no request waits for the disk, and a system call is shared by
 * thousands of lines.
 *
 * Invariant: the writer alone touches the buffer that is not being filled.
 * Lines are never lost while the log can be written; when it cannot keep
 * up, requests wait.  Start at access_log_add.
 */
#include "httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOG_BUFFER_SIZE = 256 * 1024,
    LINE_MAX_SIZE = 4 * URL_MAX + 256, /* every byte escaped */
};

static struct {
    pthread_mutex_t lock; /* never held across a wait */
    char *buffer;         /* L(lock) the one that is being filled */
    size_t length;        /* L(lock) */
    char *spare;          /* the writer's */
    time_t stamp_time;    /* L(lock) the second that stamp shows */
    char stamp[40];       /* L(lock) */
    int fd;
    bool has_failed; /* the writer's: told about it once */
    _Atomic bool is_closing;
    vthread_t writer;
} access_log = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void swap_buffers(size_t *length)
{
    pthread_mutex_lock(&access_log.lock);
    char *full = access_log.buffer;
    *length = access_log.length;
    access_log.buffer = access_log.spare;
    access_log.length = 0;
    access_log.spare = full;
    pthread_mutex_unlock(&access_log.lock);
}

static void flush(void)
{
    size_t length;
    swap_buffers(&length);
    if (length == 0)
        return;
    int err = vthread_write_all(access_log.fd, access_log.spare, length);
    if (err != 0 && err != ECANCELED && !access_log.has_failed) {
        access_log.has_failed = true;
        fprintf(stderr, "httpd: access log: %s\n", strerror(err));
    }
}

static void *write_log(void *arg)
{
    while (!atomic_load(&access_log.is_closing)) {
        vthread_park_until(vthread_after(VTHREAD_SECOND));
        flush();
    }
    flush();
    return arg;
}

/* Standard output is opened anew, because the library makes descriptors
 * non-blocking and that flag would be shared with the shell's. */
static int open_file(const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY;
    if (path != NULL)
        return open(path, flags | O_CREAT, 0666);
    int fd = open("/proc/self/fd/1", flags);
    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
}

int access_log_open(const char *path)
{
    vthread_attr_t attr = {.name = "access log"};
    access_log.fd = open_file(path);
    if (access_log.fd < 0)
        return errno;
    access_log.buffer = malloc(LOG_BUFFER_SIZE);
    access_log.spare = malloc(LOG_BUFFER_SIZE);
    if (access_log.buffer == NULL || access_log.spare == NULL)
        return ENOMEM;
    return vthread_create(&access_log.writer, &attr, write_log, NULL);
}

void access_log_close(void)
{
    if (access_log.writer == 0)
        return;
    atomic_store(&access_log.is_closing, true);
    vthread_unpark(access_log.writer);
    /* A pipe that nobody reads must not keep the server from ending. */
    if (vthread_join_until(access_log.writer, NULL,
                           vthread_after(VTHREAD_SECOND))
        == ETIMEDOUT)
        fprintf(stderr, "httpd: the end of the access log is lost\n");
}

/* Copies text so that it cannot be taken for anything else in a log. */
static char *put_escaped(char *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < ' ' || byte >= 0x7f || byte == '"' || byte == '\\')
            to += sprintf(to, "\\x%02x", byte);
        else
            *to++ = (char)byte;
    }
    return to;
}

static char *put(char *to, const char *text)
{
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

/* Caller holds the lock. */
static const char *stamp(void)
{
    struct tm tm;
    time_t now = time(NULL);
    if (now != access_log.stamp_time) {
        strftime(access_log.stamp, sizeof access_log.stamp,
                 " - - [%d/%b/%Y:%H:%M:%S %z] \"", localtime_r(&now, &tm));
        access_log.stamp_time = now;
    }
    return access_log.stamp;
}

/* Takes the lock with room for a line of that length.  Half a buffer is
 * enough for the writer to be woken in time, as a rule. */
static void lock_with_room(size_t length)
{
    pthread_mutex_lock(&access_log.lock);
    while (access_log.length + length > LOG_BUFFER_SIZE) {
        pthread_mutex_unlock(&access_log.lock);
        vthread_unpark(access_log.writer);
        vthread_sleep(VTHREAD_MS);
        pthread_mutex_lock(&access_log.lock);
    }
}

static void put_line(const struct connection *c, int status, uint64_t bytes)
{
    const struct request *r = &c->request;
    char *line = access_log.buffer + access_log.length;
    char *to = put(put(line, c->peer), stamp());
    if (r->target.length == 0) {
        to = put(to, "-");
    } else {
        to = put(put(to, http_method_str(r->parser.method)), " ");
        to = put_escaped(to, request_text(r, r->target), r->target.length);
        to += sprintf(to, " HTTP/%u.%u", r->parser.http_major,
                      r->parser.http_minor);
    }
    to += sprintf(to, "\" %d %llu\n", status, (unsigned long long)bytes);
    access_log.length += (size_t)(to - line);
}

void access_log_add(const struct connection *c, int status, uint64_t bytes)
{
    if (access_log.fd < 0)
        return;
    lock_with_room(LINE_MAX_SIZE);
    size_t before = access_log.length;
    put_line(c, status, bytes);
    bool is_half_full = before < LOG_BUFFER_SIZE / 2
                        && access_log.length >= LOG_BUFFER_SIZE / 2;
    pthread_mutex_unlock(&access_log.lock);
    if (is_half_full)
        vthread_unpark(access_log.writer);
}
