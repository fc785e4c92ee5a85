/*
 * httpd.h - what the parts of the example web server share.
 *
 *     httpd.c          the server: options, connections, start and stop
 *     http_request.c   a request: reads the next one from a connection
 *     http_response.c  the response: chooses it and sends it
 *     http_root.c      the tree of files that is served, and nothing else
 *     access_log.c     a line for each request
 *
 * Files call down this list only, but for server_is_stopping().
 *
 * What waits is a virtual thread, one for each connection.  Its connection,
 * with all buffers, is on the heap: its frames stay a few hundred bytes, so
 * that ten thousand idle connections cost little.  Nobody else looks at the
 * connection but for the fields that say so.
 */
#ifndef HTTPD_H
#define HTTPD_H

#include <http_parser.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <vthread.h>

enum {
    URL_MAX = 4096,          /* bytes of a request target; else 414 */
    HEAD_MAX = 16384,        /* of a request's head; else 431 */
    BODY_MAX = 65536,        /* of a request's body; else 413 */
    INPUT_SIZE_SMALL = 1024, /* a browser's usual head fits */
    INPUT_SIZE = HEAD_MAX + 4096,
};

/* The command line.  Fixed before the first thread starts. */
struct settings {
    const char *address;
    const char *port;
    const char *log_path; /* NULL: standard output */
    const char *directory;
    unsigned max_connections; /* 0: what the limit of descriptors allows */
    bool is_quiet;            /* no access log */
    bool walks;               /* do without openat2 */
    uint64_t head_ns;         /* for a request from its first byte on */
    uint64_t idle_ns;         /* between requests */
    uint64_t send_ns;         /* for a response to get on at all */
    uint64_t grace_ns;        /* for what is under way at the end */
};
extern struct settings settings;

/* A piece of the input buffer.  By offset, for the buffer may be moved. */
struct span {
    uint32_t offset;
    uint32_t length; /* 0: not there */
};

/* The request that is being read or answered. */
struct request {
    http_parser parser;
    int status;    /* what is wrong with it: 400 and so on; 0: nothing */
    bool has_head; /* read completely; with the body: */
    bool is_whole;
    bool expects_100; /* the client waits with the body for our word */
    bool keeps_alive; /* another request may follow */
    unsigned hosts;   /* number of Host fields */
    struct span target;
    struct span name; /* the header field that is being read */
    struct span value;
    struct span range;
    struct span if_range;
    struct span if_none_match;
    struct span if_modified_since;
    size_t body_bytes;
    /* The input: [0, keep) is referred to by spans, [.., parsed) is done
     * with, [parsed, end) belongs to what follows. */
    char *buffer; /* small or malloc'd */
    size_t size, keep, parsed, end;
    char small[INPUT_SIZE_SMALL];
};

struct connection {
    int fd;
    /* A: waits for the first byte of a request, see server_is_stopping. */
    _Atomic bool is_idle;
    struct connection *next; /* L(server.lock) */
    struct connection **link;
    char peer[INET6_ADDRSTRLEN];
    time_t date_time; /* the Date field, formatted for this second */
    char date[32];
    struct request request; /* last: its buffer is cold */
};

/* Whether connections shall end as soon as they can.  Ordered with is_idle:
 * a thread sets is_idle, then asks; main sets this, then looks for idle
 * connections.  One of them sees the other. */
bool server_is_stopping(void);

/*
 * Reads the next request, or as much of it as shows what is wrong with it.
 * Returns 0 with the request, or an errno value if there is none to answer:
 * the peer is gone or has been idle too long.
 */
int request_read(struct connection *c);
void request_init(struct request *r);
void request_free(struct request *r);

/* The text of a span; "" if there is none.  Not terminated. */
const char *request_text(const struct request *r, struct span s);
/* Whether the span's text is that. */
bool request_equals(const struct request *r, struct span s, const char *text);

/* Answers the request.  Returns 0 or an errno value: close then. */
int response_send(struct connection *c);

/*
 * Sets the tree that is served.  Returns 0 or an errno value.
 */
int root_set(const char *directory, bool walks);

/*
 * Opens a file of the tree for reading; path is relative to the root.  It
 * may contain ".." and symbolic links as long as they stay inside.
 * Returns 0; EXDEV or ELOOP for one that leads outside; EMFILE and so on.
 */
int root_open(const char *path, int *fd);

/* The media type that a file's name stands for. */
const char *root_media_type(const char *path);

/* A page that lists an open directory, malloc'd; NULL if it cannot be read.
 * path is the directory's as root_open knows it. */
char *root_list(int fd, const char *path, size_t *length);

/* The path as it is written in a URL, malloc'd or NULL. */
char *root_encode(const char *path);

/* Opens the log and starts its writer.  Returns 0 or an errno value. */
int access_log_open(const char *path);
/* Notes a request that was answered with that status and so many bytes of
 * body. */
void access_log_add(const struct connection *c, int status, uint64_t bytes);
/* Writes out the rest, as long as it can be done in a second. */
void access_log_close(void);

#endif
