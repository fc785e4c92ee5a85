/*
 * elf_symbol.c - looks up one name in an ELF file.
 *
 * No library is asked, so that every command works without any.  The file is
 * not trusted: each offset in it is compared with its size before it is
 * followed.
 */
#include "elf_symbol.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const unsigned char *bytes;
    uint64_t size;
};

/* NULL when it is not in the file altogether. */
static const void *part(const struct image *image, uint64_t offset,
                        uint64_t count, uint64_t each)
{
    if (offset > image->size || offset % 8 != 0
        || (each && count > (image->size - offset) / each))
        return NULL;
    return image->bytes + offset;
}

static const Elf64_Ehdr *header_of(const struct image *image)
{
    const Elf64_Ehdr *header = part(image, 0, 1, sizeof *header);
    if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0
        || header->e_ident[EI_CLASS] != ELFCLASS64
        || header->e_phentsize != sizeof(Elf64_Phdr)
        || header->e_shentsize != sizeof(Elf64_Shdr))
        return NULL;
    return header;
}

static bool read_base(const struct image *image, const Elf64_Ehdr *header,
                      uint64_t *base)
{
    const Elf64_Phdr *segments =
        part(image, header->e_phoff, header->e_phnum, sizeof *segments);
    for (unsigned i = 0; segments && i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD) {
            *base = segments[i].p_vaddr & ~(uint64_t)4095;
            return true;
        }
    return false;
}

/* Whether the string at that offset of the table is the name. */
static bool is_name(const struct image *image, const Elf64_Shdr *strings,
                    uint64_t offset, const char *name)
{
    uint64_t needed = strlen(name) + 1;
    if (offset >= strings->sh_size || strings->sh_size - offset < needed
        || strings->sh_offset > image->size
        || strings->sh_size > image->size - strings->sh_offset)
        return false;
    return memcmp(image->bytes + strings->sh_offset + offset, name, needed)
           == 0;
}

static bool search(const struct image *image, const Elf64_Shdr *table,
                   const Elf64_Shdr *strings, const char *name,
                   struct elf_symbol *symbol)
{
    uint64_t count = table->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *symbols =
        part(image, table->sh_offset, count, sizeof *symbols);
    for (uint64_t i = 0; symbols && i < count; i++)
        if (symbols[i].st_shndx != SHN_UNDEF
            && is_name(image, strings, symbols[i].st_name, name)) {
            symbol->value = symbols[i].st_value;
            return true;
        }
    return false;
}

static enum elf_found find(const struct image *image, const char *name,
                           struct elf_symbol *symbol)
{
    const Elf64_Ehdr *header = header_of(image);
    if (!header || !read_base(image, header, &symbol->base))
        return ELF_ABSENT;
    const Elf64_Shdr *sections =
        part(image, header->e_shoff, header->e_shnum, sizeof *sections);
    for (unsigned i = 0; sections && i < header->e_shnum; i++) {
        const Elf64_Shdr *table = &sections[i];
        if ((table->sh_type == SHT_SYMTAB || table->sh_type == SHT_DYNSYM)
            && table->sh_link < header->e_shnum
            && search(image, table, &sections[table->sh_link], name, symbol))
            return ELF_FOUND;
    }
    return ELF_ABSENT;
}

enum elf_found elf_symbol_find(const char *path, const char *name,
                               struct elf_symbol *symbol)
{
    /* Asked before it is opened, for to open a device may do something. */
    struct stat about;
    int fd = stat(path, &about) == 0 && S_ISREG(about.st_mode)
                 ? open(path, O_RDONLY | O_CLOEXEC)
                 : -1;
    if (fd < 0)
        return ELF_NO_FILE;
    size_t size = (size_t)about.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return ELF_ABSENT;
    enum elf_found found = find(&(struct image){bytes, size}, name, symbol);
    munmap(bytes, size);
    return found;
}
