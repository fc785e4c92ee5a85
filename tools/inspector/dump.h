/*
 * dump.h - what `vthread dump` has found, for those who write it down.
 */
#ifndef DUMP_H
#define DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "groups.h"
#include "relations.h"
#include "snapshot.h"

struct symbols;

struct dump_options {
    bool is_json, is_census, is_each, is_full, is_leaked;
    const char *program; /* of a core file; NULL: as that says */
    const char *target;  /* as on the command line */
};

struct dump {
    struct dump_options options;
    pid_t pid;
    bool is_core;
    struct snapshot snapshot;
    size_t thread_count; /* of which the snapshot has some: dump_leaks.c */
    struct symbols *symbols;
    uint64_t layout;          /* the address of vthread_layout */
    const char *library_file; /* of the shared library; NULL: the archive */
    struct groups groups;
    struct circles circles;
};

void dump_text(struct dump *dump);
void dump_json(struct dump *dump);

/* ---- Words, for both: dump_words.c -------------------------------------- */

/* "running", "in a call" ... */
const char *dump_state(const struct seen_thread *t);

/* "pthread mutex" ..., of a tracked lock. */
const char *dump_lock_kind(const struct dump *dump, uint32_t kind);

/* "mutex", "channel", "time" ...; NULL: it does not wait. */
const char *dump_wait_kind(const struct dump *dump,
                           const struct seen_thread *t);

/* "thread 4294967297 'reader'". */
void dump_name(const struct seen_thread *t, char *buffer, size_t size_bytes);

/* "waits for mutex 0x10 held by thread 5"; with neither object nor holder if
 * those of the group differ.  Empty: it does not wait. */
void dump_wait(const struct dump *dump, const struct seen_thread *t,
               bool with_object, bool with_holder, char *buffer,
               size_t size_bytes);

/* The name of a function, or its address and module. */
void dump_function(const struct dump *dump, uint64_t fn, char *buffer,
                   size_t size_bytes);

/* Where a call is that returns there, as symbols_describe tells it. */
void dump_place(const struct dump *dump, uint64_t site, char *buffer,
                size_t size_bytes);

/* Calls visit for each frame of interest, the innermost first, inlined ones
 * too: those of the program, and the functions of the library that it has
 * called; all with --full, or if there are no others. */
struct symbol;
void dump_frames(const struct dump *dump, uint32_t stack,
                 void (*visit)(void *arg, const struct symbol *symbol,
                               uint64_t pc),
                 void *arg);

/* The same of a stack that is not among those of the snapshot. */
struct stack;
void dump_stack(const struct dump *dump, const struct stack *stack,
                void (*visit)(void *arg, const struct symbol *symbol,
                              uint64_t pc),
                void *arg);

/* A visit, for text and for JSON (arg is that). */
void dump_frame_text(void *unused, const struct symbol *symbol, uint64_t pc);
void dump_frame_json(void *json, const struct symbol *symbol, uint64_t pc);

/* ---- The census: dump_census.c ------------------------------------------ */

void dump_census_text(struct dump *dump);
struct json;
void dump_census_json(struct dump *dump, struct json *json);

/* ---- Hogs: dump_hogs.c -------------------------------------------------- */

/* Those that the library has seen last, where each was then. */
void dump_hogs_text(struct dump *dump);
void dump_hogs_json(struct dump *dump, struct json *json);

/* ---- Leaks: dump_leaks.c ------------------------------------------------ */

/* Has the snapshot forget all threads but those of which the library has found
 * that nothing can wake them.  STATUS_FINE, or a status and a complaint. */
int dump_keep_leaked(struct dump *dump);

/* ---- Scopes: dump_scopes.c ---------------------------------------------- */

void dump_scopes_text(struct dump *dump);
void dump_scopes_json(struct dump *dump, struct json *json);

#endif
