/*
 * switch_aarch64.h - where things are in what a switch leaves: see
 * switch_aarch64.S.
 */
#ifndef CONTINUATION_SWITCH_AARCH64_H
#define CONTINUATION_SWITCH_AARCH64_H

#define SWITCH_FRAME_BYTES 176
#define SWITCH_FRAME_POINTER 160
#define SWITCH_RETURN_ADDRESS 168

/* The general registers: no frame is found by the others. */
#define SWITCH_SLOTS 12

#endif
