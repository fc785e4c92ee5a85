/*
 * carrier_local.h - carriers' values, inside the library.
 */
#ifndef CARRIER_LOCAL_H
#define CARRIER_LOCAL_H

/* The calling OS thread ends: destroys its values. */
void carrier_local_leave(void);

#endif
