/*
 * crowd_table.h - between crowd.c and crowd_table.c.
 */
#ifndef CROWD_TABLE_H
#define CROWD_TABLE_H

#include <stdint.h>

/* The number after a key in /proc/self/status. */
uint64_t crowd_status(const char *key);

/* Prints the rows, as a table or as JSON. */
void crowd_print(void);

#endif
