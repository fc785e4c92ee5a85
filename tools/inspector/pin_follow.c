/*
 * pin_follow.c - the streams of episodes: one for each process, read as they
 * come.
 *
 * An episode may come in pieces, and be longer or shorter than we know it: of
 * another version of the library.  What we do not know is passed over, what is
 * missing is zero.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connection.h"
#include "inspector.h"
#include "pin_data.h"
#include "sample.h"

enum { RECORD_BYTES_MAX = 16384 };

struct pin_stream {
    struct connection connection;
    uint32_t process;
    bool has_header;
    uint32_t record_bytes; /* of what comes next */
    uint32_t received;     /* of that */
    unsigned char record[RECORD_BYTES_MAX];
};

int pin_follow_add(struct pin_follow *follow, struct connection *connection)
{
    /* First the places, then the question: the process may be about to end,
     * and waits for us until it is asked. */
    uint32_t process = pin_data_add_process(&follow->data, connection->pid);
    int status = connection_ask(connection, "pin");
    if (status != STATUS_FINE) {
        connection_close(connection);
        return status;
    }
    memcpy(follow->data.processes[process].version, connection->version,
           sizeof connection->version);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    follow->streams = sample_grow(follow->streams, &follow->stream_count,
                                  sizeof *follow->streams);
    struct pin_stream *stream = &follow->streams[follow->stream_count - 1];
    stream->connection = *connection;
    stream->process = process;
    stream->record_bytes = sizeof(struct pin_header);
    follow->open_streams++;
    return STATUS_FINE;
}

size_t pin_follow_polled(const struct pin_follow *follow, struct pollfd *fds,
                         size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < follow->stream_count && count < room; i++)
        if (follow->streams[i].connection.fd >= 0)
            fds[count++] = (struct pollfd){
                .fd = follow->streams[i].connection.fd, .events = POLLIN};
    return count;
}

/* ---- Records ------------------------------------------------------------ */

/* False: it is none. */
static bool take_header(struct pin_follow *follow, struct pin_stream *stream)
{
    struct pin_header header;
    memcpy(&header, stream->record, sizeof header);
    if (header.magic != PIN_FORMAT_MAGIC
        || header.episode_bytes > RECORD_BYTES_MAX || header.episode_bytes == 0
        || header.header_bytes < sizeof header
        || header.header_bytes > RECORD_BYTES_MAX) {
        complain("process %d speaks of its pins in a way that this tool does "
                 "not know",
                 (int)stream->connection.pid);
        return false;
    }
    if (stream->record_bytes < header.header_bytes) { /* the rest of it */
        stream->record_bytes = header.header_bytes;
        return true;
    }
    pin_data_set_header(&follow->data.processes[stream->process], &header);
    stream->has_header = true;
    stream->record_bytes = header.episode_bytes;
    stream->received = 0;
    return true;
}

static void take_episode(struct pin_follow *follow, struct pin_stream *stream)
{
    vthread_pin_episode_t told = {0};
    memcpy(&told, stream->record,
           stream->record_bytes < sizeof told ? stream->record_bytes
                                              : sizeof told);
    stream->received = 0;
    uint32_t episode = pin_data_add(&follow->data, stream->process, &told);
    if (follow->is_told)
        pin_print_episode(stderr, &follow->data, episode);
    if (follow->fail_ns && told.duration_ns > follow->fail_ns)
        follow->has_failed = true;
}

/* False: it has ended. */
static bool read_stream(struct pin_follow *follow, struct pin_stream *stream)
{
    for (;;) {
        ssize_t got =
            read(stream->connection.fd, stream->record + stream->received,
                 stream->record_bytes - stream->received);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        stream->received += (uint32_t)got;
        if (stream->received < stream->record_bytes)
            continue;
        if (stream->has_header)
            take_episode(follow, stream);
        else if (!take_header(follow, stream))
            return false;
    }
}

void pin_follow_read(struct pin_follow *follow)
{
    for (size_t i = 0; i < follow->stream_count; i++) {
        struct pin_stream *stream = &follow->streams[i];
        if (stream->connection.fd < 0 || read_stream(follow, stream))
            continue;
        connection_close(&stream->connection);
        follow->open_streams--;
    }
}

void pin_follow_free(struct pin_follow *follow)
{
    for (size_t i = 0; i < follow->stream_count; i++)
        connection_close(&follow->streams[i].connection);
    free(follow->streams);
    pin_data_free(&follow->data);
}
