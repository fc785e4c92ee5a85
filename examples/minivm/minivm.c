/*
 * minivm.c - runs a program:
 *
 *     minivm FILE [ARGUMENT...]
 *
 * main is called with the arguments, as integers where they are numbers, and
 * null for those that are not given.  The user pointer of a thread is its
 * struct vm_thread; that is its argument, too, and so stays in the collected
 * heap while the thread lives.
 */
#include <vthread/embed.h>
#include <vthread/gc.h>

#include "minivm.h"

static vthread_latch_t alive;
/* Relaxed: just numbers; and it is read when the latch has opened. */
static unsigned started; /* A */
static bool failed;      /* A: a thread has ended by an exception */

static void *run(void *arg)
{
    struct vm_thread *t = arg;
    jmp_buf place;
    struct frame bottom = {.place = &place};
    t->top = &bottom;
    if (_setjmp(place) != 0)
        __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    else if (vthread_set_user(t) != 0)
        raise_error(t, OutOfMemory, "for a thread");
    else
        t->result = invoke(t, t->entry, t->arguments);
    if (t->monitors > 0)
        fprintf(stderr, "minivm: thread %u, %s, has not left %u monitor(s)\n",
                t->number, t->entry->name, t->monitors);
    vthread_latch_count_down(&t->ended, 1);
    vthread_latch_count_down(&alive, 1);
    return NULL;
}

value_t thread_start(struct vm_thread *creator, const struct function *entry,
                     const value_t *arguments)
{
    struct vm_thread *t = (void *)object_new(
        creator, &class_thread, sizeof *t / sizeof(value_t) + entry->arguments);
    vthread_attr_t attr = {.name = entry->name, .flags = VTHREAD_DETACHED};
    attr.stack_size_bytes = creator ? 0 : 4 << 20; /* main's is larger */
    t->number = __atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
    t->entry = entry;
    memcpy(t->arguments, arguments, entry->arguments * sizeof(value_t));
    vthread_latch_init(&t->ended, 1);
    vthread_latch_add(&alive, 1);
    if (vthread_create(&t->handle, &attr, run, t) != 0) {
        vthread_latch_count_down(&alive, 1);
        raise_error(creator, OutOfMemory, "for a thread");
    }
    return (value_t)t;
}

static value_t value_of(const char *word)
{
    char *end;
    long long n = strtoll(word, &end, 10);
    return *word && *end == 0 ? from_integer(n) : text_new(NULL, word);
}

int main(int argc, char **argv)
{
    static const vthread_embedder_t vm = {.time_slice_ns = 10 * VTHREAD_MS};
    if (argc < 2) {
        fprintf(stderr, "usage: minivm FILE [ARGUMENT...]\n");
        return 2;
    }
    program = argv[1];
    int err = vthread_gc_enable(); /* first of all */
    if (err != 0 || (err = vthread_embed(&vm)) != 0)
        refuse("cannot run: %s", strerror(err));
    GC_set_warn_proc(GC_ignore_warn_proc); /* there is OutOfMemory */
    const struct function *f = assemble();
    value_t arguments[f->arguments + 1];
    for (int i = 0; i < (int)f->arguments; i++)
        arguments[i] = i + 2 < argc ? value_of(argv[i + 2]) : 0;
    line = 0; /* all are right */
    thread_start(NULL, f, arguments);
    vthread_latch_wait(&alive);
    return __atomic_load_n(&failed, __ATOMIC_RELAXED) ? 1 : 0;
}
