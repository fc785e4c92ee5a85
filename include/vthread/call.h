/*
 * vthread/call.h - foreign functions, called by a prepared signature.
 *
 * For functions whose type is known at run time only, as libffi calls them,
 * and for those that block.  A call site says what the function takes and how
 * it behaves; a zeroed one, but for its signature, is right for most:
 *
 *     static vthread_call_site_t site = {.signature = "t(ipz)"};
 *     char buffer[100], *place = buffer;
 *     size_t size = sizeof buffer;
 *     ssize_t got;
 *     int fd = 0, error;
 *     void *args[] = {&fd, &place, &size};
 *     int err = vthread_call(&site, (void (*)(void))read, &got, args,
 *                            &error);
 *     if (err == 0 && got < 0)
 *         printf("read: %s\n", strerror(error));
 *
 * Policies: where the call is made, and what becomes of the other threads
 * of the carrier meanwhile.
 *
 *     VTHREAD_CALL_AUTO      in place; others take over when it lasts.  The
 *                            site learns: once its calls prove long it is
 *                            treated as BLOCKING, and back again
 *     VTHREAD_CALL_CRITICAL  in place, and nobody takes over: a plain
 *                            ffi_call, for what never blocks
 *     VTHREAD_CALL_BLOCKING  in place; others take over before it begins
 *     VTHREAD_CALL_DETACHED  by an OS thread of a pool (VTHREAD_CALL_THREADS,
 *                            64 at most), while the caller is unmounted
 *
 * In place means: by the calling thread, on its own stack and OS thread, so
 * pointers to locals, errno and thread-locals are what they are in any call.
 * No deadline and no cancellation ends such a call, unless the site is
 * interruptible.  A detached call can be left alone: see below.
 *
 * The text of a signature is the letter of the result, and those of the
 * arguments between parentheses.  A dot begins the variadic arguments; braces
 * enclose the members of a struct passed by value: "i(s.i)" is the type of
 * printf("%d", 7), "{dd}({dd})" that of a function of complex numbers.
 *
 *     v  void (result only)        b  bool
 *     c  char, signed              C  unsigned char
 *     h  short                     H  unsigned short
 *     i  int                       I  unsigned
 *     l  long                      L  unsigned long
 *     q  long long                 Q  unsigned long long
 *     t  ptrdiff_t, ssize_t        z  size_t
 *     1  int8_t                    u1 uint8_t
 *     2  int16_t                   u2 uint16_t
 *     4  int32_t                   u4 uint32_t
 *     8  int64_t                   u8 uint64_t
 *     f  float                     d  double
 *     D  long double               p  any pointer
 *     s  const char *, a string that is only read, and only during the call
 *
 * Every value is stored as what the letter says: the result of an "h" is a
 * short, and a variadic "f" or "c" is stored as a float or char, though the
 * function gets a double or int.
 *
 * Detached calls.  All arguments are copied to the heap, and so is what "s"
 * points to and what the site declares in `pointers`: IN is copied before,
 * OUT after, INOUT both, wherever it lies.  Any other pointer is passed as it
 * is.  One into the caller's own stack, or into a stack that is shared, is
 * refused with EFAULT and a message; pointers that lie behind pointers are
 * not looked at.  A call that waits for an OS thread when the deadline comes
 * or the caller is cancelled is taken back, and never made.  One that has
 * begun is abandoned: it goes on, and what it returns is dropped; what its
 * undeclared pointers point to must stay until then.
 *
 * Interruptible sites.  With VTHREAD_CALL_INTERRUPTIBLE a call that has begun
 * is sent a signal when the deadline comes or the caller is cancelled, again
 * every other millisecond until it has returned; the handler does nothing
 * and is installed without SA_RESTART, so system calls that wait return
 * EINTR.  Nothing is abandoned then.  The signal is the last of the realtime
 * signals whose action was the default at the first such call.
 *
 * Each wait in here is a wait for something outside: no deadlock is reported
 * while a call is under way.  fn must return: vthread_exit and longjmp past
 * the call leave the OS thread as it was in the call; vthread_exit in an
 * interruptible one ends the process with a message.
 *
 * This header needs <ffi.h>, and is not included by <vthread.h>.
 */
#ifndef VTHREAD_CALL_H
#define VTHREAD_CALL_H

#include <stddef.h>
#include <stdint.h>

#include <ffi.h>
#include <vthread/api.h>
#include <vthread/block.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Signatures --------------------------------------------------------- */

typedef struct vthread_signature vthread_signature_t;

/* Arguments of a function, and members of a struct, at most. */
#define VTHREAD_SIGNATURE_MAX 127

/* Where and why a signature is none. */
typedef struct vthread_signature_error {
    size_t position;     /* in the text; or the number of the argument */
    const char *message; /* a sentence without an end; static */
} vthread_signature_error_t;

/*
 * The signature of a text.  The same text gives the same object, at once;
 * it is kept as long as the process.
 *
 * Returns    0; EINVAL: *error (unless NULL) says where and why; ENOMEM.
 * Blocks     never.
 * Ownership  the library's.
 */
VTHREAD_API int vthread_signature_parse(vthread_signature_t **signature,
                                        const char *text,
                                        vthread_signature_error_t *error);

/*
 * A signature of the types of libffi.  There are count arguments, of which the
 * first `fixed` are not variadic; of a function that is not variadic fixed is
 * count.  The array is copied, the types are not.
 *
 * Returns    0; EINVAL: *error (unless NULL) says why; ENOMEM.
 * Blocks     never.
 * Requires   types that are no constants of libffi stay as they are until the
 *            signature is destroyed.
 * Ownership  the caller's, until vthread_signature_destroy.
 */
VTHREAD_API int vthread_signature_create(vthread_signature_t **signature,
                                         ffi_type *result, unsigned fixed,
                                         unsigned count,
                                         ffi_type *const *arguments,
                                         vthread_signature_error_t *error);

/*
 * Gives up a signature.  Calls that are under way, abandoned ones among them,
 * and closures keep it for as long as they need it.  NULL and the signature
 * of a text are no harm: nothing happens.
 *
 * Blocks    never.
 * Requires  no call site uses it afterwards.
 */
VTHREAD_API void vthread_signature_destroy(vthread_signature_t *signature);

/*
 * What a signature consists of.  How many arguments there are; the type of one
 * of them (from 0; NULL: there is no such one); that of the result.  They are
 * what the caller stores, before variadic ones are promoted.  Blocks never.
 */
VTHREAD_API unsigned
vthread_signature_count(const vthread_signature_t *signature);
VTHREAD_API const ffi_type *
vthread_signature_argument(const vthread_signature_t *signature,
                           unsigned argument);
VTHREAD_API const ffi_type *
vthread_signature_result(const vthread_signature_t *signature);

/* ---- Call sites --------------------------------------------------------- */

#define VTHREAD_CALL_AUTO 0u
#define VTHREAD_CALL_CRITICAL 1u
#define VTHREAD_CALL_BLOCKING 2u
#define VTHREAD_CALL_DETACHED 3u

/* A call that lasts may be ended by a signal: it copes with EINTR. */
#define VTHREAD_CALL_INTERRUPTIBLE 1u
/* EAGAIN instead of waiting for an OS thread. */
#define VTHREAD_CALL_NOWAIT 2u

#define VTHREAD_CALL_IN 1u
#define VTHREAD_CALL_OUT 2u
#define VTHREAD_CALL_INOUT 3u

/* What a pointer points to: for detached calls.  Bytes of an OUT that the
 * function does not write become 0.  A NULL is passed as it is. */
typedef struct vthread_call_pointer {
    unsigned argument;      /* which, from 0 */
    unsigned direction;     /* VTHREAD_CALL_IN, _OUT or _INOUT */
    size_t size_bytes;      /* how much; 0: the value of another argument, */
    unsigned size_argument; /* which must be an integer */
} vthread_call_pointer_t;

/*
 * Says of calls what does not change from one to the next.  Zero is valid
 * where a comment does not ask for more.  Any number of threads may use one at
 * once; it stays where it is while a call is under way.
 */
typedef struct vthread_call_site {
    const char *signature;         /* the text; or, if that is NULL, */
    vthread_signature_t *prepared; /* the signature itself */
    unsigned policy;               /* VTHREAD_CALL_AUTO and so on */
    unsigned flags;                /* VTHREAD_CALL_INTERRUPTIBLE, _NOWAIT */
    const vthread_call_pointer_t *pointers; /* for DETACHED; */
    size_t pointer_count;                   /* so many */
    /* The library's own. */
    void *checked;
    uint32_t state, reserved;
    uint64_t counts[5];
} vthread_call_site_t;

/*
 * Calls fn by the policy of the site.  args points to each argument, and may
 * be NULL where there are none.  What fn returns is stored in *result (unless
 * NULL), its errno in *error (unless NULL; errno is 0 then when fn begins).
 *
 * The result is 0 when fn has been called and has returned, or says why not:
 *
 * - EINVAL: no signature or a bad one, a bad site, no fn.  A message says what,
 *   once for each site.
 * - EFAULT: a detached call gets the address of a stack, see vthread_call(7).
 * - EAGAIN: the pool is full, and the site has VTHREAD_CALL_NOWAIT.
 * - ENOMEM: no memory; not one OS thread to make the call.
 * - ECANCELED, ETIMEDOUT: while it waited for its turn; or fn has begun.  It
 *   goes on without its caller then if the call is detached.  At a site that
 *   is interruptible it has returned with EINTR, and *result and *error are
 *   stored.
 *
 * The deadline is heeded while the call waits for its turn, and during a call
 * that is detached or interruptible; it does not concern others.
 *
 * Blocks   the virtual thread, and unless it is detached its OS thread too.
 *          Cancellable where the deadline is heeded.
 * Orders   what the caller did happens before fn begins; what fn did happens
 *          before the return of 0.
 */
VTHREAD_API int vthread_call(vthread_call_site_t *site, void (*fn)(void),
                             void *result, void *const args[], int *error);
VTHREAD_API int vthread_call_until(vthread_call_site_t *site,
                                   void (*fn)(void), void *result,
                                   void *const args[], int *error,
                                   uint64_t deadline_ns);

/* What a site with VTHREAD_CALL_AUTO has learnt.  One call in 64 is timed,
 * chosen by chance, and the first few; while the site is treated as BLOCKING,
 * and where it is interruptible, all are.  Three in a row that last longer
 * than 20 us make it BLOCKING, eight in a row below 5 us end that. */
typedef struct vthread_call_stats {
    unsigned policy;      /* how it is treated now: VTHREAD_CALL_AUTO or
                             _BLOCKING; of other sites the policy given */
    uint64_t timed;       /* calls that were timed */
    uint64_t lasted;      /* of these, longer than 20 us */
    uint64_t taken_over;  /* calls during which others took over */
    uint64_t changes;     /* how often it has learnt otherwise */
    uint64_t last_ns;     /* the last one that was timed */
} vthread_call_stats_t;

/* Fills *stats.  Returns 0 or EINVAL.  Blocks never. */
VTHREAD_API int vthread_call_stats(const vthread_call_site_t *site,
                                   vthread_call_stats_t *stats);

/* ---- Closures ----------------------------------------------------------- */

typedef struct vthread_closure vthread_closure_t;

/* Gets the arguments where args points to them, and stores the result, of
 * the type that the signature says, in *result. */
typedef void vthread_closure_fn(void *user, void *result,
                                void *const args[]);

/*
 * Makes a function that foreign code can call, and which calls
 * fn(user, result, args); *code is its address.
 *
 * When it is called inside of a vthread_call, on the OS thread of the caller,
 * fn is no part of the foreign call: others do not take over meanwhile, as
 * long as fn does not wait.  There are foreign frames below it, so the thread
 * is pinned: where fn waits, its OS thread waits with it, and others take
 * over.  In a detached call, and on OS threads that foreign code has started,
 * fn runs as a platform thread.
 *
 * Returns    0; EINVAL with a NULL other than user, or when the signature is
 *            variadic; ENOMEM.
 * Blocks     never.
 * Requires   fn returns: no longjmp and no vthread_exit past the foreign code.
 * Ownership  the caller's, until vthread_closure_destroy.
 */
VTHREAD_API int vthread_closure_create(vthread_closure_t **closure,
                                       void (**code)(void),
                                       vthread_signature_t *signature,
                                       vthread_closure_fn *fn, void *user);

/*
 * Frees a closure.  NULL is no harm.
 *
 * Blocks    never.
 * Requires  nobody calls it any more, or is in it.
 */
VTHREAD_API void vthread_closure_destroy(vthread_closure_t *closure);

#ifdef __cplusplus
}
#endif

#endif
