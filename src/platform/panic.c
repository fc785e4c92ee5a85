/*
 * panic.c - the formatter and the two ways to print with it.
 *
 * Not here: who is running (panic_describe_self, set by the floor that
 * knows) and faults of the machine (fault.c).
 *
 * Invariant: nothing here allocates, locks, or calls what is not safe in a
 * signal handler; errno is as before; a line is one write(2), so lines of
 * several threads do not mix.
 *
 * Start with panic().
 */
#include "panic.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "system.h"

enum { LINE_BYTES = 1024 };

/* Where formatted text goes.  length < size_bytes, unless that is 0. */
struct text {
    char *start;
    size_t size_bytes;
    size_t length;
};

void (*panic_describe_self)(char *buffer, size_t size_bytes);

static void put_char(struct text *text, char c)
{
    if (text->length + 1 < text->size_bytes)
        text->start[text->length++] = c;
}

static void put_string(struct text *text, const char *string)
{
    if (string == NULL)
        string = "(null)";
    while (*string != '\0')
        put_char(text, *string++);
}

static void put_unsigned(struct text *text, uint64_t value, unsigned base)
{
    char digits[20]; /* of 2^64 - 1 in decimal */
    unsigned count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count > 0)
        put_char(text, digits[--count]);
}

static void put_signed(struct text *text, int64_t value)
{
    if (value < 0)
        put_char(text, '-');
    put_unsigned(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

/* long, long long and size_t have 64 bits on every system of ours. */
_Static_assert(sizeof(long) == 8 && sizeof(size_t) == 8, "LP64");

/* One conversion.  format is behind its %; returns what follows it. */
static const char *put_conversion(struct text *text, const char *format,
                                  va_list *args)
{
    bool is_wide = false;

    for (; *format == 'l' || *format == 'z'; format++)
        is_wide = true;
    switch (*format) {
    case 's':
        put_string(text, va_arg(*args, const char *));
        break;
    case 'c':
        put_char(text, (char)va_arg(*args, int));
        break;
    case 'd':
        put_signed(text, is_wide ? va_arg(*args, long) : va_arg(*args, int));
        break;
    case 'u':
    case 'x':
        put_unsigned(text,
                     is_wide ? va_arg(*args, unsigned long)
                             : va_arg(*args, unsigned),
                     *format == 'x' ? 16 : 10);
        break;
    case 'p':
        put_string(text, "0x");
        put_unsigned(text, (uintptr_t)va_arg(*args, void *), 16);
        break;
    case '\0':
        return format;
    default: /* %%, and what we do not know is shown as it is */
        put_char(text, *format);
        break;
    }
    return format + 1;
}

static void put_format(struct text *text, const char *format, va_list *args)
{
    while (*format != '\0') {
        if (*format == '%')
            format = put_conversion(text, format + 1, args);
        else
            put_char(text, *format++);
    }
}

static void end_with(struct text *text, char c)
{
    if (text->length < text->size_bytes)
        text->start[text->length] = c;
}

size_t format_text_list(char *buffer, size_t size_bytes, const char *format,
                        va_list *args)
{
    struct text text = {buffer, size_bytes, 0};

    put_format(&text, format, args);
    end_with(&text, '\0');
    return text.length;
}

size_t format_text(char *buffer, size_t size_bytes, const char *format, ...)
{
    va_list args;
    size_t length;

    va_start(args, format);
    length = format_text_list(buffer, size_bytes, format, &args);
    va_end(args);
    return length;
}

static void report_line(const char *format, va_list *args)
{
    char line[LINE_BYTES];
    struct text text = {line, sizeof line, 0};
    int saved_errno = errno;
    ssize_t written;

    put_string(&text, "vthread: ");
    put_format(&text, format, args);
    end_with(&text, '\n');
    written = system_write(STDERR_FILENO, line, text.length + 1);
    (void)written; /* without standard error there is nobody to tell */
    errno = saved_errno;
}

void report(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report_line(format, &args);
    va_end(args);
}

/* Once only: describing may itself panic. */
static void report_self(void)
{
    static atomic_flag has_begun = ATOMIC_FLAG_INIT;
    char self[LINE_BYTES / 2];

    if (panic_describe_self == NULL || atomic_flag_test_and_set(&has_begun))
        return;
    self[0] = '\0';
    panic_describe_self(self, sizeof self);
    report("in %s", self);
}

_Noreturn void panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report_line(format, &args);
    va_end(args);
    report_self();
    abort();
}
