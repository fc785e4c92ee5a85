/*
 * settings.c - what the environment asks for, read once.
 */
#include "settings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "carrier/pool.h"
#include "platform/panic.h"

static struct settings settings = {
    .max_carriers = POOL_MAX_CARRIERS,
    .idle_ms = 10000,
    .own_limit = 1024,
    .common_homes = 128,
    .freeze = FREEZE_LAZY,
    .hog_ms = 10,
    .io_uring = true,
    .call_threads = 64,
    .pin_ms = 20,
    .trace_kb = 1024,
};

static void read_number(const char *name, unsigned least, unsigned most,
                        unsigned *number)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return;
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || *text == '-' || n < least || n > most)
        report("%s=%s: not a number from %u to %u; left out", name, text,
               least, most);
    else
        *number = (unsigned)n;
}

static void read_freeze(void)
{
    static const char *const modes[] = {"lazy", "eager", "guard"};
    const char *text = getenv("VTHREAD_FREEZE");
    if (!text || !*text)
        return;
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, modes[i]) == 0) {
            settings.freeze = (enum freeze_mode)i;
            return;
        }
    report("VTHREAD_FREEZE=%s: not lazy, eager or guard; left out", text);
}

static void read_migrate(void)
{
    const char *text = getenv("VTHREAD_MIGRATE");
    if (!text || !*text)
        return;
    if (strcmp(text, "always") == 0)
        settings.migrate_always = true;
    else
        report("VTHREAD_MIGRATE=%s: not always; left out", text);
}

static void read_report(void)
{
    const char *text = getenv("VTHREAD_REPORT");
    if (!text || !*text)
        return;
    if (strcmp(text, "hogs") == 0)
        settings.report_hogs = true;
    else
        report("VTHREAD_REPORT=%s: not hogs; left out", text);
}

static void read_io_uring(void)
{
    const char *text = getenv("VTHREAD_IO_URING");
    if (!text || !*text)
        return;
    settings.io_uring = strcmp(text, "off") != 0;
    if (settings.io_uring && strcmp(text, "on") != 0)
        report("VTHREAD_IO_URING=%s: not on or off; left out", text);
}

static void read_deadlock(void)
{
    static const char *const modes[] = {"exit", "report", "off"};
    const char *text = getenv("VTHREAD_DEADLOCK");
    if (!text || !*text)
        return;
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, modes[i]) == 0) {
            settings.deadlock = (enum deadlock_mode)i;
            return;
        }
    report("VTHREAD_DEADLOCK=%s: not exit, report or off; left out", text);
}

/* Not for programs that run with more rights than who starts them. */
static void read_control(void)
{
    const char *text = secure_getenv("VTHREAD_CONTROL");
    if (!text || !*text || strcmp(text, "0") == 0)
        return;
    if (strcmp(text, "1") == 0
        || (text[0] == '@' && strlen(text) < sizeof settings.control))
        strcpy(settings.control, text);
    else
        report("VTHREAD_CONTROL=%s: not 0, 1 or @NAME; left out", text);
}

bool settings_is_pin_off(void)
{
    const char *text = getenv("VTHREAD_PIN");
    return text && strcmp(text, "off") == 0;
}

static void read_pin(void)
{
    static const char *const modes[] = {
        [PIN_REPORT] = "report", [PIN_ABORT] = "abort", [PIN_OFF] = "off"};
    const char *text = getenv("VTHREAD_PIN");
    if (!text || !*text)
        return;
    for (unsigned i = PIN_REPORT; i <= PIN_OFF; i++)
        if (strcmp(text, modes[i]) == 0) {
            settings.pin = (enum pin_mode)i;
            return;
        }
    report("VTHREAD_PIN=%s: not report, abort or off; left out", text);
}

/* Likewise not for programs with more rights. */
static void read_trace(void)
{
    const char *text = secure_getenv("VTHREAD_TRACE");
    settings.trace = text && *text ? text : NULL;
    read_number("VTHREAD_TRACE_MS", 0, 86400000, &settings.trace_ms);
    read_number("VTHREAD_TRACE_KB", 4, 1048576, &settings.trace_kb);
}

static void read_all(void)
{
    read_number("VTHREAD_PARALLELISM", 1, POOL_MAX_CARRIERS,
                &settings.parallelism);
    read_number("VTHREAD_MAX_CARRIERS", 1, POOL_MAX_CARRIERS,
                &settings.max_carriers);
    read_number("VTHREAD_IDLE_MS", 0, 86400000, &settings.idle_ms);
    read_number("VTHREAD_OWN_LIMIT", 0, 100000000, &settings.own_limit);
    read_number("VTHREAD_COMMON_HOMES", 1, 32768, &settings.common_homes);
    read_freeze();
    read_migrate();
    read_number("VTHREAD_HOG_MS", 0, 3600000, &settings.hog_ms);
    read_report();
    read_io_uring();
    read_deadlock();
    read_control();
    read_number("VTHREAD_CALL_THREADS", 1, 10000, &settings.call_threads);
    read_pin();
    read_number("VTHREAD_PIN_MS", 0, 3600000, &settings.pin_ms);
    read_trace();
    /* Eager mode tests what happens to frames that are copied. */
    if (settings.freeze == FREEZE_EAGER)
        settings.own_limit = 0;
}

const struct settings *settings_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_all);
    return &settings;
}
