/*
 * dump_hogs.c - threads that kept their carrier, or a common home, while others
 * waited for it.
 *
 * The library keeps the last of them, each with its stack of then, in a table
 * that is written by others: src/inspect/hog_table.h.  A record is what was
 * written if its number is even, and the same after the reading.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"
#include "image.h"
#include "json.h"
#include "stacks.h"
#include "symbols.h"

enum { NAME_BYTES = 120, RECORDS_MAX = 1024, TRIES = 3 };

/* A copy, and the library's fields of it. */
struct hog {
    const struct library *library;
    char *bytes;
};

static uint64_t field(const struct hog *hog, enum layout_number number)
{
    return library_field(hog->library, hog->bytes, number);
}

/* ---- Reading ------------------------------------------------------------ */

static bool read_once(const struct dump *dump, const struct hog *hog,
                      uint64_t address)
{
    const struct image *image = dump->snapshot.image;
    uint64_t after, at = hog->library->value[AT_hog_record_number];
    if (!image_read(image, address, hog->bytes,
                    hog->library->value[SIZE_hog_record])
        || !image_read(image, address + at, &after, sizeof after))
        return false;
    uint64_t number = field(hog, AT_hog_record_number);
    return number != 0 && number % 2 == 0 && number == after;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = field(a, AT_hog_record_number);
    uint64_t right = field(b, AT_hog_record_number);
    return left < right ? -1 : left > right;
}

/* Those that there are, the latest last; how many.  To be freed one by one. */
static size_t read_all(const struct dump *dump, struct hog *hogs)
{
    const struct library *library = &dump->snapshot.library;
    uint64_t size = library->value[SIZE_hog_record];
    size_t count = 0;
    for (uint64_t i = 0;
         i < library->value[IS_HOG_RECORDS] && count < RECORDS_MAX; i++) {
        struct hog *hog = &hogs[count];
        bool is_there = false;
        *hog = (struct hog){library, malloc(size)};
        for (int j = 0; hog->bytes && j < TRIES && !is_there; j++)
            is_there = read_once(dump, hog,
                                 library->value[ADDRESS_hog_table] + i * size);
        if (is_there)
            count++;
        else
            free(hog->bytes);
    }
    qsort(hogs, count, sizeof *hogs, by_number);
    return count;
}

static void visit_all(struct dump *dump, void *arg,
                      void (*visit)(struct dump *dump, const struct hog *hog,
                                    void *arg))
{
    struct hog *hogs = calloc(RECORDS_MAX, sizeof *hogs);
    size_t count = hogs ? read_all(dump, hogs) : 0;
    for (size_t i = 0; i < count; i++) {
        visit(dump, &hogs[i], arg);
        free(hogs[i].bytes);
    }
    free(hogs);
}

/* ---- What a record says ------------------------------------------------- */

static uint64_t handle_of(const struct hog *hog)
{
    return ~field(hog, AT_hog_record_inverted_handle);
}

static const char *name_of(const struct hog *hog)
{
    char *name = hog->bytes + hog->library->value[AT_hog_record_name];
    name[hog->library->size_bytes[AT_hog_record_name] - 1] = '\0';
    return name;
}

/* Its frames; to be freed; NULL: none are known. */
static struct stack *stack_of(const struct hog *hog)
{
    const char *from = hog->bytes + hog->library->value[AT_hog_record_frame];
    uint64_t most = hog->library->value[IS_HOG_FRAMES];
    uint64_t count = field(hog, AT_hog_record_frames);
    if (count > most)
        count = most;
    struct stack *stack =
        count > 0 ? malloc(sizeof *stack + count * sizeof stack->pc[0]) : NULL;
    if (!stack)
        return NULL;
    *stack = (struct stack){.depth = (uint32_t)count, .is_cut = count == most};
    memcpy(stack->pc, from, count * sizeof stack->pc[0]);
    return stack;
}

/* -1: nobody knows what time it is, or was. */
static int64_t ago_ns(const struct dump *dump, const struct hog *hog)
{
    uint64_t now_ns = dump->snapshot.taken_ns;
    uint64_t told_ns = field(hog, AT_hog_record_told_ns);
    if (now_ns == 0)
        return -1;
    return now_ns > told_ns ? (int64_t)(now_ns - told_ns) : 0;
}

static bool is_in_call(const struct hog *hog, int32_t *number)
{
    *number = (int32_t)field(hog, AT_hog_record_system_call);
    return *number >= 0;
}

/* ---- Text --------------------------------------------------------------- */

static void write_hog(struct dump *dump, const struct hog *hog, void *is_first)
{
    const char *name = name_of(hog);
    bool holds_home = field(hog, AT_hog_record_holds_home);
    uint64_t waiting = field(hog, AT_hog_record_waiting);
    int64_t ago = ago_ns(dump, hog);
    int32_t call;
    if (*(bool *)is_first)
        printf("\nThe last that kept what others waited for\n");
    *(bool *)is_first = false;
    printf("  thread %" PRIu64 "%s%s%s, on %s for %.0f ms",
           handle_of(hog), *name ? " '" : "", name,
           *name ? "'" : "", holds_home ? "a common home" : "its carrier",
           (double)field(hog, AT_hog_record_held_ns) / 1e6);
    if (ago >= 0)
        printf(", %.1f s ago", (double)ago / 1e9);
    printf("; %" PRIu64 " %s", waiting,
           holds_home ? "waited for it" : "or more were ready to run");
    if (is_in_call(hog, &call))
        printf("; in system call %d", (int)call);
    printf("\n");
    struct stack *stack = stack_of(hog);
    if (stack)
        dump_stack(dump, stack, dump_frame_text, NULL);
    free(stack);
}

void dump_hogs_text(struct dump *dump)
{
    bool is_first = true;
    visit_all(dump, &is_first, write_hog);
}

/* ---- JSON --------------------------------------------------------------- */

static void put_stack(struct json *json, const struct dump *dump,
                      const struct hog *hog)
{
    struct stack *stack = stack_of(hog);
    json_open_array(json, "stack");
    if (stack)
        dump_stack(dump, stack, dump_frame_json, json);
    json_close_array(json);
    if (stack && stack->is_cut)
        json_bool(json, "cut", true);
    free(stack);
}

static void put_hog(struct dump *dump, const struct hog *hog, void *arg)
{
    struct json *json = arg;
    char entry[NAME_BYTES];
    int64_t ago = ago_ns(dump, hog);
    int32_t call;
    json_open_object(json, NULL);
    json_text(json, "keeps",
              field(hog, AT_hog_record_holds_home) ? "home" : "carrier");
    json_unsigned(json, "thread", handle_of(hog));
    if (*name_of(hog))
        json_text(json, "name", name_of(hog));
    dump_function(dump, field(hog, AT_hog_record_fn), entry, sizeof entry);
    json_text(json, "entry", entry);
    json_unsigned(json, "held_ns", field(hog, AT_hog_record_held_ns));
    json_unsigned(json, "others_ready_ns",
                  field(hog, AT_hog_record_starved_ns));
    json_unsigned(json, "waiting", field(hog, AT_hog_record_waiting));
    if (ago >= 0)
        json_number(json, "ago_ns", ago);
    if (is_in_call(hog, &call))
        json_number(json, "system_call", call);
    put_stack(json, dump, hog);
    json_close_object(json);
}

void dump_hogs_json(struct dump *dump, struct json *json)
{
    json_open_array(json, "hogs");
    visit_all(dump, json, put_hog);
    json_close_array(json);
}
