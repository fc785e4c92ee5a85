/*
 * crawler.c - a web crawler: a virtual thread for each page of a host.
 *
 *     crawler [-c CONNECTIONS] [-t SECONDS] [-T SECONDS] URL
 *
 * Follows the links (href and src) from the URL to all pages of the same
 * host, gets each once, and prints status, size and path, then a summary.
 * With examples/httpd:
 *
 *     $ ./httpd -p 8080 -q doc &
 *     $ ./crawler http://127.0.0.1:8080/
 *     200        412 /
 *     200      13921 /rules.md
 *     404         52 /old.html, linked from /
 *     3 pages, 14385 bytes, 1 not found, 0 failed, in 0.004 s
 *
 * What it shows: a scope that grows while it runs, for the thread of a page
 * forks one for each new link; a set under a mutex, so that each page is
 * visited once; a semaphore that bounds the connections, not the threads: a
 * thread that waits is cheap; a deadline for each request (-t), and one for
 * the scope (-T), at which all threads are cancelled.  Ctrl-C cancels the
 * scope as well.  The rest is plain blocking code, see crawler_page.c.
 *
 * Paths that are spelt differently are different pages, queries included.
 * Exits with 0 when all pages were got, 1 when one was not, 2 for a wrong
 * command line.
 */
#include "crawler.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

/* What a child of the scope is forked with.  The strings are in the set. */
struct link {
    const char *path;
    const char *from; /* the page that it was found on, or NULL */
};

static struct {
    struct site site;
    uint64_t request_ns;
    uint64_t whole_ns;
    vthread_scope_t *scope;
    vthread_semaphore_t connections;
    int signals;

    vthread_mutex_t lock;
    void *paths;    /* L(lock) a tree of tsearch: all that were found */
    uint64_t found; /* L(lock) how many */
    uint64_t pages, size_bytes, not_found, failed; /* L(lock) */
} crawl = {.request_ns = 10 * VTHREAD_SECOND,
           .whole_ns = 600 * VTHREAD_SECOND};

static int visit(const void *args, void *result);

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Puts the path into the set.  Returns EEXIST, and frees it, if it is there
 * already. */
static int remember(char *path)
{
    vthread_mutex_lock(&crawl.lock);
    char **node = tsearch(path, &crawl.paths, compare);
    int err = node == NULL ? ENOMEM : *node != path ? EEXIST : 0;
    crawl.found += err == 0;
    vthread_mutex_unlock(&crawl.lock);
    if (err != 0)
        free(path);
    return err;
}

/* Starts the thread of a page, unless it has had one or is another host's. */
static int follow(const char *text, const char *from)
{
    struct link link = {.from = from};
    char *path;
    int err = link_resolve(&crawl.site, from ? from : "/", text, &path);
    if (err != 0 || path == NULL)
        return err;
    err = remember(path);
    if (err != 0)
        return err == EEXIST ? 0 : err;
    link.path = path;
    return vthread_scope_fork(crawl.scope, NULL, visit, &link, sizeof link, 0);
}

static int follow_all(const struct page *page, const char *from)
{
    struct links links = {.at = page->text};
    char *text = NULL;
    int err = 0;
    if (page->location != NULL)
        err = follow(page->location, from);
    while (err == 0 && page->is_html && (err = link_next(&links, &text)) == 0
           && text != NULL) {
        err = follow(text, from);
        free(text);
    }
    return err;
}

static void report(const struct link *link, const struct page *page, int err)
{
    bool is_missing = err == 0 && page->status == 404;
    bool is_bad = err != 0 || page->status >= 400;
    vthread_mutex_lock(&crawl.lock);
    crawl.pages++;
    crawl.size_bytes += page->size_bytes;
    crawl.not_found += is_missing;
    crawl.failed += is_bad && !is_missing;
    printf("%03d %10" PRIu64 " %s", err == 0 ? page->status : 0,
           page->size_bytes, link->path);
    if (err != 0)
        printf(": %s", strerror(err));
    if (is_bad && link->from != NULL)
        printf(", linked from %s", link->from);
    printf("\n");
    vthread_mutex_unlock(&crawl.lock);
}

/* The thread of a page.  An error of the page is told and counted; what is
 * returned as an error cancels all. */
static int visit(const void *args, void *result)
{
    const struct link *link = args;
    struct page page = {0};
    (void)result;
    int err = vthread_semaphore_wait(&crawl.connections);
    if (err != 0)
        return err;
    err = page_fetch(&page, &crawl.site, link->path,
                     vthread_after(crawl.request_ns));
    vthread_semaphore_post(&crawl.connections);
    if (err != ECANCELED && err != ENOMEM) {
        report(link, &page, err);
        err = err == 0 ? follow_all(&page, link->path) : 0;
    }
    page_free(&page);
    return err;
}

/* The thread that waits for Ctrl-C. */
static void *heed_signals(void *arg)
{
    struct signalfd_siginfo info;
    size_t n;
    if (vthread_read(crawl.signals, &info, sizeof info, &n) == 0)
        vthread_scope_cancel(crawl.scope);
    return arg;
}

/* Visits all pages.  Returns 0, ETIMEDOUT when the time is over, ECANCELED
 * after a signal, or what else was in the way. */
static int crawl_from(const char *path)
{
    vthread_scope_attr_t attr = {.deadline_ns = vthread_after(crawl.whole_ns),
                                 .children = {.name = "page"}};
    vthread_t heeder;
    int err = vthread_scope_open(&crawl.scope, &attr);
    if (err != 0)
        return err;
    err = vthread_create(&heeder, NULL, heed_signals, NULL);
    if (err == 0) {
        err = follow(path, NULL);
        if (err == 0)
            err = vthread_scope_join(crawl.scope);
        vthread_interrupt(heeder);
        vthread_join(heeder, NULL);
    }
    vthread_scope_close(crawl.scope);
    return err;
}

static int run(const char *path)
{
    uint64_t start = vthread_now();
    int err = crawl_from(path);
    printf("%" PRIu64 " pages, %" PRIu64 " bytes, %" PRIu64
           " not found, %" PRIu64 " failed, in %.3f s\n",
           crawl.pages, crawl.size_bytes, crawl.not_found, crawl.failed,
           (double)(vthread_now() - start) / 1e9);
    if (err != 0)
        fprintf(stderr, "crawler: %s; %" PRIu64 " links are left\n",
                err == ECANCELED ? "interrupted" : strerror(err),
                crawl.found - crawl.pages);
    tdestroy(crawl.paths, free);
    return err != 0 || crawl.not_found + crawl.failed > 0;
}

static _Noreturn void usage(const char *what, const char *value)
{
    if (what != NULL)
        fprintf(stderr, "crawler: %s: '%s'\n", what, value);
    fprintf(stderr, "usage: crawler [OPTION]... URL\n"
                    "  -c CONNECTIONS  at once (16)\n"
                    "  -t SECONDS      time for a page (10)\n"
                    "  -T SECONDS      time for all of them (600)\n"
                    "URL: http://HOST[:PORT]/[PATH]\n");
    exit(2);
}

static double parse_number(const char *what, const char *text, double least)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= least && number <= 1e6))
        usage(what, text);
    return number;
}

static void parse_options(int argc, char **argv)
{
    double connections = 16;
    for (int option; (option = getopt(argc, argv, "c:t:T:")) != -1;) {
        if (option == 'c')
            connections = parse_number("not a number", optarg, 1);
        else if (option == 't')
            crawl.request_ns =
                (uint64_t)(1e9 * parse_number("no time", optarg, 1e-3));
        else if (option == 'T')
            crawl.whole_ns =
                (uint64_t)(1e9 * parse_number("no time", optarg, 1e-3));
        else
            usage(NULL, NULL);
    }
    if (optind + 1 != argc)
        usage(optind == argc ? "what is missing" : "one only",
              optind == argc ? "URL" : argv[optind + 1]);
    vthread_semaphore_init(&crawl.connections, (uint32_t)connections);
}

/* Blocked before the first thread is started, which inherits that. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    char *path = NULL;
    parse_options(argc, argv);
    const char *wrong = site_parse(&crawl.site, argv[optind], &path);
    if (wrong != NULL)
        usage(wrong, argv[optind]);
    crawl.signals = open_signals();
    if (crawl.signals < 0) {
        perror("crawler: signalfd");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    int status = run(path);
    free(path);
    vthread_close(crawl.signals);
    site_free(&crawl.site);
    return status;
}
