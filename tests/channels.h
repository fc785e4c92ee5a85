/*
 * channels.h - calls that wait for a channel in threads of any kind, and
 * values that know who they are: for the tests of channels and selects.
 */
#ifndef TESTS_CHANNELS_H
#define TESTS_CHANNELS_H

#include <errno.h>

#include "tests/threads.h"

#define LARGEST 4096

static const size_t sizes[] = {0, 1, 8, 9, 64, LARGEST};

/* ---- Values ------------------------------------------------------------- */

/* Bytes that tell n; of value 0 nobody thinks it an address. */
static inline void write_value(unsigned char *value, size_t size, unsigned n)
{
    for (size_t i = 0; i < size; i++)
        value[i] = (unsigned char)(n + i * 7);
}

static inline bool is_value(const unsigned char *value, size_t size,
                            unsigned n)
{
    for (size_t i = 0; i < size; i++)
        if (value[i] != (unsigned char)(n + i * 7))
            return false;
    return true;
}

static inline vthread_channel_t *channel_of(size_t size, size_t capacity)
{
    vthread_channel_t *c = NULL;
    ck_assert_int_eq(vthread_channel_create(&c, size, capacity), 0);
    return c;
}

static inline void destroy(vthread_channel_t *c)
{
    ck_assert_int_eq(vthread_channel_destroy(c), 0);
}

/* Sends and receives where that need not wait. */
static inline int put(vthread_channel_t *c, size_t size, unsigned n)
{
    unsigned char value[LARGEST];
    write_value(value, size, n);
    return vthread_channel_trysend(c, value);
}

static inline int get(vthread_channel_t *c, size_t size, unsigned n)
{
    unsigned char value[LARGEST] = {0};
    int err = vthread_channel_tryreceive(c, value);
    ck_assert(err != 0 || is_value(value, size, n));
    return err;
}

/* ---- Threads ------------------------------------------------------------ */

enum kind { COMMON, OWN, PLATFORM, KINDS };

/* On the heap, for its threads have any kind of stack. */
struct call {
    vthread_channel_t *channel;
    size_t size;
    unsigned n; /* the value that is sent, or that is expected */
    uint64_t deadline_ns;
    void *(*fn)(void *);
    void *more;
    int result;
    enum kind kind;
    pthread_t pthread;
    _Atomic vthread_t handle;
};

/* The value is a local of a thread that waits. */
static inline void *sends(void *arg)
{
    struct call *call = arg;
    unsigned char value[LARGEST];
    write_value(value, call->size, call->n);
    call->result = vthread_channel_send_until(call->channel, value,
                                              call->deadline_ns);
    return NULL;
}

static inline void *receives(void *arg)
{
    struct call *call = arg;
    unsigned char value[LARGEST] = {0};
    call->result = vthread_channel_receive_until(call->channel, value,
                                                 call->deadline_ns);
    if (call->result == 0 && !is_value(value, call->size, call->n))
        call->result = -1;
    return NULL;
}

static inline void *runs_call(void *arg)
{
    struct call *call = arg;
    atomic_store(&call->handle, vthread_self());
    return call->fn(call);
}

static inline struct call *new_call(vthread_channel_t *c, size_t size,
                                    unsigned n)
{
    struct call *call = calloc(1, sizeof *call);
    ck_assert_ptr_nonnull(call);
    call->channel = c;
    call->size = size;
    call->n = n;
    call->deadline_ns = VTHREAD_NEVER;
    call->result = -2;
    return call;
}

static inline struct call *begin_call(struct call *call, enum kind kind,
                                      void *(*fn)(void *))
{
    vthread_attr_t attr = {.flags = kind == OWN ? VTHREAD_STACK_OWN : 0};
    call->fn = fn;
    call->kind = kind;
    if (kind == PLATFORM)
        ck_assert_int_eq(pthread_create(&call->pthread, NULL, runs_call, call),
                         0);
    else
        start_attr(attr, runs_call, call);
    while (!atomic_load(&call->handle))
        sched_yield();
    return call;
}

static inline struct call *begin(enum kind kind, void *(*fn)(void *),
                                 vthread_channel_t *c, size_t size, unsigned n)
{
    return begin_call(new_call(c, size, n), kind, fn);
}

/* The same, until it waits. */
static inline struct call *begin_waiting(enum kind kind, void *(*fn)(void *),
                                         vthread_channel_t *c, size_t size,
                                         unsigned n)
{
    struct call *call = begin(kind, fn, c, size, n);
    until_waiting(call->handle);
    return call;
}

static inline int end_call(struct call *call)
{
    if (call->kind == PLATFORM)
        pthread_join(call->pthread, NULL);
    else
        join(call->handle);
    int result = call->result;
    free(call);
    return result;
}

/* ---- One after the other ------------------------------------------------ */

/*
 * Runs fn(arg) as a thread of a scheduler with one carrier.  What it
 * interrupts there is no longer waiting, but does not run, and so does not
 * leave what it waited for, before fn itself waits.
 */
static inline void on_one_carrier(void *(*fn)(void *), void *arg)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, fn, arg));
    shut_down(s);
}

/* For cases in which all virtual threads share one home. */
static inline void share_one_home(void)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
}

/* By _i: threads with own homes for the most part, then all on one. */
static inline void choose_homes(int i)
{
    if (i == 1)
        share_one_home();
}

/* ---- Cases of selects ---------------------------------------------------- */

#define SEND VTHREAD_SELECT_SEND
#define RECEIVE VTHREAD_SELECT_RECEIVE

static inline vthread_select_case_t a_case(vthread_channel_t *c, int op,
                                           void *value)
{
    return (vthread_select_case_t){.channel = c, .op = op, .value = value,
                                   .result = -7};
}

#endif
