/*
 * pin_report.h - episodes told: on standard error, and to the program.
 */
#ifndef INSPECT_PIN_REPORT_H
#define INSPECT_PIN_REPORT_H

#include <vthread/pin.h>

/* Prints one, now. */
void pin_report_now(const vthread_pin_episode_t *episode);

/* Lines on standard error, "vthread: pin: " before each. */
void pin_report_lines(const char *text);

/* For deadlock.c: 1 if the OS thread that tells of episodes is there, has
 * told all of them, and so does nothing until there are more. */
unsigned pin_report_idle(void);

#endif
