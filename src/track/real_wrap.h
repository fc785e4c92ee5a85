/*
 * real_wrap.h - ours and the real ones by the names that --wrap gives them.
 */
#ifndef TRACK_REAL_WRAP_H
#define TRACK_REAL_WRAP_H

#define OURS(name) __wrap_##name
#define REAL(name) __real_##name

#define TRACK_DECLARE(name)                                                   \
    TRACK_EXPORT __typeof__(name) __wrap_##name;                              \
    extern __typeof__(name) __real_##name;
TRACK_FUNCTIONS(TRACK_DECLARE)

#endif
