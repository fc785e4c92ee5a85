/*
 * real_preload.c - finding the functions that ours stand before.
 *
 * They are looked for when the library is loaded, or at the first call, by
 * another library's constructor.  dlsym may allocate, and an allocator lock:
 * a lock that is taken inside dlsym is not taken at all.  There is one OS
 * thread then, as far as there can be.
 */
#include "track/track.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

_Atomic(real_address) real_addresses[REAL_COUNT];

#define NAME(name) #name,
static const char *const names[REAL_COUNT] = {TRACK_FUNCTIONS(NAME)};

/* This OS thread is inside dlsym. */
static __thread bool is_looking;

static int do_nothing(void)
{
    return 0;
}

/* A libc that has not got it. */
static int refuse(void)
{
    return ENOSYS;
}

/* dlsym of glibc before 2.36 prefers the oldest of several versions, and the
 * oldest conditions are other objects. */
static void *look_for(const char *name)
{
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    if (!found)
        found = dlsym(RTLD_NEXT, name);
    if (!found)
        dlerror(); /* the program shall not find our failure there */
    return found;
}

/* All of them at once: while they are looked for either all have their effect
 * or none has, or a mutex that dlsym's allocator locks would stay locked. */
static void find_all(void)
{
    real_address found[REAL_COUNT];
    is_looking = true;
    for (int i = 0; i < REAL_COUNT; i++) {
        found[i] = (real_address)look_for(names[i]);
        if (!found[i])
            found[i] = (real_address)refuse;
    }
    /* Relaxed, as in real_address_of; whoever is faster stores the same. */
    for (int i = 0; i < REAL_COUNT; i++)
        atomic_store_explicit(&real_addresses[i], found[i],
                              memory_order_relaxed);
    is_looking = false;
}

real_address real_find(enum real_function function)
{
    if (is_looking)
        return (real_address)do_nothing;
    find_all();
    return atomic_load_explicit(&real_addresses[function],
                                memory_order_relaxed);
}

/* Early: later there may be other OS threads. */
__attribute__((constructor(101))) static void find_early(void)
{
    real_find((enum real_function)0);
}

/* They are libc's, or those of something else that is preloaded. */
bool real_tracks(void)
{
    return false;
}

/* A symbol of ours whose address the loader finds: is it we who are called by
 * that name? */
TRACK_EXPORT bool vthread_pin_is_active(void);

bool vthread_pin_is_active(void)
{
    Dl_info ours, theirs;
    void *found = dlsym(RTLD_DEFAULT, "pthread_mutex_lock");
    return found && dladdr(found, &theirs)
           && dladdr((void *)(size_t)real_find, &ours)
           && ours.dli_fbase == theirs.dli_fbase;
}
