/*
 * record.c - records in memory that grows.
 */
#include "inspect/record.h"

#include <string.h>

#include "platform/memory.h"
#include "platform/panic.h"

#define FIRST_BYTES ((size_t)4096)

static bool has_room(struct records *records, size_t size_bytes)
{
    if (records->has_failed || records->size - records->used >= size_bytes)
        return !records->has_failed;
    size_t size = records->size ? 2 * records->size : FIRST_BYTES;
    while (size - records->used < size_bytes)
        size *= 2;
    char *bytes = memory_alloc(size);
    records->has_failed = !bytes;
    if (!bytes)
        return false;
    if (records->bytes)
        memcpy(bytes, records->bytes, records->used);
    memory_free(records->bytes);
    records->bytes = bytes;
    records->size = size;
    return true;
}

static void add(struct records *records, const char *text)
{
    size_t length = strlen(text);
    if (!has_room(records, length))
        return;
    memcpy(records->bytes + records->used, text, length);
    records->used += length;
}

static void add_escaped(struct records *records, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        char plain[] = {(char)*s, '\0'};
        char escaped[] = {'%', digits[*s >> 4], digits[*s & 15], '\0'};
        bool is_plain = *s > ' ' && *s != '%' && *s != 0x7f;
        add(records, is_plain ? plain : escaped);
    }
}

void record_begin(struct records *records, const char *kind)
{
    add(records, kind);
}

void record_number(struct records *records, const char *field, uint64_t number)
{
    char text[24];
    format_text(text, sizeof text, "%llu", (unsigned long long)number);
    record_text(records, field, text);
}

void record_text(struct records *records, const char *field, const char *text)
{
    add(records, " ");
    add(records, field);
    add(records, "=");
    add_escaped(records, text);
}

void record_end(struct records *records)
{
    add(records, "\n");
}
