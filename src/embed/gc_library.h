/*
 * gc_library.h - libgc, as a library that may not be there.
 *
 * Every reference is weak: libvthread does not need libgc, and a program that
 * uses it has linked it anyway.  Of those named here each is NULL unless the
 * program has.
 *
 * Rejected: a library of its own for this, which would need half of what is
 * internal exported; dlsym, which a static program cannot use.
 */
#ifndef EMBED_GC_LIBRARY_H
#define EMBED_GC_LIBRARY_H

/* With threads, but pthread_create stays pthread_create. */
#define GC_THREADS 1
#define GC_NO_THREAD_REDIRECTS 1
#include <gc/gc.h>
#include <gc/gc_mark.h>

#pragma weak GC_alloc_lock
#pragma weak GC_alloc_unlock
#pragma weak GC_allow_register_threads
#pragma weak GC_base
#pragma weak GC_do_blocking
#pragma weak GC_free
#pragma weak GC_get_free_bytes
#pragma weak GC_get_heap_size
#pragma weak GC_get_kind_and_size
#pragma weak GC_get_my_stackbottom
#pragma weak GC_get_on_collection_event
#pragma weak GC_get_parallel
#pragma weak GC_get_push_other_roots
#pragma weak GC_get_stack_base
#pragma weak GC_get_suspend_signal
#pragma weak GC_get_thr_restart_signal
#pragma weak GC_get_version
#pragma weak GC_init
#pragma weak GC_invoke_finalizers
#pragma weak GC_is_heap_ptr
#pragma weak GC_is_incremental_mode
#pragma weak GC_is_init_called
#pragma weak GC_malloc_atomic
#pragma weak GC_malloc_atomic_uncollectable
#pragma weak GC_malloc_uncollectable
#pragma weak GC_push_all_eager
#pragma weak GC_register_altstack
#pragma weak GC_register_my_thread
#pragma weak GC_set_finalize_on_demand
#pragma weak GC_set_finalizer_notifier
#pragma weak GC_set_handle_fork
#pragma weak GC_set_on_collection_event
#pragma weak GC_set_push_other_roots
#pragma weak GC_set_stackbottom
#pragma weak GC_should_invoke_finalizers
#pragma weak GC_start_world_external
#pragma weak GC_stop_world_external
#pragma weak GC_thread_is_registered
#pragma weak GC_unregister_my_thread

#endif
