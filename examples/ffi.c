/*
 * ffi.c - calls a function of a shared library from the command line.
 *
 *     ffi LIBRARY FUNCTION SIGNATURE [ARGUMENT...]
 *
 *     $ ffi libz.so.1 crc32 'L(Lsi)' 0 hello 5
 *     907060870
 *     $ ffi libm.so.6 pow 'd(dd)' 2 0.5
 *     1.41421
 *
 * The signature is as vthread/call.h says.  Several calls may follow each
 * other, separated by "+": each is made by a virtual thread of its own, all
 * at the same time, and the results are printed in order.
 *
 *     $ ffi libc.so.6 sleep 'I(I)' 1 + libc.so.6 sleep 'I(I)' 1
 *
 * takes one second.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vthread.h>
#include <vthread/call.h>

#define MANY 64

union value {
    long long integer;
    double real;
    float single;
    const char *string;
};

struct call {
    char **words;   /* LIBRARY FUNCTION SIGNATURE ARGUMENT... */
    int count;
    vthread_call_site_t site;
    void (*fn)(void);
    union value values[MANY], result;
    void *args[MANY];
    int err, error;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "ffi: %s: %s\n", what, why);
    exit(2);
}

static int is_printed(const ffi_type *type)
{
    return type->type != FFI_TYPE_STRUCT && type->type != FFI_TYPE_LONGDOUBLE;
}

static int is_unsigned(const ffi_type *type)
{
    return type->type == FFI_TYPE_UINT8 || type->type == FFI_TYPE_UINT16
           || type->type == FFI_TYPE_UINT32 || type->type == FFI_TYPE_UINT64;
}

static void read_value(const ffi_type *type, const char *word,
                       union value *value)
{
    char *end = "";

    if (!is_printed(type))
        fail(word, "structs and long doubles cannot be written as words");
    switch (type->type) {
    case FFI_TYPE_FLOAT:
        value->single = strtof(word, &end);
        break;
    case FFI_TYPE_DOUBLE:
        value->real = strtod(word, &end);
        break;
    case FFI_TYPE_POINTER:
        value->string = word;
        break;
    default: /* little endian: the low bytes come first */
        value->integer = is_unsigned(type)
                             ? (long long)strtoull(word, &end, 0)
                             : strtoll(word, &end, 0);
    }
    if (*end != '\0')
        fail(word, "no number");
}

static void print_result(const ffi_type *type, const union value *value)
{
    int shift = 64 - 8 * (int)type->size;

    switch (type->type) {
    case FFI_TYPE_VOID:
        break;
    case FFI_TYPE_FLOAT:
        printf("%g\n", value->single);
        break;
    case FFI_TYPE_DOUBLE:
        printf("%g\n", value->real);
        break;
    case FFI_TYPE_POINTER:
        printf("%p\n", (const void *)value->string);
        break;
    default:
        if (is_unsigned(type))
            printf("%llu\n",
                   (unsigned long long)value->integer << shift >> shift);
        else
            printf("%lld\n", (long long)((unsigned long long)value->integer
                                         << shift)
                                 >> shift);
    }
}

/* Finds the function, and reads what it gets. */
static void prepare(struct call *call)
{
    vthread_signature_t *signature;
    vthread_signature_error_t error;
    char message[200];

    if (call->count < 3)
        fail("usage", "ffi LIBRARY FUNCTION SIGNATURE [ARGUMENT...] [+ ...]");
    void *library = dlopen(call->words[0], RTLD_NOW);
    if (library == NULL)
        fail(call->words[0], dlerror());
    *(void **)&call->fn = dlsym(library, call->words[1]);
    if (call->fn == NULL)
        fail(call->words[1], dlerror());
    if (vthread_signature_parse(&signature, call->words[2], &error) != 0) {
        snprintf(message, sizeof message, "%s, at \"%s\"", error.message,
                 call->words[2] + error.position);
        fail(call->words[2], message);
    }
    call->site.prepared = signature;
    unsigned count = vthread_signature_count(signature);
    if ((int)count != call->count - 3 || count > MANY)
        fail(call->words[2], "not so many arguments");
    if (!is_printed(vthread_signature_result(signature)))
        fail(call->words[2], "the result cannot be printed");
    for (unsigned i = 0; i < count; i++) {
        read_value(vthread_signature_argument(signature, i),
                   call->words[3 + i], &call->values[i]);
        call->args[i] = &call->values[i];
    }
}

static void *make(void *arg)
{
    struct call *call = arg;

    call->err = vthread_call(&call->site, call->fn, &call->result,
                             call->args, &call->error);
    return NULL;
}

static void finish(struct call *call, vthread_t thread)
{
    vthread_join(thread, NULL);
    if (call->err != 0)
        fail(call->words[1], strerror(call->err));
    print_result(vthread_signature_result(call->site.prepared),
                 &call->result);
    if (call->error != 0)
        fprintf(stderr, "ffi: %s: %s\n", call->words[1],
                strerror(call->error));
}

int main(int argc, char **argv)
{
    static struct call calls[MANY];
    vthread_t threads[MANY];
    int count = 1;

    calls[0].words = argv + 1;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "+") != 0)
            calls[count - 1].count++;
        else if (count == MANY)
            fail("+", "too many calls");
        else
            calls[count++].words = argv + i + 1;
    for (int i = 0; i < count; i++)
        prepare(&calls[i]);
    for (int i = 0; i < count; i++)
        if (vthread_create(&threads[i], NULL, make, &calls[i]) != 0)
            fail("vthread_create", "no memory");
    for (int i = 0; i < count; i++)
        finish(&calls[i], threads[i]);
    return 0;
}
