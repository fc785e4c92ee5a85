/*
 * cycles.c - whether the processor's counter can be relied on.
 *
 * The kernel watches it and says by which source it keeps time itself.
 */
#include "cycles.h"

#include <fcntl.h>
#include <string.h>

#include "system.h"

static bool is_source(const char *text, const char *source)
{
    size_t length = strlen(source);
    return strncmp(text, source, length) == 0 && text[length] == '\n';
}

bool cycles_are_even(void)
{
    char text[32] = "";
    int fd = system_open("/sys/devices/system/clocksource/clocksource0/"
                         "current_clocksource",
                         O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = system_read(fd, text, sizeof text - 1);
    system_close(fd);
    return length > 0
           && (is_source(text, "tsc") || is_source(text, "arch_sys_counter"));
}
