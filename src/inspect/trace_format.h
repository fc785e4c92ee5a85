/*
 * trace_format.h - what a recording looks like, in a file or on its way to
 * the tool.
 *
 * A header, then blocks: a kind, how many bytes follow, these, and zeros up
 * to the next multiple of 8.  Numbers are those of the machine.  A reader
 * skips kinds that it does not know, and takes a file that ends in the middle
 * of a block for one that ends before it.
 *
 *     header  CLOCK MAPS THREADS  PART PART PART ...  CLOCK MAPS THREADS END
 *
 * Events stand in PARTs, each of one ring, in their order in time; the parts
 * of several rings follow each other as they were written.  An event is two
 * words: when and what, and an argument.  When is counted in ticks; a CLOCK
 * tells what a tick is.
 *
 * This header has no code, and includes nothing of ours: readers include it,
 * too.
 */
#ifndef INSPECT_TRACE_FORMAT_H
#define INSPECT_TRACE_FORMAT_H

#include <stdint.h>

#define TRACE_MAGIC "libvthread trace" /* 16 bytes, without the 0 */

/* Another one when the meaning of something changes. */
#define TRACE_VERSION 1

struct trace_header {
    char magic[16];
    uint32_t version;
    uint32_t header_bytes;
    uint32_t pid;
    uint32_t reserved;
};

struct trace_block {
    uint32_t kind;  /* enum trace_block_kind */
    uint32_t bytes; /* that follow */
};

enum trace_block_kind {
    TRACE_CLOCK = 1,   /* struct trace_clock twice: of the first tick, now */
    TRACE_MAPS = 2,    /* a piece of the text of /proc/self/maps */
    TRACE_THREADS = 3, /* struct trace_thread, some of them */
    TRACE_PART = 4,    /* struct trace_part, then events */
    TRACE_REASON = 5,  /* text: why it was written */
    TRACE_END = 6,     /* nothing: it is complete */
};

/* The same moment by three clocks. */
struct trace_clock {
    uint64_t ticks;
    uint64_t monotonic_ns; /* CLOCK_MONOTONIC */
    uint64_t real_ns;      /* CLOCK_REALTIME */
};

/* A thread that lived when it was written. */
struct trace_thread {
    uint64_t handle;
    uint64_t fn;        /* its entry function; 0: a platform thread */
    uint64_t scope;     /* the scope that it is a child of; 0: none */
    uint32_t os_thread; /* of a platform thread: its number in the kernel */
    uint8_t state;      /* enum trace_state */
    uint8_t waits_for;
    uint8_t reserved[2];
    char name[32];
};

enum trace_state { TRACE_READY, TRACE_RUNS, TRACE_WAITING };

/* Events of one ring.  Ring 0 is that of all OS threads which are not
 * carriers; a carrier's keeps its number when its OS thread changes. */
struct trace_part {
    uint32_t ring;
    uint32_t os_thread; /* the last that wrote there */
    uint32_t scheduler; /* number, from 1 */
    uint32_t carrier;   /* number in its scheduler */
    uint64_t lost;      /* events that were overwritten before these */
    char name[16];      /* of that OS thread */
};

struct trace_event {
    uint64_t when; /* ticks << 8 | enum trace_kind */
    uint64_t what;
};

#define TRACE_KIND_BITS 8

/* What an event says, and what its argument is.  THREAD is a handle. */
enum trace_kind {
    TRACE_NOTHING, /* a place that was never written */
    TRACE_BY,      /* ring 0 only: the number of the OS thread that the
                          next event is of; the upper half is the sender's */
    /* A thread, from here on that of the IS: its function, the scope that it
     * is a child of, and its name, eight letters to an event. */
    TRACE_IS,          /* THREAD */
    TRACE_IS_FUNCTION, /* address */
    TRACE_IS_CHILD,    /* address */
    TRACE_IS_NAMED,    /* letters */
    /* Its life. */
    TRACE_CREATE, /* THREAD, by who is mounted here */
    TRACE_MOUNT,  /* THREAD */
    TRACE_YIELD,  /* THREAD: unmounted, and ready to run */
    TRACE_FINISH, /* THREAD: unmounted for good */
    TRACE_WAKE,   /* THREAD whose wait ends, by who is mounted here */
    TRACE_EXPIRE, /* THREAD whose wait ends, by time */
    /* What befalls the one that is mounted, or was just now. */
    TRACE_PIN,      /* THREAD waits, and the carrier with it */
    TRACE_PIN_END,  /* THREAD */
    TRACE_CALL,     /* it begins a call that may block: 0 */
    TRACE_CALL_IS,  /* which one: address of the function */
    TRACE_CALL_END, /* 0 */
    TRACE_HOG,      /* THREAD has kept its carrier; by the monitor */
    /* What befalls the carrier. */
    TRACE_STEAL,  /* number of the carrier << 32 | how many threads */
    TRACE_GC,     /* a collection begins: 0 */
    TRACE_GC_END, /* bytes that are in use after it */
    TRACE_QUEUE,  /* its scheduler << 48 | its number << 32 | how many wait in
                     its queue; by who writes this */
    /* Where the THREAD is that the next HOG or HOME_HELD of the same OS
     * thread tells of: instructions, the innermost first. */
    TRACE_AT,        /* address */
    TRACE_HOME_HELD, /* THREAD stays where others wait for its home */
    /* And all from here on: unmounted, to wait. */
    TRACE_WAIT = 64, /* THREAD; + enum trace_wait: for what */
};

/* What a thread waits for. */
enum trace_wait {
    TRACE_FOR_LIST, /* a lock, a condition, a semaphore ... */
    TRACE_FOR_UNPARK,
    TRACE_FOR_TIME,
    TRACE_FOR_END, /* of a thread */
    TRACE_FOR_CHANNEL,
    TRACE_FOR_SEVERAL, /* channels or futures */
    TRACE_FOR_FUTURE,
    TRACE_FOR_SCOPE,
    TRACE_FOR_DESCRIPTOR,
    TRACE_FOR_POLL,
    TRACE_FOR_FILE,
    TRACE_FOR_SIGNAL,
    TRACE_FOR_CALL,    /* that is made elsewhere */
    TRACE_FOR_CERTAIN, /* who wakes it is at it already */
    TRACE_WAITS,
};

#endif
