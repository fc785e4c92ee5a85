/*
 * random.h - chance for tests: printed, and replayed by SEED=n.
 */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random {
    uint64_t state;
};

/* Starts from $SEED, or the time, and prints the command that replays it. */
static inline struct random random_start(const char *program)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0)
                                  : (uint64_t)time(NULL) * 1000003 + clock();

    printf("replay: SEED=%llu tests/%s\n", (unsigned long long)seed, program);
    fflush(stdout);
    return (struct random){seed};
}

/* SplitMix64: any seed will do, 0 too. */
static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint64_t random_below(struct random *random, uint64_t limit)
{
    return random_next(random) % limit;
}

/* Any number of bits, all lengths alike: small numbers are as frequent as
 * large ones. */
static inline uint64_t random_length(struct random *random, unsigned bits)
{
    unsigned length = (unsigned)random_below(random, bits + 1);

    return length == 0 ? 0 : random_next(random) >> (64 - length);
}

#endif
