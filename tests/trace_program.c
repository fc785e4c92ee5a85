/*
 * trace_program.c - random programs: what they do and what they record.
 *
 * The frames themselves are in trace_frames.h; how programs are run is up to
 * trace_test.c, which hands in a struct way.
 */
#include <alloca.h>
#include <errno.h>
#include <ffi.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unwind.h>

#include "tests/support.h"
#include "tests/trace.h"

/* Frames that may be open, and how many of them in one deep recursion.  What
 * sanitizers put around locals makes frames larger. */
#define DEPTH_MAX (UNDER_SANITIZER ? 24u : 48u)
#define DEEP_MAX (UNDER_SANITIZER ? 40u : 200u)

#define LARGE_WORDS 15

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

/* ---- What a program does ------------------------------------------------ */

FRAME void trace_error(struct trace *t, const char *what, const char *where)
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
    if ((void *)_Unwind_GetCFA(context) >= walk->base)
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
    if (control_words() != t->control)
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
    compare_control_words(t);
    int err = t->way->yield(t);
    if (err == 0)
        t->yields++;
    else if (err == EBUSY && t->pins > 0)
        t->refusals++;
    else
        trace_error(t, strerror(err), "yield");
    compare_control_words(t);
    /* After the yield: what it sees before another one of the same frames
     * was looked at then. */
    if (walks)
        trace_record(t, walk_stack(t));
}

static void trace_control(struct trace *t, uint32_t w)
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

const char outer_scope[] = "outer", inner_scope[] = "inner";

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
    uint32_t outside = t->control, inside = outside;
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

void prepare_foreign_calls(void)
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

void trace_init(struct trace *t, uint64_t seed, const struct way *way)
{
    memset(t, 0, sizeof *t);
    t->seed = seed;
    t->way = way;
    t->program.state = seed;
    t->chance.state = seed ^ (uint64_t)(uintptr_t)way;
    t->left = 10 + (unsigned)random_below(&t->program, 300);
}

FRAME void run_program(void *argument)
{
    struct trace *t = argument;
    uint32_t before = control_words();
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

const struct way plain = {do_not_yield, nothing, nothing, false};
