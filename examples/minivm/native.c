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
};

/* ---- Values ------------------------------------------------------------- */

static void to_native(struct vm_thread *t, value_t v, const ffi_type *type,
                      void *place)
{
    int64_t n = 0;
    if (type->type != FFI_TYPE_POINTER || is_integer(v))
        n = integer_in(t, v);
    else if (v != 0)
        n = (intptr_t)bytes_of(object_in(t, v, &class_bytes));
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

static vthread_signature_t *parse(const char *text, const char *name,
                                  unsigned line)
{
    vthread_signature_t *signature;
    vthread_signature_error_t error;
    if (vthread_signature_parse(&signature, text, &error) != 0)
        refuse(line, "%s: signature %s: %s, at %zu", name, text,
               error.message, error.position);
    if (strpbrk(text, "fdD{"))
        refuse(line, "%s: there are values for integers and addresses only",
               name);
    return signature;
}

void native_declare(struct function *f, const char *signature,
                    const char *policy, unsigned line)
{
    static const char *const policies[] = {"auto", "critical", "blocking",
                                           "detached"};
    struct native *n = GC_MALLOC(sizeof *n);
    n->site.prepared = parse(signature, f->name, line);
    n->result = signature[0];
    *(void **)&n->fn = dlsym(RTLD_DEFAULT, f->name);
    if (n->fn == NULL)
        refuse(line, "%s: there is no function of that name", f->name);
    while (strcmp(policies[n->site.policy], policy) != 0)
        if (++n->site.policy > VTHREAD_CALL_DETACHED)
            refuse(line, "%s: policies are auto, critical, blocking, detached",
                   f->name);
    f->arguments = vthread_signature_count(n->site.prepared);
    f->native = n;
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
    int err = vthread_call(&n->site, n->fn, &returned, args, &t->error);
    struct object *thrown = t->thrown_back;
    t->thrown_back = NULL;
    if (thrown)
        throw(t, thrown);
    if (err != 0)
        raise_error(t, err == ECANCELED ? INTERRUPTED : NATIVE_ERROR, "%s: %s",
                    f->name, strerror(err));
    const char *text = (const char *)(uintptr_t)returned;
    if (n->result == 's')
        return text ? text_new(t, text) : 0;
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
    jmp_buf place;
    struct frame bottom = {.caller = t->top, .place = &place};
    t->top = &bottom;
    if (_setjmp(place) != 0)
        t->thrown_back = t->thrown;
    else if (type->type == FFI_TYPE_VOID)
        invoke(t, c->function, values);
    else
        to_native(t, invoke(t, c->function, values), type, result);
    t->top = bottom.caller;
}

value_t native_callback(const struct function *f, const char *signature,
                        unsigned line)
{
    struct callback *c = GC_MALLOC_UNCOLLECTABLE(sizeof *c);
    vthread_closure_t *closure; /* it is there for ever */
    void (*code)(void);
    *c = (struct callback){f, parse(signature, f->name, line)};
    if (f->arguments != vthread_signature_count(c->signature))
        refuse(line, "%s: the function has another number of arguments",
               f->name);
    if (vthread_closure_create(&closure, &code, c->signature, called_back, c))
        refuse(line, "%s: a callback cannot have this signature", f->name);
    return from_integer((intptr_t)code);
}
