/*
 * trace_frames.h - frames of many kinds, for trace_program.c.
 *
 * Included twice, with LEVEL(name) and LEVEL_BIT for unoptimised and for
 * optimised code: every name is defined once for each.
 *
 * A frame fills its locals from its arguments, lets the program go on with
 * OPERATIONS, and after each operation looks whether all of them are what
 * they were.  A call_* makes the arguments of one kind of frame from a
 * number, and a number from what it returns.
 */

/* One operation after the other, until the program says return.  `sum` is
 * made of the frame's locals; it is computed before and after each. */
#define OPERATIONS(t, kind, acc, sum)                                        \
    for (;;) {                                                               \
        uint64_t before_ = (sum);                                            \
        enum operation operation_ = trace_next(t);                           \
        if (operation_ == RETURN)                                            \
            break;                                                           \
        if (operation_ == YIELD)                                             \
            trace_yield(t);                                                  \
        else                                                                 \
            (acc) = trace_perform(t, operation_, (acc));                     \
        trace_compare(t, kind, before_, (sum));                              \
    }

/* Integers, in registers and on the stack. */
static FRAME int LEVEL(frame_int)(struct trace *t, int a, int b, int c,
                                  int d, int e, int f, int g, int h)
{
    uint64_t acc = (uint64_t)a * 3 + (uint64_t)h;
    int x = a ^ b, y = c - d, z = e + f * 3;
    trace_enter(t, KIND_INT);
    OPERATIONS(t, KIND_INT, acc,
               mix(mix((uint64_t)x << 32 | (uint32_t)y,
                       (uint64_t)z << 32 | (uint32_t)g),
                   (uint64_t)h << 32 | (uint32_t)a));
    trace_leave(t, KIND_INT, acc);
    return (int)acc + x + y + z + g + h;
}

static uint64_t LEVEL(call_int)(struct trace *t, uint64_t x)
{
    int n = (int)(x % 1000003);
    return (uint64_t)LEVEL(frame_int)(t, n, n + 1, n * 2, n - 3, n ^ 4, ~n, n,
                                      n / 7);
}

/* Long integers, enough to keep all callee-saved registers busy. */
static FRAME long LEVEL(frame_long)(struct trace *t, long a, long b, long c,
                                    long d, long e, long f, long g)
{
    uint64_t acc = (uint64_t)a;
    long p = a * 5, q = b ^ c, r = d + e, s = f - g, u = a | g, v = b & f;
    trace_enter(t, KIND_LONG);
    OPERATIONS(t, KIND_LONG, acc,
               mix(mix((uint64_t)p, (uint64_t)q),
                   mix(mix((uint64_t)r, (uint64_t)s),
                       mix((uint64_t)u, (uint64_t)v))));
    trace_leave(t, KIND_LONG, acc);
    return (long)acc ^ p ^ q ^ r ^ s ^ u ^ v;
}

static uint64_t LEVEL(call_long)(struct trace *t, uint64_t x)
{
    long n = (long)(x >> 1);
    return (uint64_t)LEVEL(frame_long)(t, n, n ^ 1, n / 3, n % 1001, n >> 5,
                                       ~n, n | 6);
}

/* Doubles beyond the eight registers; their sums depend on the rounding. */
static FRAME double LEVEL(frame_double)(struct trace *t, double a, double b,
                                        double c, double d, double e,
                                        double f, double g, double h,
                                        double i, double j)
{
    uint64_t acc = bits(a);
    double x = a / 3 + b / 7, y = c / 11 - d / 13, z = e * f / 17;
    trace_enter(t, KIND_DOUBLE);
    OPERATIONS(t, KIND_DOUBLE, acc,
               mix(mix(bits(x), bits(y)),
                   mix(mix(bits(z), bits(i)), bits(j))));
    x += (double)(acc % 1000) / 7;
    trace_leave(t, KIND_DOUBLE, bits(x + y + z));
    return x + y + z + g / 19 + h / 23 + i + j;
}

static uint64_t LEVEL(call_double)(struct trace *t, uint64_t x)
{
    double n = (double)(x % 1000003);
    return bits(LEVEL(frame_double)(t, n, n + 0.1, n / 3, n * 1.7, -n, n, 2,
                                    n - 1, n + 2, 1 / (n + 1)));
}

static FRAME long double LEVEL(frame_extended)(struct trace *t,
                                               long double a, long double b)
{
    uint64_t acc = extended_bits(a);
    long double x = a / 3 + b, y = a * b / 7;
    trace_enter(t, KIND_EXTENDED);
    OPERATIONS(t, KIND_EXTENDED, acc,
               mix(extended_bits(x), extended_bits(y)));
    x += (long double)(acc % 1000) / 7;
    trace_leave(t, KIND_EXTENDED, extended_bits(x));
    return x - y;
}

static uint64_t LEVEL(call_extended)(struct trace *t, uint64_t x)
{
    return extended_bits(LEVEL(frame_extended)(
        t, (long double)(x % 100003), (long double)1 / (x % 91 + 1)));
}

/* Vectors, by value both ways; across a call they live on the stack. */
static FRAME doubles LEVEL(frame_vector)(struct trace *t, words a, doubles b,
                                         words c, doubles d)
{
    uint64_t acc = a[0];
    words x = a * 3 + c;
    doubles y = b / d + b;
    trace_enter(t, KIND_VECTOR);
    OPERATIONS(t, KIND_VECTOR, acc,
               mix(mix(x[0], x[1]), mix(bits(y[0]), bits(y[1]))));
    x += acc;
    trace_leave(t, KIND_VECTOR, x[1]);
    return y + (doubles){(double)(x[0] % 977), (double)(x[1] % 983)};
}

static uint64_t LEVEL(call_vector)(struct trace *t, uint64_t x)
{
    double n = (double)(x % 10007) + 1;
    doubles r = LEVEL(frame_vector)(t, (words){x, ~x}, (doubles){n, n / 3},
                                    (words){x / 5, x * 5},
                                    (doubles){n + 1, n + 2});
    return mix(bits(r[0]), bits(r[1]));
}

/* Structs: one that travels in registers of both kinds, a large one. */
static FRAME struct small LEVEL(frame_small)(struct trace *t,
                                             struct small a, struct small b)
{
    uint64_t acc = (uint64_t)a.n;
    struct small c = {a.n ^ b.n, a.d / 3 + b.d};
    trace_enter(t, KIND_SMALL);
    OPERATIONS(t, KIND_SMALL, acc,
               mix(mix((uint64_t)c.n, bits(c.d)),
                   mix((uint64_t)b.n, bits(b.d))));
    trace_leave(t, KIND_SMALL, acc);
    c.n += (long)acc;
    return c;
}

static uint64_t LEVEL(call_small)(struct trace *t, uint64_t x)
{
    struct small r = LEVEL(frame_small)(
        t, (struct small){(long)x, (double)(x % 1009)},
        (struct small){(long)(x / 3), 0.3});
    return mix((uint64_t)r.n, bits(r.d));
}

static FRAME struct large LEVEL(frame_large)(struct trace *t, int n,
                                             struct large a)
{
    uint64_t acc = a.words[0];
    struct large b = a;
    trace_enter(t, KIND_LARGE);
    b.words[n % LARGE_WORDS] ^= 0xff;
    OPERATIONS(t, KIND_LARGE, acc,
               mix(sum_of(a.words, LARGE_WORDS), sum_of(b.words, LARGE_WORDS)));
    b.words[0] += acc;
    trace_leave(t, KIND_LARGE, acc);
    return b;
}

static uint64_t LEVEL(call_large)(struct trace *t, uint64_t x)
{
    struct large a;
    for (int i = 0; i < LARGE_WORDS; i++)
        a.words[i] = mix(x, (uint64_t)i);
    a = LEVEL(frame_large)(t, (int)(x % 100), a);
    return sum_of(a.words, LARGE_WORDS);
}

/* More arguments than registers, of all classes, taken half before and
 * half after. */
static FRAME uint64_t LEVEL(take)(va_list *list, int n)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        sum = mix(sum, (uint64_t)va_arg(*list, int));
        sum = mix(sum, bits(va_arg(*list, double)));
        sum = mix(sum, va_arg(*list, uint64_t));
        sum = mix(sum, (uint64_t)va_arg(*list, struct small).n);
        sum = mix(sum, extended_bits(va_arg(*list, long double)));
    }
    return sum;
}

static FRAME uint64_t LEVEL(frame_varargs)(struct trace *t, int n, ...)
{
    va_list list, copy;
    uint64_t acc;
    va_start(list, n);
    acc = LEVEL(take)(&list, n / 2);
    trace_enter(t, KIND_VARARGS);
    va_copy(copy, list);
    OPERATIONS(t, KIND_VARARGS, acc, (uint64_t)n);
    uint64_t rest = LEVEL(take)(&list, n - n / 2);
    trace_compare(t, KIND_VARARGS, rest, LEVEL(take)(&copy, n - n / 2));
    va_end(copy);
    va_end(list);
    trace_leave(t, KIND_VARARGS, acc);
    return mix(acc, rest);
}

static uint64_t LEVEL(call_varargs)(struct trace *t, uint64_t x)
{
    int i = (int)x;
    double d = (double)(x % 10007) / 3;
    struct small s = {(long)(x * 3), d};
    long double e = d / 7;
    return LEVEL(frame_varargs)(t, 4, i, d, x, s, e, i + 1, d + 1, x + 1, s,
                                e + 1, i + 2, d + 2, x + 2, s, e + 2, i + 3,
                                d + 3, x + 3, s, e + 3);
}

/* Memory of the stack, of a size known late. */
static FRAME uint64_t LEVEL(frame_alloca)(struct trace *t, uint64_t x)
{
    unsigned n = (unsigned)(x % 24) + 1;
    uint64_t *space = alloca(n * sizeof *space), acc = x;
    trace_enter(t, KIND_ALLOCA);
    for (unsigned i = 0; i < n; i++)
        space[i] = mix(x, i);
    uint64_t *outer = t->plant.victim;
    t->plant.victim = &space[n / 2];
    OPERATIONS(t, KIND_ALLOCA, acc, sum_of(space, n));
    t->plant.victim = outer;
    trace_leave(t, KIND_ALLOCA, acc);
    return mix(acc, sum_of(space, n));
}

static uint64_t LEVEL(call_alloca)(struct trace *t, uint64_t x)
{
    return LEVEL(frame_alloca)(t, x);
}

static FRAME uint64_t LEVEL(frame_vla)(struct trace *t, unsigned n,
                                       uint64_t x)
{
    uint64_t space[n], acc = x;
    trace_enter(t, KIND_VLA);
    for (unsigned i = 0; i < n; i++)
        space[i] = mix(i, x);
    OPERATIONS(t, KIND_VLA, acc, mix(sum_of(space, n), n));
    trace_leave(t, KIND_VLA, acc);
    return mix(acc, space[n - 1]);
}

static uint64_t LEVEL(call_vla)(struct trace *t, uint64_t x)
{
    return LEVEL(frame_vla)(t, (unsigned)(x % 31) + 1, x);
}

/* A place to which anything deeper may jump. */
static FRAME uint64_t LEVEL(call_setjmp)(struct trace *t, uint64_t x)
{
    struct catch catch;
    volatile uint64_t acc = x, local = mix(x, 5);
    trace_enter(t, KIND_SETJMP);
    trace_catch(t, &catch);
    if (setjmp(catch.environment) == 0)
        OPERATIONS(t, KIND_SETJMP, acc, local)
    else
        acc = mix(acc, trace_caught(t, &catch));
    trace_compare(t, KIND_SETJMP, mix(x, 5), local);
    t->catch = catch.outer;
    trace_leave(t, KIND_SETJMP, acc);
    return acc;
}

/* Called back by the C library and by libffi. */
static int LEVEL(compare_words)(const void *a, const void *b, void *trace)
{
    struct trace *t = trace;
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b, acc = x;
    trace_enter(t, KIND_QSORT);
    OPERATIONS(t, KIND_QSORT, acc, mix(x, y));
    trace_leave(t, KIND_QSORT, acc);
    return x < y ? -1 : x > y;
}

static FRAME uint64_t LEVEL(call_qsort)(struct trace *t, uint64_t x)
{
    uint64_t list[5];
    for (unsigned i = 0; i < COUNT_OF(list); i++)
        list[i] = mix(x, i);
    qsort_r(list, COUNT_OF(list), sizeof list[0], LEVEL(compare_words), t);
    for (unsigned i = 1; i < COUNT_OF(list); i++)
        trace_compare(t, KIND_QSORT, 1, list[i - 1] <= list[i]);
    return sum_of(list, COUNT_OF(list));
}

static FRAME double LEVEL(frame_ffi)(struct trace *t, int a, double b, long c,
                                     struct small d)
{
    uint64_t acc = (uint64_t)a;
    double x = b / 3;
    trace_enter(t, KIND_FFI);
    OPERATIONS(t, KIND_FFI, acc,
               mix(mix((uint64_t)a, bits(x)), mix((uint64_t)c, bits(d.d))));
    trace_leave(t, KIND_FFI, acc);
    return x + (double)(acc % 1013) + d.d;
}

static void LEVEL(serve_closure)(ffi_cif *cif, void *result, void **args,
                                 void *user)
{
    (void)cif;
    (void)user;
    *(double *)result = LEVEL(frame_ffi)(
        *(struct trace **)args[0], *(int *)args[1], *(double *)args[2],
        *(long *)args[3], *(struct small *)args[4]);
}

static FRAME uint64_t LEVEL(call_ffi)(struct trace *t, uint64_t x)
{
    int a = (int)x;
    double b = (double)(x % 1021), result = 0;
    long c = (long)(x / 7);
    struct small d = {(long)x, b / 3};
    void *args[] = {&t, &a, &b, &c, &d};
    ffi_call(&foreign.cif, FFI_FN(LEVEL(frame_ffi)), &result, args);
    return bits(result);
}

static FRAME uint64_t LEVEL(call_closure)(struct trace *t, uint64_t x)
{
    double b = (double)(x % 1031);
    return bits(foreign.closures[LEVEL_BIT](t, (int)x, b, (long)(x / 3),
                                            (struct small){(long)x, b}));
}

/* Many frames of one kind, with a yield in some on the way out. */
static FRAME uint64_t LEVEL(frame_deep)(struct trace *t, unsigned levels,
                                        uint64_t x)
{
    uint64_t here = mix(x, levels), below = 0;
    trace_enter(t, KIND_DEEP);
    if (levels > 0)
        below = LEVEL(frame_deep)(t, levels - 1, here);
    if (here % 8 == 0)
        trace_yield(t);
    trace_compare(t, KIND_DEEP, mix(x, levels), here);
    trace_leave(t, KIND_DEEP, below);
    return mix(below, here);
}

static uint64_t LEVEL(call_deep)(struct trace *t, uint64_t x)
{
    return LEVEL(frame_deep)(t, trace_levels(t, (unsigned)(x % DEEP_MAX)), x);
}

static FRAME uint64_t LEVEL(call_loop)(struct trace *t, uint64_t x)
{
    uint64_t acc = x;
    unsigned n = (unsigned)(x % 5) + 2;
    trace_enter(t, KIND_LOOP);
    for (unsigned i = 0; i < n; i++)
        acc = mix(i, trace_perform(t, CALL, acc));
    trace_leave(t, KIND_LOOP, acc);
    return acc;
}

/* Another rounding mode, for all that is called from here. */
static FRAME uint64_t LEVEL(call_rounding)(struct trace *t, uint64_t x)
{
    uint32_t before = t->control;
    uint64_t acc = x;
    trace_enter(t, KIND_ROUNDING);
    trace_control(t, control_words_of((unsigned)x));
    OPERATIONS(t, KIND_ROUNDING, acc, bits(1.0 / (double)(x % 997 + 3)));
    trace_control(t, before);
    trace_leave(t, KIND_ROUNDING, acc);
    return acc;
}

static FRAME uint64_t LEVEL(call_pinned)(struct trace *t, uint64_t x)
{
    uint64_t acc = x;
    trace_enter(t, KIND_PINNED);
    trace_pin(t);
    OPERATIONS(t, KIND_PINNED, acc, mix(x, 9));
    trace_unpin(t);
    trace_leave(t, KIND_PINNED, acc);
    return acc;
}

/* What runs in a continuation of its own. */
static FRAME uint64_t LEVEL(frame_nested)(struct trace *t, uint64_t x)
{
    uint64_t acc = x, local = mix(x, 17);
    trace_enter(t, KIND_NESTED);
    OPERATIONS(t, KIND_NESTED, acc, local);
    trace_leave(t, KIND_NESTED, acc);
    return mix(acc, local);
}

static uint64_t LEVEL(call_nested)(struct trace *t, uint64_t x)
{
    return trace_nest(t, LEVEL(frame_nested), x);
}

static uint64_t (*const LEVEL(calls)[])(struct trace *, uint64_t) = {
    [KIND_INT] = LEVEL(call_int),
    [KIND_LONG] = LEVEL(call_long),
    [KIND_DOUBLE] = LEVEL(call_double),
    [KIND_EXTENDED] = LEVEL(call_extended),
    [KIND_VECTOR] = LEVEL(call_vector),
    [KIND_SMALL] = LEVEL(call_small),
    [KIND_LARGE] = LEVEL(call_large),
    [KIND_VARARGS] = LEVEL(call_varargs),
    [KIND_ALLOCA] = LEVEL(call_alloca),
    [KIND_VLA] = LEVEL(call_vla),
    [KIND_SETJMP] = LEVEL(call_setjmp),
    [KIND_QSORT] = LEVEL(call_qsort),
    [KIND_FFI] = LEVEL(call_ffi),
    [KIND_CLOSURE] = LEVEL(call_closure),
    [KIND_DEEP] = LEVEL(call_deep),
    [KIND_LOOP] = LEVEL(call_loop),
    [KIND_ROUNDING] = LEVEL(call_rounding),
    [KIND_PINNED] = LEVEL(call_pinned),
    [KIND_NESTED] = LEVEL(call_nested),
};

#undef OPERATIONS
