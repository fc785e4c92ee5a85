/*
 * crowd_table.c - the command line of the examples with crowds, and the table
 * that they print, for people or as JSON.
 */
#include "crowd.h"

#include "crowd_table.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 32, OPTIONS = 16 };

static struct {
    const char *key, *unit;
    char label[64];
    double value;
} rows[ROWS];

static unsigned row_count;
static bool is_json;

/*
 * The command line.
 */

static _Noreturn void usage(const char *operands,
                            const struct crowd_option *options, int status)
{
    FILE *out = status == 0 ? stdout : stderr;
    fprintf(out, "usage: %s [OPTION]...%s%s\n", program_invocation_short_name,
            *operands != '\0' ? " " : "", operands);
    for (const struct crowd_option *o = options; o->name != NULL; o++)
        fprintf(out, "  -%c, --%-13s N  %s (%u)\n", o->name[0], o->name,
                o->help, *o->value);
    fprintf(out, "  --json                 print the figures as JSON\n");
    exit(status);
}

static void set(const struct crowd_option *option, const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || *text == '-' || errno != 0
        || value < option->least || value > option->most) {
        fprintf(stderr, "%s: --%s: '%s' is no number from %u to %u\n",
                program_invocation_short_name, option->name, text,
                option->least, option->most);
        exit(2);
    }
    *option->value = (unsigned)value;
}

/* In getopt's own form: val is the letter, the short ones follow each other. */
static unsigned prepare(const struct crowd_option *options,
                        struct option *longs, char *shorts)
{
    unsigned n = 0;
    for (; options[n].name != NULL && n < OPTIONS; n++) {
        longs[n] = (struct option){options[n].name, required_argument, NULL,
                                   options[n].name[0]};
        *shorts++ = options[n].name[0];
        *shorts++ = ':';
    }
    *shorts = '\0';
    longs[n] = (struct option){"json", no_argument, NULL, 1};
    longs[n + 1] = (struct option){"help", no_argument, NULL, 2};
    return n;
}

int crowd_parse(int argc, char **argv, const char *operands, int at_least,
                const struct crowd_option *options)
{
    struct option longs[OPTIONS + 3] = {{0}};
    char shorts[2 * OPTIONS + 1];
    unsigned count = prepare(options, longs, shorts);
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == 1)
            is_json = true;
        else if (c == 2 || c == '?')
            usage(operands, options, c == 2 ? 0 : 2);
        for (unsigned i = 0; i < count; i++)
            if (c == options[i].name[0])
                set(&options[i], optarg);
    }
    if (argc - optind < at_least)
        usage(operands, options, 2);
    return optind;
}

/*
 * The table.
 */

uint64_t crowd_status(const char *key)
{
    char line[256];
    uint64_t number = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            number = strtoull(line + strlen(key), NULL, 10);
    fclose(file);
    return number;
}

void crowd_row(const char *key, const char *label, double value,
               const char *unit)
{
    if (row_count == ROWS)
        return;
    rows[row_count].key = key;
    rows[row_count].unit = unit;
    rows[row_count].value = value;
    snprintf(rows[row_count].label, sizeof rows[row_count].label, "%s", label);
    row_count++;
}

/* 1234567 as 1,234,567. */
static void format_count(char *to, double value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", value);
    for (int i = 0; i < n; i++) {
        *to++ = digits[i];
        if ((n - i) % 3 == 1 && i + 1 < n)
            *to++ = ',';
    }
    *to = '\0';
}

static void print_row(unsigned i)
{
    char number[64];
    if (rows[i].unit[0] == '\0')
        format_count(number, rows[i].value);
    else
        snprintf(number, sizeof number, "%.*f %s",
                 rows[i].unit[0] == 's' ? 3 : 1, rows[i].value, rows[i].unit);
    printf("%-40s %12s\n", rows[i].label, number);
}

static void print_json(void)
{
    printf("{\"program\": \"%s\"", program_invocation_short_name);
    for (unsigned i = 0; i < row_count; i++)
        printf(", \"%s\": %.10g", rows[i].key, rows[i].value);
    printf("}\n");
}

void crowd_print(void)
{
    if (is_json)
        print_json();
    for (unsigned i = 0; i < row_count && !is_json; i++)
        print_row(i);
}
