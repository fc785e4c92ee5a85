/*
 * control_leaks.c - the command leaks: looks for threads that nothing can ever
 * wake, in records.
 *
 *     leak thread=... name=... entry=... fn=... created_by=...
 *          waits_for=... object_kind=... object=... frames=4711,4712
 *     leaks count=1
 *
 * frames are return addresses, the innermost first, in decimal like all
 * numbers; fn, created_by and object are 0 where they are not known.  Names of
 * functions beyond `entry` are for the reader to find.
 *
 * The handles are in these lines as digits, so that the next look does not
 * find them there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "embed/gc.h"
#include "inspect/control.h"
#include "inspect/control_protocol.h"
#include "inspect/record.h"
#include "platform/memory.h"
#include "platform/panic.h"

#define LEAKS_DEFAULT 1000
#define DIGITS_MAX 21 /* and a comma */

struct list {
    struct records records;
    unsigned long left;
};

static void add_frames(struct records *records, const vthread_gc_leak_t *leak)
{
    char text[VTHREAD_GC_LEAK_FRAMES * DIGITS_MAX + 1] = "";
    size_t used = 0;
    for (unsigned i = 0; i < leak->frame_count; i++) {
        format_text(text + used, sizeof text - used, i > 0 ? ",%llu" : "%llu",
                    (unsigned long long)(uintptr_t)leak->frames[i]);
        used += strlen(text + used);
    }
    record_text(records, "frames", text);
}

static bool add_leak(const vthread_gc_leak_t *leak, void *argument)
{
    struct list *list = argument;
    struct records *records = &list->records;
    if (list->left == 0)
        return false;
    list->left--;
    record_begin(records, "leak");
    record_number(records, "thread", leak->thread);
    record_text(records, "name", leak->name);
    control_add_entry(records, leak->entry);
    record_number(records, "created_by", (uintptr_t)leak->created_by);
    record_text(records, "waits_for", leak->waits ? leak->waits : "");
    record_text(records, "object_kind",
                leak->object_kind ? leak->object_kind : "");
    record_number(records, "object", (uintptr_t)leak->object);
    add_frames(records, leak);
    record_end(records);
    return true;
}

int control_serve_leaks(struct control_client *client, const char *arguments)
{
    struct list list = {.left = LEAKS_DEFAULT};
    char *end = NULL;
    size_t count;
    if (*arguments)
        list.left = strtoul(arguments, &end, 10);
    if ((end && *end) || list.left > CONTROL_THREADS_MAX)
        return EINVAL;
    int err = gc_leaks_each(add_leak, &list, &count);
    if (err != 0) {
        memory_free(list.records.bytes);
        return err;
    }
    record_begin(&list.records, "leaks");
    record_number(&list.records, "count", count);
    record_end(&list.records);
    return control_send_records(client, &list.records);
}
