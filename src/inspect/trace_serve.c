/*
 * trace_serve.c - the command `trace` of the control socket.
 */
#include <errno.h>
#include <stdlib.h>

#include "inspect/control.h"
#include "inspect/trace.h"

#define MS 1000000
#define LAST_MAX_MS 86400000

struct to_client {
    struct trace_sink sink; /* first */
    struct control_client *client;
};

static bool send_to_client(struct trace_sink *sink, const void *data,
                           size_t bytes)
{
    struct to_client *to = (struct to_client *)sink;
    return control_send(to->client, data, bytes);
}

/* "", or how many milliseconds. */
static bool read_last(const char *arguments, uint64_t *last_ns)
{
    char *end;
    unsigned long ms = strtoul(arguments, &end, 10);
    *last_ns = ms * (uint64_t)MS;
    return !*arguments || (*end == '\0' && ms > 0 && ms <= LAST_MAX_MS);
}

/* A second client would have to share the first one's stream. */
int control_serve_trace(struct control_client *client, const char *arguments)
{
    struct to_client to = {{send_to_client}, client};
    uint64_t interval_ns = 0, last_ns;
    if (!read_last(arguments, &last_ns))
        return EINVAL;
    int err = trace_serve_begin(&to.sink, last_ns);
    if (err != 0)
        return err;
    do
        interval_ns = trace_serve_go_on(interval_ns);
    while (interval_ns > 0
           && control_wait(client, -1, (int)((interval_ns + MS - 1) / MS))
                  <= CONTROL_READY);
    trace_serve_end();
    return 0;
}
