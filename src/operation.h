/*
 * operation.h - a system call on a descriptor, made when it can be made.
 *
 * An operation says which call it is and what it is called with; how to
 * wait is the same for all.
 */
#ifndef OPERATION_H
#define OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "descriptor.h"

/* How to tell that less was transferred than asked for. */
enum measure {
    MEASURE_NONE,    /* says nothing */
    MEASURE_BUFFER,  /* data has size bytes */
    MEASURE_VECTOR,  /* data is an array of size struct iovec */
    MEASURE_MESSAGE, /* data is a struct msghdr */
};

struct operation {
    /* Makes the call, as the system call itself: -1 and errno.  EAGAIN
     * means that it has to wait for the direction; ERESTART, that it has
     * to be tried again after a while, for want of an event. */
    ssize_t (*attempt)(struct operation *op);
    void *data;
    size_t size;
    void *more;            /* one more argument, if there is one */
    uint64_t deadline_ns;
    int fd;
    int flags;             /* of the call */
    uint8_t direction;     /* enum direction */
    uint8_t measure;       /* enum measure: reads only */
    bool is_immediate;     /* never waits: EAGAIN is a result */
    /* Found out on the way. */
    uint8_t kind;          /* enum descriptor_kind */
    bool has_begun;        /* a connection is being made */
    bool has_control;      /* control data came with this */
    bool was_interrupted;  /* the cause of ECANCELED */
};

/* Performs the operation.  Stores in *result what the call returned: with 0
 * only. */
int operation_perform(struct operation *op, ssize_t *result);

/* The same for what looks without taking or changing anything, and with the
 * record and its state as read before the last look; the descriptor is not
 * set up. */
int operation_perform_from(struct operation *op, struct descriptor *d,
                           uint64_t state, ssize_t *result);

/* The operation succeeds although its wait was interrupted: the interrupt
 * is still to be seen. */
void operation_put_back_interrupt(void);

#endif
