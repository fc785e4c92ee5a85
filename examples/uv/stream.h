/*
 * stream.h - TCP for tasks: functions that wait, as read and write do.
 *
 * On the loop of the task that calls; one task reads and one writes at a time.
 * Errors are libuv's, negative.
 */
#ifndef EXAMPLES_UV_STREAM_H
#define EXAMPLES_UV_STREAM_H

#include <stddef.h>

struct stream;

/* A socket that listens on 127.0.0.1; *port 0: any, and which is stored. */
int stream_listen(struct stream **listener, int *port);
int stream_accept(struct stream *listener, struct stream **stream);
int stream_connect(struct stream **stream, int port);

/* At least one byte; 0 at the end, or an error. */
long stream_read(struct stream *stream, void *buffer, size_t size_bytes);
/* All of it: 0 or an error. */
int stream_write(struct stream *stream, const void *data, size_t size_bytes);

void stream_close(struct stream *stream);

#endif
