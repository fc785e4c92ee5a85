/*
 * trace_file.c - the file that the recorder writes into.
 *
 * All of it works in a signal handler.
 */
#include "inspect/trace_file.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/system.h"

static bool send_to_file(struct trace_sink *sink, const void *data,
                         size_t bytes)
{
    struct trace_file *file = (struct trace_file *)sink;
    const char *from = data;
    while (bytes > 0) {
        ssize_t written = system_write(file->fd, from, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            file->error = written < 0 ? errno : EIO;
            return false;
        }
        from += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* Terminals, pipes and /dev/null may have several writers. */
static bool is_regular(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* A process that this one has started would trace into the same file. */
static int claim(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return EBUSY;
    return system_ftruncate(fd, 0) == 0 ? 0 : errno;
}

int trace_file_open(struct trace_file *file, const char *path)
{
    int fd =
        system_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    *file = (struct trace_file){.sink = {send_to_file}, .fd = fd};
    if (fd < 0)
        return errno;
    int err = is_regular(fd) ? claim(fd) : 0;
    if (err != 0)
        system_close(fd);
    return err;
}

void trace_file_close(struct trace_file *file)
{
    system_close(file->fd);
    file->fd = -1;
}
