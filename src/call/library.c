/*
 * library.c - dlopen and dlclose, in place, with their words.
 *
 * dlerror's text is the OS thread's: it is copied before that may change.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include <vthread/library.h>
#include <vthread/time.h>

#include "io/in_place.h"

struct library_call {
    const char *path;
    int flags;
    void *handle;
    char *message;
    size_t size_bytes;
};

static long fail(struct library_call *c)
{
    const char *text = dlerror();
    if (c->message)
        snprintf(c->message, c->size_bytes, "%s", text ? text : "");
    errno = ELIBACC;
    return -1;
}

static long make_open(void *arg)
{
    struct library_call *c = arg;
    c->handle = dlopen(c->path, c->flags);
    return c->handle ? 0 : fail(c);
}

static long make_close(void *arg)
{
    struct library_call *c = arg;
    return dlclose(c->handle) == 0 ? 0 : fail(c);
}

static int perform(struct library_call *c, long (*make)(void *arg))
{
    if (c->message && c->size_bytes > 0)
        c->message[0] = '\0';
    return in_place(BLOCKING_LONG, VTHREAD_NEVER, make, c, NULL);
}

int vthread_dlopen(const char *path, int flags, void **handle, char *message,
                   size_t size_bytes)
{
    struct library_call call = {.path = path,
                                .flags = flags,
                                .message = message,
                                .size_bytes = size_bytes};
    if (!handle)
        return EINVAL;
    int err = perform(&call, make_open);
    if (err == 0)
        *handle = call.handle;
    return err;
}

int vthread_dlclose(void *handle, char *message, size_t size_bytes)
{
    struct library_call call = {
        .handle = handle, .message = message, .size_bytes = size_bytes};
    if (!handle)
        return EINVAL;
    return perform(&call, make_close);
}
