/*
 * panic.h - the last words of the process, and words to the user.
 *
 * Both print one line with one write to standard error, "vthread: " before
 * it; neither allocates nor locks, so both work in a signal handler.  The
 * formats known are %s %d %u %x %p %c %% and l, ll, z before d, u, x.
 */
#ifndef PLATFORM_PANIC_H
#define PLATFORM_PANIC_H

#include <stdarg.h>
#include <stddef.h>

/* Describes who is running, "thread 5 'reader' (RUNNING)", for panics.
 * Set by the floor that knows; called with a buffer to fill. */
extern void (*panic_describe_self)(char *buffer, size_t size_bytes);

/* Reports misuse or a broken invariant, and aborts.  Second line: the
 * running thread, as panic_describe_self tells. */
_Noreturn void panic(const char *format, ...)
    __attribute__((format(printf, 1, 2), cold));

/* Tells the user something and goes on. */
void report(const char *format, ...)
    __attribute__((format(printf, 1, 2), cold));

/* snprintf with the formats above, safe in a signal handler; always ends
 * with a 0 and returns the length stored. */
size_t format_text(char *buffer, size_t size_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with its arguments in a list. */
size_t format_text_list(char *buffer, size_t size_bytes, const char *format,
                        va_list *args);

/* A reader's way to state an invariant that costs nothing in a release. */
#ifdef VTHREAD_CHECKED
#define invariant(condition)                                                  \
    ((condition) ? (void)0                                                    \
                 : panic("%s:%d: broken invariant: %s", __FILE__, __LINE__,   \
                         #condition))
#else
#define invariant(condition) ((void)0)
#endif

#endif
