/*
 * settings.h - what the environment asks for, read once.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>

#include "continuation/continuation.h"

/* What follows the report of a deadlock. */
enum deadlock_mode { DEADLOCK_EXIT, DEADLOCK_REPORT, DEADLOCK_OFF };

/* What happens to episodes of pinned threads. */
enum pin_mode { PIN_QUIET, PIN_REPORT, PIN_ABORT, PIN_OFF };

struct settings {
    unsigned parallelism;      /* VTHREAD_PARALLELISM; 0: the processors */
    unsigned max_carriers;     /* VTHREAD_MAX_CARRIERS */
    unsigned idle_ms;          /* VTHREAD_IDLE_MS; 0: for ever */
    unsigned own_limit;        /* VTHREAD_OWN_LIMIT */
    unsigned common_homes;     /* VTHREAD_COMMON_HOMES, for each carrier */
    enum freeze_mode freeze;   /* VTHREAD_FREEZE=lazy|eager|guard */
    bool migrate_always;       /* VTHREAD_MIGRATE=always */
    unsigned hog_ms;           /* VTHREAD_HOG_MS; 0: hogs are not looked for */
    bool report_hogs;          /* VTHREAD_REPORT=hogs */
    bool io_uring;             /* VTHREAD_IO_URING=on|off */
    enum deadlock_mode deadlock; /* VTHREAD_DEADLOCK=exit|report|off */
    unsigned call_threads;     /* VTHREAD_CALL_THREADS */
    char control[104];         /* VTHREAD_CONTROL=1|@NAME; "": no socket */
    enum pin_mode pin;         /* VTHREAD_PIN=report|abort|off; unset: quiet */
    unsigned pin_ms;           /* VTHREAD_PIN_MS: shorter ones do not count */
    const char *trace;         /* VTHREAD_TRACE; NULL: not */
    unsigned trace_ms;         /* VTHREAD_TRACE_MS; 0: everything */
    unsigned trace_kb;         /* VTHREAD_TRACE_KB, for each carrier */
};

/* A value that makes no sense is reported and left out. */
const struct settings *settings_get(void);

/* VTHREAD_PIN=off; asked before main, when the rest may not be read yet: the
 * program may still change it. */
bool settings_is_pin_off(void);

#endif
