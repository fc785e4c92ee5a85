/*
 * record.h - writes the records of control_protocol.h into memory.
 *
 *     struct records records = {0};
 *     record_begin(&records, "carrier");
 *     record_number(&records, "number", 0);
 *     record_text(&records, "name", "reader");
 *     record_end(&records);
 *     if (!records.has_failed)
 *         send(records.bytes, records.used);
 *     memory_free(records.bytes);
 */
#ifndef INSPECT_RECORD_H
#define INSPECT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct records {
    char *bytes; /* memory_alloc's */
    size_t used, size;
    bool has_failed; /* there was no memory: what follows is left out */
};

void record_begin(struct records *records, const char *kind);
void record_number(struct records *records, const char *field,
                   uint64_t number);
void record_text(struct records *records, const char *field, const char *text);
void record_end(struct records *records);

#endif
