/*
 * call_site.c - what does not change from call to call, and what AUTO learns.
 *
 * Learning.  Two clock readings cost as much as a short call, so one call in 64
 * is timed, by a number of chance that each OS thread has for itself:
 * nothing that carriers share is written at the other calls.  A count of the
 * site's would be exact, and would be the cache line that all of them want;
 * one for each OS thread would always meet the same of two sites that take
 * turns.  The first calls are timed besides: most sites are not used often.
 *
 * A call counts as long from LONG_NS, what a switch of carriers costs; as
 * short below SHORT_NS; between the two it says nothing.  LONG_RUN of the one
 * kind without one of the other change the site's mind, SHORT_RUN change it
 * back: so a single slow moment of the machine does not.
 */
#include "call/call_site.h"

#include <errno.h>

#include "call/signature.h"
#include "platform/panic.h"

enum {
    LONG_NS = 20000,
    SHORT_NS = 5000,
    LONG_RUN = 3,
    SHORT_RUN = 8,
    FIRST = 4,
};

_Static_assert(sizeof(struct site) == sizeof(vthread_call_site_t)
                   && offsetof(struct site, last_ns)
                          == offsetof(vthread_call_site_t, counts[4]),
               "the public site is the same");

/* ---- Checks ------------------------------------------------------------- */

bool site_tells(struct site *site, uint32_t told)
{
    /* Relaxed: who was first is all that matters. */
    return !(atomic_fetch_or_explicit(&site->state, told,
                                      memory_order_relaxed)
             & told);
}

static bool is_integer(const ffi_type *type)
{
    return type->type == FFI_TYPE_INT
           || (type->type >= FFI_TYPE_UINT8
               && type->type <= FFI_TYPE_SINT64);
}

static const char *fault_of_pointer(const struct vthread_call_pointer *p,
                                    const ffi_cif *cif)
{
    if (p->argument >= cif->nargs
        || cif->arg_types[p->argument]->type != FFI_TYPE_POINTER)
        return "an argument that is declared is no pointer";
    if (p->direction < VTHREAD_CALL_IN || p->direction > VTHREAD_CALL_INOUT)
        return "a pointer is declared neither IN nor OUT nor INOUT";
    if (p->size_bytes == 0
        && (p->size_argument >= cif->nargs
            || !is_integer(cif->arg_types[p->size_argument])))
        return "a size is declared that is no integer";
    return NULL;
}

/* NULL: none. */
static const char *fault_of(const struct site *site, const ffi_cif *cif)
{
    const char *fault = NULL;
    if (site->policy > VTHREAD_CALL_DETACHED)
        return "there is no such policy";
    if (site->flags & ~(VTHREAD_CALL_INTERRUPTIBLE | VTHREAD_CALL_NOWAIT))
        return "there is no such flag";
    if (site->policy == VTHREAD_CALL_CRITICAL
        && site->flags & VTHREAD_CALL_INTERRUPTIBLE)
        return "a critical call cannot be interruptible: it never blocks";
    if (site->pointer_count > 0 && !site->pointers)
        return "pointers are counted that are not there";
    for (size_t i = 0; i < site->pointer_count && !fault; i++)
        fault = fault_of_pointer(&site->pointers[i], cif);
    return fault;
}

static int refuse(struct site *site, const char *fault)
{
    if (site_tells(site, SITE_TOLD_BAD))
        report("vthread_call: the site at %p is refused: %s", (void *)site,
               fault);
    return EINVAL;
}

static int refuse_text(struct site *site,
                       const vthread_signature_error_t *error)
{
    if (site_tells(site, SITE_TOLD_BAD))
        report("vthread_call: the signature \"%s\" is refused: %s, at "
               "\"%s\"",
               site->text, error->message, site->text + error->position);
    return EINVAL;
}

int site_check(struct site *site)
{
    vthread_signature_error_t error;
    struct vthread_signature *s = site->prepared;
    if (site->text) {
        int err = vthread_signature_parse(&s, site->text, &error);
        if (err != 0)
            return err == EINVAL ? refuse_text(site, &error) : err;
    }
    if (!s)
        return refuse(site, "it has no signature");
    const char *fault = fault_of(site, &s->cif);
    if (fault)
        return refuse(site, fault);
    /* Release: publishes the signature; pairs with site_signature. */
    atomic_store_explicit(&site->checked, s, memory_order_release);
    return 0;
}

const struct vthread_call_pointer *site_pointer(const struct site *site,
                                                unsigned argument)
{
    for (size_t i = 0; i < site->pointer_count; i++)
        if (site->pointers[i].argument == argument)
            return &site->pointers[i];
    return NULL;
}

/* ---- Learning ----------------------------------------------------------- */

/* Relaxed, all of it: numbers that order nothing. */
static uint64_t count(_Atomic uint64_t *counter)
{
    return atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t read_count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* One more call of that kind. */
static void note_kind(struct site *site, bool is_long)
{
    uint32_t state = atomic_load_explicit(&site->state,
                                          memory_order_relaxed);
    uint32_t changed;
    do {
        changed = state % SITE_IN_A_ROW;
        if (is_long != !!(state & SITE_LONG)) {
            uint32_t in_a_row = state / SITE_IN_A_ROW + 1;
            if (in_a_row == (is_long ? LONG_RUN : SHORT_RUN))
                changed ^= SITE_LONG;
            else
                changed += in_a_row * SITE_IN_A_ROW;
        }
        if (changed == state)
            return;
    } while (!atomic_compare_exchange_weak_explicit(
        &site->state, &state, changed, memory_order_relaxed,
        memory_order_relaxed));
    if ((state ^ changed) & SITE_LONG)
        count(&site->changes);
}

void site_note_time(struct site *site, uint64_t ns)
{
    if (count(&site->timed) + 1 == FIRST)
        atomic_fetch_or_explicit(&site->state, SITE_SEASONED,
                                 memory_order_relaxed);
    atomic_store_explicit(&site->last_ns, ns, memory_order_relaxed);
    if (ns > LONG_NS)
        count(&site->lasted);
    if (ns > LONG_NS || ns < SHORT_NS)
        note_kind(site, ns > LONG_NS);
}

void site_note_taken_over(struct site *site)
{
    count(&site->taken_over);
    note_kind(site, true);
}

int vthread_call_stats(const vthread_call_site_t *site,
                       vthread_call_stats_t *stats)
{
    const struct site *s = (const struct site *)site;
    if (!s || !stats)
        return EINVAL;
    bool has_learnt = s->policy == VTHREAD_CALL_AUTO && site_is_long(s);
    *stats = (vthread_call_stats_t){
        .policy = has_learnt ? VTHREAD_CALL_BLOCKING : s->policy,
        .timed = read_count(&s->timed),
        .lasted = read_count(&s->lasted),
        .taken_over = read_count(&s->taken_over),
        .changes = read_count(&s->changes),
        .last_ns = read_count(&s->last_ns),
    };
    return 0;
}
