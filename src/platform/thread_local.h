/*
 * thread_local.h - the address of a thread-local variable, asked for anew.
 *
 * A virtual thread changes its OS thread inside a call that looks like any
 * other, and a compiler that has computed the address of a thread-local
 * before such a call uses it after the call as well.  So variables that are
 * needed on both sides of a switch are read through these functions only.
 *
 *     THREAD_LOCAL_SELF(struct local, local_self, local)
 *
 * defines local_self(), which returns the address of the calling OS
 * thread's `extern __thread struct local local`.
 */
#ifndef PLATFORM_THREAD_LOCAL_H
#define PLATFORM_THREAD_LOCAL_H

#if defined __x86_64__

/* The initial-exec model: an offset from the thread pointer.  A volatile asm
 * is neither moved across a call nor merged with another one. */
#define THREAD_LOCAL_SELF(type, function, variable)                           \
    static inline type *function(void)                                        \
    {                                                                         \
        type *address;                                                        \
        __asm__ volatile("movq " #variable "@gottpoff(%%rip), %0\n\t"         \
                         "addq %%fs:0, %0"                                    \
                         : "=r"(address)::"memory");                          \
        return address;                                                       \
    }

#else

/* Anywhere else: a call that the compiler cannot look into. */
#define THREAD_LOCAL_SELF(type, function, variable)                           \
    __attribute__((noinline, unused)) static type *function(void)             \
    {                                                                         \
        type *address = &variable;                                            \
        __asm__ volatile("" : "+r"(address)::"memory");                       \
        return address;                                                       \
    }

#endif

#endif
