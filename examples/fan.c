/*
 * fan.c - fan-out and fan-in: how often each word occurs in many files.
 *
 *     fan FILE...
 *
 * Prints each word with its count, in the order of the words, as this does:
 *
 *     cat FILE... | tr -cs A-Za-z '\n' | grep . | LC_ALL=C sort | uniq -c
 *
 * What it shows: a scope with a child for each file.  Its arguments and its
 * result go by value, so nothing points into a stack, and no child outlives
 * the scope.  The first file that cannot be read cancels the rest: it is
 * reported, nothing is counted, and the status is 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <vthread.h>

struct word {
    const char *text; /* ended by a 0 */
    unsigned long count;
};

/* What a child returns.  Its memory is freed by whoever takes the result. */
struct words {
    char *text; /* of the file; the words point there */
    size_t size;
    struct word *list;
    size_t count;
};

static int report(const char *what, int err)
{
    fprintf(stderr, "fan: %s: %s\n", what, strerror(err));
    return 1;
}

/* A file that grows meanwhile is read up to the size it had. */
static int read_text(int fd, struct words *words)
{
    struct stat status;
    size_t n = 1;
    int err = fstat(fd, &status) == 0 ? 0 : vthread_errno();
    size_t size = err == 0 ? (size_t)status.st_size : 0;
    words->text = malloc(size + 1);
    if (words->text == NULL)
        return ENOMEM;
    while (err == 0 && n > 0 && words->size < size) {
        err =
            vthread_read(fd, words->text + words->size, size - words->size, &n);
        words->size += err == 0 ? n : 0;
    }
    words->text[words->size] = '\0';
    return err;
}

/* Puts a 0 in place of all that is no letter, and lists what is left. */
static int split(struct words *words)
{
    char *end = words->text + words->size, before = '\0';
    size_t count = 0;
    for (char *c = words->text; c < end; before = *c++) {
        if (!((*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z')))
            *c = '\0';
        count += before == '\0' && *c != '\0';
    }
    words->list = malloc((count + 1) * sizeof *words->list);
    if (words->list == NULL)
        return ENOMEM;
    for (char *c = words->text; c < end; c += strlen(c) + 1)
        if (*c != '\0')
            words->list[words->count++] = (struct word){c, 1};
    return 0;
}

static int by_text(const void *a, const void *b)
{
    const struct word *one = a, *other = b;
    return strcmp(one->text, other->text);
}

/* Sorts a list and adds up what is equal.  Returns how many are left. */
static size_t fold(struct word *list, size_t count)
{
    size_t last = 0;
    if (count == 0)
        return 0;
    qsort(list, count, sizeof *list, by_text);
    for (size_t i = 1; i < count; i++)
        if (strcmp(list[last].text, list[i].text) == 0)
            list[last].count += list[i].count;
        else
            list[++last] = list[i];
    return last + 1;
}

static void discard(struct words *words)
{
    free(words->text);
    free(words->list);
}

/* A child: the words of one file. */
static int count_words(const void *args, void *result)
{
    const char *path = *(char *const *)args;
    struct words *words = result;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vthread_errno();
    int err = read_text(fd, words);
    vthread_close(fd);
    if (err == 0)
        err = split(words);
    if (err == 0)
        words->count = fold(words->list, words->count);
    else
        discard(words);
    return err;
}

/* Fan-in: one list of the words of all files. */
static int print_all(const struct words *parts, size_t part_count)
{
    size_t count = 0;
    for (size_t i = 0; i < part_count; i++)
        count += parts[i].count;
    struct word *list = malloc((count + 1) * sizeof *list);
    if (list == NULL)
        return report("merging", ENOMEM);
    count = 0;
    for (size_t i = 0; i < part_count; i++)
        for (size_t j = 0; j < parts[i].count; j++)
            list[count++] = parts[i].list[j];
    count = fold(list, count);
    for (size_t i = 0; i < count; i++)
        printf("%7lu %s\n", list[i].count, list[i].text);
    free(list);
    return fflush(stdout) == 0 ? 0 : report("standard output", errno);
}

/* The child that failed first has decided the outcome. */
static int report_first(vthread_scope_t *scope, char **paths,
                        const uint32_t *tasks, size_t count, int err)
{
    uint32_t first = VTHREAD_SCOPE_NO_TASK;
    vthread_scope_first(scope, &first);
    for (size_t i = 0; i < count; i++)
        if (tasks[i] == first)
            return report(paths[i], err);
    return report("cannot start", err);
}

/* Fan-out: a child for each file. */
static int run(vthread_scope_t *scope, char **paths, size_t count)
{
    struct words *parts = calloc(count, sizeof *parts);
    uint32_t *tasks = calloc(count, sizeof *tasks);
    size_t forked = 0;
    int err = parts == NULL || tasks == NULL ? ENOMEM : 0;
    while (err == 0 && forked < count) {
        err = vthread_scope_fork(scope, &tasks[forked], count_words,
                                 &paths[forked], sizeof paths[forked],
                                 sizeof *parts);
        forked += err == 0;
    }
    if (err == 0 || err == ECANCELED) /* that is: a child has failed */
        err = vthread_scope_join(scope);
    else
        vthread_scope_cancel(scope), vthread_scope_join(scope);
    for (size_t i = 0; i < forked; i++)
        vthread_scope_result(scope, tasks[i], &parts[i], sizeof parts[i]);
    int status = err == 0 ? print_all(parts, count)
                          : report_first(scope, paths, tasks, forked, err);
    for (size_t i = 0; i < forked; i++)
        discard(&parts[i]);
    free(parts);
    free(tasks);
    return status;
}

int main(int argc, char **argv)
{
    vthread_scope_t *scope;
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: fan FILE...   (./-x for a file -x)\n");
        return 2;
    }
    int err = vthread_scope_open(&scope, NULL);
    if (err != 0)
        return report("cannot start", err);
    int status = run(scope, argv + 1, (size_t)argc - 1);
    vthread_scope_close(scope);
    return status;
}
