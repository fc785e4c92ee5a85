/*
 * http_request.c - a request: reads the next one from a connection.
 *
 * What is here: the input buffer and http_parser's callbacks.  Nothing is
 * copied out of the buffer: what matters of a head is remembered as spans.
 * A request that cannot be served is given its status here and reading
 * stops at once; its answer is up to http_response.c.
 *
 * Invariant: all spans lie in [0, keep), and that part of the buffer stays
 * until the next request_read.  Start there.
 */
#include "httpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void request_init(struct request *r)
{
    r->buffer = r->small;
    r->size = sizeof r->small;
    r->parsed = r->end = 0;
}

void request_free(struct request *r)
{
    if (r->buffer != r->small)
        free(r->buffer);
}

const char *request_text(const struct request *r, struct span s)
{
    return s.length > 0 ? r->buffer + s.offset : "";
}

bool request_equals(const struct request *r, struct span s, const char *text)
{
    return strlen(text) == s.length
           && strncasecmp(request_text(r, s), text, s.length) == 0;
}

/* Refuses the request: the parser stops when a callback returns -1.  (From
 * on_headers_complete 1 would mean that there is no body.) */
static int refuse(struct request *r, int status)
{
    r->status = status;
    return -1;
}

/* The parser hands out a text in pieces when it was received in pieces. */
static void extend(struct request *r, struct span *s, const char *at,
                   size_t length)
{
    uint32_t offset = (uint32_t)(at - r->buffer);
    if (s->length == 0)
        s->offset = offset;
    s->length = offset + (uint32_t)length - s->offset;
    r->keep = offset + length;
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
    struct request *r = parser->data;
    extend(r, &r->target, at, length);
    if (r->target.length <= URL_MAX)
        return 0;
    r->target.length = URL_MAX; /* what the log has room for */
    return refuse(r, 414);
}

/* Files the field that was read last. */
static void end_field(struct request *r)
{
    const struct {
        const char *name;
        struct span *value;
    } wanted[] = {
        {"Range", &r->range},
        {"If-Range", &r->if_range},
        {"If-None-Match", &r->if_none_match},
        {"If-Modified-Since", &r->if_modified_since},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (request_equals(r, r->name, wanted[i].name))
            *wanted[i].value = r->value;
    if (request_equals(r, r->name, "Host"))
        r->hosts++;
    if (request_equals(r, r->name, "Expect"))
        r->expects_100 = request_equals(r, r->value, "100-continue");
    r->name = r->value = (struct span){0};
}

static int on_header_field(http_parser *parser, const char *at, size_t length)
{
    struct request *r = parser->data;
    if (r->has_head)
        return 0; /* a trailer */
    if (r->value.offset > 0)
        end_field(r);
    extend(r, &r->name, at, length);
    return 0;
}

/* An empty value is reported as well; its offset tells that it was. */
static int on_header_value(http_parser *parser, const char *at, size_t length)
{
    struct request *r = parser->data;
    if (!r->has_head)
        extend(r, &r->value, at, length);
    return 0;
}

static bool has_body(const http_parser *parser)
{
    return (parser->flags & F_CHUNKED)
           || ((parser->flags & F_CONTENTLENGTH)
               && parser->content_length > 0);
}

static int check_body(struct request *r)
{
    const http_parser *parser = &r->parser;
    bool is_too_long =
        (parser->flags & F_CONTENTLENGTH) && parser->content_length > BODY_MAX;
    if (parser->method != HTTP_GET && parser->method != HTTP_HEAD)
        return refuse(r, 405); /* its body is not worth the wait */
    return is_too_long ? refuse(r, 413) : 0;
}

static int on_headers_complete(http_parser *parser)
{
    struct request *r = parser->data;
    if (r->value.offset > 0)
        end_field(r);
    r->has_head = true;
    parser->upgrade = 0; /* we never do */
    if (r->keep > HEAD_MAX)
        return refuse(r, 431);
    if (parser->http_major != 1)
        return refuse(r, 505);
    if (r->hosts != 1 && (r->hosts > 1 || parser->http_minor > 0))
        return refuse(r, 400);
    if (parser->http_minor == 0)
        r->expects_100 = false; /* does not know of it */
    return has_body(parser) ? check_body(r) : 0;
}

static int on_body(http_parser *parser, const char *at, size_t length)
{
    struct request *r = parser->data;
    (void)at;
    r->body_bytes += length;
    return r->body_bytes > BODY_MAX ? refuse(r, 413) : 0;
}

/* What follows is another request: stop there. */
static int on_message_complete(http_parser *parser)
{
    struct request *r = parser->data;
    r->is_whole = true;
    r->keeps_alive = http_should_keep_alive(parser);
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings callbacks = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* Parses what has been received.  Afterwards the request is whole, or has a
 * status, or needs more input. */
static void parse(struct request *r)
{
    r->parsed += http_parser_execute(
        &r->parser, &callbacks, r->buffer + r->parsed, r->end - r->parsed);
    if (r->is_whole || r->status != 0)
        return;
    if (HTTP_PARSER_ERRNO(&r->parser) != HPE_OK)
        r->status = 400;
    else if (!r->has_head && r->end >= HEAD_MAX)
        r->status = 431;
    else if (r->has_head)
        r->parsed = r->end = r->keep; /* drop what we have of the body */
}

/* Gives the buffer its full size. */
static int grow(struct request *r)
{
    char *buffer = malloc(INPUT_SIZE);
    if (buffer == NULL)
        return ENOMEM;
    memcpy(buffer, r->buffer, r->end);
    r->buffer = buffer;
    r->size = INPUT_SIZE;
    return 0;
}

/* Receives once, as much as there is. */
static int receive(struct connection *c, uint64_t deadline_ns)
{
    struct request *r = &c->request;
    size_t n;
    int err = r->end == r->size ? grow(r) : 0;
    if (err == 0)
        err = vthread_recv_until(c->fd, r->buffer + r->end, r->size - r->end,
                                 0, &n, deadline_ns);
    if (err != 0)
        return err;
    r->end += n;
    return n > 0 ? 0 : ECONNRESET;
}

/* Lets the client go on with the body that it holds back. */
static int send_continue(struct connection *c, uint64_t deadline_ns)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    c->request.expects_100 = false;
    return vthread_write_all_until(c->fd, text, sizeof text - 1, deadline_ns);
}

/* When the server is about to stop, a request that has been received by the
 * kernel already is still taken. */
static int receive_first(struct connection *c)
{
    atomic_store(&c->is_idle, true);
    uint64_t deadline_ns =
        server_is_stopping() ? 1 : vthread_after(settings.idle_ns);
    int err = receive(c, deadline_ns);
    atomic_store(&c->is_idle, false);
    return err;
}

/* Forgets the last request but for the input that follows it. */
static void start(struct request *r)
{
    char *buffer = r->buffer;
    size_t rest = r->end - r->parsed;
    if (rest <= sizeof r->small && buffer != r->small) {
        memcpy(r->small, buffer + r->parsed, rest);
        free(buffer);
        r->buffer = r->small;
        r->size = sizeof r->small;
    } else if (r->parsed > 0) {
        memmove(buffer, buffer + r->parsed, rest);
    }
    memset(r, 0, offsetof(struct request, buffer));
    r->keep = r->parsed = 0;
    r->end = rest;
    http_parser_init(&r->parser, HTTP_REQUEST);
    r->parser.data = r;
}

int request_read(struct connection *c)
{
    struct request *r = &c->request;
    start(r);
    int err = r->end == 0 ? receive_first(c) : 0;
    uint64_t deadline_ns = vthread_after(settings.head_ns);
    while (err == 0) {
        parse(r);
        if (r->is_whole || r->status != 0)
            return 0;
        if (r->has_head && r->expects_100 && r->body_bytes == 0)
            err = send_continue(c, deadline_ns);
        if (err == 0)
            err = receive(c, deadline_ns);
    }
    if (err == ETIMEDOUT && r->end > 0) {
        r->status = 408;
        return 0;
    }
    return err;
}
