/*
 * hog_table.h - the last threads that kept what others wait for, and where
 * they were: for readers from outside, as `vthread dump`.
 */
#ifndef INSPECT_HOG_TABLE_H
#define INSPECT_HOG_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum { HOG_RECORDS = 16, HOG_FRAMES = 16 };

/* All numbers, whoever reads them. */
struct hog_record {
    _Atomic uint64_t number; /* 2 * n: it is there, the nth from 1; odd: being
                                written; 0: there never was one */
    uint64_t inverted_handle; /* of the thread; ~, or it would be found by who
                                 looks for leaks, and the thread with it */
    uint64_t fn;             /* the thread's */
    uint64_t told_ns;        /* when, by the monotonic clock */
    uint64_t held_ns;        /* for how long it had stayed, */
    uint64_t starved_ns;     /* and others had been ready besides */
    uint32_t waiting;        /* how many: for its home, or for a carrier */
    uint32_t holds_home;     /* 1: HOME_HELD; 0: a hog */
    int32_t system_call;     /* it waits in that one; -1: in none */
    uint32_t frames;         /* how many are known */
    uint64_t frame[HOG_FRAMES]; /* the innermost first: instructions, of the
                                   others those of the calls */
    char name[32];           /* of the thread */
};

/* Stores one over the oldest; `number` is given to it.  From any OS thread;
 * never waits: where the place is just being written, it is left out. */
void hog_table_put(const struct hog_record *record);

extern __attribute__((visibility("hidden")))
struct hog_record hog_table[HOG_RECORDS];

#endif
