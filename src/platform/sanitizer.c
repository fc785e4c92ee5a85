/*
 * sanitizer.c - the hooks of sanitizer.h, for each tool that is compiled
 * in.
 *
 * Not here: when a hook is due (continuation/ knows).
 *
 * Invariants: functions that look at stacks or at shadow are neither
 * instrumented nor call an intercepted function on such memory; the shadow
 * of a range is that of the frames which lie there, and clean where none
 * do.
 */
#include "sanitizer.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "panic.h"

enum { SLEEP_MAX_NS = 20 * 1000 * 1000 };

#define UNINSTRUMENTED                                                         \
    __attribute__((no_sanitize_address, no_sanitize_thread, noinline))

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__

/* The barrier keeps compilers from making this a memcpy, which is
 * intercepted. */
UNINSTRUMENTED
void sanitizer_copy(void *to, const void *from, size_t size_bytes)
{
    uint64_t *target = to;
    const uint64_t *source = from;

    for (size_t i = 0; i < size_bytes / sizeof *target; i++) {
        target[i] = source[i];
        __asm__ volatile("" ::: "memory");
    }
}

#endif

#if defined __SANITIZE_ADDRESS__

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>

/* One byte of shadow tells of eight bytes of memory. */
enum { SHADOW_SCALE = 3 };

void sanitizer_stack_init(struct sanitizer_stack *stack)
{
    memset(stack, 0, sizeof *stack);
}

void sanitizer_stack_destroy(struct sanitizer_stack *stack)
{
    free(stack->shadow);
    memset(stack, 0, sizeof *stack);
}

void sanitizer_memory_reserved(void *start, size_t size_bytes)
{
    __lsan_register_root_region(start, size_bytes);
}

void sanitizer_memory_released(void *start, size_t size_bytes)
{
    __lsan_unregister_root_region(start, size_bytes);
}

void sanitizer_stack_init_native(struct sanitizer_stack *stack)
{
    pthread_attr_t attributes;
    void *bottom;

    sanitizer_stack_init(stack);
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        panic("the native stack cannot be found out");
    pthread_attr_getstack(&attributes, &bottom, &stack->size_bytes);
    pthread_attr_destroy(&attributes);
    stack->bottom = bottom;
}

UNINSTRUMENTED
void sanitizer_switch(struct sanitizer_stack *leaving,
                      struct sanitizer_stack *entering,
                      const void *range_bottom, size_t range_size_bytes)
{
    if (range_bottom == NULL) {
        range_bottom = entering->bottom;
        range_size_bytes = entering->size_bytes;
    }
    __sanitizer_start_switch_fiber(leaving == NULL ? NULL
                                                   : &leaving->fake_stack,
                                   range_bottom, range_size_bytes);
}

UNINSTRUMENTED
void sanitizer_switched(struct sanitizer_stack *now)
{
    __sanitizer_finish_switch_fiber(now->fake_stack, NULL, NULL);
    now->fake_stack = NULL;
}

static uint8_t *shadow_of(const void *address)
{
    size_t scale, offset;

    __asan_get_shadow_mapping(&scale, &offset);
    return (uint8_t *)(((uintptr_t)address >> scale) + offset);
}

/* Byte by byte, for shadow is not aligned; the barrier is the one of
 * sanitizer_copy. */
UNINSTRUMENTED
static void copy_shadow(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) {
        to[i] = from[i];
        __asm__ volatile("" ::: "memory");
    }
}

/* malloc, not memory_alloc: a test that makes the nth request fail means
 * those of the real build. */
static void reserve_shadow(struct sanitizer_stack *stack, size_t size_bytes)
{
    if (stack->shadow_bytes >= size_bytes)
        return;
    free(stack->shadow);
    stack->shadow = malloc(size_bytes);
    if (stack->shadow == NULL)
        panic("no memory for %zu bytes of ASan's shadow", size_bytes);
    stack->shadow_bytes = size_bytes;
}

void sanitizer_frames_frozen(struct sanitizer_stack *stack, const void *sp,
                             size_t size_bytes)
{
    size_t shadow_bytes = size_bytes >> SHADOW_SCALE;

    reserve_shadow(stack, shadow_bytes);
    copy_shadow(stack->shadow, shadow_of(sp), shadow_bytes);
    sanitizer_stack_vacated(sp, size_bytes);
}

void sanitizer_frames_thawed(struct sanitizer_stack *stack, const void *sp,
                             size_t size_bytes)
{
    copy_shadow(shadow_of(sp), stack->shadow, size_bytes >> SHADOW_SCALE);
}

void sanitizer_stack_vacated(const void *bottom, size_t size_bytes)
{
    __asan_unpoison_memory_region(bottom, size_bytes);
}

#elif defined __SANITIZE_THREAD__

uint64_t sanitizer_sleep_limit(uint64_t deadline_ns)
{
    uint64_t until_ns = clock_now_ns() + SLEEP_MAX_NS;
    usleep(0); /* here it runs them */
    return until_ns < deadline_ns ? until_ns : deadline_ns;
}

/* As <sanitizer/linux_syscall_hooks.h> declares it, which gcc has not. */
void __sanitizer_syscall_pre_impl_close(long fd);

void sanitizer_closing(int fd)
{
    __sanitizer_syscall_pre_impl_close(fd);
}

void sanitizer_stack_init(struct sanitizer_stack *stack)
{
    stack->fiber = stack->left = __tsan_create_fiber(0);
}

void sanitizer_stack_destroy(struct sanitizer_stack *stack)
{
    __tsan_destroy_fiber(stack->fiber);
    stack->fiber = stack->left = NULL;
}

void sanitizer_stack_init_native(struct sanitizer_stack *stack)
{
    stack->fiber = stack->left = __tsan_get_current_fiber();
}

#elif defined HAVE_VALGRIND_MEMCHECK_H

#include <valgrind/memcheck.h>

bool sanitizer_is_valgrind;

__attribute__((constructor)) static void look_for_valgrind(void)
{
    sanitizer_is_valgrind = RUNNING_ON_VALGRIND != 0;
}

/* Valgrind wants the highest byte.  Run stacks are for ever, so the number
 * to unregister one by is not kept. */
void sanitizer_valgrind_register(const void *bottom, const void *top)
{
    (void)bottom, (void)top;
    (void)VALGRIND_STACK_REGISTER(bottom, (const char *)top - 1);
}

void sanitizer_valgrind_undefine(const void *start, size_t size_bytes)
{
    (void)start, (void)size_bytes;
    (void)VALGRIND_MAKE_MEM_UNDEFINED(start, size_bytes);
}

void sanitizer_valgrind_define(const void *start, size_t size_bytes)
{
    (void)start, (void)size_bytes;
    (void)VALGRIND_MAKE_MEM_DEFINED(start, size_bytes);
}

#endif
