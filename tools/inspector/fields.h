/*
 * fields.h - reads the records of src/inspect/control_protocol.h.
 *
 *     struct fields fields;
 *     while (fields_next(&text, &fields))
 *         if (strcmp(fields.kind, "carrier") == 0)
 *             number = fields_number(&fields, "number");
 */
#ifndef FIELDS_H
#define FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#define FIELDS_MAX 40

/* Points into the text that it was read from. */
struct fields {
    const char *kind;
    unsigned count;
    struct field {
        const char *name, *value;
    } field[FIELDS_MAX];
};

/* Takes the next line from *text, which it cuts into pieces, and moves *text
 * behind it.  False: there is no whole line any more. */
bool fields_next(char **text, struct fields *fields);

/* NULL, or 0: there is no such field. */
const char *fields_text(const struct fields *fields, const char *name);
uint64_t fields_number(const struct fields *fields, const char *name);

#endif
