/*
 * symbols.h - from an address in the code to function, file and line; and
 * the libdw session that unwinds, too.
 */
#ifndef SYMBOLS_H
#define SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct Dwfl;
struct image;
struct symbols;

struct symbol {
    const char *function; /* NULL: no name is known */
    const char *module;   /* the file's name, without its directory; NULL */
    const char *file;     /* of the source, as the compiler had it; NULL */
    uint64_t offset;      /* from where the function begins, or the module */
    unsigned line;
    /* Where the code was inlined: the function that contains the one above,
     * and the line of the call.  NULL: it is a function of its own. */
    const struct symbol *inlined_in;
};

/* Of a running process, which is not stopped; or of a core file, with the
 * program it is of (NULL: as the core says).  NULL: *why says why not. */
struct symbols *symbols_of_process(pid_t pid, const char **why);
struct symbols *symbols_of_core(const struct image *image, const char *program,
                                const char **why);
/* Of a process that may have ended: of the text of its /proc/PID/maps. */
struct symbols *symbols_of_maps(const char *maps, const char **why);
void symbols_close(struct symbols *symbols);

/* What is at pc.  For a return address pass pc - 1: the call is before it.
 * Asked once for each pc; what is returned lives as long as the symbols. */
const struct symbol *symbols_find(struct symbols *symbols, uint64_t pc);

/* The file's name without the directories. */
const char *symbols_base_name(const char *path);

/* "function (file.c:12)", "function+0x12 (libc.so.6)", "0x7f.. (program)". */
void symbols_describe(const struct symbol *symbol, uint64_t pc, char *buffer,
                      size_t size_bytes);

/* What the program's files have at that address: constants, which a core
 * file leaves out.  False: nothing. */
bool symbols_read(struct symbols *symbols, uint64_t address, void *buffer,
                  size_t size_bytes);

struct Dwfl *symbols_dwfl(struct symbols *symbols);

#endif
