/*
 * bracket.c - ns for entering and leaving a foreign call that does not block.
 *
 * That is what a call of the policy AUTO costs besides the call itself: the
 * bracket of src/call/blocking.h, with nothing in it, on one carrier.  It is no
 * part of the interface, so this program is linked with the inside of the
 * library, as pair is.
 */
#include "bench/bench.h"

#include "call/blocking.h"

#define BRACKETS 1000000

static double time_brackets(void)
{
    struct blocking blocking;
    uint64_t start_ns = bench_now_ns();

    for (unsigned i = 0; i < BRACKETS; i++) {
        bench_check(blocking_begin(&blocking, BLOCKING_SHORT, VTHREAD_NEVER),
                    "blocking_begin");
        blocking_end(&blocking);
    }
    return (double)(bench_now_ns() - start_ns) / BRACKETS;
}

static void *take_time(void *out)
{
    time_brackets();
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        bench_add(out, time_brackets());
    return NULL;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {{0}};
    static struct bench_samples samples;

    bench_parse(argc, argv, "Entering and leaving a foreign call, in ns.",
                options);
    bench_run_on(1, take_time, &samples);
    bench_report("block.bracket", &samples, "ns");
    return 0;
}
