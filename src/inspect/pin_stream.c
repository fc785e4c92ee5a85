/*
 * pin_stream.c - the command pin of the control socket: a stream of episodes.
 *
 * While somebody is connected episodes are recorded, whatever VTHREAD_PIN
 * says but off.  The stream looks at the ring every few milliseconds, on the
 * client's own OS thread: no one who is pinned waits for it.  A client that is
 * too slow for the ring finds numbers missing.
 */
#include <errno.h>
#include <time.h>

#include <vthread.h>

#include "inspect/control.h"
#include "inspect/pin.h"
#include "inspect/pin_format.h"
#include "inspect/pin_ring.h"
#include "platform/clock.h"
#include "settings.h"

enum { LOOK_MS = 20 };

static bool send_header(struct control_client *client)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct pin_header header = {
        .magic = PIN_FORMAT_MAGIC,
        .version = PIN_FORMAT_VERSION,
        .header_bytes = sizeof header,
        .episode_bytes = sizeof(vthread_pin_episode_t),
        .locks_tracked = pin_locks_are_tracked(),
        .threshold_ns = settings_get()->pin_ms * VTHREAD_MS,
        .monotonic_ns = clock_now_ns(),
        .realtime_ns = (uint64_t)now.tv_sec * VTHREAD_SECOND
                       + (uint64_t)now.tv_nsec,
    };
    return control_send(client, &header, sizeof header);
}

/* Those from *next on that are there.  False: the client is gone. */
static bool send_new(struct control_client *client, uint64_t *next)
{
    vthread_pin_episode_t episode;
    while (pin_ring_get(*next, &episode)) {
        *next = episode.number + 1;
        if (!control_send(client, &episode, sizeof episode))
            return false;
    }
    return true;
}

int control_serve_pin(struct control_client *client, const char *arguments)
{
    uint64_t next = 1;
    if (*arguments)
        return EINVAL;
    if (!pin_listen())
        return ENOTSUP;
    enum control_event event = CONTROL_TIME;
    bool is_there = send_header(client);
    while (is_there && event <= CONTROL_READY) {
        is_there = send_new(client, &next);
        event = control_wait(client, -1, LOOK_MS);
    }
    if (is_there)
        (void)send_new(client, &next);
    pin_listen_no_more();
    return 0;
}
