/*
 * libc.c - <execinfo.h> for C libraries that have none.
 *
 * Not here: whatever glibc has, where this file is empty; the inline rest is
 * in libc.h.
 */
#include "libc.h"

#if !defined HAVE_EXECINFO_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

#include "system.h"
#include "unwinder.h"

struct walk {
    void **frames;
    int count, capacity;
};

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    void *pc = (void *)_Unwind_GetIP(context);

    if (pc == NULL || w->count == w->capacity)
        return _URC_END_OF_STACK;
    w->frames[w->count++] = pc;
    return _URC_NO_REASON;
}

__attribute__((visibility("hidden"))) int backtrace(void **frames,
                                                    int capacity)
{
    struct walk w = {.frames = frames, .capacity = capacity};

    _Unwind_Backtrace(visit, &w);
    return w.count;
}

/* A line for each, as glibc writes it: object(function+offset) [address]. */
static int describe(const void *pc, char *line, size_t size_bytes)
{
    Dl_info place;

    if (dladdr(pc, &place) == 0 || place.dli_fname == NULL)
        return snprintf(line, size_bytes, "[%p]\n", pc);
    if (place.dli_sname == NULL)
        return snprintf(line, size_bytes, "%s(+%#zx) [%p]\n", place.dli_fname,
                        (size_t)((uintptr_t)pc - (uintptr_t)place.dli_fbase),
                        pc);
    return snprintf(line, size_bytes, "%s(%s+%#zx) [%p]\n", place.dli_fname,
                    place.dli_sname,
                    (size_t)((uintptr_t)pc - (uintptr_t)place.dli_saddr), pc);
}

__attribute__((visibility("hidden"))) void
backtrace_symbols_fd(void *const *frames, int count, int fd)
{
    char line[512];

    for (int i = 0; i < count; i++) {
        int length = describe(frames[i], line, sizeof line);
        if (length >= (int)sizeof line)
            length = (int)sizeof line - 1;
        if (system_write(fd, line, (size_t)length) < 0)
            return;
    }
}

#endif
