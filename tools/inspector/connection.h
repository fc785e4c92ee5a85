/*
 * connection.h - a connection with the control socket of a process.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct connection {
    int fd;           /* -1: there is none */
    pid_t pid;        /* of the process */
    char version[16]; /* of its library, once it has answered */
};

/* Calls the process.  False, without a complaint: it has no socket, or
 * somebody else has taken its name. */
bool connection_open(struct connection *connection, pid_t pid);
void connection_close(struct connection *connection);

/* Says the command.  STATUS_FINE, and the answer follows; else there has been
 * a complaint: STATUS_DIED, or STATUS_TARGET when it refuses. */
int connection_ask(struct connection *connection, const char *command);

/* The rest of the answer, records with "end" as the last, as a text that the
 * caller frees.  NULL: it broke off. */
char *connection_receive(struct connection *connection);

/* The whole answer of a process, as a text that the caller frees; with "end"
 * as its last line, else it has died.  Opens and closes by itself; *is_there
 * false: no socket, and no complaint. */
int connection_answer(pid_t pid, const char *command, char **answer,
                      bool *is_there);

/* ---- Processes that call us --------------------------------------------- */

/* A socket of a name of its own, for VTHREAD_CONTROL=name; -1 and errno. */
int connection_listen(char *name, size_t size_bytes);

/* Who calls there; false: nobody, or another user. */
bool connection_accept(struct connection *connection, int listener);

#endif
