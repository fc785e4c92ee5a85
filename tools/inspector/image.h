/*
 * image.h - the memory of a process, or what a core file has kept of it.
 *
 * Reading neither stops nor changes the process; what is read while it runs
 * may change meanwhile.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct image;

/* NULL without memory. */
struct image *image_of_process(pid_t pid);

/* A core file of this machine's kind.  NULL: it is none; *why says what is
 * wrong with it. */
struct image *image_of_core(const char *path, const char **why);

void image_close(struct image *image);

/* Whether a process still has the memory that it had when this was opened: it
 * has not ended, nor begun to run another program (exec). */
bool image_is_there(const struct image *image);

/* False: not all of it is there. */
bool image_read(const struct image *image, uint64_t address, void *buffer,
                size_t size_bytes);

/* A piece that is wanted, and whether it was there. */
struct image_part {
    uint64_t address;
    void *buffer;
    size_t size_bytes;
    bool is_read;
};

/* Reads many at once, for a process with few system calls. */
void image_read_parts(const struct image *image, struct image_part *parts,
                      size_t count);

/* A text that ends with 0 or with the room for it. */
bool image_read_text(const struct image *image, uint64_t address, char *buffer,
                     size_t size_bytes);

/* Calls visit for each range that can be read and written, or once could:
 * data, not code.  Ends with the first for which visit returns true, and
 * returns whether there was one. */
bool image_find_data(const struct image *image,
                     bool (*visit)(void *arg, uint64_t address,
                                   size_t size_bytes),
                     void *arg);

/* ---- Core files only ---------------------------------------------------- */

bool image_is_core(const struct image *image);

/* Its ELF handle, for libdw; lives as long as the image. */
struct Elf;
struct Elf *image_elf(const struct image *image);

/* Where to look for what the file has not: constants of the program. */
struct symbols;
void image_set_files(struct image *image, struct symbols *symbols);

#endif
