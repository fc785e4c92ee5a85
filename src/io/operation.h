/*
 * operation.h - a system call on a descriptor, made when it can be made.
 *
 * An operation says which call it is and what it is called with; how to
 * wait is the same for all.
 *
 *     struct operation op = {.attempt = attempt_read, .fd = fd, ...};
 *     err = operation_perform(&op);
 *     if (err == 0)
 *         *done = (size_t)op.result;
 */
#ifndef OPERATION_H
#define OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/descriptor.h"

/* How to tell that less was read than asked for. */
enum measure {
    MEASURE_NONE,    /* says nothing */
    MEASURE_BUFFER,  /* data has size bytes */
    MEASURE_VECTOR,  /* data is an array of size struct iovec */
    MEASURE_MESSAGE, /* data is a struct msghdr */
};

struct operation {
    /* Makes the call, and answers like it: -1 and errno.  EAGAIN means that
     * it has to wait for the direction; ERESTART, that it has to be tried
     * again after a while, because no event will tell. */
    ssize_t (*attempt)(struct operation *op);
    void *data;
    size_t size;
    void *more;           /* one more argument, if there is one */
    uint64_t deadline_ns;
    int fd;
    int flags;            /* of the call */
    uint8_t direction;    /* enum direction */
    uint8_t measure;      /* enum measure */
    bool is_immediate;    /* never waits: EAGAIN is its result */
    bool only_looks;      /* needs to know nothing of the descriptor */
    bool may_block;       /* the call may block for something else */

    /* How far it has come.  Zero at the start. */
    bool has_tried, has_waited, is_done;
    bool has_begun;       /* a connection is being made */
    bool has_control;     /* control data came with this */
    bool was_interrupted; /* the cause of ECANCELED */
    uint8_t kind;         /* enum descriptor_kind */
    uint32_t nap_ns;
    struct descriptor *descriptor;
    uint64_t state;       /* as read before the last attempt */
    ssize_t result;       /* of the call, or minus its error number */
};

/* Performs the operation.  0, and op->result is what the call returned; or
 * the error of the call or of waiting. */
int operation_perform(struct operation *op);

/* The same from the record and the state that are given in it. */
int operation_perform_from(struct operation *op);

/* What was interrupted succeeds all the same: the interrupt is still to be
 * seen. */
void operation_put_back_interrupt(void);

#endif
