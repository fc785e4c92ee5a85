/*
 * layout.c - the object that tells where everything is.
 *
 * All of it is made by the compiler from the structures and names as they
 * are, so it cannot be wrong; what is in it is listed in layout_entries.h.
 *
 * Not here: readers.  They are in tools/.
 */
#include "inspect/layout.h"

#include <stddef.h>

#include "carrier/carrier.h"
#include "continuation/mount.h"
#include "continuation/switch.h"
#include "embed/leak_table.h"
#include "entry.h"
#include "inspect/held.h"
#include "inspect/hog_table.h"
#include "inspect/pin.h"
#include "platform/clock.h"
#include "scheduler.h"
#include "scope/scope_parts.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/waitlist.h"
#include "thread.h"
#include "waits_for.h"

#define LAYOUT_SIZE(object)                                                  \
    {.name = "sizeof " #object, .value = sizeof(struct object)},
#define LAYOUT_FIELD(object, field)                                          \
    {.name = #object "." #field,                                             \
     .size_bytes = sizeof(((struct object *)0)->field),                      \
     .value = offsetof(struct object, field)},
#define LAYOUT_CONSTANT(constant) {.name = #constant, .value = (constant)},
#define LAYOUT_ADDRESS(variable)                                             \
    {.name = "&" #variable, .value = (uintptr_t)&(variable)},

const struct vthread_layout vthread_layout = {
    .magic = LAYOUT_MAGIC,
    .version = LAYOUT_VERSION,
    .entry_bytes = sizeof(struct layout_entry),
    .self = &vthread_layout,
    .library = PACKAGE_VERSION,
    .entries = LAYOUT_ENTRIES,
    .entry = {
#include "inspect/layout_entries.h"
    },
};

#undef LAYOUT_SIZE
#undef LAYOUT_FIELD
#undef LAYOUT_CONSTANT
#undef LAYOUT_ADDRESS

_Static_assert(sizeof(struct chunk) == offsetof(struct chunk, bytes),
               "the frames in a chunk begin where the object ends");

/* The longest name fits, with its end. */
#define LAYOUT_SIZE(object)                                                  \
    _Static_assert(sizeof "sizeof " #object <= 40, #object);
#define LAYOUT_FIELD(object, field)                                          \
    _Static_assert(sizeof #object "." #field <= 40, #field);
#define LAYOUT_CONSTANT(constant)                                            \
    _Static_assert(sizeof #constant <= 40, #constant);
#define LAYOUT_ADDRESS(variable)                                             \
    _Static_assert(sizeof "&" #variable <= 40, #variable);
#include "inspect/layout_entries.h"
