/*
 * launch.h - starts a program so that its library calls us, and stays with it
 * until it ends.
 *
 * Signals that are sent to the tool go on to the program; what the terminal
 * sends both get anyway.
 */
#ifndef LAUNCH_H
#define LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

struct launch {
    pid_t pid;    /* of the program */
    int listener; /* its processes call here: connection_accept */
    int signals;  /* readable: launch_signals */
    bool has_ended;
    int end;         /* as waitpid tells it */
    bool preloads;   /* libvthread-pin stands before its locks */
    bool has_linked; /* as it does already: the program is linked with it */
    bool is_static;  /* the loader is not asked: nothing can be preloaded */
};

/* Sets a variable for the program, unless the user has. */
void launch_setting(const char *variable, const char *value);

/* Starts it; argv[0] is looked for in PATH.  STATUS_FINE, or 126 or 127 with
 * a complaint, as shells have it. */
int launch_start(struct launch *launch, char **argv, bool preload);

/* The same, and its library does not call us. */
int launch_start_alone(struct launch *launch, char **argv);

/* Waits for its end, and sends signals on meanwhile. */
void launch_wait(struct launch *launch);

/* Takes the signals that have come. */
void launch_signals(struct launch *launch);

/* Ends as the program did: returns its status, or dies of its signal. */
int launch_finish(struct launch *launch);

#endif
