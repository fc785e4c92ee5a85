/*
 * real_preload.h - ours by libc's names; the real ones are looked for.
 */
#ifndef TRACK_REAL_PRELOAD_H
#define TRACK_REAL_PRELOAD_H

#include <stdatomic.h>

#define OURS(name) TRACK_EXPORT name
#define REAL(name) ((__typeof__(&name))real_address_of(REAL_##name))

#define TRACK_NUMBER(name) REAL_##name,
enum real_function { TRACK_FUNCTIONS(TRACK_NUMBER) REAL_COUNT };

typedef void (*real_address)(void);

extern _Atomic(real_address) real_addresses[REAL_COUNT];

/* Finds the function and remembers it.  Never NULL. */
real_address real_find(enum real_function function);

static inline real_address real_address_of(enum real_function function)
{
    /* Relaxed: what is stored there is code, which was there before. */
    real_address address = atomic_load_explicit(&real_addresses[function],
                                                memory_order_relaxed);
    return TRACK_LIKELY(address != 0) ? address : real_find(function);
}

#endif
