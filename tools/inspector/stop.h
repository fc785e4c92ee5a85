/*
 * stop.h - stops a process for a short while, to look at what belongs
 * together.
 *
 * All of its OS threads are stopped, as a debugger does it, and let go again
 * by stop_end; if the tool is killed in between the kernel lets them go.
 * Signals that arrive meanwhile are delivered afterwards.  A thread that the
 * kernel does not stop soon (it waits for a disk) is as good as stopped, for
 * it will before it runs on; but its registers are not known.
 *
 * A core file is stopped for ever: the same functions tell what is in it.
 */
#ifndef STOP_H
#define STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "registers.h"

struct image;

struct os_thread {
    pid_t number;
    int signal;         /* to be delivered when it goes on */
    bool is_held;       /* by us, stopped or not */
    bool is_stopped;
    bool has_registers;
    struct registers registers;
};

struct stop {
    const struct image *image;
    pid_t pid; /* 0: a core file */
    struct os_thread *threads;
    size_t count, capacity;
    uint64_t begun_ns;   /* of this stop */
    unsigned stops;      /* so far, */
    uint64_t longest_ns; /* the longest, */
    uint64_t all_ns;     /* and all of them together */
};

/* STATUS_FINE, or a status with a complaint. */
int stop_open(struct stop *stop, const struct image *image, pid_t pid);
void stop_close(struct stop *stop);

/* Stops it.  STATUS_FINE; else it is not stopped, and there has been a
 * complaint. */
int stop_begin(struct stop *stop);
void stop_end(struct stop *stop);

/* How long this stop has lasted; 0 of a core file. */
uint64_t stop_age_ns(const struct stop *stop);

/* Lets go who has stopped too late for the last stop.  stop_finish waits for
 * them, a second at most: there is no more stop. */
void stop_let_go(struct stop *stop);
void stop_finish(struct stop *stop);

/* The registers of an OS thread that is stopped; NULL: not known. */
const struct registers *stop_registers(const struct stop *stop,
                                       pid_t number);

uint64_t stop_now_ns(void);

#endif
