/*
 * switch_x86_64.h - where things are in what a switch leaves: see
 * switch_x86_64.S.
 */
#ifndef CONTINUATION_SWITCH_X86_64_H
#define CONTINUATION_SWITCH_X86_64_H

#define SWITCH_FRAME_BYTES 64
#define SWITCH_FRAME_POINTER 48
#define SWITCH_RETURN_ADDRESS 56

#define SWITCH_SLOTS 7

#endif
