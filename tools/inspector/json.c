/*
 * json.c - writes JSON.  Nothing is kept but how deep it is; errors of the
 * file are the caller's to look for, at the end.
 */
#include "json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

void json_start(struct json *json, FILE *out, enum json_style style)
{
    *json = (struct json){.out = out, .style = style};
}

static void line(struct json *json)
{
    if (json->style == JSON_LINES)
        return;
    fputc('\n', json->out);
    for (unsigned i = 0; i < json->depth; i++)
        fputs("  ", json->out);
}

/* ---- Texts -------------------------------------------------------------- */

/* The bytes of the character that begins there; 0 when it is no UTF-8: too
 * long a form, a surrogate, or beyond the last one. */
static unsigned character_bytes(const unsigned char *s)
{
    unsigned bytes = s[0] < 0x80             ? 1
                     : (s[0] & 0xe0) == 0xc0 ? 2
                     : (s[0] & 0xf0) == 0xe0 ? 3
                     : (s[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    static const uint32_t first[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t value = bytes == 1 ? s[0] : s[0] & (0x7fu >> bytes);
    for (unsigned i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3f);
    }
    bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
    if (bytes == 0 || value < first[bytes] || value > 0x10ffff || is_surrogate)
        return 0;
    return bytes;
}

static void write_ascii(FILE *out, unsigned char c)
{
    static const char escaped[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = strchr(escaped, c);
    if (found)
        fprintf(out, "\\%c", letters[found - escaped]);
    /* '<' as well, so that it may stand inside of a page's <script>. */
    else if (c < 0x20 || c == 0x7f || c == '<')
        fprintf(out, "\\u%04x", c);
    else
        fputc(c, out);
}

static void write_quoted(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    fputc('"', out);
    while (*s) {
        unsigned bytes = character_bytes(s);
        if (bytes == 0)
            fputs("\\ufffd", out);
        else if (bytes == 1)
            write_ascii(out, *s);
        else
            fwrite(s, 1, bytes, out);
        s += bytes ? bytes : 1;
    }
    fputc('"', out);
}

/* ---- Structure ---------------------------------------------------------- */

/* What stands before a value: comma, line, key. */
static void before(struct json *json, const char *key)
{
    if (json->depth == 0)
        return;
    if (json->is_filled[json->depth])
        fputc(',', json->out);
    json->is_filled[json->depth] = true;
    line(json);
    if (!key)
        return;
    write_quoted(json->out, key);
    fputs(json->style == JSON_LINES ? ":" : ": ", json->out);
}

static void after(struct json *json)
{
    if (json->depth == 0)
        fputc('\n', json->out);
}

static void open_bracket(struct json *json, const char *key, char bracket)
{
    before(json, key);
    fputc(bracket, json->out);
    assert(json->depth < JSON_DEPTH_MAX);
    json->is_filled[++json->depth] = false;
}

static void close_bracket(struct json *json, char bracket)
{
    assert(json->depth > 0);
    bool was_filled = json->is_filled[json->depth--];
    if (was_filled)
        line(json);
    fputc(bracket, json->out);
    after(json);
}

void json_open_object(struct json *json, const char *key)
{
    open_bracket(json, key, '{');
}

void json_close_object(struct json *json)
{
    close_bracket(json, '}');
}

void json_open_array(struct json *json, const char *key)
{
    open_bracket(json, key, '[');
}

void json_close_array(struct json *json)
{
    close_bracket(json, ']');
}

/* ---- Values ------------------------------------------------------------- */

void json_text(struct json *json, const char *key, const char *text)
{
    if (!text) {
        json_null(json, key);
        return;
    }
    before(json, key);
    write_quoted(json->out, text);
    after(json);
}

void json_number(struct json *json, const char *key, int64_t number)
{
    before(json, key);
    fprintf(json->out, "%" PRId64, number);
    after(json);
}

void json_unsigned(struct json *json, const char *key, uint64_t number)
{
    before(json, key);
    fprintf(json->out, "%" PRIu64, number);
    after(json);
}

void json_real(struct json *json, const char *key, double number)
{
    if (!isfinite(number)) {
        json_null(json, key);
        return;
    }
    before(json, key);
    fprintf(json->out, "%.12g", number);
    after(json);
}

void json_bool(struct json *json, const char *key, bool is_true)
{
    before(json, key);
    fputs(is_true ? "true" : "false", json->out);
    after(json);
}

void json_null(struct json *json, const char *key)
{
    before(json, key);
    fputs("null", json->out);
    after(json);
}

void json_address(struct json *json, const char *key, uint64_t address)
{
    char text[24];
    snprintf(text, sizeof text, "0x%" PRIx64, address);
    json_text(json, key, text);
}
