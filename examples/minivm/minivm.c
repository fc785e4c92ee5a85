/*
 * minivm.c - runs a program:
 *
 *     minivm FILE [ARGUMENT...]
 *
 * main is called with the arguments, as integers where they are numbers, and
 * null for those that are not given.  Status 0; 1 if a thread has ended by an
 * exception; 2 if there is something wrong with the program.
 */
#include "minivm.h"

static value_t value_of(const char *word)
{
    char *end;
    long long n = strtoll(word, &end, 10);
    if (*word && *end == 0)
        return from_integer(n);
    return text_new(NULL, word);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: minivm FILE [ARGUMENT...]\n");
        return 2;
    }
    threads_enable();
    GC_set_warn_proc(GC_ignore_warn_proc); /* there is OutOfMemory */
    const struct function *f = assemble(argv[1]);
    value_t arguments[f->arguments + 1];
    for (unsigned i = 0; i < f->arguments; i++)
        arguments[i] = (int)i + 2 < argc ? value_of(argv[i + 2]) : 0;
    return threads_run(f, arguments) ? 0 : 1;
}
