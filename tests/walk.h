/*
 * walk.h - walks of the caller's own stack, for unwind_test: by libgcc and
 * by libunwind.  That of libdw is in tracer.h.
 *
 * Each fills a struct walk, innermost frame first.  `ended` says that the
 * walker met an end that it knows for one: neither an error, nor an address
 * without unwinding information.
 */
#ifndef TESTS_WALK_H
#define TESTS_WALK_H

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unwind.h>

#ifdef HAVE_LIBUNWIND
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

#include "tests/support.h"

#define WALK_FRAMES 1024

struct walk {
    unsigned depth;
    bool ended;
    char why[96]; /* how it ended else */
    struct walk_frame {
        uintptr_t pc; /* where it goes on */
        uintptr_t sp; /* 0: the walker does not tell */
    } frames[WALK_FRAMES];
};

static inline void walk_begin(struct walk *w)
{
    w->depth = 0;
    w->ended = false;
    snprintf(w->why, sizeof w->why, "no end was reported");
}

__attribute__((format(printf, 2, 3))) static inline void
walk_fails(struct walk *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->why, sizeof w->why, format, arguments);
    va_end(arguments);
}

/* False: there are too many. */
static inline bool walk_add(struct walk *w, uintptr_t pc, uintptr_t sp)
{
    if (w->depth == WALK_FRAMES) {
        walk_fails(w, "more than %d frames", WALK_FRAMES);
        return false;
    }
    w->frames[w->depth++] = (struct walk_frame){pc, sp};
    return true;
}

/* ---- libgcc ------------------------------------------------------------- */

/* libunwind exports functions of the same names, so these are asked for in
 * libgcc itself, as backtrace() of the C library does. */
static struct {
    _Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn, void *);
    _Unwind_Ptr (*get_ip)(struct _Unwind_Context *);
    _Unwind_Word (*get_cfa)(struct _Unwind_Context *);
    void *(*find_function)(void *);
} libgcc;

static inline void *libgcc_name(void *library, const char *name)
{
    void *address = dlsym(library, name);
    ck_assert_msg(address != NULL, "libgcc has no %s", name);
    return address;
}

static inline void libgcc_open(void)
{
    void *library = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    libgcc.backtrace = libgcc_name(library, "_Unwind_Backtrace");
    libgcc.get_ip = libgcc_name(library, "_Unwind_GetIP");
    libgcc.get_cfa = libgcc_name(library, "_Unwind_GetCFA");
    libgcc.find_function =
        libgcc_name(library, "_Unwind_FindEnclosingFunction");
}

/* Where the function begins that this return address lies in. */
static inline const void *walk_function(uintptr_t pc)
{
    return libgcc.find_function((void *)pc);
}

static inline const void *walk_function_at(const struct walk *w, unsigned i)
{
    return i < w->depth ? walk_function(w->frames[i].pc) : NULL;
}

static inline unsigned walk_skip_to(const struct walk *w, unsigned i,
                                    const void *function)
{
    while (i < w->depth && walk_function_at(w, i) != function)
        i++;
    return i;
}

static inline _Unwind_Reason_Code walk_visit(struct _Unwind_Context *context,
                                             void *arg)
{
    struct walk *w = arg;
    uintptr_t pc = libgcc.get_ip(context);
    /* No caller: that the return address is undefined. */
    w->ended = pc == 0;
    if (!w->ended && !walk_add(w, pc, libgcc.get_cfa(context)))
        return _URC_NORMAL_STOP;
    return _URC_NO_REASON;
}

__attribute__((noinline)) static void walk_by_libgcc(struct walk *w)
{
    walk_begin(w);
    _Unwind_Reason_Code code = libgcc.backtrace(walk_visit, w);
    if (code != _URC_END_OF_STACK)
        walk_fails(w, "_Unwind_Backtrace returns %d", code);
    else if (!w->ended)
        walk_fails(w, "no unwinding information for the last frame");
    w->ended = w->ended && code == _URC_END_OF_STACK;
}

/* ---- libunwind ---------------------------------------------------------- */

#ifdef HAVE_LIBUNWIND

__attribute__((noinline)) static void walk_by_libunwind(struct walk *w)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t pc, sp;
    int status;

    walk_begin(w);
    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    do {
        unw_get_reg(&cursor, UNW_REG_IP, &pc);
        unw_get_reg(&cursor, UNW_REG_SP, &sp);
        status = walk_add(w, pc, sp) ? unw_step(&cursor) : -UNW_ESTOPUNWIND;
    } while (status > 0);
    if (status < 0)
        walk_fails(w, "unw_step: %s", unw_strerror(status));
    w->ended = status == 0;
}

#endif

/* ---- What a walk must not find ------------------------------------------- */

__attribute__((noinline)) static void walk_decoy(void)
{
    __asm__ volatile("nop; nop; nop; nop");
}

/* Above the top of a stack is what the last thaw left there. */
static inline void walk_plant_above(char *top)
{
    *(volatile uintptr_t *)top = (uintptr_t)walk_decoy + 1;
}

#endif
