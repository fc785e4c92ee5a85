/*
 * json.h - writes JSON, value after value.
 *
 * The caller opens and closes objects and arrays in pairs.  In an object each
 * value has a key; in an array, and outside of all, the key is NULL.  Commas,
 * quotes and indentation are the writer's business.  What is no UTF-8 in a
 * text becomes U+FFFD.
 *
 *     struct json json;
 *     json_start(&json, stdout, JSON_INDENTED);
 *     json_open_object(&json, NULL);
 *     json_number(&json, "threads", 3);
 *     json_close_object(&json);      // ends the line as well: the outermost
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 64

enum json_style {
    JSON_INDENTED,
    JSON_LINES, /* each outermost value is one line */
};

struct json {
    FILE *out;
    enum json_style style;
    unsigned depth;                     /* objects and arrays that are open */
    bool is_filled[JSON_DEPTH_MAX + 1]; /* something stands in it already */
};

void json_start(struct json *json, FILE *out, enum json_style style);

void json_open_object(struct json *json, const char *key);
void json_close_object(struct json *json);
void json_open_array(struct json *json, const char *key);
void json_close_array(struct json *json);

/* A NULL text is null. */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, int64_t number);
void json_unsigned(struct json *json, const char *key, uint64_t number);
/* What is no finite number is null. */
void json_real(struct json *json, const char *key, double number);
void json_bool(struct json *json, const char *key, bool is_true);
void json_null(struct json *json, const char *key);
/* As a text, "0x7f..": a number in JSON may lose its lower bits. */
void json_address(struct json *json, const char *key, uint64_t address);

#endif
