/*
 * vthread/channel.h - channels: values from thread to thread, in order.
 *
 * A channel carries values of one size, copied at each end.  Any number of
 * threads send and receive; each value is received once, and those of one
 * sender in the order in which it sent them.  A channel with a capacity
 * keeps so many values while nobody receives; one without (a rendezvous)
 * has each sender wait for its receiver.  vthread_select waits for several
 * channels at once.
 *
 *     struct line { char text[80]; };
 *     vthread_channel_t *lines;
 *     struct line line;
 *     int err = vthread_channel_create(&lines, sizeof line, 16);
 *     ...
 *     while ((err = vthread_channel_receive(lines, &line)) == 0)
 *         puts(line.text);
 *     (EPIPE: the sender has called vthread_channel_close(lines))
 *     vthread_channel_destroy(lines);
 *
 * States: open; closed with values left, which are still received; closed
 * and drained.  Who waits is served in the order of arrival; where selects,
 * or waits with a deadline, are among those who wait for the same, the two
 * kinds take turns.
 *
 * A virtual thread that waits is unmounted, a platform thread sleeps in the
 * kernel.  Values may be locals on any stack: nobody else touches a stack
 * that is shared.  But a value of eight bytes that is itself an address on
 * the sender's shared stack is refused (EFAULT), see doc/rules.md.
 */
#ifndef VTHREAD_CHANNEL_H
#define VTHREAD_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vthread_channel vthread_channel_t;

/*
 * Creates a channel for values of element_bytes (0: signals without a
 * value) that keeps up to capacity of them; 0: rendezvous.
 *
 * Returns    0; ENOMEM.
 * Blocks     never.
 * Ownership  the caller's, until vthread_channel_destroy.
 */
VTHREAD_API int vthread_channel_create(vthread_channel_t **channel,
                                       size_t element_bytes, size_t capacity);

/*
 * Frees a channel; values that are left in it are lost.  NULL is no harm.
 *
 * Returns   0; EBUSY when a thread waits for it or a select is not done with
 *           it yet; then nothing happens.
 * Blocks    never.
 * Requires  no other thread makes a call for this channel or is in one, but
 *           for a vthread_channel_close that the caller has seen as EPIPE.
 */
VTHREAD_API int vthread_channel_destroy(vthread_channel_t *channel);

/*
 * Sends a copy of the value: hands it to the receiver that waits longest,
 * else puts it into the buffer, else waits.  With an error nothing was
 * sent.  The try form returns EAGAIN where it would have to wait; it never
 * blocks and is no cancellation point.
 *
 * Returns  0; EPIPE if the channel is closed or gets closed during the
 *          wait; EINVAL if value is NULL and element_bytes is not 0; EFAULT
 *          if the value is the address of a local on a shared stack;
 *          ETIMEDOUT; ECANCELED; ENOMEM, only where it has to wait.
 * Blocks   the virtual thread, until there is room or a receiver.
 *          Cancellable.
 * Orders   what happened before the send happens before the return of the
 *          receive that gets the value.  On a rendezvous, what happened
 *          before that receive happens before the return of the send; with
 *          a capacity of n, before that of the nth send after it.
 * Source   Go's channels.
 */
VTHREAD_API int vthread_channel_send(vthread_channel_t *channel,
                                     const void *value);
VTHREAD_API int vthread_channel_send_until(vthread_channel_t *channel,
                                           const void *value,
                                           uint64_t deadline_ns);
VTHREAD_API int vthread_channel_trysend(vthread_channel_t *channel,
                                        const void *value);

/*
 * Receives the oldest value: from the buffer, or from the sender that waits
 * longest, else waits.  Stores it in *value with result 0 only.  The try
 * form returns EAGAIN where it would have to wait; it never blocks and is no
 * cancellation point.
 *
 * Returns  0; EPIPE if the channel is closed and drained, or gets closed
 *          during the wait; EINVAL if value is NULL and element_bytes is
 *          not 0; ETIMEDOUT and ECANCELED: no value was taken; ENOMEM, only
 *          where it has to wait.
 * Blocks   the virtual thread, until there is a value.  Cancellable.
 * Orders   see vthread_channel_send.  What happened before a close happens
 *          before an EPIPE that it causes.
 * Source   Go's channels.
 */
VTHREAD_API int vthread_channel_receive(vthread_channel_t *channel,
                                        void *value);
VTHREAD_API int vthread_channel_receive_until(vthread_channel_t *channel,
                                              void *value,
                                              uint64_t deadline_ns);
VTHREAD_API int vthread_channel_tryreceive(vthread_channel_t *channel,
                                           void *value);

/*
 * Closes the channel: no more sends.  What is in the buffer can be received
 * still.  Everybody who waits, and every select that waits, gets EPIPE; the
 * call that closes the channel does not touch it afterwards, so the last one
 * that gets EPIPE may destroy it, though the call has not returned.
 *
 * Returns  0; EPIPE if it is closed already.
 * Blocks   never.
 */
VTHREAD_API int vthread_channel_close(vthread_channel_t *channel);

/* The number of values in the buffer just now.  Blocks never. */
VTHREAD_API size_t vthread_channel_length(vthread_channel_t *channel);

/* The capacity, as given to vthread_channel_create.  Blocks never. */
VTHREAD_API size_t vthread_channel_capacity(const vthread_channel_t *channel);

/* What a case of a select does. */
#define VTHREAD_SELECT_SEND 0
#define VTHREAD_SELECT_RECEIVE 1

/* One of the things that a select may do. */
typedef struct vthread_select_case {
    vthread_channel_t *channel; /* NULL: never ready */
    int op;                     /* VTHREAD_SELECT_SEND or _RECEIVE */
    int result;                 /* set if this one is chosen: 0 or EPIPE */
    void *value;                /* what is sent, or where it is received */
} vthread_select_case_t;

/*
 * Sends or receives, whichever of the cases is ready first.  Does exactly
 * one of them, and stores its index in *chosen and 0 or EPIPE in its
 * result.  A case is ready when the send or receive would not wait; on a
 * closed channel it is.  Among several that are ready one is picked by
 * chance.  The try form returns EAGAIN if there was a moment at which none
 * was ready; it never blocks and is no cancellation point.
 *
 *     vthread_select_case_t cases[] = {
 *         {.channel = jobs, .op = VTHREAD_SELECT_RECEIVE, .value = &job},
 *         {.channel = quit, .op = VTHREAD_SELECT_RECEIVE},
 *     };
 *     size_t chosen;
 *     int err = vthread_select(cases, 2, &chosen);
 *
 * The same channel may be in several cases, to send and to receive as well:
 * the two never meet each other.  No case at all waits for the deadline.
 *
 * Returns  0; EINVAL for a bad case; EFAULT as vthread_channel_send;
 *          ENOMEM, only where none is ready; ETIMEDOUT and ECANCELED: no
 *          case was done.
 * Blocks   the virtual thread, until a case is ready.  Cancellable.
 * Orders   as the send or receive that was done.
 * Source   Go's select.
 */
VTHREAD_API int vthread_select(vthread_select_case_t *cases, size_t count,
                               size_t *chosen);
VTHREAD_API int vthread_select_until(vthread_select_case_t *cases,
                                     size_t count, size_t *chosen,
                                     uint64_t deadline_ns);
VTHREAD_API int vthread_tryselect(vthread_select_case_t *cases, size_t count,
                                  size_t *chosen);

#ifdef __cplusplus
}
#endif

#endif
