/*
 * crawler.h - what the files of the crawler share.
 *
 * crawler.c has the threads: who visits which page, and when it ends.
 * crawler_page.c fetches a page and finds the links in it; it is called by
 * many threads at once, and has no state of its own.
 */
#ifndef CRAWLER_H
#define CRAWLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <vthread.h>

/* The host that is crawled. */
struct site {
    char *name; /* HOST or HOST:PORT, as in the URL */
    struct sockaddr_storage address;
    socklen_t address_length;
};

/* What was got for a path.  Zero is valid. */
struct page {
    int status;
    uint64_t size_bytes; /* of the body */
    char *location;      /* where a redirect leads, or NULL */
    bool is_html;
    char *text; /* HTML, and a 0 after it; else of no interest */
    size_t used, room;
};

/* Takes a URL apart and looks its host up.  Stores the path of its page in
 * *path, malloced.  Returns NULL or what is wrong with it. */
const char *site_parse(struct site *site, const char *url, char **path);
void site_free(struct site *site);

/* Fetches a page.  Returns 0 with any status of HTTP, else an error; the
 * page is to be freed in both cases. */
int page_fetch(struct page *page, const struct site *site, const char *path,
               uint64_t deadline_ns);
void page_free(struct page *page);

/* Where a search for links is: at first at the start of the HTML. */
struct links {
    const char *at;
    bool is_in_tag;
};

/* Stores the value of the next href or src in *link, malloced; NULL when
 * there is no more.  Returns 0 or ENOMEM. */
int link_next(struct links *links, char **link);

/* Stores the path that a link on the page `base` means in *path, malloced;
 * NULL if it leads to another host or is no page.  Returns 0 or ENOMEM. */
int link_resolve(const struct site *site, const char *base, const char *link,
                 char **path);

#endif
