/*
 * signature.h - prepared signatures, inside the library.
 */
#ifndef SIGNATURE_H
#define SIGNATURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vthread/call.h>

#include "platform/atomics.h"

/* I: before publication; A: atomic; L: under the lock of the cache. */
struct vthread_signature {
    ffi_cif cif;                    /* I: what the function gets */
    ffi_type **given;               /* I: what the caller stores; differs
                                       where a variadic is promoted */
    const char *text;               /* I: NULL: of types */
    bool is_promoting;              /* I: some differ */
    bool is_small;                  /* I: the result is an integer that is
                                       shorter than an ffi_arg */
    bool is_variadic;               /* I */
    _Atomic uint32_t users;         /* A: of one of types */
    uint32_t hash;                  /* I */
    struct vthread_signature *next; /* L; then I */
    uint64_t strings[2];            /* I: a bit for each "s" */
};

_Static_assert(VTHREAD_SIGNATURE_MAX < 128, "each has its bit");

static inline bool signature_is_string(const struct vthread_signature *s,
                                       unsigned argument)
{
    return s->strings[argument / 64] >> argument % 64 & 1;
}

/* Keeps it while a call is under way; the last one frees it. */
void signature_retain(struct vthread_signature *s);
void signature_release(struct vthread_signature *s);

/* The integer of that type at `from`, or to be put to `to`, as an ffi_arg,
 * which is how libffi returns it. */
static inline void signature_store_small(const ffi_type *type, void *to,
                                         ffi_arg value)
{
    if (likely(type->size == 4))
        *(uint32_t *)to = (uint32_t)value;
    else if (type->size == 2)
        *(uint16_t *)to = (uint16_t)value;
    else
        *(uint8_t *)to = (uint8_t)value;
}

ffi_arg signature_load_small(const ffi_type *type, const void *from);

void signature_call_promoting(const struct vthread_signature *s,
                              void (*fn)(void), void *result,
                              void *const args[]);

/* Calls fn; nothing else. */
static inline void signature_call(const struct vthread_signature *s,
                                  void (*fn)(void), void *result,
                                  void *const args[])
{
    ffi_cif *cif = (ffi_cif *)&s->cif;
    ffi_arg small;
    if (unlikely(s->is_promoting)) {
        signature_call_promoting(s, fn, result, args);
    } else if (!s->is_small) {
        ffi_call(cif, fn, result, (void **)args);
    } else {
        ffi_call(cif, fn, &small, (void **)args);
        if (result)
            signature_store_small(cif->rtype, result, small);
    }
}

#endif
