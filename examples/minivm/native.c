/*
 * native.c - calls of C by the signatures of vthread/call.h, and back.
 *
 * An integer is passed as any integer type, cut to its size, or an address;
 * bytes as their address, null as NULL.  A result is an integer, or bytes for
 * an s.  While a call lasts others take over.  A callback runs a function of
 * the machine above frames of C, which pin the thread: where it waits its OS
 * thread waits, and a spare one goes on.  What it throws is thrown again when
 * the native function has returned.
 */
#include <dlfcn.h>

#include <vthread/call.h>
#include <vthread/embed.h>

#include "minivm.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the low bytes of an integer come first");

struct native {
    void (*fn)(void);
    char result; /* its letter */
    vthread_call_site_t site;
};

struct callback {
    const struct function *function;
    vthread_signature_t *signature;
    vthread_closure_t *closure;
};

/* ---- Values ------------------------------------------------------------- */

static void to_native(struct vm_thread *t, value_t v, const ffi_type *type,
                      void *place)
{
    int64_t n = 0;
    if (type->type == FFI_TYPE_POINTER && v != 0 && !is_integer(v))
        n = (int64_t)(intptr_t)bytes_of(object_in(t, v, &class_bytes));
    else if (type->type != FFI_TYPE_POINTER || v != 0)
        n = integer_in(t, v);
    memcpy(place, &n, type->size);
}

static value_t from_native(const void *place, const ffi_type *type)
{
    int64_t n = 0;
    if (type->type == FFI_TYPE_VOID)
        return 0;
    memcpy(&n, place, type->size);
    if (type->type == FFI_TYPE_SINT8)
        n = (int8_t)n;
    else if (type->type == FFI_TYPE_SINT16)
        n = (int16_t)n;
    else if (type->type == FFI_TYPE_SINT32)
        n = (int32_t)n;
    return from_integer(n);
}

/* ---- Declaring ---------------------------------------------------------- */

static const char *parse(const char *text, vthread_signature_t **signature)
{
    static char words[200]; /* the program is refused with them */
    vthread_signature_error_t error;
    if (vthread_signature_parse(signature, text, &error) != 0) {
        snprintf(words, sizeof words, "signature %s: %s, at %zu", text,
                 error.message, error.position);
        return words;
    }
    if (strpbrk(text, "fdD{"))
        return "there are values for integers and addresses only";
    return NULL;
}

const char *native_declare(struct function *f, const char *signature,
                           const char *policy)
{
    static const char *const policies[] = {"auto", "critical", "blocking",
                                           "detached"};
    struct native *n = GC_MALLOC(sizeof *n);
    vthread_signature_t *parsed;
    const char *words = parse(signature, &parsed);
    if (words)
        return words;
    *(void **)&n->fn = dlsym(RTLD_DEFAULT, f->name);
    if (n->fn == NULL)
        return "there is no function of that name";
    while (policy && strcmp(policies[n->site.policy], policy) != 0)
        if (++n->site.policy > VTHREAD_CALL_DETACHED)
            return "policies are auto, critical, blocking, detached";
    n->result = signature[0];
    n->site.prepared = parsed;
    f->arguments = vthread_signature_count(parsed);
    f->native = n;
    return NULL;
}

/* ---- Calls -------------------------------------------------------------- */

value_t native_call(struct vm_thread *t, const struct function *f,
                    const value_t *arguments)
{
    struct native *n = f->native;
    const vthread_signature_t *signature = n->site.prepared;
    uint64_t places[VTHREAD_SIGNATURE_MAX], returned = 0;
    void *args[VTHREAD_SIGNATURE_MAX];
    for (unsigned i = 0; i < f->arguments; i++) {
        args[i] = &places[i];
        to_native(t, arguments[i], vthread_signature_argument(signature, i),
                  args[i]);
    }
    struct object *before = t->thrown_back;
    t->thrown_back = NULL;
    int err = vthread_call(&n->site, n->fn, &returned, args, &t->error);
    struct object *thrown = t->thrown_back;
    t->thrown_back = before;
    if (thrown)
        throw(t, thrown);
    if (err != 0)
        raise_error(t, err == ECANCELED ? INTERRUPTED : NATIVE_ERROR, "%s: %s",
                    f->name, strerror(err));
    const char *text = (const char *)(uintptr_t)returned;
    if (n->result == 's')
        return text ? (value_t)bytes_new(t, text, strlen(text)) : 0;
    return from_native(&returned, vthread_signature_result(signature));
}

/* Above frames of C: what is thrown is kept until they have returned. */
static void called_back(void *user, void *result, void *const args[])
{
    const struct callback *c = user;
    const ffi_type *type = vthread_signature_result(c->signature);
    struct vm_thread *t = vthread_user();
    value_t values[VTHREAD_SIGNATURE_MAX];
    if (type->type != FFI_TYPE_VOID)
        memset(result, 0, type->size);
    if (t == NULL)
        fprintf(stderr, "minivm: %s is called back on a thread that is none "
                        "of the machine's\n", c->function->name);
    if (t == NULL || t->thrown_back)
        return;
    for (unsigned i = 0; i < c->function->arguments; i++)
        values[i] = from_native(args[i],
                                vthread_signature_argument(c->signature, i));
    struct catcher catcher = {.outer = t->catcher, .top = t->top};
    t->catcher = &catcher;
    if (_setjmp(catcher.place) != 0)
        t->thrown_back = t->thrown;
    else if (type->type == FFI_TYPE_VOID)
        invoke(t, c->function, values);
    else
        to_native(t, invoke(t, c->function, values), type, result);
    t->catcher = catcher.outer;
}

const char *native_callback(const struct function *f, const char *signature,
                            value_t *address)
{
    struct callback *c = GC_MALLOC_UNCOLLECTABLE(sizeof *c);
    void (*code)(void);
    const char *words = parse(signature, &c->signature);
    if (words)
        return words;
    if (f->arguments != vthread_signature_count(c->signature))
        return "the function has another number of arguments";
    c->function = f;
    if (vthread_closure_create(&c->closure, &code, c->signature, called_back,
                               c) != 0)
        return "a callback cannot have this signature";
    *address = from_integer((int64_t)(intptr_t)code);
    return NULL;
}
