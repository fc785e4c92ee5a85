/*
 * crowd.h - thousands of virtual threads that do the same, and what it takes.
 *
 * What examples/postgres, redis, curl and sqlite share; what they show is in
 * themselves.  A program parses its command line, runs one crowd after the
 * other on the same scheduler, and prints a table:
 *
 *     static void greet(unsigned number);    // a thread of the crowd
 *
 *     crowd_open("greeter", carriers);
 *     ns = crowd_run("greetings", threads, threads, greet, NULL);
 *     crowd_costs("greetings", threads, ns);
 *     return crowd_close();
 *
 * Beside every crowd a thread ticks each millisecond.  While it goes on ticking
 * no carrier is blocked, so whoever knows that all others wait for the server
 * awaits some ticks and has proved that they wait as virtual threads do.
 */
#ifndef CROWD_H
#define CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <vthread.h>

/* An option --name N, or -l N; the letter is the name's first. */
struct crowd_option {
    const char *name;
    unsigned *value;
    unsigned least, most;
    const char *help;
};

/* Reads the command line: these options, which end with a NULL name, --json
 * and --help.  Returns the index of the first operand; operands says what
 * there may be, and at_least how many must be there. */
int crowd_parse(int argc, char **argv, const char *operands, int at_least,
                const struct crowd_option *options);

/* Starts a scheduler with so many carriers, and the ticker.  Ends the program
 * if that cannot be done. */
void crowd_open(const char *program, unsigned carriers);

/* Lets the process have so many descriptors more than it has now, or ends it
 * with words. */
void crowd_need_descriptors(unsigned count);

/*
 * Runs work(0), work(1) and so on, a thread each, and beside them
 * conduct(threads), if there is one.  Returns when all have returned: how many
 * ns it took.  On a terminal it shows how much of `total` has been counted, of
 * `what`.
 */
uint64_t crowd_run(const char *what, unsigned threads, uint64_t total,
                   void (*work)(unsigned number),
                   void (*conduct)(unsigned threads));

/* Something is done, for the line that shows progress. */
void crowd_count(void);

/* A thread's failure: told (the first ten of them) and counted. */
void crowd_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
unsigned crowd_failures(void);

/* Before and after a call of a library that waits for its server: how many
 * threads are in such a call now. */
void crowd_enter(void);
void crowd_leave(void);
unsigned crowd_inside(void);

/* Waits until the ticker has ticked n times more. */
void crowd_await_ticks(unsigned n);

/* How many OS threads the process has now. */
unsigned crowd_os_threads(void);

/* A line of the table, and, with the key, of what --json prints.  unit: "", "s"
 * or "MiB". */
void crowd_row(const char *key, const char *label, double value,
               const char *unit);

/* Rows: `count` of `what` were done in that time, and what the process has
 * needed so far. */
void crowd_costs(const char *what, uint64_t count, uint64_t duration_ns);

/* Ends scheduler and ticker, prints the table and returns the status of the
 * program: 0, or 1 after failures. */
int crowd_close(void);

#endif
