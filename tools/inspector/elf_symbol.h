/*
 * elf_symbol.h - where a program or library keeps a name.
 */
#ifndef ELF_SYMBOL_H
#define ELF_SYMBOL_H

#include <stdbool.h>
#include <stdint.h>

struct elf_symbol {
    uint64_t value; /* as in the file: before relocation */
    uint64_t base;  /* the page at which its first segment wants to lie */
};

enum elf_found {
    ELF_FOUND,
    ELF_ABSENT,
    ELF_NO_FILE, /* no plain file, or it cannot be opened */
};

/* Looks for the defined name in the file's symbol tables, the full one (if it
 * has not been stripped) and the dynamic one.  A file that is no ELF file of
 * this machine's word size, or is damaged, has no symbols. */
enum elf_found elf_symbol_find(const char *path, const char *name,
                               struct elf_symbol *symbol);

#endif
