/*
 * gc_none.c - built without libgc, or with a sanitizer that does not go with
 * it: there is no collector.
 */
#include <errno.h>

#include <vthread/gc.h>

#include "embed/gc.h"
#include "platform/panic.h"

unsigned gc_os_threads(void)
{
    return 0;
}

int vthread_gc_enable(void)
{
    report("vthread_gc_enable: libvthread was built without libgc, or for "
           "ThreadSanitizer");
    return ENOTSUP;
}

int vthread_gc_leaks(vthread_gc_leak_t *leaks, size_t capacity, size_t *count)
{
    (void)leaks;
    (void)capacity;
    (void)count;
    return EPERM;
}

int gc_leaks_each(bool (*visit)(const vthread_gc_leak_t *leak, void *argument),
                  void *argument, size_t *count)
{
    (void)visit;
    (void)argument;
    (void)count;
    return EPERM;
}

bool gc_is_on(void)
{
    return false;
}
