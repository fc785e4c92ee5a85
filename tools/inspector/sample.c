/*
 * sample.c - takes samples, whichever way there is, and adds what the kernel
 * knows of the OS threads.
 */
#include "sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inspector.h"

struct sampler {
    struct target target;
    struct sample_memory *memory; /* NULL: through the socket */
    struct places *names;         /* NULL: the process's own */
};

const char *const sample_state_names[SAMPLE_STATES] = {
    [SAMPLE_RUNNING] = "RUNNING",
    [SAMPLE_RUNNABLE] = "RUNNABLE",
    [SAMPLE_NEW] = "NEW",
    [SAMPLE_PARKED] = "PARKED",
    [SAMPLE_TIMED_PARKED] = "TIMED_PARKED",
    [SAMPLE_PINNED] = "PINNED",
    [SAMPLE_TERMINATED] = "TERMINATED",
};

void *sample_grow(void *array, size_t *count, size_t size_bytes)
{
    /* Doubled at each power of two. */
    size_t used = (*count)++;
    bool is_full = (used & (used - 1)) == 0;
    size_t room = used ? 2 * used : 1;
    char *larger = is_full ? realloc(array, room * size_bytes) : array;
    if (!larger) {
        complain("out of memory");
        exit(STATUS_FAILED);
    }
    memset(larger + used * size_bytes, 0, size_bytes);
    return larger;
}

/* ---- Opening ------------------------------------------------------------ */

int sampler_open(struct sampler **sampler, const struct target *target)
{
    struct sample sample = {0};
    size_t count = 0;
    bool is_there;
    struct sampler *s = sample_grow(NULL, &count, sizeof *s);
    s->target = *target;
    int status = sample_by_socket(target, NULL, &sample, false, &is_there);
    if (!is_there)
        status = sample_memory_open(&s->memory, target);
    sample_free(&sample);
    if (status != STATUS_FINE) {
        free(s);
        return status;
    }
    s->names = places_open(target->pid);
    *sampler = s;
    return STATUS_FINE;
}

void sampler_close(struct sampler *sampler)
{
    if (sampler->memory)
        sample_memory_close(sampler->memory);
    places_close(sampler->names);
    free(sampler);
}

/* ---- Taking ------------------------------------------------------------- */

/* User and system time of an OS thread, in ticks; 0: it has gone. */
static uint64_t ticks_of(pid_t pid, int os_thread)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, os_thread);
    FILE *file = os_thread ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *behind_name = strrchr(text, ')');
    if (behind_name)
        sscanf(behind_name + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system);
    return user + system;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int sample_take(struct sampler *sampler, struct sample *sample,
                bool with_threads)
{
    bool is_there = true;
    *sample = (struct sample){.by_socket = !sampler->memory};
    int status = sampler->memory
                     ? sample_by_memory(sampler->memory, sampler->names,
                                        sample, with_threads)
                     : sample_by_socket(&sampler->target, sampler->names,
                                        sample, with_threads, &is_there);
    if (!target_is_alive(&sampler->target) || !is_there) {
        if (status == STATUS_FINE)
            complain(is_there ? "process %d has ended"
                              : "process %d has closed its control socket",
                     (int)sampler->target.pid);
        return STATUS_DIED;
    }
    sample->time_ns = now_ns();
    for (size_t i = 0; i < sample->carrier_count; i++)
        sample->carriers[i].cpu_ticks =
            ticks_of(sampler->target.pid, sample->carriers[i].os_thread);
    return status;
}

void sample_free(struct sample *sample)
{
    free(sample->schedulers);
    free(sample->carriers);
    free(sample->threads);
    *sample = (struct sample){0};
}

const struct sample_carrier *
sample_carrier_in(const struct sample *sample,
                  const struct sample_carrier *carrier)
{
    for (size_t i = 0; i < sample->carrier_count; i++)
        if (sample->carriers[i].scheduler == carrier->scheduler
            && sample->carriers[i].number == carrier->number)
            return &sample->carriers[i];
    return NULL;
}
