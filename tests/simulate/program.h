/*
 * program.h - one schedule of a program, from its beginning to its end;
 * between explore.c and program.c.
 */
#ifndef TESTS_SIMULATE_PROGRAM_H
#define TESTS_SIMULATE_PROGRAM_H

#include "tests/simulate/simulate.h"

/* Schedules for each program and strategy, unless the environment says. */
#define SIMULATE_SCHEDULES_USUAL 100

/* When the exhaustive strategy gives up. */
#define SIMULATE_SCHEDULES_ALL 2000000

/* The simulated scheduler comes to be, at the first call. */
void program_open(void);

/* Runs it once; explore_choose says how. */
void program_run(const struct simulate_program *program);

#endif
