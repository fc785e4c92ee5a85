/*
 * control.h - the control socket, inside the library.
 *
 * A command is a line in the table in control.c, and a function that runs on
 * an OS thread of its own.  It sends its answer, and returns; a stream sends
 * what there is, waits for more, and ends when the wait says so:
 *
 *     int follow(struct control_client *client, const char *arguments)
 *     {
 *         do
 *             if (!control_send(client, data, bytes))
 *                 return 0;
 *         while (control_wait(client, fd, timeout_ms) <= CONTROL_READY);
 *         ...                        // at the end: what is left
 *         return 0;
 *     }
 */
#ifndef INSPECT_CONTROL_H
#define INSPECT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control_client;

/* Serves the command; arguments are what stands after its name.  Before it
 * has sent anything it may return an errno value that the client is told
 * ("error WORDS"); then, or with 0, the connection is closed. */
typedef int control_serve_fn(struct control_client *client,
                             const char *arguments);

/* Sends all of it, after "ok" the first time.  False: the client is gone, or
 * takes nothing any more; no more will arrive.  Waits for the client, some
 * seconds at most. */
bool control_send(struct control_client *client, const void *data,
                  size_t size_bytes);

enum control_event {
    CONTROL_TIME,   /* the time is over */
    CONTROL_READY,  /* fd can be read */
    CONTROL_GONE,   /* the client wants no more: send what is left, or not */
    CONTROL_ENDING, /* the process ends: send what is left, and return */
};

/* Waits until one of these; fd -1: there is none, timeout_ms -1: for ever. */
enum control_event control_wait(struct control_client *client, int fd,
                                int timeout_ms);

/* Opens the socket if the environment asks for it.  Once. */
void control_start_as_asked(void);

/* The process is about to end: gives those who are being served a second to
 * get what is left. */
void control_drain(void);

/* OS threads of the socket, for deadlock.c: they wake no thread.  Changes
 * are told to deadlock_note. */
unsigned control_os_threads(void);

/* Serve functions: control_stats.c. */
control_serve_fn control_serve_stats, control_serve_census,
    control_serve_threads;

/* For others that answer in records: sends them and frees their memory; 0 or
 * ENOMEM.  An entry function, in the words of entry.h. */
struct records;
int control_send_records(struct control_client *client,
                         struct records *records);
void control_add_entry(struct records *records, void *(*fn)(void *));

/* control_leaks.c */
control_serve_fn control_serve_leaks;

/* pin_stream.c */
control_serve_fn control_serve_pin;

/* trace_serve.c */
control_serve_fn control_serve_trace;

/* For tests: how long a client may take for its command, or to take some of
 * what it is sent. */
extern int control_patience_ms;

#endif
