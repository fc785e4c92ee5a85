/*
 * image.c - memory of a process by process_vm_readv, of a core file by its
 * segments.
 *
 * Not here: stopping the process, so that what is read belongs together
 * (stop.c); what the memory means (library.c, snapshot.c).
 */
#include "image.h"

#include <elf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "symbols.h"

enum { BATCH = 512 };

struct segment {
    uint64_t start;
    const char *bytes;
    size_t size_bytes;
    bool is_data;
};

struct image {
    pid_t pid;
    bool is_core;
    int file;
    Elf *elf;
    char *mapping;
    size_t mapping_bytes;
    struct segment *segments; /* by address */
    size_t segment_count;
    struct symbols *files; /* or NULL */
};

static struct image *new_image(pid_t pid)
{
    struct image *image = calloc(1, sizeof *image);
    if (!image)
        return NULL;
    image->pid = pid;
    image->file = -1;
    return image;
}

struct image *image_of_process(pid_t pid)
{
    char path[64];
    struct image *image = new_image(pid);
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    if (image)
        image->file = open(path, O_RDONLY | O_CLOEXEC);
    return image;
}

/* Of memory that is gone nothing is read; of the first byte, which nobody may
 * have, an error. */
bool image_is_there(const struct image *image)
{
    char byte;
    return image->is_core || image->file < 0
           || pread(image->file, &byte, 1, 0) != 0;
}

void image_close(struct image *image)
{
    if (!image)
        return;
    if (image->elf)
        elf_end(image->elf);
    if (image->mapping)
        munmap(image->mapping, image->mapping_bytes);
    if (image->file >= 0)
        close(image->file);
    free(image->segments);
    free(image);
}

bool image_is_core(const struct image *image)
{
    return image->is_core;
}

struct Elf *image_elf(const struct image *image)
{
    return image->elf;
}

/* ---- Core files --------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const struct segment *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

static bool add_segments(struct image *image)
{
    size_t count;
    if (elf_getphdrnum(image->elf, &count) != 0)
        return false;
    image->segments = calloc(count + 1, sizeof *image->segments);
    if (!image->segments)
        return false;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(image->elf, (int)i, &header)
            || header.p_type != PT_LOAD || header.p_filesz == 0
            || header.p_offset >= image->mapping_bytes)
            continue;
        /* A file that was cut short has less than its headers say. */
        size_t room = image->mapping_bytes - header.p_offset;
        image->segments[image->segment_count++] = (struct segment){
            .start = header.p_vaddr,
            .bytes = image->mapping + header.p_offset,
            .size_bytes = header.p_filesz < room ? header.p_filesz : room,
            .is_data = !(header.p_flags & PF_X),
        };
    }
    qsort(image->segments, image->segment_count, sizeof *image->segments,
          by_address);
    return image->segment_count > 0;
}

static const char *open_core(struct image *image, const char *path)
{
    struct stat status;
    GElf_Ehdr header;
    image->file = open(path, O_RDONLY | O_CLOEXEC);
    if (image->file < 0)
        return "it cannot be opened";
    if (fstat(image->file, &status) != 0 || !S_ISREG(status.st_mode)
        || status.st_size < (off_t)sizeof(Elf64_Ehdr))
        return "it is no core file";
    image->mapping_bytes = (size_t)status.st_size;
    void *mapping = mmap(NULL, image->mapping_bytes, PROT_READ, MAP_PRIVATE,
                         image->file, 0);
    if (mapping == MAP_FAILED)
        return "it cannot be mapped";
    image->mapping = mapping;
    elf_version(EV_CURRENT);
    image->elf = elf_begin(image->file, ELF_C_READ_MMAP, NULL);
    if (!image->elf || !gelf_getehdr(image->elf, &header)
        || header.e_type != ET_CORE)
        return "it is no core file";
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return "it is of another kind of machine";
    return add_segments(image) ? NULL : "there is no memory in it";
}

struct image *image_of_core(const char *path, const char **why)
{
    struct image *image = new_image(0);
    *why = image ? NULL : "there is no memory for it";
    if (!image)
        return NULL;
    image->is_core = true;
    *why = open_core(image, path);
    if (!*why)
        return image;
    image_close(image);
    return NULL;
}

static const struct segment *segment_at(const struct image *image,
                                        uint64_t address)
{
    size_t low = 0, high = image->segment_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct segment *s = &image->segments[middle];
        if (address < s->start)
            high = middle;
        else if (address - s->start >= s->size_bytes)
            low = middle + 1;
        else
            return s;
    }
    return NULL;
}

static bool read_core(const struct image *image, uint64_t address,
                      char *buffer, size_t size_bytes)
{
    while (size_bytes > 0) {
        const struct segment *s = segment_at(image, address);
        if (!s)
            return false;
        size_t offset = address - s->start;
        size_t size = s->size_bytes - offset;
        if (size > size_bytes)
            size = size_bytes;
        memcpy(buffer, s->bytes + offset, size);
        address += size;
        buffer += size;
        size_bytes -= size;
    }
    return true;
}

void image_set_files(struct image *image, struct symbols *symbols)
{
    image->files = symbols;
}

/* ---- Reading ------------------------------------------------------------ */

/* What the process itself may not read just now, a home that is hidden, can
 * be read this way. */
static bool read_hidden(const struct image *image, uint64_t address,
                        void *buffer, size_t size_bytes)
{
    return image->file >= 0
           && pread(image->file, buffer, size_bytes, (off_t)address)
                  == (ssize_t)size_bytes;
}

bool image_read(const struct image *image, uint64_t address, void *buffer,
                size_t size_bytes)
{
    struct iovec to = {buffer, size_bytes};
    struct iovec from = {(void *)(uintptr_t)address, size_bytes};
    if (image->is_core)
        return read_core(image, address, buffer, size_bytes)
               || (image->files
                   && symbols_read(image->files, address, buffer,
                                   size_bytes));
    return process_vm_readv(image->pid, &to, 1, &from, 1, 0)
               == (ssize_t)size_bytes
           || read_hidden(image, address, buffer, size_bytes);
}

/* Reads as many of the parts as come before the first that cannot be read;
 * returns how many that were. */
static size_t read_batch(const struct image *image, struct image_part *parts,
                         size_t count)
{
    struct iovec to[BATCH], from[BATCH];
    for (size_t i = 0; i < count; i++) {
        void *address = (void *)(uintptr_t)parts[i].address;
        to[i] = (struct iovec){parts[i].buffer, parts[i].size_bytes};
        from[i] = (struct iovec){address, parts[i].size_bytes};
    }
    ssize_t got = process_vm_readv(image->pid, to, count, from, count, 0);
    size_t done = 0;
    while (done < count && got >= (ssize_t)parts[done].size_bytes) {
        got -= (ssize_t)parts[done].size_bytes;
        parts[done++].is_read = true;
    }
    return done;
}

void image_read_parts(const struct image *image, struct image_part *parts,
                      size_t count)
{
    for (size_t i = 0; image->is_core && i < count; i++)
        parts[i].is_read = image_read(image, parts[i].address, parts[i].buffer,
                                      parts[i].size_bytes);
    while (!image->is_core && count > 0) {
        size_t batch = count < BATCH ? count : BATCH;
        size_t done = read_batch(image, parts, batch);
        if (done < batch) {
            struct image_part *part = &parts[done++];
            part->is_read = read_hidden(image, part->address, part->buffer,
                                        part->size_bytes);
        }
        parts += done;
        count -= done;
    }
}

bool image_read_text(const struct image *image, uint64_t address, char *buffer,
                     size_t size_bytes)
{
    size_t length = 0;
    while (length + 1 < size_bytes
           && image_read(image, address + length, &buffer[length], 1)
           && buffer[length])
        length++;
    buffer[length] = '\0';
    return length > 0;
}

/* ---- Ranges ------------------------------------------------------------- */

static bool find_in_core(const struct image *image,
                         bool (*visit)(void *arg, uint64_t address,
                                       size_t size_bytes),
                         void *arg)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct segment *s = &image->segments[i];
        if (s->is_data && visit(arg, s->start, s->size_bytes))
            return true;
    }
    return false;
}

bool image_find_data(const struct image *image,
                     bool (*visit)(void *arg, uint64_t address,
                                   size_t size_bytes),
                     void *arg)
{
    char path[64], line[512], mode[8], file[8];
    unsigned long start, end;
    bool is_found = false;
    if (image->is_core)
        return find_in_core(image, visit, arg);
    snprintf(path, sizeof path, "/proc/%d/maps", (int)image->pid);
    FILE *maps = fopen(path, "re");
    while (maps && !is_found && fgets(line, sizeof line, maps))
        /* What is read at relocation lies in mappings of files. */
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %7s", &start, &end, mode,
                   file)
                == 4
            && mode[0] == 'r' && mode[2] != 'x' && file[0] == '/')
            is_found = visit(arg, start, end - start);
    if (maps)
        fclose(maps);
    return is_found;
}
