/*
 * crawler_page.c - the crawler's HTTP client, and the links in a page.
 *
 * What is here: one GET for a connection, by HTTP/1.0, so that the end of
 * the connection is the end of the page; a scan for the attributes href and
 * src that knows no more of HTML; paths made absolute.  Not here: threads.
 *
 * Each function is plain blocking code.  Buffers that grow are on the heap,
 * which keeps the frames of a thread that waits small.
 */
#include "crawler.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIRST_ROOM = 4096, HEAD_MAX = 65536, HTML_MAX = 16 << 20 };

/*
 * The site.
 */

/* Splits HOST, HOST:PORT or [ADDRESS]:PORT; cuts the name. */
static const char *look_up(struct site *site, char *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    char *end = *name == '[' ? strchr(name, ']') : strchr(name, ':');
    const char *port = "80";
    if (*name == '[' && end != NULL) {
        name++;
        *end++ = '\0';
    }
    if (end != NULL && *end == ':') {
        *end = '\0';
        port = end + 1;
    }
    int err = getaddrinfo(name, port, &hints, &list);
    if (err != 0)
        return gai_strerror(err);
    memcpy(&site->address, list->ai_addr, list->ai_addrlen);
    site->address_length = list->ai_addrlen;
    freeaddrinfo(list);
    return NULL;
}

const char *site_parse(struct site *site, const char *url, char **path)
{
    static const char scheme[] = "http://";
    size_t length = strlen(scheme);
    if (strncasecmp(url, scheme, length) != 0)
        return "does not begin with http://";
    url += length;
    length = strcspn(url, "/?#");
    if (length == 0)
        return "has no host";
    char *name = strndup(url, length);
    site->name = strndup(url, length);
    const char *wrong =
        name && site->name ? look_up(site, name) : strerror(ENOMEM);
    free(name);
    if (wrong != NULL)
        return wrong;
    url += length;
    int err = link_resolve(site, "/", *url && *url != '#' ? url : "/", path);
    return err != 0 ? strerror(err) : NULL;
}

void site_free(struct site *site)
{
    free(site->name);
}

/*
 * The response.
 */

/* Reads what has come, behind what is there.  *n is 0 at the end. */
static int read_more(struct page *p, int fd, size_t *n, uint64_t deadline_ns)
{
    if (p->used + 1 >= p->room) {
        size_t room = p->room ? 2 * p->room : FIRST_ROOM;
        char *text = room > HTML_MAX ? NULL : realloc(p->text, room);
        if (text == NULL)
            return room > HTML_MAX ? EFBIG : ENOMEM;
        p->text = text;
        p->room = room;
    }
    int err = vthread_read_until(fd, p->text + p->used, p->room - p->used - 1,
                                 n, deadline_ns);
    if (err == 0) {
        p->used += *n;
        p->text[p->used] = '\0';
    }
    return err;
}

/* The value of a header field, which ends with its line; or NULL. */
static const char *field(const char *head, const char *name)
{
    size_t length = strlen(name);
    const char *line = head;
    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

/* Reads the head and leaves what came after it in the buffer. */
static int read_head(struct page *p, int fd, uint64_t *length,
                     uint64_t deadline_ns)
{
    char *end = NULL;
    while (end == NULL) {
        size_t n;
        int err = read_more(p, fd, &n, deadline_ns);
        if (err != 0)
            return err;
        end = strstr(p->text, "\r\n\r\n");
        if (end == NULL && (n == 0 || p->used > HEAD_MAX))
            return EPROTO;
    }
    end[2] = '\0';
    if (sscanf(p->text, "HTTP/1.%*1u %3d", &p->status) != 1)
        return EPROTO;
    const char *type = field(p->text, "Content-Type");
    const char *size = field(p->text, "Content-Length");
    const char *location = field(p->text, "Location");
    p->is_html = type != NULL && strncasecmp(type, "text/html", 9) == 0;
    *length = size != NULL ? strtoull(size, NULL, 10) : UINT64_MAX;
    if (location != NULL) {
        p->location = strndup(location, strcspn(location, "\r"));
        if (p->location == NULL)
            return ENOMEM;
    }
    p->used -= (size_t)(end + 4 - p->text);
    memmove(p->text, end + 4, p->used + 1);
    return 0;
}

/* Reads the body to its end.  HTML is kept, the rest is counted only. */
static int read_response(struct page *p, int fd, uint64_t deadline_ns)
{
    uint64_t length;
    int err = read_head(p, fd, &length, deadline_ns);
    size_t n = p->used;
    while (err == 0 && n > 0) {
        p->size_bytes += n;
        if (!p->is_html)
            p->used = 0;
        err = read_more(p, fd, &n, deadline_ns);
    }
    bool is_cut = length != UINT64_MAX && p->size_bytes != length;
    return err != 0 ? err : is_cut ? EPROTO : 0;
}

static int send_request(int fd, const struct site *site, const char *path,
                        uint64_t deadline_ns)
{
    char *request;
    int length = asprintf(&request, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n",
                          path, site->name);
    if (length < 0)
        return ENOMEM;
    int err =
        vthread_write_all_until(fd, request, (size_t)length, deadline_ns);
    free(request);
    return err;
}

int page_fetch(struct page *page, const struct site *site, const char *path,
               uint64_t deadline_ns)
{
    int fd = socket(site->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return vthread_errno();
    int err =
        vthread_connect_until(fd, (const struct sockaddr *)&site->address,
                              site->address_length, deadline_ns);
    if (err == 0)
        err = send_request(fd, site, path, deadline_ns);
    if (err == 0)
        err = read_response(page, fd, deadline_ns);
    vthread_close(fd);
    return err;
}

void page_free(struct page *page)
{
    free(page->location);
    free(page->text);
}

/*
 * Links.
 */

#define SPACE " \t\r\n\f"

/* A part of a text. */
struct part {
    const char *start;
    size_t length;
};

/* Finds the next attribute of a tag that has a value.  False at the end. */
static bool next_attribute(struct links *links, struct part *name,
                           struct part *value)
{
    const char *at = links->at;
    while (at != NULL && *at != '\0') {
        if (!links->is_in_tag) {
            links->is_in_tag = true;
            at = strchr(at, '<');
            if (at != NULL)
                at += strcspn(at, SPACE ">");
        } else if (*at == '>') {
            links->is_in_tag = false;
        } else {
            at += strspn(at, SPACE "/=\"'");
            *name = (struct part){at, strcspn(at, SPACE "/=>")};
            at += name->length;
            at += strspn(at, SPACE);
            if (*at != '=')
                continue;
            at += 1 + strspn(at + 1, SPACE);
            const char *quote = *at == '"' ? "\"" : *at == '\'' ? "'" : NULL;
            at += quote != NULL;
            *value = (struct part){at, strcspn(at, quote ? quote : SPACE ">")};
            links->at = at + value->length;
            return true;
        }
    }
    return false;
}

static bool is_link(struct part name)
{
    return (name.length == 4 && strncasecmp(name.start, "href", 4) == 0)
           || (name.length == 3 && strncasecmp(name.start, "src", 3) == 0);
}

/* In place. */
static void decode_entities(char *text)
{
    static const struct {
        const char *name;
        char is;
    } entities[] = {{"&amp;", '&'}, {"&quot;", '"'}, {"&lt;", '<'},
                    {"&gt;", '>'},  {"&#39;", '\''}, {"&", '&'}};
    char *to = text;
    while (*text != '\0') {
        if (*text != '&') {
            *to++ = *text++;
            continue;
        }
        size_t i = 0;
        while (strncmp(text, entities[i].name, strlen(entities[i].name)) != 0)
            i++;
        *to++ = entities[i].is;
        text += strlen(entities[i].name);
    }
    *to = '\0';
}

int link_next(struct links *links, char **link)
{
    struct part name, value;
    *link = NULL;
    while (next_attribute(links, &name, &value)) {
        if (!is_link(name))
            continue;
        *link = strndup(value.start, value.length);
        if (*link == NULL)
            return ENOMEM;
        decode_entities(*link);
        return 0;
    }
    return 0;
}

/* The part of a link that this host understands; NULL if it is another's. */
static const char *path_on(const struct site *site, const char *link)
{
    if (strncasecmp(link, "http://", 7) == 0)
        link += 5;
    else if (link[strcspn(link, ":/?#")] == ':')
        return NULL;
    if (strncmp(link, "//", 2) != 0)
        return link;
    size_t length = strlen(site->name);
    link += 2;
    if (strncasecmp(link, site->name, length) != 0)
        return NULL;
    link += length;
    return *link == '/' ? link : *link == '\0' ? "/" : NULL;
}

/* Takes "." and ".." out of a path, and writes what must not be in a request
 * as %XX.  `to` has three times the room. */
static void normalise(char *to, const char *from)
{
    char *start = to;
    size_t segment = 0;
    for (; *from == '/'; from += segment) {
        segment = 1 + strcspn(from + 1, "/?");
        bool ends = from[segment] != '/';
        bool is_up = segment == 3 && strncmp(from, "/..", 3) == 0;
        bool is_here = segment == 2 && from[1] == '.';
        if (is_up)
            while (to > start && *--to != '/')
                continue;
        for (size_t i = 0; !is_up && !is_here && i < segment; i++)
            to += sprintf(to, from[i] > ' ' && from[i] < 127 ? "%c" : "%%%02X",
                          (unsigned char)from[i]);
        if ((is_up || is_here) && ends)
            *to++ = '/';
    }
    for (; *from != '\0'; from++)
        to += sprintf(to, *from > ' ' && *from < 127 ? "%c" : "%%%02X",
                      (unsigned char)*from);
    *to = '\0';
}

int link_resolve(const struct site *site, const char *base, const char *link,
                 char **path)
{
    *path = NULL;
    link = path_on(site, link);
    if (link == NULL || *link == '\0' || *link == '#')
        return 0;
    size_t kept = *link == '/' ? 0 : strcspn(base, "?");
    while (*link != '/' && *link != '?' && base[kept - 1] != '/')
        kept--;
    int length = (int)strcspn(link, "#");
    char *joined;
    if (asprintf(&joined, "%.*s%.*s", (int)kept, base, length, link) < 0)
        return ENOMEM;
    *path = malloc(3 * strlen(joined) + 2);
    if (*path != NULL)
        normalise(*path, joined);
    free(joined);
    return *path != NULL ? 0 : ENOMEM;
}
