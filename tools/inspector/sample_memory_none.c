/*
 * sample_memory_none.c - without libdw and libelf no process is read: only
 * the control socket tells.
 */
#include "inspector.h"
#include "sample.h"

int sample_memory_open(struct sample_memory **memory,
                       const struct target *target)
{
    (void)memory;
    complain("process %d has no control socket (VTHREAD_CONTROL=1), and this "
             "tool was built\n  without libdw, by which it could read its "
             "memory",
             (int)target->pid);
    return STATUS_TARGET;
}

void sample_memory_close(struct sample_memory *memory)
{
    (void)memory;
}

int sample_by_memory(struct sample_memory *memory, struct places *names,
                     struct sample *sample, bool with_threads)
{
    (void)memory;
    (void)names;
    (void)sample;
    (void)with_threads;
    return STATUS_FAILED;
}
