/*
 * waits_for.h - what a thread waits for, in a byte of the thread object.
 *
 * It is stored before each wait.  For reports only, but for FOR_TIME and
 * FOR_OUTSIDE; describe.c has the words.
 */
#ifndef WAITS_FOR_H
#define WAITS_FOR_H

enum waits_for {
    FOR_LISTED, /* thread->wait_on tells: see waiting.h */
    FOR_UNPARK,
    FOR_TIME,   /* the deadline is what it waits for */
    FOR_END,    /* of the thread that is thread->wait_on */
    FOR_CHANNEL,
    FOR_SEVERAL, /* channels or futures */
    FOR_FUTURE,
    FOR_SCOPE,
    /* From here on others than threads may end the wait. */
    FOR_OUTSIDE,
    FOR_DESCRIPTOR = FOR_OUTSIDE,
    FOR_POLL,
    FOR_FILE,
    FOR_SIGNAL,
    FOR_CALL,    /* a foreign call made elsewhere */
    FOR_CERTAIN, /* thread_wait_out: somebody is about to end it */
    FOR_KINDS,
    FOR_NOTHING = 255, /* it has been mounted while it was recorded, and has
                          not begun to wait since: inspect/trace.c */
};

#endif
