/*
 * pin_data.h - what vthread pin has been told: episodes, the places in them,
 * and sites, which are episodes that are alike.
 *
 * Episodes are alike when they were pinned for the same reason, by a lock that
 * was taken at the same place, and waited at the same place.
 */
#ifndef PIN_DATA_H
#define PIN_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inspect/pin_format.h"
#include "places.h"

#define PIN_NO_PLACE UINT32_MAX
#define PIN_FRAMES_MAX 96 /* of a stack, with inlined functions */

struct pin_process {
    pid_t pid;
    char version[16];
    struct places *places;
    bool is_known; /* it has told the rest */
    bool locks_tracked;
    uint64_t threshold_ns;
    int64_t to_realtime_ns; /* from the clock of its episodes */
    uint64_t last_number;   /* of its episodes */
};

struct pin_episode {
    vthread_pin_episode_t told;
    uint32_t process, site;
    char entry[64];
    char locks[VTHREAD_PIN_HOLDS_MAX][64]; /* their names; "" */
    uint32_t taken[VTHREAD_PIN_HOLDS_MAX]; /* places */
    uint32_t frames[PIN_FRAMES_MAX]; /* places, without those of the library
                                        itself at both ends */
    uint32_t frame_count;
};

struct pin_site {
    uint32_t example;       /* its longest episode */
    uint32_t taken, parked; /* places, or PIN_NO_PLACE */
    uint32_t reasons;
    uint32_t count;
    uint32_t locks; /* 0, 1, or 2: several */
    uint64_t total_ns, longest_ns, delay_ns;
    uint64_t waiters, spares;
};

struct pin_data {
    struct pin_process *processes;
    size_t process_count;
    struct pin_episode *episodes; /* as they came */
    size_t episode_count;
    struct pin_site *sites;
    size_t site_count;
    struct place *places;
    size_t place_count;
    uint64_t dropped; /* episodes that the processes could not keep */
};

/* A process that will tell, and what it says first. */
uint32_t pin_data_add_process(struct pin_data *data, pid_t pid);
void pin_data_set_header(struct pin_process *process,
                         const struct pin_header *header);

/* One episode of it; returns its number here. */
uint32_t pin_data_add(struct pin_data *data, uint32_t process,
                      const vthread_pin_episode_t *told);

/* The sites' numbers, those that have delayed others most first. */
uint32_t *pin_data_order(const struct pin_data *data);

/* The lock that it is about, or NULL: the one that others waited for longest,
 * else the one taken last. */
const vthread_pin_hold_t *pin_data_lock(const struct pin_episode *episode);

void pin_data_free(struct pin_data *data);

/* ---- Words: pin_words.c ------------------------------------------------- */

/* "serve (server.c:12)". */
void pin_describe_place(const struct pin_data *data, uint32_t place,
                        char *buffer, size_t size);
/* "mutex 0x55..", "mutex prices_lock (shop)", "vthread_pin", "a foreign
 * frame". */
void pin_describe_cause(const struct pin_site *site,
                        const struct pin_episode *episode, char *buffer,
                        size_t size);
const char *pin_kind_name(uint32_t kind);
/* "50.3 ms". */
const char *pin_describe_ns(uint64_t ns, char text[24]);

#include <stdio.h>

/* A line for the episode, as it has come. */
void pin_print_episode(FILE *out, const struct pin_data *data,
                       uint32_t episode);
/* The table at the end. */
void pin_print_sites(FILE *out, const struct pin_data *data);

/* pin_json.c, pin_html.c */
void pin_write_json(FILE *out, const struct pin_data *data, const char *title);
void pin_write_html(FILE *out, const struct pin_data *data, const char *title);

/* ---- Where it comes from: pin_follow.c ---------------------------------- */

struct pin_stream;

struct pin_follow {
    struct pin_data data;
    struct pin_stream *streams;
    size_t stream_count;
    unsigned open_streams;
    bool is_told;     /* each episode is printed as it comes */
    uint64_t fail_ns; /* longer ones are what is looked for */
    bool has_failed;  /* one was */
};

struct connection;

/* Asks the process for its episodes; the connection is the stream's from now
 * on.  STATUS_FINE, or a status and a complaint. */
int pin_follow_add(struct pin_follow *follow, struct connection *connection);

/* What to poll: the descriptors of those that are open; returns how many,
 * `room` at most. */
struct pollfd;
size_t pin_follow_polled(const struct pin_follow *follow, struct pollfd *fds,
                         size_t room);

/* Takes what has come, from all of them. */
void pin_follow_read(struct pin_follow *follow);

void pin_follow_free(struct pin_follow *follow);

#endif
