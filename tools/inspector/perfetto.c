/*
 * perfetto.c - packets of Perfetto's format, by protobuf-c.
 *
 * A file is a sequence of packets, and each is written when it is complete.
 * Names stand there once: an event has the number of its name, and the packet
 * of the first event that has it tells the name as well.
 */
#include "perfetto.h"

#include <stdlib.h>
#include <string.h>

#include "perfetto.pb-c.h"

#define SEQUENCE 1
/* Of sequence_flags: numbers of names begin anew; they are used. */
#define STATE_CLEARED 1
#define NEEDS_STATE 2

#define NAMES_MIN 256 /* a power of two */

struct perfetto {
    FILE *file;
    uint32_t pid;
    bool is_begun, has_failed;
    char **names; /* a hash table; their numbers beside */
    uint64_t *numbers;
    size_t size, used;
    uint8_t *buffer;
    size_t buffer_bytes;
};

/* ---- Packets ------------------------------------------------------------ */

/* Tag 1, length-delimited: a packet in the message Trace. */
static size_t put_head(uint8_t *to, size_t bytes)
{
    size_t length = 0;
    to[length++] = 1 << 3 | 2;
    for (; bytes >= 0x80; bytes >>= 7)
        to[length++] = (uint8_t)(bytes | 0x80);
    to[length++] = (uint8_t)bytes;
    return length;
}

static bool ensure_buffer(struct perfetto *p, size_t bytes)
{
    if (bytes <= p->buffer_bytes)
        return true;
    uint8_t *larger = realloc(p->buffer, 2 * bytes);
    if (!larger) {
        p->has_failed = true;
        return false;
    }
    p->buffer = larger;
    p->buffer_bytes = 2 * bytes;
    return true;
}

static void write_packet(struct perfetto *p, Perfetto__TracePacket *packet)
{
    uint8_t head[16];
    packet->has_trusted_packet_sequence_id = true;
    packet->trusted_packet_sequence_id = SEQUENCE;
    packet->has_sequence_flags = true;
    packet->sequence_flags = NEEDS_STATE | (p->is_begun ? 0 : STATE_CLEARED);
    p->is_begun = true;
    size_t bytes = perfetto__trace_packet__get_packed_size(packet);
    if (!ensure_buffer(p, bytes))
        return;
    perfetto__trace_packet__pack(packet, p->buffer);
    size_t head_bytes = put_head(head, bytes);
    if (fwrite(head, 1, head_bytes, p->file) != head_bytes
        || fwrite(p->buffer, 1, bytes, p->file) != bytes)
        p->has_failed = true;
}

/* ---- Names -------------------------------------------------------------- */

static size_t slot_of(const struct perfetto *p, const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    size_t i = (size_t)(hash >> 20) & (p->size - 1);
    while (p->names[i] && strcmp(p->names[i], name) != 0)
        i = (i + 1) & (p->size - 1);
    return i;
}

static bool grow(struct perfetto *p)
{
    struct perfetto larger = {.size = p->size ? 2 * p->size : NAMES_MIN};
    larger.names = calloc(larger.size, sizeof *larger.names);
    larger.numbers = calloc(larger.size, sizeof *larger.numbers);
    if (!larger.names || !larger.numbers) {
        free(larger.names);
        free(larger.numbers);
        return false;
    }
    for (size_t i = 0; i < p->size; i++) {
        if (!p->names[i])
            continue;
        size_t slot = slot_of(&larger, p->names[i]);
        larger.names[slot] = p->names[i];
        larger.numbers[slot] = p->numbers[i];
    }
    free(p->names);
    free(p->numbers);
    p->names = larger.names;
    p->numbers = larger.numbers;
    p->size = larger.size;
    return true;
}

/* Its number; 0: no memory. */
static uint64_t number_of(struct perfetto *p, const char *name, bool *is_new)
{
    *is_new = false;
    if (p->used >= p->size / 2 && !grow(p)) {
        p->has_failed = true;
        return 0;
    }
    size_t slot = slot_of(p, name);
    if (p->names[slot])
        return p->numbers[slot];
    p->names[slot] = strdup(name);
    if (!p->names[slot]) {
        p->has_failed = true;
        return 0;
    }
    *is_new = true;
    return p->numbers[slot] = ++p->used;
}

/* ---- Tracks ------------------------------------------------------------- */

/* Those of two processes in one trace differ. */
static uint64_t uuid_of(const struct perfetto *p, uint64_t track)
{
    uint64_t x = (track + 1) * UINT64_C(0x9e3779b97f4a7c15) + p->pid;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return x ? x : 1;
}

static void describe_track(struct perfetto *p,
                           Perfetto__TrackDescriptor *descriptor,
                           uint64_t track)
{
    Perfetto__TracePacket packet = PERFETTO__TRACE_PACKET__INIT;
    descriptor->has_uuid = true;
    descriptor->uuid = uuid_of(p, track);
    packet.track_descriptor = descriptor;
    write_packet(p, &packet);
}

void perfetto_track(struct perfetto *p, uint64_t track, uint64_t parent,
                    const char *name)
{
    Perfetto__TrackDescriptor descriptor = PERFETTO__TRACK_DESCRIPTOR__INIT;
    descriptor.name = (char *)name;
    descriptor.has_parent_uuid = true;
    descriptor.parent_uuid = uuid_of(p, parent);
    describe_track(p, &descriptor, track);
}

void perfetto_counter_track(struct perfetto *p, uint64_t track,
                            const char *name)
{
    Perfetto__TrackDescriptor descriptor = PERFETTO__TRACK_DESCRIPTOR__INIT;
    Perfetto__CounterDescriptor counter = PERFETTO__COUNTER_DESCRIPTOR__INIT;
    descriptor.name = (char *)name;
    descriptor.counter = &counter;
    descriptor.has_parent_uuid = true;
    descriptor.parent_uuid = uuid_of(p, 0);
    describe_track(p, &descriptor, track);
}

/* ---- Events ------------------------------------------------------------- */

static void write_event(struct perfetto *p, Perfetto__TrackEvent *event,
                        Perfetto__TrackEvent__Type type, uint64_t track,
                        uint64_t ns, Perfetto__InternedData *names)
{
    Perfetto__TracePacket packet = PERFETTO__TRACE_PACKET__INIT;
    event->has_type = true;
    event->type = type;
    event->has_track_uuid = true;
    event->track_uuid = uuid_of(p, track);
    packet.has_timestamp = true;
    packet.timestamp = ns;
    packet.track_event = event;
    packet.interned_data = names;
    write_packet(p, &packet);
}

static void write_named(struct perfetto *p, Perfetto__TrackEvent *event,
                        Perfetto__TrackEvent__Type type, uint64_t track,
                        uint64_t ns, const char *name)
{
    Perfetto__EventName entry = PERFETTO__EVENT_NAME__INIT;
    Perfetto__EventName *entries[] = {&entry};
    Perfetto__InternedData names = PERFETTO__INTERNED_DATA__INIT;
    bool is_new;
    event->has_name_iid = true;
    event->name_iid = number_of(p, name, &is_new);
    entry.has_iid = true;
    entry.iid = event->name_iid;
    entry.name = (char *)name;
    names.n_event_names = 1;
    names.event_names = entries;
    write_event(p, event, type, track, ns, is_new ? &names : NULL);
}

static void write_detailed(struct perfetto *p, Perfetto__TrackEvent__Type type,
                           uint64_t track, uint64_t ns, const char *name,
                           const struct perfetto_details *details)
{
    static const struct perfetto_details none;
    Perfetto__TrackEvent event = PERFETTO__TRACK_EVENT__INIT;
    Perfetto__DebugAnnotation text = PERFETTO__DEBUG_ANNOTATION__INIT;
    Perfetto__DebugAnnotation number = PERFETTO__DEBUG_ANNOTATION__INIT;
    Perfetto__DebugAnnotation *annotations[2];
    if (!details)
        details = &none;
    uint64_t flow = details->flow, flow_end = details->flow_end;
    event.n_flow_ids = flow != 0;
    event.flow_ids = &flow;
    event.n_terminating_flow_ids = flow_end != 0;
    event.terminating_flow_ids = &flow_end;
    event.debug_annotations = annotations;
    if (details->key) {
        text.name = (char *)details->key;
        text.string_value = (char *)details->text;
        annotations[event.n_debug_annotations++] = &text;
    }
    if (details->number_key) {
        number.name = (char *)details->number_key;
        number.has_uint_value = true;
        number.uint_value = details->number;
        annotations[event.n_debug_annotations++] = &number;
    }
    write_named(p, &event, type, track, ns, name);
}

void perfetto_slice(struct perfetto *p, uint64_t track, uint64_t ns,
                    const char *name, const struct perfetto_details *details)
{
    write_detailed(p, PERFETTO__TRACK_EVENT__TYPE__TYPE_SLICE_BEGIN, track, ns,
                   name, details);
}

void perfetto_instant(struct perfetto *p, uint64_t track, uint64_t ns,
                      const char *name, const struct perfetto_details *details)
{
    write_detailed(p, PERFETTO__TRACK_EVENT__TYPE__TYPE_INSTANT, track, ns,
                   name, details);
}

void perfetto_slice_end(struct perfetto *p, uint64_t track, uint64_t ns)
{
    Perfetto__TrackEvent event = PERFETTO__TRACK_EVENT__INIT;
    write_event(p, &event, PERFETTO__TRACK_EVENT__TYPE__TYPE_SLICE_END, track,
                ns, NULL);
}

void perfetto_counter(struct perfetto *p, uint64_t track, uint64_t ns,
                      int64_t value)
{
    Perfetto__TrackEvent event = PERFETTO__TRACK_EVENT__INIT;
    event.has_counter_value = true;
    event.counter_value = value;
    write_event(p, &event, PERFETTO__TRACK_EVENT__TYPE__TYPE_COUNTER, track,
                ns, NULL);
}

/* ---- The file ----------------------------------------------------------- */

static void describe_process(struct perfetto *p, const char *name)
{
    Perfetto__TrackDescriptor descriptor = PERFETTO__TRACK_DESCRIPTOR__INIT;
    Perfetto__ProcessDescriptor process = PERFETTO__PROCESS_DESCRIPTOR__INIT;
    process.has_pid = true;
    process.pid = (int32_t)p->pid;
    process.process_name = (char *)name;
    descriptor.process = &process;
    describe_track(p, &descriptor, 0);
}

struct perfetto *perfetto_begin(FILE *file, uint32_t pid,
                                const char *process_name)
{
    struct perfetto *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->file = file;
    p->pid = pid;
    describe_process(p, process_name);
    return p;
}

bool perfetto_end(struct perfetto *p)
{
    bool is_good = !p->has_failed && fflush(p->file) == 0;
    for (size_t i = 0; i < p->size; i++)
        free(p->names[i]);
    free(p->names);
    free(p->numbers);
    free(p->buffer);
    free(p);
    return is_good;
}
