/*
 * control_protocol.h - what is said on the control socket.
 *
 * The socket is a stream in the abstract namespace.  Each connection is for
 * one command:
 *
 *     client   NAME ARGUMENTS\n              CONTROL_LINE_BYTES at most
 *     server   ok VERSION\n                  the library's version; or
 *              error WORDS\n                 and the end
 *     server   ...                           the answer, until it closes
 *
 * A client that wants no more closes, or shuts down its sending side: then
 * what is under way still comes.
 *
 *     stats                 one line for the process, one for each scheduler
 *                           and each carrier
 *     census                one line for each entry function
 *     threads [COUNT]       one line for each thread, COUNT at most
 *     leaks [COUNT]         with the Boehm collector: looks for threads that
 *                           nothing can ever wake; how many there are, and one
 *                           line for each, COUNT at most
 *     pin                   not in lines: see pin_format.h
 *
 *     trace [MS]            what threads do from now on, until the client
 *                           wants no more: see trace_format.h; or the last so
 *                           many milliseconds, when it wants no more, when a
 *                           pinned wait lasts, on a deadlock or a crash
 *
 * The lines of the others are records: a kind and fields,
 *
 *     carrier scheduler=1 number=0 state=running thread=4294967298
 *
 * A value has neither blank nor newline; '%', control characters and blanks
 * are written as % and two hexadecimal digits.  Readers pass over kinds and
 * fields that they do not know.  The last line is "end": without it something
 * has gone wrong.
 *
 * A process started with VTHREAD_CONTROL=@NAME also calls back: it connects to
 * the abstract socket NAME, whose owner must be the same user, and serves it
 * as a client.  So a tool that starts a program meets it, and its children,
 * however soon they end; and episodes of pinned threads are recorded from the
 * beginning.
 *
 * This header has no code, and includes nothing of ours: tools include it,
 * too.
 */
#ifndef INSPECT_CONTROL_PROTOCOL_H
#define INSPECT_CONTROL_PROTOCOL_H

/* Of the effective user and the process, for printf; the name begins with
 * a 0 besides. */
#define CONTROL_NAME_FORMAT "vthread/%u/%u"

#define CONTROL_LINE_BYTES 256 /* of a command, its newline included */
#define CONTROL_CLIENTS_MAX 8
#define CONTROL_THREADS_MAX 100000 /* lines of `threads` */

#endif
