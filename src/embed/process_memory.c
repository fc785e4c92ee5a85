/*
 * process_memory.c - /proc/self/maps, read while all is stopped.
 *
 * By system calls, into a buffer on the stack, line by line: neither the
 * loader's list of libraries nor malloc can be asked, for somebody may have
 * been stopped while he held their locks.
 *
 *   rw-p with a file             static data of that file
 *   rw-p without, right behind   its .bss, up to where its ELF header says that
 *                                it ends: memory of others may follow in the
 *                                same line
 *   [heap]                       malloc's
 *   other rw-p without           looked at for what glibc's malloc maps:
 *
 *     arena   begins at a multiple of 64 MiB with a heap_info, whose
 *             third word is the size in use
 *     block   begins at a page with a chunk header: 0, or what alignment has
 *             cost, and the size of the mapping with bit 1 set
 *
 * All else without a name is somebody's own, a stack or a collector's.
 */
#include "embed/process_memory.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "platform/memory.h"
#include "platform/sanitizer.h"
#include "platform/system.h"

enum { BUFFER_BYTES = 8192, NAME_BYTES = 256 };

#define ARENA_BYTES ((uintptr_t)64 << 20)
/* Shadow memory of sanitizers, and what others have reserved for later. */
#define SEARCHED_MAX ((uintptr_t)64 << 30)

struct mapping {
    uintptr_t start, end;
    bool is_writable; /* and private */
    bool is_file;
    char name[NAME_BYTES]; /* cut */
};

/* ---- Lines -------------------------------------------------------------- */

struct reader {
    int fd;
    size_t at, size;
    char buffer[BUFFER_BYTES];
};

/* -1 at the end. */
static int next_byte(struct reader *r)
{
    if (r->at == r->size) {
        ssize_t size;
        do
            size = system_read(r->fd, r->buffer, sizeof r->buffer);
        while (size < 0 && errno == EINTR);
        if (size <= 0)
            return -1;
        r->size = (size_t)size;
        r->at = 0;
    }
    return (unsigned char)r->buffer[r->at++];
}

static uintptr_t read_hexadecimal(struct reader *r)
{
    uintptr_t n = 0;
    for (int c = next_byte(r);; c = next_byte(r))
        if (c >= '0' && c <= '9')
            n = n * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n * 16 + (uintptr_t)(c - 'a') + 10;
        else
            return n;
}

static void skip_field(struct reader *r)
{
    for (int c = next_byte(r); c > 0 && c != ' '; c = next_byte(r))
        continue;
}

static void read_name(struct reader *r, char *name)
{
    size_t length = 0;
    int c = next_byte(r);
    while (c == ' ')
        c = next_byte(r);
    for (; c > 0 && c != '\n'; c = next_byte(r))
        if (length < NAME_BYTES - 1)
            name[length++] = (char)c;
    name[length] = '\0';
}

/* start-end rwxp offset device inode   name */
static bool next_mapping(struct reader *r, struct mapping *m)
{
    char access[4];
    m->start = read_hexadecimal(r);
    m->end = read_hexadecimal(r);
    if (m->end == 0)
        return false;
    for (int i = 0; i < 4; i++)
        access[i] = (char)next_byte(r);
    m->is_writable = memcmp(access, "rw", 2) == 0 && access[3] == 'p';
    for (int i = 0; i < 4; i++)
        skip_field(r); /* the rest of the access, offset, device, inode */
    read_name(r, m->name);
    m->is_file = m->name[0] == '/';
    return true;
}

/* 0 or an error number. */
static int open_maps(struct reader *r)
{
    r->at = r->size = 0;
    r->fd = system_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    return r->fd >= 0 ? 0 : errno;
}

static bool lies_in(const struct mapping *m, const void *address)
{
    return (uintptr_t)address >= m->start && (uintptr_t)address < m->end;
}

/* The name of the file whose data are left out, or "": a program's own are
 * not, though everything be linked into it. */
static int name_left_out(const void *address, char *name)
{
    struct reader r;
    struct mapping m;
    const void *program = (const void *)getauxval(AT_PHDR);
    char program_name[NAME_BYTES] = "";
    name[0] = '\0';
    int err = open_maps(&r);
    if (err != 0)
        return err;
    while (next_mapping(&r, &m)) {
        if (lies_in(&m, address))
            memcpy(name, m.name, NAME_BYTES);
        if (lies_in(&m, program))
            memcpy(program_name, m.name, NAME_BYTES);
    }
    if (strcmp(name, program_name) == 0)
        name[0] = '\0';
    system_close(r.fd);
    return 0;
}

const void *process_memory_end(const void *address)
{
    struct reader r;
    struct mapping m;
    const void *end = NULL;
    if (open_maps(&r) != 0)
        return NULL;
    while (!end && next_mapping(&r, &m))
        if (lies_in(&m, address))
            end = (const void *)m.end;
    system_close(r.fd);
    return end;
}

/* ---- What malloc maps --------------------------------------------------- */

/* What of the range is nobody else's. */
static void visit(struct process_memory_visitor *v, uintptr_t at,
                  uintptr_t end)
{
    while (at < end) {
        uintptr_t low = at;
        while (at < end && !v->is_foreign((const void *)at))
            at += memory_page_bytes();
        if (low < at)
            v->range(v, (const void *)low, (const void *)at);
        while (at < end && v->is_foreign((const void *)at))
            at += memory_page_bytes();
    }
}

/* Those who check memory have a malloc of their own. */
#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__

/* The bytes from start on that malloc manages; 0: none.  Read by the kernel:
 * there are pages that look accessible and are guards, of stacks that are
 * just being made, or of somebody else's. */
static size_t malloc_bytes_at(int memory_fd, uintptr_t start, uintptr_t end)
{
    uintptr_t words[3];
    if (system_pread(memory_fd, words, sizeof words, (off_t)start)
        != sizeof words)
        return 0;
    uintptr_t in_arena = words[2], in_block = words[1] & ~(uintptr_t)7;
    if (start % ARENA_BYTES == 0 && in_arena > 0
        && in_arena % memory_page_bytes() == 0 && in_arena <= end - start)
        return in_arena;
    if ((words[1] & 7) == 2 && words[0] < memory_page_bytes() && in_block > 0
        && (in_block + words[0]) % memory_page_bytes() == 0
        && in_block <= end - start)
        return in_block;
    return 0;
}

/* Neighbouring mappings of different owners may be one line. */
static void search(struct process_memory_visitor *v, int memory_fd,
                   const struct mapping *m)
{
    size_t page_bytes = memory_page_bytes();
    uintptr_t at = m->start;
    if (m->end - m->start > SEARCHED_MAX || sanitizer_is_valgrind)
        return;
    while (at < m->end) {
        size_t size = v->is_foreign((const void *)at)
                          ? 0
                          : malloc_bytes_at(memory_fd, at, m->end);
        if (size > 0)
            v->range(v, (const void *)at, (const void *)(at + size));
        at += size > 0 ? (size + page_bytes - 1) & ~(page_bytes - 1)
                       : page_bytes;
    }
}

#else

static void search(struct process_memory_visitor *v, int memory_fd,
                   const struct mapping *m)
{
    (void)v;
    (void)memory_fd;
    (void)m;
}

#endif

/* ---- Files -------------------------------------------------------------- */

static bool read_memory(int memory_fd, uintptr_t at, void *buffer, size_t size)
{
    return system_pread(memory_fd, buffer, size, (off_t)at) == (ssize_t)size;
}

/* Where the ELF file ends whose first mapping starts there: at once, if it is
 * another file.  0: not known. */
static uintptr_t image_end(int memory_fd, uintptr_t start)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    uintptr_t first = UINTPTR_MAX, end = 0;
    if (!read_memory(memory_fd, start, &header, sizeof header))
        return 0;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return start;
    for (uintptr_t i = 0; i < header.e_phnum; i++) {
        uintptr_t at = start + header.e_phoff + i * sizeof segment;
        if (!read_memory(memory_fd, at, &segment, sizeof segment))
            return 0;
        if (segment.p_type != PT_LOAD)
            continue;
        if (segment.p_vaddr < first)
            first = segment.p_vaddr;
        if (segment.p_vaddr + segment.p_memsz > end)
            end = segment.p_vaddr + segment.p_memsz;
    }
    uintptr_t page_bytes = memory_page_bytes();
    end = (end + page_bytes - 1) & ~(page_bytes - 1);
    return end ? start + end - (first & ~(page_bytes - 1)) : 0;
}

/* The file whose mappings are passed, and whose .bss may follow. */
struct file {
    char name[NAME_BYTES];
    uintptr_t mapped_end; /* of its mappings so far */
    uintptr_t image_end;  /* UINTPTR_MAX: not known */
    bool is_left_out;
};

/* Its program and its data are in every process that it runs: 30 MB. */
static bool is_of_valgrind(const char *name)
{
    return sanitizer_is_valgrind && strstr(name, "/valgrind/");
}

static void pass_file(struct file *file, const struct mapping *m,
                      const char *left_out, int memory_fd)
{
    if (strcmp(m->name, file->name) != 0) {
        uintptr_t end = image_end(memory_fd, m->start);
        memcpy(file->name, m->name, NAME_BYTES);
        file->is_left_out =
            strcmp(m->name, left_out) == 0 || is_of_valgrind(m->name);
        file->image_end = end ? end : UINTPTR_MAX;
    }
    file->mapped_end = m->end;
}

/* Takes from the line without a name what is the file's .bss. */
static struct mapping split_bss(const struct file *file, struct mapping *m)
{
    struct mapping bss = *m;
    if (m->start != file->mapped_end || file->image_end < m->start)
        bss.end = m->start;
    else if (file->image_end < m->end)
        bss.end = file->image_end;
    m->start = bss.end;
    return bss;
}

/* ---- All of it ---------------------------------------------------------- */

static int visit_all(struct process_memory_visitor *v, struct reader *r,
                     const char *left_out, int memory_fd)
{
    struct mapping m;
    struct file file = {.name = ""};
    int err = open_maps(r);
    if (err != 0)
        return err;
    while (next_mapping(r, &m)) {
        if (m.is_file)
            pass_file(&file, &m, left_out, memory_fd);
        if (!m.is_writable)
            continue;
        if (strcmp(m.name, "[heap]") == 0 || (m.is_file && !file.is_left_out))
            visit(v, m.start, m.end);
        if (m.name[0])
            continue;
        struct mapping bss = split_bss(&file, &m);
        if (!file.is_left_out)
            visit(v, bss.start, bss.end);
        search(v, memory_fd, &m);
    }
    system_close(r->fd);
    return 0;
}

int process_memory_each(struct process_memory_visitor *v)
{
    struct reader r;
    char left_out[NAME_BYTES];
    int err = name_left_out(v->left_out, left_out);
    if (err != 0)
        return err;
    int memory_fd = system_open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (memory_fd < 0)
        return errno;
    err = visit_all(v, &r, left_out, memory_fd);
    system_close(memory_fd);
    return err;
}
