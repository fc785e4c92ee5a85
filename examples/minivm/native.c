/*
 * native.c - calls of C by the signatures of vthread/call.h, and back.
 *
 * An integer is passed as any integer type, by its low bytes, which come first,
 * or as an address; bytes as their address, null as NULL.  A result is an
 * integer, or bytes for an s.  While a call lasts others take over.  A callback
 * runs a function of the machine above frames of C, which pin the thread: where
 * it waits its OS thread waits, and a spare one goes on.  What it throws is
 * thrown again when the native function has returned.
 */
#include <dlfcn.h>

#include <vthread/call.h>
#include <vthread/embed.h>

#include "minivm.h"

/* A function of C, or one of ours that C calls. */
struct native {
    void (*fn)(void);
    const struct function *called_back;
    char result;              /* its letter */
    vthread_call_site_t site; /* with its signature */
};

static int64_t to_native(struct vm_thread *t, value_t v, const ffi_type *type)
{
    bool is_address = type->type == FFI_TYPE_POINTER;
    if (type->type == FFI_TYPE_VOID || (is_address && v == 0))
        return 0;
    if (is_address && !is_integer(v))
        return (intptr_t)bytes_of(object_in(t, v, &class_bytes));
    return integer_in(t, v);
}

static value_t from_native(const void *place, const ffi_type *type)
{
    int64_t n = 0;
    if (type->type == FFI_TYPE_VOID)
        return 0;
    memcpy(&n, place, type->size);
    unsigned unused = 64 - 8 * (unsigned)type->size;
    if (type->type == FFI_TYPE_SINT8 || type->type == FFI_TYPE_SINT16
        || type->type == FFI_TYPE_SINT32)
        n = (int64_t)((uint64_t)n << unused) >> unused;
    return from_integer(n);
}

static vthread_signature_t *parse(const char *text, const char *name)
{
    vthread_signature_t *signature;
    vthread_signature_error_t error = {0, "out of memory"};
    if (vthread_signature_parse(&signature, text, &error) != 0)
        refuse("%s: signature %s: %s, at %zu", name, text, error.message,
               error.position);
    if (strpbrk(text, "fdD{"))
        refuse("%s: there are values for integers and addresses only", name);
    return signature;
}

void native_declare(struct function *f, const char *signature,
                    const char *policy)
{
    static const char *const policies[] = {"auto", "critical", "blocking",
                                           "detached"};
    struct native *n = grow(NULL, 0, sizeof *n);
    n->site.prepared = parse(signature, f->name);
    n->result = signature[0];
    *(void **)&n->fn = dlsym(RTLD_DEFAULT, f->name);
    if (n->fn == NULL)
        refuse("%s: there is no function of that name", f->name);
    while (strcmp(policies[n->site.policy], policy) != 0)
        if (++n->site.policy > VTHREAD_CALL_DETACHED)
            refuse("%s: policies are auto, critical, blocking, detached",
                   f->name);
    f->arguments = vthread_signature_count(n->site.prepared);
    f->native = n;
}

value_t native_call(struct vm_thread *t, const struct function *f,
                    const value_t *arguments)
{
    struct native *n = f->native;
    const vthread_signature_t *signature = n->site.prepared;
    uint64_t places[VTHREAD_SIGNATURE_MAX], returned = 0;
    void *args[VTHREAD_SIGNATURE_MAX];
    for (unsigned i = 0; i < f->arguments; i++) {
        args[i] = &places[i];
        places[i] = to_native(t, arguments[i],
                              vthread_signature_argument(signature, i));
    }
    int err = vthread_call(&n->site, n->fn, &returned, args, &t->error);
    bool throws = t->throws_back;
    t->throws_back = false;
    if (throws)
        throw(t, t->thrown);
    if (err != 0)
        raise_error(t, err == ECANCELED ? Interrupted : NativeError, "%s: %s",
                    f->name, strerror(err));
    const char *text = (const char *)(uintptr_t)returned;
    if (n->result == 's')
        return text ? text_new(t, text) : 0;
    return from_native(&returned, vthread_signature_result(signature));
}

/* Above frames of C: what is thrown waits until they have returned. */
static void called_back(void *user, void *result, void *const args[])
{
    const struct native *n = user;
    const vthread_signature_t *signature = n->site.prepared;
    const ffi_type *type = vthread_signature_result(signature);
    struct vm_thread *t = vthread_user();
    value_t values[VTHREAD_SIGNATURE_MAX];
    int64_t returned = 0;
    jmp_buf place;
    if (t == NULL)
        refuse("%s is called back on a thread that is none of the machine's",
               n->called_back->name);
    struct frame bottom = {.caller = t->top, .place = &place};
    for (unsigned i = 0; i < n->called_back->arguments; i++)
        values[i] =
            from_native(args[i], vthread_signature_argument(signature, i));
    t->top = &bottom;
    if (t->throws_back || _setjmp(place) != 0)
        t->throws_back = true;
    else
        returned = to_native(t, invoke(t, n->called_back, values), type);
    t->top = bottom.caller;
    if (type->type != FFI_TYPE_VOID)
        memcpy(result, &returned, type->size);
}

value_t native_callback(const struct function *f, const char *signature)
{
    struct native *n = GC_MALLOC_UNCOLLECTABLE(sizeof *n);
    vthread_closure_t *closure; /* it is there for ever */
    n->called_back = f;
    n->site.prepared = parse(signature, f->name);
    if (f->arguments != vthread_signature_count(n->site.prepared))
        refuse("%s: the function has another number of arguments", f->name);
    if (vthread_closure_create(&closure, &n->fn, n->site.prepared, called_back,
                               n))
        refuse("%s: a callback cannot have this signature", f->name);
    return from_integer((intptr_t)n->fn);
}
