/*
 * switch_riscv64.h - where things are in what a switch leaves: see
 * switch_riscv64.S.
 */
#ifndef CONTINUATION_SWITCH_RISCV64_H
#define CONTINUATION_SWITCH_RISCV64_H

#define SWITCH_FRAME_BYTES 208
#define SWITCH_FRAME_POINTER 192
#define SWITCH_RETURN_ADDRESS 200

/* The general registers: no frame is found by the others. */
#define SWITCH_SLOTS 13

#endif
