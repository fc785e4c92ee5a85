/*
 * collector.c - which collector there is, and sleeping in peace from it.
 */
#include "collector.h"

#include "futex.h"

const struct collector *collector;

struct wait {
    _Atomic uint32_t *word;
    uint32_t expected;
    uint64_t deadline_ns;
    int result;
};

static void wait_now(void *argument)
{
    struct wait *wait = argument;
    wait->result = futex_wait(wait->word, wait->expected, wait->deadline_ns);
}

int futex_wait_idle(_Atomic uint32_t *word, uint32_t expected,
                    uint64_t deadline_ns)
{
    struct wait wait = {word, expected, deadline_ns, 0};
    collector_sleep(wait_now, &wait);
    return wait.result;
}
