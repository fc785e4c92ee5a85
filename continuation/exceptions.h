/*
 * exceptions.h - what the runtime of C++ keeps for each OS thread.
 *
 * That is which exceptions are being handled and how many are on their way,
 * and so it belongs to the frames: a continuation that yields in a catch
 * block or in a destructor takes it along, in its own frame, and leaves the
 * OS thread without any.  While none is handled, which is nearly always,
 * that costs a program in C++ three loads for each yield; one in C, one.
 *
 * The runtime is known if the program is linked with it.
 */
#ifndef CONTINUATION_EXCEPTIONS_H
#define CONTINUATION_EXCEPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* __cxa_eh_globals, as "Itanium C++ ABI: Exception Handling" has it. */
struct exceptions {
    void *caught;      /* a list, the innermost first */
    unsigned uncaught; /* how many */
};

/* The calling OS thread's; they stay where they are.  NULL: no C++ here. */
struct exceptions *exceptions_self(void);

static inline bool exceptions_any(const struct exceptions *here)
{
    return here && ((uintptr_t)here->caught | here->uncaught) != 0;
}

/* Takes them away; none are left there. */
static inline struct exceptions exceptions_take(struct exceptions *here)
{
    struct exceptions taken = {0};
    if (exceptions_any(here)) {
        taken = *here;
        *here = (struct exceptions){0};
    }
    return taken;
}

/* Puts them where there are none. */
static inline void exceptions_put(struct exceptions *here,
                                  const struct exceptions *taken)
{
    if (exceptions_any(taken))
        *here = *taken;
}

#endif
