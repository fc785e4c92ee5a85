/*
 * sanitizer.h - what the sanitizers and Valgrind must be told of stacks
 * that are switched and copied.
 *
 * ASan    start/finish of a switch; the shadow of frames travels with them
 *         (saved by freeze, restored by thaw), so that stack errors are
 *         found and none is invented.
 * TSan    a fiber for each continuation; the switch is a synchronisation.
 * Valgrind  run stacks are registered, and the place of frames about to be
 *         thawed becomes writable.
 *
 * In a build without sanitizers all of it is empty or a plain memcpy, but
 * for the rare Valgrind hooks, which test a bool.
 *
 * Around a switch, on the stack that is left and on the one entered:
 *
 *     sanitizer_switch(&from->sanitizer, &to->sanitizer, bottom, size);
 *     switch_stacks(...);
 *     sanitizer_switched(&from->sanitizer);   (from runs again)
 */
#ifndef PLATFORM_SANITIZER_H
#define PLATFORM_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* gcc defines the names, clang answers when asked. */
#if defined __has_feature
#if __has_feature(address_sanitizer) && !defined __SANITIZE_ADDRESS__
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer) && !defined __SANITIZE_THREAD__
#define __SANITIZE_THREAD__ 1
#endif
#endif

/* Whether one follows what system calls do, by taking libc's place. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZER_WATCHES_CALLS true
#else
#define SANITIZER_WATCHES_CALLS false
#endif

/* Rounds of destructors of thread-locals in which code of ours may run.  TSan
 * forgets the OS thread in the last one, and instrumented code crashes then. */
#if defined __SANITIZE_THREAD__
#define SANITIZER_DESTRUCTOR_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1u)
#else
#define SANITIZER_DESTRUCTOR_ROUNDS ((unsigned)PTHREAD_DESTRUCTOR_ITERATIONS)
#endif

/* For a function that reads what others write, and does not mind.  The
 * simulated machine of the tests looks for races without TSan. */
#if defined __SANITIZE_THREAD__ || defined SANITIZER_SIMULATED
#define NO_SANITIZE_THREAD __attribute__((no_sanitize("thread")))
/* OS threads that it keeps for itself. */
#define SANITIZER_OS_THREADS 1u
#else
#define NO_SANITIZE_THREAD
#define SANITIZER_OS_THREADS 0u
#endif

#if defined __SANITIZE_ADDRESS__

/* Per continuation, and one per OS thread for its native stack. */
struct sanitizer_stack {
    void *fake_stack;   /* ASan's, while not running */
    const void *bottom; /* native stack only: lowest address */
    size_t size_bytes;
    void *shadow;        /* saved shadow of the frozen frames */
    size_t shadow_bytes; /* room there */
};

#elif defined __SANITIZE_THREAD__

#include <sanitizer/tsan_interface.h>

struct sanitizer_stack {
    void *fiber;
    void *left; /* the fiber it was left on: that one, or a user's own */
};

#else

struct sanitizer_stack {};

#endif

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__

/* A continuation begins to exist, and ends; not one that is running.  May
 * allocate. */
void sanitizer_stack_init(struct sanitizer_stack *stack);
void sanitizer_stack_destroy(struct sanitizer_stack *stack);

/* The calling OS thread's native stack: found out once.  Needs no
 * destroy. */
void sanitizer_stack_init_native(struct sanitizer_stack *stack);

/* Copy that no sanitizer looks at.  Both ends and the size are multiples
 * of 8; no overlap. */
void sanitizer_copy(void *to, const void *from, size_t size_bytes);

#else

static inline void sanitizer_stack_init(struct sanitizer_stack *stack)
{
    (void)stack;
}

static inline void sanitizer_stack_destroy(struct sanitizer_stack *stack)
{
    (void)stack;
}

static inline void sanitizer_stack_init_native(struct sanitizer_stack *stack)
{
    (void)stack;
}

static inline void sanitizer_copy(void *to, const void *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
}

#endif

/* Around a switch.  leaving: the stack switched from, NULL if it ends with
 * this switch; entering and its range: the one switched to.  After the
 * switch, first thing on the new stack: sanitizer_switched(its record).
 * range_bottom and range_size_bytes may be 0 for a native stack, whose
 * range is in the record. */
#if defined __SANITIZE_ADDRESS__

void sanitizer_switch(struct sanitizer_stack *leaving,
                      struct sanitizer_stack *entering,
                      const void *range_bottom, size_t range_size_bytes);
void sanitizer_switched(struct sanitizer_stack *now);

#else

/* Always inline: TSan counts calls and returns for each fiber, so a
 * function must return on the fiber that has called it. */
__attribute__((always_inline)) static inline void
sanitizer_switch(struct sanitizer_stack *leaving,
                 struct sanitizer_stack *entering, const void *range_bottom,
                 size_t range_size_bytes)
{
    (void)leaving, (void)entering;
    (void)range_bottom, (void)range_size_bytes;
#if defined __SANITIZE_THREAD__
    if (leaving)
        leaving->left = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(entering->left, 0);
#endif
}

static inline void sanitizer_switched(struct sanitizer_stack *now)
{
    (void)now;
}

#endif

/* The number is about to be closed by a system call that TSan does not see:
 * the next file of that number is another. */
#if defined __SANITIZE_THREAD__
void sanitizer_closing(int fd);
#else
static inline void sanitizer_closing(int fd)
{
    (void)fd;
}
#endif

/* Valgrind.  The requests are no-ops outside of it, but not free: they are
 * made only if it is there. */
#if defined HAVE_VALGRIND_MEMCHECK_H && !defined __SANITIZE_ADDRESS__ &&       \
    !defined __SANITIZE_THREAD__
__attribute__((visibility("hidden"))) extern bool sanitizer_is_valgrind;
#else
enum { sanitizer_is_valgrind = false };
#endif
void sanitizer_valgrind_register(const void *bottom, const void *top);
void sanitizer_valgrind_undefine(const void *start, size_t size_bytes);
void sanitizer_valgrind_define(const void *start, size_t size_bytes);

/* Made of bytes that may be undefined, and meant so. */
static inline void sanitizer_defined(const void *start, size_t size_bytes)
{
    if (__builtin_expect(sanitizer_is_valgrind, 0))
        sanitizer_valgrind_define(start, size_bytes);
}

/* Frames [sp, sp+size) have been copied away, or are about to be copied
 * back to the same place.  Multiples of 8. */
#if defined __SANITIZE_ADDRESS__

void sanitizer_frames_frozen(struct sanitizer_stack *stack, const void *sp,
                             size_t size_bytes);
void sanitizer_frames_thawed(struct sanitizer_stack *stack, const void *sp,
                             size_t size_bytes);

/* Nothing lives on this range of a run stack any more. */
void sanitizer_stack_vacated(const void *bottom, size_t size_bytes);

#else

static inline void sanitizer_frames_frozen(struct sanitizer_stack *stack,
                                           const void *sp, size_t size_bytes)
{
    (void)stack, (void)sp, (void)size_bytes;
}

static inline void sanitizer_frames_thawed(struct sanitizer_stack *stack,
                                           const void *sp, size_t size_bytes)
{
    (void)stack;
    if (__builtin_expect(sanitizer_is_valgrind, 0))
        sanitizer_valgrind_undefine(sp, size_bytes);
}

static inline void sanitizer_stack_vacated(const void *bottom,
                                           size_t size_bytes)
{
    if (__builtin_expect(sanitizer_is_valgrind, 0))
        sanitizer_valgrind_undefine(bottom, size_bytes);
}

#endif

/* Address space that may hold the only pointer to a block: the leak checker
 * reads what of it is readable. */
#if defined __SANITIZE_ADDRESS__
enum { sanitizer_scans_memory = true };
void sanitizer_memory_reserved(void *start, size_t size_bytes);
void sanitizer_memory_released(void *start, size_t size_bytes);
#else
enum { sanitizer_scans_memory = false };
static inline void sanitizer_memory_reserved(void *start, size_t size_bytes)
{
    (void)start, (void)size_bytes;
}

static inline void sanitizer_memory_released(void *start, size_t size_bytes)
{
    (void)start, (void)size_bytes;
}
#endif

/* A run stack came to be. */
static inline void sanitizer_stack_registered(const void *bottom,
                                              const void *top)
{
    if (__builtin_expect(sanitizer_is_valgrind, 0))
        sanitizer_valgrind_register(bottom, top);
}

/* Whether the machine is simulated: each run has to be like the last, so
 * nothing is kept from one to the next. */
#if defined SANITIZER_SIMULATED
enum { SANITIZER_IS_SIMULATION = 1 };
#else
enum { SANITIZER_IS_SIMULATION = 0 };
#endif

/* Until when an OS thread that waits until then may sleep in the kernel at a
 * time.  TSan runs the handlers of signals inside of libc's functions only, so
 * who sleeps without them has to come by. */
#if defined __SANITIZE_THREAD__
uint64_t sanitizer_sleep_limit(uint64_t deadline_ns);
/* It takes a pthread lock for that stack's which took it, and cannot follow
 * one that is waited for on another: tests that do so leave it out. */
enum { SANITIZER_STACKS_OWN_LOCKS = 1 };
#else
enum { SANITIZER_STACKS_OWN_LOCKS = 0 };
static inline uint64_t sanitizer_sleep_limit(uint64_t deadline_ns)
{
    return deadline_ns;
}
#endif

#endif
