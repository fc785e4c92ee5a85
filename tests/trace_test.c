/*
 * trace_test.c - the fuzzer: random programs, with and without yields.
 *
 * In the manner of the test of that name that the JDK has for continuations.
 * A program is a random tree of calls of many kinds (trace_frames.h), with
 * yields at random points, loops, pins, jumps out of many frames, other
 * rounding modes, and continuations inside.  It is run as a plain function
 * first, where a yield does nothing, and then as a bare continuation, each
 * of whose steps is made by some OS thread, and as a virtual thread.  What
 * it computes, what it records on the way and the stack that an unwinder
 * sees at a yield, before and after, must be the same.
 *
 * A program is a function of its seed alone.  What differs is told with the
 * command that runs the program again; the modes are those of the
 * environment: VTHREAD_FREEZE, VTHREAD_MIGRATE, VTHREAD_OWN_LIMIT and so on.
 * TRACE_ITERATIONS tells how many batches of programs each test runs.
 */
#include <alloca.h>
#include <errno.h>
#include <ffi.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unwind.h>

#include <vthread.h>

#include "tests/random.h"
#include "tests/support.h"

#define BATCH 64
/* Frames that may be open, and how many of them in one deep recursion.  What
 * sanitizers put around locals makes frames larger. */
#define DEPTH_MAX (UNDER_SANITIZER ? 24u : 48u)
#define DEEP_MAX (UNDER_SANITIZER ? 40u : 200u)
#define STACK_MAX 4000
#define LARGE_WORDS 15

/* Any arithmetic will do, and overflow is part of it. */
#define FRAME                                                                 \
    __attribute__((noinline, no_sanitize("signed-integer-overflow")))

enum kind {
    KIND_INT,
    KIND_LONG,
    KIND_DOUBLE,
    KIND_EXTENDED,
    KIND_VECTOR,
    KIND_SMALL,
    KIND_LARGE,
    KIND_VARARGS,
    KIND_ALLOCA,
    KIND_VLA,
    KIND_SETJMP,
    KIND_QSORT,
    KIND_FFI,
    KIND_CLOSURE,
    KIND_DEEP,
    KIND_LOOP,
    KIND_ROUNDING,
    KIND_PINNED,
    KIND_NESTED,
    KINDS,
};

static const char *const kind_names[] = {
    "int",     "long",    "double", "long double", "vector", "small struct",
    "large struct", "varargs", "alloca", "VLA", "setjmp", "qsort", "ffi_call",
    "closure", "deep", "loop", "rounding", "pinned", "nested"};

enum operation { RETURN, YIELD, CALL, THROW };

typedef uint64_t words __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(16)));

struct small {
    long n;
    double d;
};

struct large {
    uint64_t words[LARGE_WORDS];
};

struct control_words {
    unsigned mxcsr;
    unsigned short x87;
};

struct catch {
    jmp_buf environment;
    struct catch *outer;
    unsigned depth, pins;
    struct control_words control;
};

struct trace;

/* How a program is run. */
struct way {
    /* 0 having yielded, or EBUSY. */
    int (*yield)(struct trace *t);
    int (*pin)(void);
    int (*unpin)(void);
    bool nests; /* runs nested parts as continuations */
};

/* One execution of a program. */
struct trace {
    uint64_t seed;
    const struct way *way;
    struct random program;  /* what comes next */
    struct random chance;   /* what must not matter */
    unsigned left;          /* operations until all return */
    unsigned cost;          /* frames open, deep ones counted by weight */
    unsigned depth;         /* frames open */
    unsigned pins;          /* all of them, */
    unsigned inner_pins;    /* and those inside of the innermost nested one */
    unsigned nesting;
    unsigned char stack[STACK_MAX]; /* their kinds */
    struct control_words control;   /* as they should be */
    struct catch *catch;
    uint64_t thrown;
    void *base;             /* an unwinder need not go beyond */
    uint64_t record;        /* of all that happened */
    unsigned events, yields, refusals;
    uint64_t result;
    vthread_continuation_t *continuation;
    atomic_flag is_taken;
    struct {
        uint64_t *victim;   /* a word on its stack */
        bool is_done;
    } plant;
    char error[160];
};

static struct {
    ffi_cif cif;
    ffi_type small;
    ffi_type *small_elements[3];
    ffi_type *arguments[5];
    double (*closures[2])(struct trace *, int, double, long, struct small);
} foreign;

/* ---- Numbers ------------------------------------------------------------ */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6)))
                 * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ z >> 29;
}

static inline uint64_t bits(double d)
{
    uint64_t n;
    memcpy(&n, &d, sizeof n);
    return n;
}

static inline uint64_t extended_bits(long double d)
{
    uint64_t n[2] = {0, 0};
    memcpy(n, &d, 10);
    return mix(n[0], n[1]);
}

static inline uint64_t sum_of(const uint64_t *n, unsigned count)
{
    uint64_t sum = count;
    for (unsigned i = 0; i < count; i++)
        sum = mix(sum, n[i]);
    return sum;
}

static struct control_words control_words(void)
{
    struct control_words w;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(w.mxcsr), "=m"(w.x87));
    w.mxcsr &= 0xffc0; /* the others are flags, and nobody's */
    return w;
}

static void set_control_words(struct control_words w)
{
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(w.mxcsr), "m"(w.x87));
}

/* One of four rounding modes for each of the two units, and flushing. */
static struct control_words control_words_of(unsigned n)
{
    return (struct control_words){
        .mxcsr = 0x1f80u | (n & 3) << 13 | (n & 4) << 13,
        .x87 = (unsigned short)(0x037f | (n >> 3 & 3) << 10),
    };
}

/* ---- What a program does ------------------------------------------------ */

static FRAME void trace_error(struct trace *t, const char *what,
                              const char *where)
{
    if (t->error[0] == '\0')
        snprintf(t->error, sizeof t->error, "event %u, depth %u: %s in a %s",
                 t->events, t->depth, what, where);
}

static void trace_record(struct trace *t, uint64_t what)
{
    t->events++;
    t->record = mix(t->record, what);
}

static FRAME void trace_compare(struct trace *t, enum kind kind,
                                uint64_t before, uint64_t after)
{
    trace_record(t, after);
    if (before != after)
        trace_error(t, "locals have changed", kind_names[kind]);
}

static FRAME void trace_enter(struct trace *t, enum kind kind)
{
    trace_record(t, kind);
    if (t->depth == STACK_MAX)
        abort();
    t->stack[t->depth++] = (unsigned char)kind;
}

static FRAME void trace_leave(struct trace *t, enum kind kind, uint64_t value)
{
    trace_record(t, value);
    if (t->depth == 0 || t->stack[t->depth - 1] != kind)
        trace_error(t, "the frames left are not those entered",
                    kind_names[kind]);
    else
        t->depth--;
}

static FRAME enum operation trace_next(struct trace *t)
{
    if (t->left == 0)
        return RETURN;
    t->left--;
    uint64_t n = random_below(&t->program, 100);
    trace_record(t, n);
    if (n < 30)
        return RETURN;
    if (n < 55)
        return YIELD;
    return n < 97 ? CALL : THROW;
}

/* What other frames than the innermost look like, to an unwinder. */
struct walk {
    void *base;
    unsigned skip;
    uint64_t sum;
};

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context,
                                      void *argument)
{
    struct walk *walk = argument;
    if ((void *)_Unwind_GetCFA(context) > walk->base)
        return _URC_END_OF_STACK;
    if (walk->skip > 0)
        walk->skip--;
    else
        walk->sum = mix(walk->sum, _Unwind_GetIP(context));
    return _URC_NO_REASON;
}

/* Of the frames from the caller's caller to the base. */
static FRAME uint64_t walk_stack(struct trace *t)
{
    struct walk walk = {.base = t->base, .skip = 2};
    _Unwind_Backtrace(walk_frame, &walk);
    return walk.sum;
}

static void compare_control_words(struct trace *t)
{
    struct control_words now = control_words();
    if (now.mxcsr != t->control.mxcsr || now.x87 != t->control.x87)
        trace_error(t, "control words have changed",
                    kind_names[t->stack[t->depth - 1]]);
}

static FRAME void trace_yield(struct trace *t)
{
    bool walks = random_below(&t->program, 4) == 0;
    uint64_t stack = 0;
    for (unsigned i = 0; i < t->depth; i++)
        stack = mix(stack, t->stack[i]);
    trace_record(t, stack);
    if (walks)
        trace_record(t, stack = walk_stack(t));
    compare_control_words(t);
    int err = t->way->yield(t);
    if (err == 0)
        t->yields++;
    else if (err == EBUSY && t->pins > 0)
        t->refusals++;
    else
        trace_error(t, strerror(err), "yield");
    compare_control_words(t);
    if (walks && walk_stack(t) != stack)
        trace_error(t, "the stack has changed", "yield");
}

static void trace_control(struct trace *t, struct control_words w)
{
    t->control = w;
    set_control_words(w);
}

static void trace_pin(struct trace *t)
{
    if (t->way->pin() != 0)
        trace_error(t, "no pin", "pinned");
    t->pins++;
    t->inner_pins++;
}

static void trace_unpin(struct trace *t)
{
    if (t->way->unpin() != 0)
        trace_error(t, "no unpin", "pinned");
    t->pins--;
    t->inner_pins--;
}

static void trace_catch(struct trace *t, struct catch *catch)
{
    catch->outer = t->catch;
    catch->depth = t->depth;
    catch->pins = t->pins;
    catch->control = t->control;
    t->catch = catch;
}

/* After a jump: as it was at trace_catch. */
static uint64_t trace_caught(struct trace *t, struct catch *catch)
{
    trace_record(t, t->thrown);
    trace_control(t, catch->control);
    while (t->pins > catch->pins)
        trace_unpin(t);
    t->depth = catch->depth;
    t->plant.victim = NULL;
    return t->thrown;
}

static uint64_t (*const *const calls[2])(struct trace *, uint64_t);

static FRAME uint64_t trace_perform(struct trace *t, enum operation operation,
                                    uint64_t x)
{
    if (operation == THROW) {
        if (!t->catch)
            return x;
        t->thrown = x;
        longjmp(t->catch->environment, 1);
    }
    uint64_t kind = random_below(&t->program, KINDS);
    uint64_t level = random_below(&t->program, 2);
    if (t->depth >= DEPTH_MAX || t->left == 0)
        return mix(x, kind);
    return calls[level][kind](t, x);
}

static unsigned trace_levels(struct trace *t, unsigned levels)
{
    return t->depth + levels < STACK_MAX && levels < DEEP_MAX ? levels : 0;
}

/* ---- Parts of a program that are continuations of their own ------------- */

static const char outer_scope[] = "outer", inner_scope[] = "inner";

struct nested {
    struct trace *trace;
    uint64_t (*fn)(struct trace *, uint64_t);
    uint64_t value;
    unsigned pins;
};

static FRAME void run_nested(void *argument)
{
    struct nested *nested = argument;
    struct trace *t = nested->trace;
    void *base = t->base;
    struct catch *catch = t->catch;
    unsigned inner_pins = t->inner_pins;
    uint64_t *victim = t->plant.victim;
    t->base = __builtin_frame_address(0);
    t->catch = NULL;
    t->inner_pins = 0;
    t->plant.victim = NULL;
    t->nesting++;
    set_control_words(t->control);
    nested->value = nested->fn(t, nested->value);
    t->nesting--;
    t->plant.victim = victim;
    t->inner_pins = inner_pins;
    t->catch = catch;
    t->base = base;
}

static void run_to_end(struct trace *t, vthread_continuation_t *c)
{
    struct control_words outside = t->control, inside = outside;
    while (!vthread_continuation_is_done(c)) {
        t->control = inside;
        int err = vthread_continuation_run(c);
        if (err != 0) {
            trace_error(t, strerror(err), "run");
            return;
        }
        inside = t->control;
        t->control = outside;
        compare_control_words(t);
    }
}

static FRAME uint64_t trace_nest(struct trace *t,
                                 uint64_t (*fn)(struct trace *, uint64_t),
                                 uint64_t x)
{
    /* On the heap: what is passed in may not lie on a common home. */
    struct nested *nested = malloc(sizeof *nested);
    *nested = (struct nested){.trace = t, .fn = fn, .value = x};
    if (t->way->nests) {
        vthread_continuation_attr_t attr = {.scope = inner_scope};
        vthread_continuation_t *c;
        int err = vthread_continuation_create(&c, &attr, run_nested, nested);
        if (err == 0) {
            run_to_end(t, c);
            err = vthread_continuation_destroy(c);
        }
        if (err != 0)
            trace_error(t, strerror(err), "nested");
    } else {
        run_nested(nested);
    }
    x = nested->value;
    free(nested);
    return x;
}

/* ---- The frames, unoptimised and optimised ------------------------------ */

#if defined __clang__
#pragma clang optimize off
#else
#pragma GCC push_options
#pragma GCC optimize("O0")
#endif
#define LEVEL(name) name##_plain
#define LEVEL_BIT 0
#include "tests/trace_frames.h"
#undef LEVEL
#undef LEVEL_BIT
#if defined __clang__
#pragma clang optimize on
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC optimize("O2")
#endif
#define LEVEL(name) name##_optimised
#define LEVEL_BIT 1
#include "tests/trace_frames.h"
#if !defined __clang__
#pragma GCC pop_options
#endif

static uint64_t (*const *const calls[2])(struct trace *, uint64_t) = {
    calls_plain, calls_optimised};

static void prepare_closure(unsigned level,
                            void (*serve)(ffi_cif *, void *, void **, void *))
{
    void *code;
    ffi_closure *closure = ffi_closure_alloc(sizeof *closure, &code);
    ck_assert_ptr_nonnull(closure);
    ck_assert_int_eq(
        ffi_prep_closure_loc(closure, &foreign.cif, serve, NULL, code),
        FFI_OK);
    memcpy(&foreign.closures[level], &code, sizeof code);
}

static void prepare_foreign_calls(void)
{
    foreign.small_elements[0] = &ffi_type_slong;
    foreign.small_elements[1] = &ffi_type_double;
    foreign.small.type = FFI_TYPE_STRUCT;
    foreign.small.elements = foreign.small_elements;
    foreign.arguments[0] = &ffi_type_pointer;
    foreign.arguments[1] = &ffi_type_sint;
    foreign.arguments[2] = &ffi_type_double;
    foreign.arguments[3] = &ffi_type_slong;
    foreign.arguments[4] = &foreign.small;
    ck_assert_int_eq(ffi_prep_cif(&foreign.cif, FFI_DEFAULT_ABI, 5,
                                  &ffi_type_double, foreign.arguments),
                     FFI_OK);
    prepare_closure(0, serve_closure_plain);
    prepare_closure(1, serve_closure_optimised);
}

/* ---- A program ---------------------------------------------------------- */

static void trace_init(struct trace *t, uint64_t seed, const struct way *way)
{
    memset(t, 0, sizeof *t);
    t->seed = seed;
    t->way = way;
    t->program.state = seed;
    t->chance.state = seed ^ (uint64_t)(uintptr_t)way;
    t->left = 10 + (unsigned)random_below(&t->program, 300);
}

/* The whole program, on whatever stack. */
static FRAME void run_program(void *argument)
{
    struct trace *t = argument;
    struct control_words before = control_words();
    t->base = __builtin_frame_address(0);
    trace_control(t, control_words_of(0));
    while (t->left > 0) {
        uint64_t x = random_next(&t->program);
        t->result = mix(t->result, trace_perform(t, CALL, x));
    }
    set_control_words(before);
}

static int nothing(void)
{
    return 0;
}

static int do_not_yield(struct trace *t)
{
    (void)t;
    return 0;
}

static const struct way plain = {do_not_yield, nothing, nothing, false};

static const char *modes(void)
{
    static char text[200];
    static const char *const variables[] = {
        "VTHREAD_FREEZE", "VTHREAD_MIGRATE", "VTHREAD_PARALLELISM",
        "VTHREAD_OWN_LIMIT", "VTHREAD_COMMON_HOMES"};
    text[0] = '\0';
    for (unsigned i = 0; i < COUNT_OF(variables); i++) {
        const char *value = getenv(variables[i]);
        size_t n = strlen(text);
        if (value)
            snprintf(text + n, sizeof text - n, "%s=%s ", variables[i],
                     value);
    }
    return text;
}

/* Runs the program plainly and compares. */
static void verify(const struct trace *t, uint64_t batch_seed)
{
    static struct trace expected;
    trace_init(&expected, t->seed, &plain);
    run_program(&expected);
    ck_assert_msg(expected.error[0] == '\0', "without yields: %s",
                  expected.error);
    if (t->error[0] == '\0' && t->record == expected.record
        && t->events == expected.events && t->result == expected.result)
        return;
    ck_abort_msg("program %#llx differs: %s (%u events, %u expected; "
                 "%u yields, %u refused)\nreplay: SEED=%llu "
                 "TRACE_ITERATIONS=1 %stests/trace_test",
                 (unsigned long long)t->seed,
                 t->error[0] ? t->error : "other events or another result",
                 t->events, expected.events, t->yields, t->refusals,
                 (unsigned long long)batch_seed, modes());
}

static struct trace *new_batch(uint64_t seed, const struct way *way)
{
    struct random random = {seed};
    struct trace *batch = calloc(BATCH, sizeof *batch);
    ck_assert_ptr_nonnull(batch);
    for (unsigned i = 0; i < BATCH; i++)
        trace_init(&batch[i], random_next(&random), way);
    return batch;
}

static void verify_batch(struct trace *batch, uint64_t seed)
{
    unsigned yields = 0;
    for (unsigned i = 0; i < BATCH; i++) {
        verify(&batch[i], seed);
        yields += batch[i].yields;
    }
    ck_assert_uint_gt(yields, 0);
    free(batch);
}

static uint64_t iterations(void)
{
    return number_from("TRACE_ITERATIONS", UNDER_SANITIZER ? 1 : 4);
}

static uint64_t first_seed;

/* ---- As bare continuations ---------------------------------------------- */

static int yield_bare(struct trace *t)
{
    bool inner = t->nesting > 0 && random_below(&t->chance, 3) == 0;
    int err = vthread_continuation_yield(inner ? inner_scope : outer_scope);
    bool expect_refusal = (inner ? t->inner_pins : t->pins) > 0;
    if (expect_refusal != (err == EBUSY))
        trace_error(t, "a pin was not heeded or imagined", "yield");
    return err;
}

static const struct way bare = {yield_bare, vthread_continuation_pin,
                                vthread_continuation_unpin, true};

struct runner {
    pthread_t thread;
    struct trace *batch;
    struct random random;
};

static bool step_of(struct trace *t)
{
    if (atomic_flag_test_and_set(&t->is_taken))
        return false;
    bool is_done = vthread_continuation_is_done(t->continuation);
    if (!is_done) {
        struct control_words before = control_words();
        int err = vthread_continuation_run(t->continuation);
        struct control_words after = control_words();
        if (err != 0 && err != EAGAIN)
            trace_error(t, strerror(err), "step");
        if (before.mxcsr != after.mxcsr || before.x87 != after.x87)
            trace_error(t, "the runner's control words have changed",
                        "step");
    }
    atomic_flag_clear(&t->is_taken);
    return is_done;
}

/* Any of the batch, any number of times, until all have ended. */
static void *run_steps(void *argument)
{
    struct runner *r = argument;
    unsigned done;
    do {
        for (unsigned i = 0; i < BATCH; i++)
            step_of(&r->batch[random_below(&r->random, BATCH)]);
        done = 0;
        for (unsigned i = 0; i < BATCH; i++)
            done += vthread_continuation_is_done(r->batch[i].continuation);
    } while (done < BATCH);
    return NULL;
}

static void run_bare(uint64_t seed, unsigned os_threads)
{
    struct runner runners[8];
    vthread_continuation_attr_t attr = {.scope = outer_scope};
    struct trace *batch = new_batch(seed, &bare);
    for (unsigned i = 0; i < BATCH; i++)
        ck_assert_int_eq(
            vthread_continuation_create(&batch[i].continuation, &attr,
                                        run_program, &batch[i]),
            0);
    for (unsigned i = 0; i < os_threads; i++) {
        runners[i] = (struct runner){.batch = batch, .random = {seed + i}};
        ck_assert_int_eq(pthread_create(&runners[i].thread, NULL, run_steps,
                                        &runners[i]),
                         0);
    }
    for (unsigned i = 0; i < os_threads; i++)
        pthread_join(runners[i].thread, NULL);
    for (unsigned i = 0; i < BATCH; i++)
        ck_assert_int_eq(
            vthread_continuation_destroy(batch[i].continuation), 0);
    verify_batch(batch, seed);
}

static void fuzz_bare(void)
{
    static const unsigned os_threads[] = {1, 2, 4};
    for (uint64_t i = 0; i < iterations(); i++)
        for (unsigned j = 0; j < COUNT_OF(os_threads); j++)
            run_bare(first_seed + i, os_threads[j]);
}

/* ---- As virtual threads ------------------------------------------------- */

static FRAME long os_thread(void)
{
    return syscall(SYS_gettid);
}

/* Any way of waiting that ends by itself. */
static int wait_somehow(struct trace *t)
{
    switch (random_below(&t->chance, 8)) {
    case 0:
        return vthread_sleep(random_below(&t->chance, 30000));
    case 1:
        vthread_unpark(vthread_self());
        return vthread_park();
    case 2:
        return vthread_park_until(vthread_after(1000)) == ETIMEDOUT ? 0
                                                                    : EINVAL;
    default:
        vthread_yield();
        return 0;
    }
}

static int yield_thread(struct trace *t)
{
    bool inner = t->nesting > 0 && random_below(&t->chance, 3) == 0;
    if (inner)
        return vthread_continuation_yield(inner_scope);
    long before = os_thread();
    int err = wait_somehow(t);
    if (t->pins > 0 && os_thread() != before)
        trace_error(t, "moved though pinned", "yield");
    return err;
}

static const struct way as_thread = {yield_thread, vthread_pin, vthread_unpin,
                                     true};

static void *run_as_thread(void *argument)
{
    run_program(argument);
    return argument;
}

static void run_threads(uint64_t seed, unsigned carriers)
{
    static vthread_t threads[BATCH];
    struct trace *batch = new_batch(seed, &as_thread);
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t sa = {.parallelism = carriers};
    ck_assert_int_eq(vthread_scheduler_create(&s, &sa), 0);
    for (unsigned i = 0; i < BATCH; i++) {
        vthread_attr_t attr = {.scheduler = s};
        ck_assert_int_eq(vthread_create(&threads[i], &attr, run_as_thread,
                                        &batch[i]),
                         0);
    }
    for (unsigned i = 0; i < BATCH; i++)
        ck_assert_int_eq(vthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(vthread_scheduler_shutdown(s, VTHREAD_NEVER), 0);
    verify_batch(batch, seed);
}

static void fuzz_threads(void)
{
    static const unsigned carriers[] = {1, 2, 8};
    for (uint64_t i = 0; i < iterations(); i++)
        for (unsigned j = 0; j < COUNT_OF(carriers); j++)
            run_threads(first_seed + i, carriers[j]);
}

/* ---- The tests ---------------------------------------------------------- */

/* One mode after the other, unless the environment says which. */
static const struct {
    const char *freeze, *own_limit, *migrate;
} mode_list[] = {
    {"lazy", "1024", ""},
    {"lazy", "0", ""},
    {"lazy", "0", "always"},
    {"eager", "0", ""},
    {"guard", "0", ""},
};

static void set_modes(int i)
{
    set_mode("VTHREAD_COMMON_HOMES", "4");
    if (!tests_fork())
        return;
    set_mode("VTHREAD_FREEZE", mode_list[i].freeze);
    set_mode("VTHREAD_OWN_LIMIT", mode_list[i].own_limit);
    set_mode("VTHREAD_MIGRATE", mode_list[i].migrate);
}

START_TEST(a_program_is_a_function_of_its_seed)
{
    for (uint64_t i = 0; i < iterations(); i++) {
        struct trace *batch = new_batch(first_seed + i, &plain);
        for (unsigned j = 0; j < BATCH; j++)
            run_program(&batch[j]);
        verify_batch(batch, first_seed + i);
    }
}
END_TEST

START_TEST(bare_continuations_compute_the_same)
{
    set_modes(_i);
    fuzz_bare();
}
END_TEST

START_TEST(virtual_threads_compute_the_same)
{
    set_modes(_i);
    fuzz_threads();
}
END_TEST

/* ---- That the fuzzer can fail ------------------------------------------- */

static int yield_and_change_a_local(struct trace *t)
{
    /* Not where a jump may leave the frame before it looks. */
    if (t->plant.victim && !t->catch && !t->plant.is_done) {
        *t->plant.victim ^= 1;
        t->plant.is_done = true;
    }
    return 0;
}

static int yield_and_change_the_rounding(struct trace *t)
{
    if (t->control.mxcsr != control_words_of(0).mxcsr) {
        set_control_words(control_words_of(0));
        t->plant.is_done = true;
    }
    return 0;
}

/* The compiler is not told. */
static FRAME int yield_and_change_registers(struct trace *t)
{
    t->plant.is_done = true;
    __asm__ volatile("xorl $8, %%ebx\n\txorl $8, %%r12d\n\t"
                     "xorl $8, %%r13d\n\txorl $8, %%r14d\n\t"
                     "xorl $8, %%r15d"
                     :
                     :
                     :);
    return 0;
}

/* False if the program had no such place. */
static bool finds_plant(uint64_t seed, int (*yield)(struct trace *))
{
    static struct trace t;
    const struct way way = {yield, nothing, nothing, false};
    trace_init(&t, seed, &way);
    run_program(&t);
    if (t.plant.is_done && t.error[0] == '\0')
        ck_abort_msg("program %#llx: a planted error was not noticed",
                     (unsigned long long)seed);
    return t.plant.is_done;
}

static void plant(int (*yield)(struct trace *))
{
    unsigned found = 0;
    for (uint64_t i = 0; i < 50; i++)
        found += finds_plant(first_seed + i, yield);
    ck_assert_uint_gt(found, 0);
}

START_TEST(a_local_that_changes_is_noticed)
{
    plant(yield_and_change_a_local);
}
END_TEST

START_TEST(a_rounding_mode_that_changes_is_noticed)
{
    plant(yield_and_change_the_rounding);
}
END_TEST

static void corrupt_registers(void)
{
    /* Ends well only if nothing is noticed. */
    static struct trace t, expected;
    const struct way way = {yield_and_change_registers, nothing, nothing,
                            false};
    for (uint64_t i = 0; i < 50; i++) {
        trace_init(&t, first_seed + i, &way);
        trace_init(&expected, first_seed + i, &plain);
        run_program(&expected);
        run_program(&t);
        if (t.error[0] || t.record != expected.record
            || t.result != expected.result)
            abort();
    }
}

START_TEST(registers_that_change_are_noticed)
{
    static char text[4096];
    int status = end_of_child(corrupt_registers, text, sizeof text);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace");
    TCase *cases = tcase_create("trace");
    int modes_count = tests_fork() ? COUNT_OF(mode_list) : 1;
    first_seed = random_start("trace_test").state;
    tcase_set_timeout(cases, (double)(60 + 20 * iterations()));
    tcase_add_checked_fixture(cases, prepare_foreign_calls, NULL);
    tcase_add_test(cases, a_program_is_a_function_of_its_seed);
    tcase_add_loop_test(cases, bare_continuations_compute_the_same, 0,
                        modes_count);
    tcase_add_loop_test(cases, virtual_threads_compute_the_same, 0,
                        modes_count);
    tcase_add_test(cases, a_local_that_changes_is_noticed);
    tcase_add_test(cases, a_rounding_mode_that_changes_is_noticed);
    tcase_add_test(cases, registers_that_change_are_noticed);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
