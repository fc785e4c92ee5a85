/*
 * pin_feed.c - tells vthread pin of episodes that never took place, so that
 * what it makes of them can be compared letter by letter.
 *
 *     vthread pin -- pin_feed [NAME]     one of the scenes below
 *
 * It calls back as the library does, and speaks its protocol; the addresses
 * are of its own functions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "inspect/pin_format.h"

static int tool;

/* ---- Functions to be found in ------------------------------------------- */

/* Their lines are told, so each is on one; none is ever called. */
#define NOT_INLINED __attribute__((noinline, used))
static volatile int sink;
/* clang-format off */
NOT_INLINED static void asks_database(void) { sink++; sink++; sink++; sink++; }
NOT_INLINED static void finds_price(void) { sink--; sink--; sink--; sink--; }
NOT_INLINED static void serves(void) { sink += 2; sink += 2; sink += 2; }
NOT_INLINED static void writes_log(void) { sink -= 2; sink -= 2; sink -= 2; }
NOT_INLINED static void vthread_waits(void) { sink |= 1; sink |= 1; sink |= 1; }
NOT_INLINED static void thread_main(void) { sink &= 1; sink &= 1; sink &= 1; }
/* clang-format on */

static uint64_t in(void (*fn)(void))
{
    return (uint64_t)(uintptr_t)fn + 8;
}

/* ---- Saying ------------------------------------------------------------- */

static void send_all(const void *data, size_t size)
{
    if (send(tool, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        exit(3);
}

static void call_tool(void)
{
    const char *name = getenv("VTHREAD_CONTROL");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char line[64] = "";
    size_t length = 0;
    if (!name || name[0] != '@')
        exit(4);
    strncpy(address.sun_path + 1, name + 1, sizeof address.sun_path - 2);
    tool = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(tool, (struct sockaddr *)&address,
                (socklen_t)(sizeof address.sun_family + strlen(name)))
        != 0)
        exit(5);
    while (length < sizeof line - 1 && !strchr(line, '\n')
           && read(tool, line + length, 1) == 1)
        length++;
    if (strcmp(line, "pin\n") != 0)
        exit(6);
    send_all("ok 9.8.7\n", 9);
}

static void send_header(uint32_t locks_tracked)
{
    struct pin_header header = {
        .magic = PIN_FORMAT_MAGIC,
        .version = PIN_FORMAT_VERSION,
        .header_bytes = sizeof header,
        .episode_bytes = sizeof(vthread_pin_episode_t),
        .locks_tracked = locks_tracked,
        .threshold_ns = 20000000,
        .monotonic_ns = 1000000000,
        .realtime_ns = 1000000000 + UINT64_C(86400000000000),
    };
    send_all(&header, sizeof header);
}

#define MS UINT64_C(1000000)

static vthread_pin_episode_t episode(uint64_t number, uint64_t start_ms,
                                     uint64_t ms)
{
    vthread_pin_episode_t e = {
        .size_bytes = sizeof e,
        .number = number,
        .start_ns = 1000000000 + start_ms * MS,
        .duration_ns = ms * MS,
        .thread = 4294967296 + number,
        .entry = in(serves)-8,
        .scheduler = 1,
        .os_thread = 77,
        .locks_tracked = 1,
    };
    return e;
}

/* A mutex is held, and the database asked. */
static void query(uint64_t number, uint64_t start_ms, uint64_t ms,
                  uint64_t mutex)
{
    vthread_pin_episode_t e = episode(number, start_ms, ms);
    e.reasons = VTHREAD_PINNED_BY_LOCK;
    e.hold_count = 1;
    e.holds[0] = (vthread_pin_hold_t){.object = mutex,
                                      .site = in(finds_price),
                                      .waited_ns = 3 * ms * MS,
                                      .waiters = 3,
                                      .count = 1,
                                      .frame = 2,
                                      .kind = VTHREAD_HOLD_MUTEX};
    e.delay_ns = 3 * ms * MS;
    e.spares = 1;
    e.carrier = (uint32_t)(number % 2);
    strcpy(e.name, "customer <1>");
    strcpy(e.waits_for, "waits for a descriptor");
    e.frame_count = 5;
    e.frames[0] = in(vthread_waits);
    e.frames[1] = in(asks_database);
    e.frames[2] = in(finds_price);
    e.frames[3] = in(serves);
    e.frames[4] = in(thread_main);
    send_all(&e, sizeof e);
}

/* Between vthread_pin and vthread_unpin. */
static void logging(uint64_t number, uint64_t start_ms, uint64_t ms)
{
    vthread_pin_episode_t e = episode(number, start_ms, ms);
    e.reasons = VTHREAD_PINNED_BY_PIN;
    e.hold_count = 1;
    e.holds[0] = (vthread_pin_hold_t){
        .site = in(writes_log), .count = 1, .kind = VTHREAD_HOLD_PIN};
    strcpy(e.why, "the log is not reentrant");
    strcpy(e.waits_for, "sleeps");
    e.frame_count = 3;
    e.frames[0] = in(vthread_waits);
    e.frames[1] = in(writes_log);
    e.frames[2] = in(thread_main);
    send_all(&e, sizeof e);
}

static void foreign(uint64_t number, uint64_t start_ms, uint64_t us)
{
    vthread_pin_episode_t e = episode(number, start_ms, 0);
    e.duration_ns = us * 1000;
    e.reasons = VTHREAD_PINNED_BY_FOREIGN;
    strcpy(e.waits_for, "is parked");
    send_all(&e, sizeof e);
}

/* ---- Scenes ------------------------------------------------------------- */

static void shop(void)
{
    send_header(1);
    query(1, 0, 40, 0x7000);
    query(2, 50, 50, 0x7000);
    logging(3, 100, 1500);
    foreign(4, 120, 250);
    query(7, 200, 30, 0x7100); /* two were dropped */
}

static void untracked(void)
{
    send_header(0);
    foreign(1, 0, 30000);
}

static void nothing(void)
{
    send_header(1);
}

/* Half of an episode, and the end. */
static void broken(void)
{
    vthread_pin_episode_t e = episode(2, 0, 25);
    send_header(1);
    logging(1, 0, 25);
    send_all(&e, sizeof e / 2);
}

static void nonsense(void)
{
    char words[sizeof(struct pin_header)] = "this is no header";
    send_all(words, sizeof words);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*play)(void);
    } scenes[] = {{"shop", shop},
                  {"untracked", untracked},
                  {"nothing", nothing},
                  {"broken", broken},
                  {"nonsense", nonsense}};
    call_tool();
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        if (argc == 2 && strcmp(argv[1], scenes[i].name) == 0)
            scenes[i].play();
    close(tool);
    return 7;
}
