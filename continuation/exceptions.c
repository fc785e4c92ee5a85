/*
 * exceptions.c - where the runtime of C++ keeps what it keeps for an OS
 * thread.
 *
 * Each OS thread asks once, in this function of its own: compilers take
 * __cxa_get_globals for one whose answer does not change, so who asked it
 * before a switch would use the answer after it, on another OS thread.
 */
#include "continuation/exceptions.h"

/* Of the C++ ABI.  Weak: it is there if the program has C++ in it. */
struct exceptions *__cxa_get_globals(void) __attribute__((weak));

struct exceptions *exceptions_self(void)
{
    return __cxa_get_globals ? __cxa_get_globals() : NULL;
}
