/*
 * pin_chain.h - all carriers wait with pinned threads while others are ready.
 */
#ifndef INSPECT_PIN_CHAIN_H
#define INSPECT_PIN_CHAIN_H

#include <stdint.h>

struct pool;

/* A pool_client's `exhausted`. */
void pin_chain_look(struct pool *pool, uint64_t lasted_ns);

#endif
