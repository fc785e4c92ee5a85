/*
 * call.c - ns for one foreign call that does nothing: a plain call, a bare
 * ffi_call, and vthread_call by each policy.
 *
 *   call.plain       through a pointer that the compiler does not see through
 *   call.ffi         ffi_call, the signature prepared
 *   call.critical    and so on: vthread_call by a site of that policy
 *   call.ffi.3       with three arguments, and errno
 *   call.auto.3
 *
 * All are sampled in turn, by one virtual thread, while nothing else is to be
 * done; a blocking call then hands its role to nobody.  A detached call is a
 * round trip to another OS thread.  Warm-up: one round of each, not counted.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>

#include <vthread/call.h>

#define CALLS 200000
#define SLOW_CALLS 10000

static unsigned long carriers = 2;

static int calls_made;

__attribute__((noinline)) static void do_nothing(void)
{
    calls_made++;
}

__attribute__((noinline)) static int take_three(int i, void *p, size_t z)
{
    calls_made += p != NULL && z == 3;
    return i;
}

static void (*volatile nothing)(void) = do_nothing;
static void (*volatile three)(void) = (void (*)(void))take_three;

static ffi_cif of_nothing, of_three;
static ffi_type *three_types[] = {&ffi_type_sint, &ffi_type_pointer,
                                  &ffi_type_ulong};

static vthread_call_site_t sites[] = {
    {.signature = "v()", .policy = VTHREAD_CALL_AUTO},
    {.signature = "v()", .policy = VTHREAD_CALL_CRITICAL},
    {.signature = "v()", .policy = VTHREAD_CALL_BLOCKING},
    {.signature = "v()", .policy = VTHREAD_CALL_DETACHED},
    {.signature = "i(ipz)", .policy = VTHREAD_CALL_AUTO},
};

static void call_plainly(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        nothing();
}

static void call_by_ffi(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ffi_call(&of_nothing, nothing, NULL, NULL);
}

static void call_three_by_ffi(unsigned count)
{
    int number = 1;
    size_t size = 3;
    void *place = &number, *args[] = {&number, &place, &size};
    ffi_arg result;

    for (unsigned i = 0; i < count; i++) {
        errno = 0;
        ffi_call(&of_three, three, &result, args);
        if ((int)result != 1 || errno != 0)
            bench_die("ffi_call: %d", (int)result);
    }
}

static void call_at(vthread_call_site_t *site, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        bench_check(vthread_call(site, nothing, NULL, NULL, NULL),
                    "vthread_call");
}

static void call_auto(unsigned count)
{
    call_at(&sites[VTHREAD_CALL_AUTO], count);
}

static void call_critical(unsigned count)
{
    call_at(&sites[VTHREAD_CALL_CRITICAL], count);
}

static void call_blocking(unsigned count)
{
    call_at(&sites[VTHREAD_CALL_BLOCKING], count);
}

static void call_detached(unsigned count)
{
    call_at(&sites[VTHREAD_CALL_DETACHED], count);
}

static void call_three(unsigned count)
{
    int number = 1, result, error;
    size_t size = 3;
    void *place = &number, *args[] = {&number, &place, &size};

    for (unsigned i = 0; i < count; i++) {
        bench_check(vthread_call(&sites[4], three, &result, args, &error),
                    "vthread_call");
        if (result != 1 || error != 0)
            bench_die("vthread_call: %d", result);
    }
}

/* ---- All in turn -------------------------------------------------------- */

static struct {
    const char *name;
    void (*call)(unsigned count);
    unsigned count;
    struct bench_samples samples;
} kinds[] = {
    {"call.plain", call_plainly, CALLS, {{0}, 0}},
    {"call.ffi", call_by_ffi, CALLS, {{0}, 0}},
    {"call.critical", call_critical, CALLS, {{0}, 0}},
    {"call.auto", call_auto, CALLS, {{0}, 0}},
    {"call.blocking", call_blocking, SLOW_CALLS, {{0}, 0}},
    {"call.detached", call_detached, SLOW_CALLS, {{0}, 0}},
    {"call.ffi.3", call_three_by_ffi, CALLS, {{0}, 0}},
    {"call.auto.3", call_three, CALLS, {{0}, 0}},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static double time_calls(unsigned kind)
{
    unsigned count = kinds[kind].count;

    calls_made = 0;
    uint64_t start_ns = bench_now_ns();
    kinds[kind].call(count);
    uint64_t end_ns = bench_now_ns();
    if (calls_made != (int)count)
        bench_die("%d calls were made", calls_made);
    return (double)(end_ns - start_ns) / count;
}

static void *take_time(void *unused)
{
    for (unsigned i = 0; i < KINDS; i++)
        time_calls(i);
    for (unsigned round = 0; round < bench_rounds(15, 5); round++)
        for (unsigned i = 0; i < KINDS; i++)
            bench_add(&kinds[i].samples, time_calls(i));
    return unused;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"carriers", &carriers, "carriers of the scheduler", NULL}, {0}};

    bench_parse(argc, argv, "One foreign call that does nothing, in ns.",
                options);
    bench_check(ffi_prep_cif(&of_nothing, FFI_DEFAULT_ABI, 0, &ffi_type_void,
                             NULL),
                "ffi_prep_cif");
    bench_check(ffi_prep_cif(&of_three, FFI_DEFAULT_ABI, 3, &ffi_type_sint,
                             three_types),
                "ffi_prep_cif");
    bench_run_on((unsigned)carriers, take_time, NULL);
    for (unsigned i = 0; i < KINDS; i++)
        bench_report(kinds[i].name, &kinds[i].samples, "ns");
    return 0;
}
