/*
 * pin_html.c - the page: pin_page.html, with the data in it.
 */
#include <string.h>

#include "pin_data.h"

/* Made from pin_page.html. */
static const char page[] =
#include "tools/inspector/pin_page.inc"
    ;

#define MARK "DATA-STANDS-HERE"

void pin_write_html(FILE *out, const struct pin_data *data, const char *title)
{
    const char *mark = strstr(page, MARK);
    fwrite(page, 1, (size_t)(mark - page), out);
    pin_write_json(out, data, title);
    fputs(mark + strlen(MARK), out);
}
