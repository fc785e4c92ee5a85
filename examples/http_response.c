/*
 * http_response.c - the response: chooses it and sends it.
 *
 * What is here: from a request to a struct response (what to answer), and
 * from that to bytes on the socket (how).  A file up to INLINE_MAX is read
 * behind the head and sent with it by one call; a longer one follows the
 * head by sendfile.
 *
 * Invariant: a head that promises a length is followed by so many bytes, or
 * the connection is closed.  Start at response_send.
 */
#include "httpd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD_SIZE = 640,           /* of a response, but for Location */
    INLINE_MAX = 16 * 1024,    /* longer files are sent by sendfile */
    SENDFILE_MAX = 512 * 1024, /* then others may run */
};

/* What to answer.  The body is a text, or a part of a file, or nothing. */
struct response {
    int status;
    int fd;         /* -1: not from a file */
    char *text;     /* malloc'd, or NULL */
    char *location; /* malloc'd, or NULL */
    const char *type;
    off_t first; /* where the body begins in the file */
    uint64_t length;
    uint64_t file_size;
    char modified[32]; /* "": no validators */
    char etag[40];
};

/* "Sun, 06 Nov 1994 08:49:37 GMT", as RFC 9110 wants it. */
static void format_date(char date[static 32], time_t time)
{
    struct tm tm;
    strftime(date, 32, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&time, &tm));
}

/* Turns the response into a short page that says what happened. */
static void explain(struct response *a, int status)
{
    const char *reason = http_status_str((enum http_status)status);
    char *text = NULL;
    int length = asprintf(&text,
                          "<!DOCTYPE html>\n<title>%d %s</title>\n"
                          "<h1>%d %s</h1>\n",
                          status, reason, status, reason);
    if (a->fd >= 0)
        vthread_close(a->fd);
    free(a->text);
    a->fd = -1;
    a->status = status;
    a->text = length < 0 ? NULL : text;
    a->length = length < 0 ? 0 : (uint64_t)length;
    a->type = "text/html; charset=utf-8";
    a->modified[0] = '\0';
}

/* The status that tells why a file cannot be opened. */
static int status_of(int err)
{
    switch (err) {
    case 0:
        return 200;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        return 404;
    case EACCES:
    case EPERM:
    case EXDEV: /* leads out of the tree */
    case ELOOP:
    case ENXIO: /* a socket */
        return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        return 503;
    default:
        return 500;
    }
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    int value = at != NULL ? (int)(at - digits) : -1;
    return value < 16 ? value : value - 6;
}

/* Decodes into to, which is as long as the text, and terminates.  False for
 * a bad escape or a zero byte. */
static bool decode(char *to, const char *text, size_t length)
{
    for (const char *end = text + length; text < end; text++) {
        char byte = *text;
        if (byte == '%') {
            int high = end - text > 2 ? hex_value(text[1]) : -1;
            int low = high >= 0 ? hex_value(text[2]) : -1;
            if (low < 0)
                return false;
            byte = (char)(high << 4 | low);
            text += 2;
        }
        if (byte == '\0')
            return false;
        *to++ = byte;
    }
    *to = '\0';
    return true;
}

/* A part of the target, where it is written; length 0 if it is not there or
 * the target is malformed. */
static struct span target_part(const struct request *r,
                               enum http_parser_url_fields field)
{
    struct http_parser_url url = {0};
    if (http_parser_parse_url(request_text(r, r->target), r->target.length, 0,
                              &url)
            != 0
        || !(url.field_set & 1 << field))
        return (struct span){0};
    return (struct span){r->target.offset + url.field_data[field].off,
                         url.field_data[field].len};
}

/* The part of the target that names a file, as root_open wants it: decoded,
 * relative to the root.  Malloc'd, with room for "index.html"; NULL if the
 * target is malformed. */
static char *path_of(const struct request *r)
{
    struct span part = target_part(r, UF_PATH);
    if (part.length == 0)
        return NULL;
    char *path = malloc(part.length + sizeof "./index.html");
    if (path == NULL || !decode(path, request_text(r, part), part.length)) {
        free(path);
        return NULL;
    }
    size_t slashes = strspn(path, "/");
    memmove(path, path + slashes, strlen(path + slashes) + 1);
    return path[0] != '\0' ? path : strcpy(path, ".");
}

/* Reads a number of a range.  Returns what follows it, NULL if there is
 * none; one that is too great counts as the greatest. */
static const char *scan_number(const char *at, const char *end,
                               uint64_t *number)
{
    const char *start = at;
    *number = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        *number = *number > (UINT64_MAX - digit) / 10 ? UINT64_MAX
                                                      : *number * 10 + digit;
    }
    return at > start ? at : NULL;
}

/* What a Range field asks for: the bytes from first to last, or the last so
 * many bytes. */
struct range {
    uint64_t first, last;
    bool is_suffix;
};

/* Reads a Range field.  False for what RFC 9110 lets us ignore: other units,
 * several ranges, nonsense. */
static bool parse_range(struct range *range, const char *at, size_t length)
{
    const char *end = at + length;
    *range = (struct range){.last = UINT64_MAX};
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (end - at < 7 || strncasecmp(at, "bytes=", 6) != 0)
        return false;
    at += 6;
    range->is_suffix = *at == '-';
    const char *dash =
        range->is_suffix ? at : scan_number(at, end, &range->first);
    if (dash == NULL || dash == end || *dash != '-')
        return false;
    if (dash + 1 == end)
        return !range->is_suffix;
    return scan_number(dash + 1, end, &range->last) == end
           && (range->is_suffix || range->first <= range->last);
}

/* Narrows the response to the range.  Returns its status. */
static int apply_range(struct response *a, struct range range)
{
    uint64_t size = a->file_size;
    if (range.is_suffix) { /* of no bytes: begins at the end */
        range.first = range.last < size ? size - range.last : 0;
        range.last = UINT64_MAX;
    }
    if (range.first >= size)
        return 416;
    if (range.last >= size)
        range.last = size - 1;
    a->first = (off_t)range.first;
    a->length = range.last - range.first + 1;
    return 206;
}

/* Whether a list of entity tags has ours, or is "*". */
static bool lists_etag(const struct request *r, struct span list,
                       const char *etag)
{
    const char *text = request_text(r, list);
    return text[0] == '*'
           || memmem(text, list.length, etag, strlen(etag)) != NULL;
}

static bool is_unmodified_since(const struct request *r, time_t modified)
{
    struct tm tm = {0};
    char date[40] = "";
    struct span s = r->if_modified_since;
    if (s.length >= sizeof date)
        return false;
    memcpy(date, request_text(r, s), s.length);
    return strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm) != NULL
           && modified <= timegm(&tm);
}

static bool client_has_it(const struct request *r, const struct response *a,
                          time_t modified)
{
    if (r->if_none_match.length > 0)
        return lists_etag(r, r->if_none_match, a->etag);
    return r->if_modified_since.length > 0 && is_unmodified_since(r, modified);
}

static bool wants_range(const struct request *r, const struct response *a)
{
    return r->range.length > 0 && r->parser.method == HTTP_GET
           && (r->if_range.length == 0
               || request_equals(r, r->if_range, a->etag)
               || request_equals(r, r->if_range, a->modified));
}

static void answer_file(const struct request *r, struct response *a,
                        const char *path, const struct stat *st)
{
    a->type = root_media_type(path);
    a->file_size = a->length = (uint64_t)st->st_size;
    format_date(a->modified, st->st_mtim.tv_sec);
    snprintf(a->etag, sizeof a->etag, "\"%llx.%lx-%llx\"",
             (unsigned long long)st->st_mtim.tv_sec,
             (unsigned long)st->st_mtim.tv_nsec,
             (unsigned long long)st->st_size);
    struct range range;
    a->status = 200;
    if (client_has_it(r, a, st->st_mtim.tv_sec))
        a->status = 304;
    else if (wants_range(r, a)
             && parse_range(&range, request_text(r, r->range),
                            r->range.length))
        a->status = apply_range(a, range);
    if (a->status == 416)
        explain(a, 416);
}

static void answer_open(const struct request *r, struct response *a,
                        char *path);

static void answer_list(struct response *a, const char *path)
{
    size_t length;
    a->text = root_list(a->fd, path, &length);
    if (a->text == NULL) {
        explain(a, status_of(vthread_errno()));
        return;
    }
    a->status = 200;
    a->length = length;
    a->type = "text/html; charset=utf-8";
    vthread_close(a->fd);
    a->fd = -1;
}

/* To the same with a slash.  The path is encoded anew, so that it cannot name
 * another host; the query is kept as it is, for the parser lets no line end
 * pass. */
static void redirect(const struct request *r, struct response *a,
                     const char *path)
{
    char *encoded = root_encode(path);
    struct span query = target_part(r, UF_QUERY);
    if (encoded == NULL
        || asprintf(&a->location, "/%s/%s%.*s", encoded,
                    query.length > 0 ? "?" : "", (int)query.length,
                    request_text(r, query))
               < 0)
        a->location = NULL;
    free(encoded);
    explain(a, a->location != NULL ? 301 : 503);
}

/* Answers with the index.html in it, or the list of what is in it. */
static void answer_directory(const struct request *r, struct response *a,
                             char *path)
{
    size_t length = strlen(path);
    bool is_root = strcmp(path, ".") == 0;
    if (!is_root && path[length - 1] != '/') {
        redirect(r, a, path);
        return;
    }
    int index;
    strcpy(path + length, is_root ? "/index.html" : "index.html");
    int err = root_open(path, &index);
    if (err == 0) {
        vthread_close(a->fd);
        a->fd = index;
        answer_open(r, a, path);
    } else if (err == ENOENT) {
        path[length] = '\0';
        answer_list(a, path);
    } else {
        explain(a, status_of(err));
    }
}

/* Answers with what has been opened. */
static void answer_open(const struct request *r, struct response *a,
                        char *path)
{
    struct stat st;
    if (fstat(a->fd, &st) != 0)
        explain(a, 500);
    else if (S_ISREG(st.st_mode))
        answer_file(r, a, path, &st);
    else if (S_ISDIR(st.st_mode))
        answer_directory(r, a, path);
    else
        explain(a, 403);
}

static void choose(const struct request *r, struct response *a)
{
    if (r->status != 0) {
        explain(a, r->status);
        return;
    }
    if (r->parser.method != HTTP_GET && r->parser.method != HTTP_HEAD) {
        explain(a, 405);
        return;
    }
    char *path = path_of(r);
    if (path == NULL) {
        explain(a, 400);
        return;
    }
    int err = root_open(path, &a->fd);
    if (err != 0)
        explain(a, status_of(err));
    else
        answer_open(r, a, path);
    free(path);
}

static char *put(char *to, const char *text)
{
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

static char *put_field(char *to, const char *name, const char *value)
{
    return put(put(put(put(to, name), ": "), value), "\r\n");
}

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(to, digits + at, sizeof digits - at);
    return to + sizeof digits - at;
}

static char *put_content_range(char *to, const struct response *a)
{
    to = put(to, "Content-Range: bytes ");
    if (a->status == 206) {
        to = put(put_number(to, (uint64_t)a->first), "-");
        to = put_number(to, (uint64_t)a->first + a->length - 1);
    } else {
        to = put(to, "*");
    }
    return put(put_number(put(to, "/"), a->file_size), "\r\n");
}

/* The Date field.  Formatted once a second for each connection: nothing is
 * shared, so nothing needs a lock. */
static const char *date_now(struct connection *c)
{
    time_t now = time(NULL);
    if (now != c->date_time)
        format_date(c->date, now);
    c->date_time = now;
    return c->date;
}

/* Writes the head and returns its end.  HEAD_SIZE and the length of
 * Location suffice. */
static char *put_head(char *to, struct connection *c, const struct response *a)
{
    const struct request *r = &c->request;
    to = put_number(put(to, "HTTP/1.1 "), (uint64_t)a->status);
    to = put(put(to, " "), http_status_str((enum http_status)a->status));
    to = put_field(put(to, "\r\n"), "Server", "libvthread-httpd");
    to = put_field(to, "Date", date_now(c));
    if (a->modified[0] != '\0') {
        to = put_field(to, "Last-Modified", a->modified);
        to = put_field(to, "ETag", a->etag);
        to = put_field(to, "Accept-Ranges", "bytes");
        /* Else a browser guesses from the age of a file how long it may do
         * without asking, and shows the old one after an edit. */
        to = put_field(to, "Cache-Control", "no-cache");
    }
    if (a->status == 206 || a->status == 416)
        to = put_content_range(to, a);
    if (a->status == 405)
        to = put_field(to, "Allow", "GET, HEAD");
    if (a->status == 503)
        to = put_field(to, "Retry-After", "1");
    if (a->location != NULL)
        to = put_field(to, "Location", a->location);
    if (a->status != 304) {
        to = put_field(to, "Content-Type", a->type);
        to = put_number(put(to, "Content-Length: "), a->length);
        to = put(to, "\r\n");
    }
    if (!r->keeps_alive)
        to = put_field(to, "Connection", "close");
    else if (r->parser.http_minor == 0)
        to = put_field(to, "Connection", "keep-alive");
    return put(to, "\r\n");
}

/* Every call has to get on within send_ns, however slowly. */
static int send_all(int fd, const char *data, size_t length, int flags)
{
    while (length > 0) {
        size_t n;
        int err = vthread_send_until(fd, data, length, flags, &n,
                                     vthread_after(settings.send_ns));
        if (err != 0)
            return err;
        data += n;
        length -= n;
    }
    return 0;
}

/* Returns ENODATA when the file has become shorter than promised. */
static int send_file(int fd, struct response *a, uint64_t *sent)
{
    off_t offset = a->first;
    while (*sent < a->length) {
        uint64_t rest = a->length - *sent;
        size_t n;
        int err = vthread_sendfile_until(
            fd, a->fd, &offset, rest < SENDFILE_MAX ? rest : SENDFILE_MAX, &n,
            vthread_after(settings.send_ns));
        if (err != 0)
            return err;
        if (n == 0)
            return ENODATA;
        *sent += n;
        vthread_yield();
    }
    return 0;
}

/* Appends what is sent together with the head.  False when the file cannot
 * be read as promised. */
static bool put_body(char **to, const struct response *a)
{
    if (a->text != NULL) {
        memcpy(*to, a->text, a->length);
    } else if (a->length > 0) {
        ssize_t n = pread(a->fd, *to, a->length, a->first);
        if (n < 0 || (uint64_t)n != a->length)
            return false;
    }
    *to += a->length;
    return true;
}

/* Sends it.  *sent counts the bytes of the body. */
static int send_response(struct connection *c, struct response *a,
                         uint64_t *sent)
{
    bool has_body = c->request.parser.method != HTTP_HEAD && a->status != 304;
    bool is_inline = has_body && (a->text != NULL || a->length <= INLINE_MAX);
    bool is_long = has_body && !is_inline && a->fd >= 0;
    size_t size = HEAD_SIZE + (is_inline ? a->length : 0)
                  + (a->location != NULL ? strlen(a->location) : 0);
    char *head = malloc(size);
    if (head == NULL)
        return ENOMEM;
    char *end = put_head(head, c, a);
    int err = 0;
    if (is_inline && !put_body(&end, a))
        err = ENODATA;
    if (err == 0)
        err = send_all(c->fd, head, (size_t)(end - head),
                       is_long ? MSG_MORE : 0);
    free(head);
    if (err == 0 && is_inline)
        *sent = a->length;
    if (err == 0 && is_long)
        err = send_file(c->fd, a, sent);
    return err;
}

int response_send(struct connection *c)
{
    struct request *r = &c->request;
    struct response a = {.fd = -1};
    uint64_t sent = 0;
    choose(r, &a);
    if (r->status != 0 || server_is_stopping())
        r->keeps_alive = false;
    int err = send_response(c, &a, &sent);
    access_log_add(c, a.status, sent);
    if (a.fd >= 0)
        vthread_close(a.fd);
    free(a.text);
    free(a.location);
    return err;
}
