/*
 * fields.c - records, cut into pieces where they lie.  Values become shorter
 * by that, never longer.
 */
#include "fields.h"

#include <stdlib.h>
#include <string.h>

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Makes characters of %xx. */
static void unescape(char *text)
{
    char *to = text;
    for (char *from = text; *from; from++) {
        int high = *from == '%' ? digit(from[1]) : -1;
        int low = high >= 0 ? digit(from[2]) : -1;
        if (low >= 0) {
            *to++ = (char)(high << 4 | low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static void add(struct fields *fields, char *word)
{
    char *value = strchr(word, '=');
    if (!value || fields->count == FIELDS_MAX)
        return;
    *value++ = '\0';
    unescape(value);
    fields->field[fields->count++] = (struct field){word, value};
}

bool fields_next(char **text, struct fields *fields)
{
    char *line = *text, *end = strchr(line, '\n');
    if (!end)
        return false;
    *end = '\0';
    *text = end + 1;
    fields->count = 0;
    fields->kind = strsep(&line, " ");
    for (char *word; (word = strsep(&line, " ")) != NULL;)
        add(fields, word);
    return true;
}

const char *fields_text(const struct fields *fields, const char *name)
{
    for (unsigned i = 0; i < fields->count; i++)
        if (strcmp(fields->field[i].name, name) == 0)
            return fields->field[i].value;
    return NULL;
}

uint64_t fields_number(const struct fields *fields, const char *name)
{
    const char *value = fields_text(fields, name);
    return value ? strtoull(value, NULL, 10) : 0;
}
