/*
 * chat_crowd.c - many clients of examples/chat at once, for its test.
 *
 *     chat_crowd PORT CLIENTS SPEAKERS LINES ROUNDS BYTES
 *
 * Each client comes and takes a nick.  In each round the first SPEAKERS of
 * them say LINES lines of BYTES bytes, and each client reads all of these;
 * they begin a round together, so no client is further behind than that.
 * Then it prints "done", and reads on until the server stops.
 *
 * Checked by each client: lines of a speaker come in order, none twice and
 * none left out; the order of all is the same for all clients; the last line
 * is the server's good-bye.  What the host said to the first client is
 * printed.  Exits with 0, or 1 at the first thing that is wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vthread.h>

enum { INPUT_BYTES = 8192, LINE_BYTES = 1024 };

static unsigned port, clients, speakers, lines, rounds, bytes;
static vthread_barrier_t all;
static _Atomic uint64_t order; /* what the first to be done has seen */

/* The threads are children of a scope, which has a copy of the number. */
struct client {
    unsigned number;
    int fd;
    size_t used;
    char input[INPUT_BYTES];
    char line[LINE_BYTES]; /* the last one */
    uint64_t seen;         /* a hash of all said so far, in order */
    unsigned next[];       /* by speaker: what it says next */
};

__attribute__((format(printf, 2, 3))) static _Noreturn void
fail(const struct client *c, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "chat_crowd: client %u: ", c->number);
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
    va_end(values);
    _exit(1);
}

/* Returns false at the end of the stream. */
static bool read_line(struct client *c)
{
    char *newline;
    while ((newline = memchr(c->input, '\n', c->used)) == NULL) {
        size_t n;
        int err = c->used == INPUT_BYTES
                      ? EMSGSIZE
                      : vthread_read(c->fd, c->input + c->used,
                                     INPUT_BYTES - c->used, &n);
        if (err != 0)
            fail(c, "read: %s, after '%s'", strerror(err), c->line);
        if (n == 0)
            return false;
        c->used += n;
    }
    size_t length = (size_t)(newline - c->input);
    if (length >= LINE_BYTES)
        fail(c, "a line of %zu bytes", length);
    memcpy(c->line, c->input, length);
    c->line[length] = '\0';
    c->used -= length + 1;
    memmove(c->input, newline + 1, c->used);
    if (c->number == 0 && c->line[0] == '*')
        puts(c->line);
    return true;
}

static void enter(struct client *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((in_port_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char wanted[32];
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail(c, "socket: %s", strerror(vthread_errno()));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int err =
        vthread_connect(c->fd, (struct sockaddr *)&address, sizeof address);
    int length = snprintf(c->line, LINE_BYTES, "/nick c%u\n", c->number);
    if (err == 0)
        err = vthread_write_all(c->fd, c->line, (size_t)length);
    if (err != 0)
        fail(c, "connect: %s", strerror(err));
    snprintf(wanted, sizeof wanted, " is now c%u", c->number);
    while (strstr(c->line, wanted) == NULL)
        if (!read_line(c))
            fail(c, "thrown out at the start");
}

static void speak(struct client *c, unsigned round)
{
    char text[LINE_BYTES];
    for (unsigned i = 0; i < lines; i++) {
        snprintf(text, sizeof text, "%-*u\n", (int)bytes - 1,
                 round * lines + i);
        int err = vthread_write_all(c->fd, text, strlen(text));
        if (err != 0)
            fail(c, "write: %s", strerror(err));
    }
}

/* Takes note of a line that a speaker has said. */
static bool note(struct client *c)
{
    unsigned speaker, number;
    if (sscanf(c->line, "<c%u> %u", &speaker, &number) != 2)
        return false;
    if (speaker >= speakers || number != c->next[speaker])
        fail(c, "'%.40s' where %u was next", c->line,
             speaker < speakers ? c->next[speaker] : 0);
    c->next[speaker]++;
    c->seen = (c->seen + speaker + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return true;
}

static void play(struct client *c)
{
    for (unsigned round = 0; round < rounds; round++) {
        vthread_barrier_wait(&all, NULL);
        if (c->number < speakers)
            speak(c, round);
        for (unsigned i = 0; i < speakers * lines;)
            if (!read_line(c))
                fail(c, "thrown out in round %u", round);
            else
                i += note(c);
    }
    /* seq_cst, by default: nothing else depends on it. */
    uint64_t first = 0;
    if (!atomic_compare_exchange_strong(&order, &first, c->seen)
        && first != c->seen)
        fail(c, "another order than others have seen");
}

static int run(const void *args, void *result)
{
    struct client *c = calloc(1, sizeof *c + speakers * sizeof c->next[0]);
    bool is_last;
    (void)result;
    if (c == NULL)
        return ENOMEM;
    c->number = *(const unsigned *)args;
    enter(c);
    play(c);
    vthread_barrier_wait(&all, &is_last);
    if (is_last) {
        puts("done");
        fflush(stdout);
    }
    while (read_line(c))
        if (note(c))
            fail(c, "'%s' was not said", c->line);
    if (strcmp(c->line, "* the server stops") != 0)
        fail(c, "the last line is '%s'", c->line);
    vthread_close(c->fd);
    free(c);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned *numbers[] = {&port,  &clients, &speakers,
                           &lines, &rounds,  &bytes};
    struct rlimit limit;
    vthread_scope_t *scope;
    for (int i = 0; i < 6; i++)
        *numbers[i] = i + 1 < argc ? (unsigned)atoi(argv[i + 1]) : 0;
    if (argc != 7 || clients == 0 || speakers > clients || bytes < 2
        || bytes > 500) {
        fprintf(stderr, "usage: chat_crowd PORT CLIENTS SPEAKERS LINES "
                        "ROUNDS BYTES\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    vthread_barrier_init(&all, clients);
    int err = vthread_scope_open(&scope, NULL);
    for (unsigned i = 0; i < clients && err == 0; i++)
        err = vthread_scope_fork(scope, NULL, run, &i, sizeof i, 0);
    if (err == 0)
        err = vthread_scope_join(scope);
    if (err != 0) {
        fprintf(stderr, "chat_crowd: %s\n", strerror(err));
        return 1;
    }
    vthread_scope_close(scope);
    return 0;
}
