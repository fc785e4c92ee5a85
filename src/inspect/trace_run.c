/*
 * trace_run.c - when the recorder is on, and what becomes of its events.
 *
 *   streams   all that is recorded is written to a file, by an OS thread of
 *             the recorder's own, every 20 ms, or more often when much comes
 *   serves    the same, for a client of the control socket, by the OS thread
 *             that serves it
 *   keeps     it stays in the rings until something happens; then the last
 *             seconds are written, by that OS thread (trace_trigger), or by
 *             who has found it, for the process is about to end
 *   lends     the same, for a client, once
 *
 * `control` is held by who starts and stops; `writing` by who writes, for as
 * long as that takes.  A handler that finds `writing` taken waits a moment:
 * the writer is another OS thread, and goes on; or it is itself the one that
 * has faulted, and then nothing more is written.
 *
 * Not here: what is written (trace_write.c).
 */
#include <vthread/trace.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "inspect/pin.h"
#include "inspect/trace.h"
#include "inspect/trace_file.h"
#include "platform/clock.h"
#include "platform/fault.h"
#include "platform/futex.h"
#include "platform/libc.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/system.h"
#include "settings.h"
#include "thread.h"

#define MS UINT64_C(1000000)
#define INTERVAL_MIN_NS MS
#define INTERVAL_MAX_NS (20 * MS)
#define MEMORY_DEFAULT ((size_t)1024 * 1024)
#define MEMORY_MIN ((size_t)4096)
#define MEMORY_MAX ((size_t)1024 * 1024 * 1024)

enum { FILES_MAX = 9, PATH_BYTES = 4096, HANDLER_TRIES = 200 };

enum mode { OFF, STREAMS, SERVES, KEEPS, LENDS };

/* Field letters: C under control, W under writing, A atomic. */
static struct {
    struct os_lock control, writing;
    _Atomic int mode;           /* A: enum mode, changed under both */
    pid_t pid;                  /* C: of who has started it */
    char path[PATH_BYTES];      /* C */
    uint64_t last_ns;           /* C */
    uint64_t begun;             /* C: ticks */
    struct trace_file file;     /* W: the one at path */
    unsigned files;             /* W: written in KEEPS */
    struct trace_sink *client;  /* W: in LENDS; NULL: it has got all */
    uint64_t written_ns;        /* W: when the last one was */
    bool has_thread;            /* C */
    bool listens;               /* C: for pins, which are a trigger */
    struct os_thread thread;    /* C */
    _Atomic uint32_t signal;    /* A: a futex: 1: look what there is to do */
    _Atomic bool is_ending;     /* A */
    const char *_Atomic reason; /* A: of a trigger; NULL: none */
    struct trace_reader stream, snapshot; /* W */
} run;

static enum mode mode_now(void)
{
    /* Acquire: what it was started with; pairs with set_mode. */
    return (enum mode)atomic_load_explicit(&run.mode, memory_order_acquire);
}

static void set_mode(enum mode mode)
{
    atomic_store_explicit(&run.mode, (int)mode, memory_order_release);
}

/* ---- Writing; with `writing` -------------------------------------------- */

/* What was recorded in the last so many nanoseconds. */
static void write_snapshot(struct trace_sink *sink, uint64_t last_ns,
                           const char *reason)
{
    struct trace_reader *reader = &run.snapshot;
    uint64_t since = trace_ticks_ago(last_ns);
    trace_reader_init(reader, sink, since > run.begun ? since : run.begun);
    reader->is_last = true;
    if (sink != run.client) /* which has one already */
        trace_write_header(reader);
    if (reason)
        trace_write_text(reader, TRACE_REASON, reason);
    trace_write_events(reader);
    trace_write_state(reader);
    trace_write_block(reader, TRACE_END, NULL, 0);
}

/* The first goes to the file that is open, others beside it. */
static void write_file(const char *reason)
{
    static char path[PATH_BYTES + 4];
    struct trace_file other, *file = &run.file;
    if (run.file.fd < 0 || run.files >= FILES_MAX)
        return;
    if (++run.files > 1) {
        file = &other;
        format_text(path, sizeof path, "%s.%u", run.path, run.files);
        if (trace_file_open(file, path) != 0)
            return;
    }
    write_snapshot(&file->sink, run.last_ns, reason);
    if (file == &other)
        trace_file_close(file);
    run.written_ns = clock_now_ns();
}

/* The rest of a stream. */
static void end_stream(const char *reason)
{
    run.stream.is_last = true;
    trace_write_events(&run.stream);
    if (reason)
        trace_write_text(&run.stream, TRACE_REASON, reason);
    trace_write_state(&run.stream);
    trace_write_block(&run.stream, TRACE_END, NULL, 0);
}

/* Once. */
static void write_to_client(const char *reason)
{
    if (run.client)
        write_snapshot(run.client, run.last_ns, reason);
    run.client = NULL;
}

static void write_out(const char *reason)
{
    if (mode_now() == KEEPS)
        write_file(reason);
    else if (mode_now() == LENDS)
        write_to_client(reason);
    else if (mode_now() == STREAMS || mode_now() == SERVES)
        end_stream(reason);
}

/* ---- The OS thread of the recorder -------------------------------------- */

/* Whether a ring has been filled by a quarter or more since the last time. */
static bool comes_much(struct trace_reader *reader, const uint64_t *before)
{
    for (unsigned i = 0; i < trace_ring_count(); i++)
        if (reader->next[i] - before[i] > trace_ring_places() / 4)
            return true;
    return false;
}

static uint64_t write_stream(uint64_t interval_ns)
{
    static uint64_t before[TRACE_RINGS_MAX]; /* W */
    os_lock_acquire(&run.writing);
    memcpy(before, run.stream.next, sizeof before);
    trace_queues(interval_ns == 0);
    if (mode_now() == STREAMS || mode_now() == SERVES)
        trace_write_events(&run.stream);
    bool much = comes_much(&run.stream, before);
    os_lock_release(&run.writing);
    if (much || interval_ns == 0)
        return INTERVAL_MIN_NS;
    return interval_ns * 2 < INTERVAL_MAX_NS ? interval_ns * 2
                                             : INTERVAL_MAX_NS;
}

/* Not twice about the same seconds. */
static void write_if_triggered(void)
{
    const char *reason =
        atomic_exchange_explicit(&run.reason, NULL, memory_order_acq_rel);
    if (!reason)
        return;
    trace_queues(true);
    os_lock_acquire(&run.writing);
    if (mode_now() == KEEPS
        && (run.files == 0 || clock_now_ns() - run.written_ns >= run.last_ns))
        write_file(reason);
    os_lock_release(&run.writing);
}

static void work(void *unused)
{
    uint64_t interval_ns = 0;
    (void)unused;
    while (!atomic_load_explicit(&run.is_ending, memory_order_acquire)) {
        bool streams = mode_now() == STREAMS;
        futex_wait(&run.signal, 0, clock_now_ns() + interval_ns);
        /* seq_cst: before the looks at what there is to do. */
        atomic_store_explicit(&run.signal, 0, memory_order_seq_cst);
        if (streams) {
            interval_ns = write_stream(interval_ns);
        } else {
            trace_queues(interval_ns == 0);
            interval_ns = INTERVAL_MAX_NS;
            write_if_triggered();
        }
    }
}

static void signal_thread(void)
{
    /* seq_cst: after what there is to do. */
    atomic_store_explicit(&run.signal, 1, memory_order_seq_cst);
    futex_wake(&run.signal, 1);
}

unsigned trace_os_threads(void)
{
    return mode_now() != OFF && run.has_thread; /* the socket's count there */
}

/* ---- What happens ------------------------------------------------------- */

void trace_trigger(const char *reason)
{
    if (mode_now() != KEEPS && mode_now() != LENDS)
        return;
    /* Release: pairs with write_if_triggered. */
    atomic_store_explicit(&run.reason, reason, memory_order_release);
    signal_thread();
}

void trace_write_now(const char *reason)
{
    if (mode_now() == OFF)
        return;
    os_lock_acquire(&run.writing);
    write_out(reason);
    os_lock_release(&run.writing);
}

static bool take_writing(void)
{
    const struct timespec moment = {.tv_nsec = MS};
    for (int i = 0; i < HANDLER_TRIES; i++) {
        if (os_lock_try(&run.writing))
            return true;
        system_nanosleep(&moment);
    }
    return false;
}

/* In a signal handler, of which the process is about to die. */
static void at_death(int number)
{
    char reason[32];
    if (mode_now() == OFF || run.pid != getpid() || !take_writing())
        return;
    format_text(reason, sizeof reason, "signal %d", number);
    write_out(reason);
    set_mode(OFF);
    os_lock_release(&run.writing);
}

/* ---- Starting ----------------------------------------------------------- */

static size_t places_of(size_t memory_bytes)
{
    size_t places = MEMORY_MIN / sizeof(struct trace_place);
    while (places * sizeof(struct trace_place) < memory_bytes)
        places *= 2;
    return places;
}

static void begin_stream(struct trace_sink *sink)
{
    trace_reader_init(&run.stream, sink, UINT64_MAX);
    trace_write_header(&run.stream);
    trace_write_state(&run.stream);
}

static void at_exit(void)
{
    if (run.pid == getpid())
        (void)vthread_trace_stop();
}

static void arrange_end(void)
{
    static bool is_arranged;
    if (is_arranged)
        return;
    is_arranged = true;
    atexit(at_exit);
    fault_at_death(at_death);
}

static int start_thread(void)
{
    atomic_store_explicit(&run.is_ending, false, memory_order_relaxed);
    int err = os_thread_start(&run.thread, "vthread-trace", work, NULL);
    run.has_thread = err == 0;
    return err;
}

static void stop_thread(void)
{
    if (!run.has_thread)
        return;
    atomic_store_explicit(&run.is_ending, true, memory_order_release);
    signal_thread();
    os_thread_join(&run.thread);
    run.has_thread = false;
}

/* With the file open, if there is one. */
static int start_with(const vthread_trace_attr_t *attr)
{
    size_t memory = attr->memory_bytes ? attr->memory_bytes : MEMORY_DEFAULT;
    int err = trace_begin(places_of(memory));
    if (err != 0)
        return err;
    run.pid = getpid();
    run.last_ns = attr->last_ns;
    run.begun = trace_ticks();
    run.files = 0;
    bool streams = attr->path && attr->last_ns == 0;
    if (streams)
        begin_stream(&run.file.sink);
    set_mode(streams ? STREAMS : KEEPS);
    if (attr->path && (err = start_thread()) != 0) {
        trace_stop();
        set_mode(OFF);
        return err;
    }
    arrange_end();
    run.listens = attr->path && !streams && pin_listen();
    return 0;
}

static int start(const vthread_trace_attr_t *attr)
{
    if (mode_now() != OFF)
        return EBUSY;
    run.file = (struct trace_file){.fd = -1};
    run.path[0] = '\0';
    if (attr->path) {
        if (strlen(attr->path) >= sizeof run.path)
            return ENAMETOOLONG;
        strcpy(run.path, attr->path);
        int err = trace_file_open(&run.file, attr->path);
        if (err != 0)
            return err;
    }
    int err = start_with(attr);
    if (err != 0 && run.file.fd >= 0)
        trace_file_close(&run.file);
    return err;
}

int vthread_trace_start(const vthread_trace_attr_t *attr)
{
    static const vthread_trace_attr_t defaults;
    if (!attr)
        attr = &defaults;
    if (attr->reserved != 0
        || (attr->memory_bytes != 0 && attr->memory_bytes < MEMORY_MIN)
        || attr->memory_bytes > MEMORY_MAX)
        return EINVAL;
    thread_refuse_child();
    os_lock_acquire(&run.control);
    int err = start(attr);
    os_lock_release(&run.control);
    return err;
}

/* ---- Stopping ----------------------------------------------------------- */

/* True: the file is as it should be. */
static bool complete_file(enum mode mode)
{
    bool is_good = true;
    if (mode == STREAMS) {
        end_stream(NULL);
        is_good = !run.stream.has_failed;
    }
    if (run.file.fd < 0)
        return is_good;
    if (mode == KEEPS && run.files == 0)
        unlink(run.path);
    trace_file_close(&run.file);
    return is_good;
}

static int stop(void)
{
    enum mode mode = mode_now();
    if (mode == OFF || mode == SERVES || mode == LENDS)
        return ESRCH;
    trace_stop();
    if (run.listens)
        pin_listen_no_more();
    stop_thread();
    os_lock_acquire(&run.writing);
    bool is_good = complete_file(mode);
    set_mode(OFF);
    os_lock_release(&run.writing);
    return is_good ? 0 : EIO;
}

int vthread_trace_stop(void)
{
    os_lock_acquire(&run.control);
    int err = stop();
    os_lock_release(&run.control);
    return err;
}

/* ---- Clients ------------------------------------------------------------ */

static void begin_serving(struct trace_sink *sink, uint64_t last_ns)
{
    run.pid = getpid();
    run.begun = trace_ticks();
    run.last_ns = last_ns;
    run.file = (struct trace_file){.fd = -1};
    run.client = last_ns > 0 ? sink : NULL;
    run.listens = last_ns > 0 && pin_listen();
    atomic_store_explicit(&run.reason, NULL, memory_order_relaxed);
    arrange_end();
    /* Who gets the first bytes may rely on it: a handler waits for this. */
    os_lock_acquire(&run.writing);
    set_mode(last_ns > 0 ? LENDS : SERVES);
    if (last_ns > 0) {
        trace_reader_init(&run.snapshot, sink, 0);
        trace_write_header(&run.snapshot);
    } else {
        begin_stream(sink);
    }
    os_lock_release(&run.writing);
}

int trace_serve_begin(struct trace_sink *sink, uint64_t last_ns)
{
    os_lock_acquire(&run.control);
    int err =
        mode_now() != OFF ? EBUSY : trace_begin(places_of(MEMORY_DEFAULT));
    if (err == 0)
        begin_serving(sink, last_ns);
    os_lock_release(&run.control);
    return err;
}

/* 0: something has happened. */
static uint64_t look_for_reason(uint64_t interval_ns)
{
    trace_queues(interval_ns == 0);
    os_lock_acquire(&run.writing);
    bool has_all = !run.client;
    os_lock_release(&run.writing);
    /* Acquire: pairs with trace_trigger. */
    return has_all || atomic_load_explicit(&run.reason, memory_order_acquire)
               ? 0
               : INTERVAL_MAX_NS;
}

uint64_t trace_serve_go_on(uint64_t interval_ns)
{
    return mode_now() == LENDS ? look_for_reason(interval_ns)
                               : write_stream(interval_ns);
}

void trace_serve_end(void)
{
    os_lock_acquire(&run.control);
    trace_queues(true);
    trace_stop();
    if (run.listens)
        pin_listen_no_more();
    os_lock_acquire(&run.writing);
    write_out(atomic_load_explicit(&run.reason, memory_order_acquire));
    set_mode(OFF);
    os_lock_release(&run.writing);
    os_lock_release(&run.control);
}

/* ---- When the program asks ---------------------------------------------- */

int vthread_trace_write(const char *path, uint64_t last_ns)
{
    struct trace_file file;
    if (!path)
        return EINVAL;
    if (mode_now() == OFF)
        return ESRCH;
    int err = trace_file_open(&file, path);
    if (err != 0)
        return err;
    os_lock_acquire(&run.writing);
    write_snapshot(&file.sink, last_ns, NULL);
    err = run.snapshot.has_failed ? file.error : 0;
    os_lock_release(&run.writing);
    trace_file_close(&file);
    return err;
}

void trace_start_as_set(void)
{
    const struct settings *settings = settings_get();
    if (!settings->trace)
        return;
    vthread_trace_attr_t attr = {
        .path = settings->trace,
        .last_ns = settings->trace_ms * MS,
        .memory_bytes = (size_t)settings->trace_kb * 1024,
    };
    int err = vthread_trace_start(&attr);
    if (err != 0 && err != EBUSY)
        report("VTHREAD_TRACE=%s: %s; nothing is recorded", settings->trace,
               strerrordesc_np(err));
}
