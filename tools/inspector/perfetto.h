/*
 * perfetto.h - writing a file that Perfetto shows: tracks, and what lies on
 * them.
 *
 *     struct perfetto *p = perfetto_begin(file, pid, "server");
 *     perfetto_track(p, 1, 0, "carrier 0");
 *     perfetto_slice(p, 1, ns, "reader", NULL);
 *     perfetto_slice_end(p, 1, ns + 500);
 *     perfetto_end(p);
 *
 * A track is a number of the caller's, other than 0: that is the process,
 * which the tracks without another parent belong to.  Events may be written
 * in any order; slices of one track nest.
 */
#ifndef PERFETTO_H
#define PERFETTO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct perfetto;

/* What an event has besides; zero-valid. */
struct perfetto_details {
    uint64_t flow;          /* an arrow begins here; 0: none */
    uint64_t flow_end;      /* and ends here */
    const char *key, *text; /* shown with it; NULL: none */
    const char *number_key;
    uint64_t number;
};

/* NULL: no memory. */
struct perfetto *perfetto_begin(FILE *file, uint32_t pid,
                                const char *process_name);

/* Before the first event there. */
void perfetto_track(struct perfetto *p, uint64_t track, uint64_t parent,
                    const char *name);
void perfetto_counter_track(struct perfetto *p, uint64_t track,
                            const char *name);

void perfetto_slice(struct perfetto *p, uint64_t track, uint64_t ns,
                    const char *name, const struct perfetto_details *details);
void perfetto_slice_end(struct perfetto *p, uint64_t track, uint64_t ns);
void perfetto_instant(struct perfetto *p, uint64_t track, uint64_t ns,
                      const char *name,
                      const struct perfetto_details *details);
void perfetto_counter(struct perfetto *p, uint64_t track, uint64_t ns,
                      int64_t value);

/* False: not all of it is in the file; memory has run out, or errno says
 * why. */
bool perfetto_end(struct perfetto *p);

#endif
