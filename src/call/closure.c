/*
 * closure.c - functions that foreign code can call, and which call ours.
 *
 * The upcall runs on the stack of the foreign function, and in the middle of a
 * bracket that says "this OS thread is blocked".  So it ends the bracket for
 * its own time, and pins the thread instead, since the frames below belong to
 * code that knows of no change of OS threads.
 */
#include <errno.h>

#include <vthread.h>

#include "call/call.h"
#include "inspect/held.h"
#include "platform/memory.h"

struct vthread_closure {
    ffi_closure *code;                   /* where libffi writes */
    struct vthread_signature *signature; /* kept */
    vthread_closure_fn *fn;
    void *user;
};

/* What libffi wants for a short integer is a whole ffi_arg. */
static void call_fn(const struct vthread_closure *closure, void *result,
                    void **args)
{
    const ffi_type *type = closure->signature->cif.rtype;
    ffi_arg small = 0;
    if (!closure->signature->is_small) {
        closure->fn(closure->user, result, args);
        return;
    }
    closure->fn(closure->user, &small, args);
    *(ffi_arg *)result = signature_load_small(type, &small);
}

/* On a virtual thread, or inside of a call.  Pinned before the bracket ends,
 * and until it has begun again, so that there is no moment in which the thread
 * could leave, or the continuation inside of it that makes the call. */
static void call_pinned(const struct vthread_closure *closure, void *result,
                        void **args)
{
    struct call_frame *frame = call_local_self()->frame;
    struct held_pins pins = held_upcall_begin();
    if (frame)
        call_frame_suspend(frame);
    call_fn(closure, result, args);
    if (frame)
        call_frame_resume(frame);
    held_upcall_end(pins);
}

static void serve(ffi_cif *cif, void *result, void **args, void *closure)
{
    (void)cif;
    if (vthread_is_virtual() || call_local_self()->frame)
        call_pinned(closure, result, args);
    else
        call_fn(closure, result, args);
}

int vthread_closure_create(vthread_closure_t **closure, void (**code)(void),
                           vthread_signature_t *signature,
                           vthread_closure_fn *fn, void *user)
{
    void *entry = NULL;
    if (!closure || !code || !signature || !fn || signature->is_variadic)
        return EINVAL;
    struct vthread_closure *made = memory_alloc(sizeof *made);
    if (!made)
        return ENOMEM;
    *made = (struct vthread_closure){
        .code = memory_should_fail() ? NULL
                                     : ffi_closure_alloc(sizeof(ffi_closure),
                                                         &entry),
        .signature = signature,
        .fn = fn,
        .user = user,
    };
    if (!made->code
        || ffi_prep_closure_loc(made->code, &signature->cif, serve, made,
                                entry)
               != FFI_OK) {
        if (made->code)
            ffi_closure_free(made->code);
        memory_free(made);
        return ENOMEM;
    }
    signature_retain(signature);
    *code = (void (*)(void))entry;
    *closure = made;
    return 0;
}

void vthread_closure_destroy(vthread_closure_t *closure)
{
    if (!closure)
        return;
    ffi_closure_free(closure->code);
    signature_release(closure->signature);
    memory_free(closure);
}
