/*
 * unwinder.h - libgcc's unwinder, as far as it walks stacks.
 *
 * musl-gcc cannot link it: it has the one of glibc's compiler, which calls
 * into glibc.  Walks find nothing there.
 */
#ifndef PLATFORM_UNWINDER_H
#define PLATFORM_UNWINDER_H

#include <stdbool.h>
#include <unwind.h>

/* Whether a signal's handler may walk, whatever it interrupts: since glibc
 * 2.35 tables are found without a lock. */
bool unwinder_takes_no_lock(void);

#if defined HAVE_UNWINDER
enum { UNWINDER_WALKS = 1 };
#else
enum { UNWINDER_WALKS = 0 };
static inline _Unwind_Reason_Code
unwinder_finds_nothing(_Unwind_Trace_Fn visit, void *argument)
{
    (void)visit, (void)argument;
    return _URC_END_OF_STACK;
}
#define _Unwind_Backtrace(visit, argument)                                    \
    unwinder_finds_nothing(visit, argument)
#define _Unwind_GetIP(context) ((void)(context), (_Unwind_Ptr)0)
#define _Unwind_GetCFA(context) ((void)(context), (_Unwind_Word)0)
#define _Unwind_GetRegionStart(context) ((void)(context), (_Unwind_Ptr)0)
#define _Unwind_FindEnclosingFunction(pc) ((void)(pc), (void *)0)
#endif

#endif
