/*
 * leak_table.h - what the last look for leaks has found, for those who look
 * at the process from outside (inspect/layout.h); and who has created whom.
 */
#ifndef EMBED_LEAK_TABLE_H
#define EMBED_LEAK_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct leak_record {
    uint64_t thread;        /* its handle */
    const void *created_by; /* where the creating call returns to; NULL: not
                               known */
};

/* Complete whenever a look has ended.  Readers from outside copy it: `looks`
 * is odd while it is changed. */
struct leak_table {
    uint64_t looks;
    uint64_t count;
    struct leak_record *records;
};

extern struct leak_table leak_table;

/* Room for so many; the old records are gone.  0 or ENOMEM. */
int leak_table_begin(size_t count);
void leak_table_end(void);

/* Prepares for who creates whom; 0 or ENOMEM. */
int leak_table_open(void);
void leak_note_creator(uint32_t number, const void *caller);
const void *leak_creator(uint32_t number);

#endif
