/*
 * http_root.c - the tree of files that is served, and nothing else.
 *
 * What is here: the way from a path to an open file, media types, and the
 * page that lists a directory.  The kernel sees to it that no path leads
 * out of the tree (openat2 with RESOLVE_BENEATH): ".." and symbolic links
 * are followed as long as they stay inside.  Where it cannot (before Linux
 * 5.6, or forbidden by a filter) we walk component by component and follow
 * neither.
 *
 * errno is read through vthread_errno: these functions do not wait, but
 * they may be inlined into some that do.
 */
#include "httpd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Without O_NONBLOCK a FIFO would hold up the carrier. */
static const int file_flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

static int root_fd;
static bool root_walks;

static int open_beneath(const char *path)
{
    struct open_how how = {
        .flags = (unsigned)file_flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
}

/* Takes the next component off *path.  Returns its length; 0 at the end,
 * and NAME_MAX + 1 if it is too long for name. */
static size_t next_component(const char **path, char name[NAME_MAX + 1])
{
    *path += strspn(*path, "/");
    size_t length = strcspn(*path, "/");
    if (length > NAME_MAX)
        return NAME_MAX + 1;
    memcpy(name, *path, length);
    name[length] = '\0';
    *path += length;
    return length;
}

/* Returns the descriptor or -1 with errno set, as open(2). */
static int open_walk(const char *path)
{
    char name[NAME_MAX + 1];
    int directory = root_fd;
    bool is_last = false;
    while (!is_last) {
        size_t length = next_component(&path, name);
        is_last = *path == '\0';
        int flags = is_last ? file_flags : O_PATH | O_DIRECTORY | O_CLOEXEC;
        int fd = -1;
        if (length > NAME_MAX)
            errno = ENAMETOOLONG;
        else if (strcmp(name, "..") == 0)
            errno = EXDEV;
        else
            fd =
                openat(directory, length > 0 ? name : ".", flags | O_NOFOLLOW);
        int err = vthread_errno();
        if (directory != root_fd)
            close(directory);
        if (fd < 0) {
            errno = err;
            return -1;
        }
        directory = fd;
    }
    return directory;
}

int root_set(const char *directory, bool walks)
{
    root_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return errno;
    int probe = walks ? -1 : open_beneath(".");
    root_walks = probe < 0;
    if (probe >= 0)
        close(probe);
    return 0;
}

int root_open(const char *path, int *fd)
{
    int attempts = 16;
    int err = EAGAIN;
    /* EAGAIN: something above was renamed meanwhile, so that the kernel
     * cannot be sure that ".." stayed inside. */
    while (err == EAGAIN && attempts-- > 0) {
        *fd = root_walks ? open_walk(path) : open_beneath(path);
        err = *fd < 0 ? vthread_errno() : 0;
    }
    return err;
}

/* By the end of the name; looked for from the top. */
static const char *const media_types[][2] = {
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"xhtml", "application/xhtml+xml"},
    {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"map", "application/json"},
    {"txt", "text/plain; charset=utf-8"},
    {"text", "text/plain; charset=utf-8"},
    {"log", "text/plain; charset=utf-8"},
    {"c", "text/plain; charset=utf-8"},
    {"h", "text/plain; charset=utf-8"},
    {"sh", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"vtt", "text/vtt; charset=utf-8"},
    {"xml", "application/xml"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"ico", "image/vnd.microsoft.icon"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"ttf", "font/ttf"},
    {"otf", "font/otf"},
    {"mp3", "audio/mpeg"},
    {"ogg", "audio/ogg"},
    {"opus", "audio/ogg"},
    {"wav", "audio/wav"},
    {"flac", "audio/flac"},
    {"m4a", "audio/mp4"},
    {"mp4", "video/mp4"},
    {"webm", "video/webm"},
    {"ogv", "video/ogg"},
    {"pdf", "application/pdf"},
    {"wasm", "application/wasm"},
    {"zip", "application/zip"},
    {"gz", "application/gzip"},
    {"tgz", "application/gzip"},
    {"xz", "application/x-xz"},
    {"bz2", "application/x-bzip2"},
    {"tar", "application/x-tar"},
};

const char *root_media_type(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash != NULL ? slash : path, '.');
    if (dot != NULL)
        for (size_t i = 0; i < sizeof media_types / sizeof *media_types; i++)
            if (strcasecmp(dot + 1, media_types[i][0]) == 0)
                return media_types[i][1];
    return "application/octet-stream";
}

static bool stands_for_itself(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || (c != '\0' && strchr("-._~/", c));
}

char *root_encode(const char *path)
{
    char *encoded = malloc(3 * strlen(path) + 1);
    char *to = encoded;
    if (encoded == NULL)
        return NULL;
    for (; *path != '\0'; path++) {
        if (stands_for_itself(*path))
            *to++ = *path;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*path);
    }
    *to = '\0';
    return encoded;
}

static void put_html(FILE *page, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", page);
            break;
        case '<':
            fputs("&lt;", page);
            break;
        case '>':
            fputs("&gt;", page);
            break;
        case '"':
            fputs("&quot;", page);
            break;
        default:
            putc_unlocked(*text, page);
        }
    }
}

/* A row of the list.  "./" keeps a name with a colon from being taken for a
 * URL's scheme.  Links are not followed: they may lead outside. */
static void put_entry(FILE *page, int directory, const char *name)
{
    struct stat st;
    struct tm tm;
    char date[32];
    char *href = root_encode(name);
    if (href == NULL
        || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        free(href);
        return;
    }
    const char *slash = S_ISDIR(st.st_mode) ? "/" : "";
    strftime(date, sizeof date, "%Y-%m-%d %H:%M", gmtime_r(&st.st_mtime, &tm));
    fprintf(page, "<tr><td><a href=\"./%s%s\">", href, slash);
    put_html(page, name);
    fprintf(page, "%s</a><td align=right>", slash);
    if (S_ISREG(st.st_mode))
        fprintf(page, "%lld", (long long)st.st_size);
    fprintf(page, "<td>%s\n", date);
    free(href);
}

static void put_page(FILE *page, int directory, const char *path,
                     struct dirent **entries, int count)
{
    bool is_root = strcmp(path, ".") == 0;
    const char *shown = is_root ? "" : path;
    fputs("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>/", page);
    put_html(page, shown);
    fputs("</title>\n<h1>/", page);
    put_html(page, shown);
    fputs("</h1>\n<table cellpadding=4>\n", page);
    if (!is_root)
        fputs("<tr><td><a href=\"../\">../</a><td><td>\n", page);
    for (int i = 0; i < count; i++)
        if (strcmp(entries[i]->d_name, ".") != 0
            && strcmp(entries[i]->d_name, "..") != 0)
            put_entry(page, directory, entries[i]->d_name);
    fputs("</table>\n", page);
}

char *root_list(int fd, const char *path, size_t *length)
{
    char *text = NULL;
    struct dirent **entries;
    int count = scandirat(fd, ".", &entries, NULL, alphasort);
    if (count < 0)
        return NULL;
    FILE *page = open_memstream(&text, length);
    if (page != NULL) {
        put_page(page, fd, path, entries, count);
        if (fclose(page) != 0) {
            free(text);
            text = NULL;
        }
    }
    while (count > 0)
        free(entries[--count]);
    free(entries);
    return text;
}
