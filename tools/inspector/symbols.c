/*
 * symbols.c - addresses in words, by libdw.
 *
 * Answers are kept in a hash table, for a dump asks for the same few
 * addresses again and again.
 */
#include "symbols.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"

#define SLOTS_MIN 256 /* a power of two */

struct slot {
    uint64_t pc;
    struct symbol symbol;
};

struct symbols {
    Dwfl *dwfl;
    struct slot **slots;
    size_t size; /* a power of two */
    size_t used;
};

static void free_slot(struct slot *slot);

/* No network: what is not installed here is not known. */
static char *debuginfo_path;

static const Dwfl_Callbacks process_callbacks = {
    .find_elf = dwfl_linux_proc_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .debuginfo_path = &debuginfo_path,
};

static const Dwfl_Callbacks core_callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .debuginfo_path = &debuginfo_path,
};

static struct symbols *begin(const Dwfl_Callbacks *callbacks)
{
    struct symbols *symbols = calloc(1, sizeof *symbols);
    if (!symbols)
        return NULL;
    symbols->slots = calloc(SLOTS_MIN, sizeof *symbols->slots);
    symbols->size = SLOTS_MIN;
    symbols->dwfl = symbols->slots ? dwfl_begin(callbacks) : NULL;
    if (symbols->dwfl)
        return symbols;
    symbols_close(symbols);
    return NULL;
}

static struct symbols *end_reporting(struct symbols *symbols, bool is_good,
                                     const char **why)
{
    *why = NULL;
    if (symbols && is_good && dwfl_report_end(symbols->dwfl, NULL, NULL) == 0)
        return symbols;
    int error = dwfl_errno();
    *why = !symbols     ? "no memory"
           : error != 0 ? dwfl_errmsg(error)
                        : "its files are not here";
    if (symbols)
        symbols_close(symbols);
    return NULL;
}

struct symbols *symbols_of_process(pid_t pid, const char **why)
{
    struct symbols *symbols = begin(&process_callbacks);
    bool is_good = symbols && dwfl_linux_proc_report(symbols->dwfl, pid) == 0;
    return end_reporting(symbols, is_good, why);
}

struct symbols *symbols_of_core(const struct image *image, const char *program,
                                const char **why)
{
    struct symbols *symbols = begin(&core_callbacks);
    bool is_good =
        symbols
        && dwfl_core_file_report(symbols->dwfl, image_elf(image), program)
               >= 0;
    return end_reporting(symbols, is_good, why);
}

struct symbols *symbols_of_maps(const char *maps, const char **why)
{
    struct symbols *symbols = begin(&process_callbacks);
    FILE *file = *maps ? fmemopen((char *)maps, strlen(maps), "r") : NULL;
    bool is_good = symbols && file
                   && dwfl_linux_proc_maps_report(symbols->dwfl, file) == 0;
    if (file)
        fclose(file);
    return end_reporting(symbols, is_good, why);
}

void symbols_close(struct symbols *symbols)
{
    for (size_t i = 0; symbols->slots && i < symbols->size; i++)
        free_slot(symbols->slots[i]);
    free(symbols->slots);
    if (symbols->dwfl)
        dwfl_end(symbols->dwfl);
    free(symbols);
}

struct Dwfl *symbols_dwfl(struct symbols *symbols)
{
    return symbols->dwfl;
}

bool symbols_read(struct symbols *symbols, uint64_t address, void *buffer,
                  size_t size_bytes)
{
    Dwfl_Module *module = dwfl_addrmodule(symbols->dwfl, address);
    Dwarf_Addr offset = address, bias;
    Elf_Scn *section =
        module ? dwfl_module_address_section(module, &offset, &bias) : NULL;
    Elf_Data *data = section ? elf_rawdata(section, NULL) : NULL;
    if (!data || !data->d_buf || offset > data->d_size
        || size_bytes > data->d_size - offset)
        return false;
    memcpy(buffer, (const char *)data->d_buf + offset, size_bytes);
    return true;
}

/* ---- Looking up --------------------------------------------------------- */

const char *symbols_base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static void find_line(Dwfl_Module *module, uint64_t pc,
                      struct symbol *symbol)
{
    int line = 0;
    Dwfl_Line *at = dwfl_module_getsrc(module, pc);
    symbol->file =
        at ? dwfl_lineinfo(at, NULL, &line, NULL, NULL, NULL) : NULL;
    symbol->line = (unsigned)line;
}

/* The name of the file with that number in the unit of the entry. */
static const char *file_of(Dwarf_Die *unit, Dwarf_Word number)
{
    Dwarf_Files *files;
    size_t count;
    return dwarf_getsrcfiles(unit, &files, &count) == 0 && number < count
               ? dwarf_filesrc(files, number, NULL, NULL)
               : NULL;
}

/* The symbol becomes what the entry says, inlined into one that is as the
 * symbol was, but for the line, which is that of the call. */
static void put_inside(struct symbol *symbol, Dwarf_Die *unit,
                       Dwarf_Die *inlined)
{
    Dwarf_Attribute attribute;
    Dwarf_Word line = 0, file = 0;
    struct symbol *outer = malloc(sizeof *outer);
    if (!outer)
        return;
    dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line);
    dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file);
    *outer = *symbol;
    outer->file = file_of(unit, file);
    outer->line = (unsigned)line;
    symbol->function = dwarf_diename(inlined);
    symbol->inlined_in = outer;
}

/* Functions that were inlined, the outermost first, for that is how they
 * are put inside of one another. */
static void find_inlined(Dwfl_Module *module, uint64_t pc,
                         struct symbol *symbol)
{
    Dwarf_Addr bias;
    Dwarf_Die *innermost, *scopes;
    Dwarf_Die *unit = dwfl_module_addrdie(module, pc, &bias);
    if (!unit || dwarf_getscopes(unit, pc - bias, &innermost) <= 0)
        return;
    /* These are the scopes where it was written; wanted are those where it
     * was put. */
    int end = 0, count = dwarf_getscopes_die(&innermost[0], &scopes);
    free(innermost);
    if (count <= 0)
        return;
    while (end < count && dwarf_tag(&scopes[end]) != DW_TAG_subprogram)
        end++;
    while (end-- > 0)
        if (dwarf_tag(&scopes[end]) == DW_TAG_inlined_subroutine)
            put_inside(symbol, unit, &scopes[end]);
    free(scopes);
}

static void look_up(Dwfl *dwfl, uint64_t pc, struct symbol *symbol)
{
    *symbol = (struct symbol){.function = NULL};
    Dwfl_Module *module = dwfl_addrmodule(dwfl, pc);
    if (!module)
        return;
    GElf_Sym elf_symbol;
    Dwarf_Addr start;
    symbol->module = symbols_base_name(dwfl_module_info(
        module, NULL, &start, NULL, NULL, NULL, NULL, NULL));
    symbol->offset = pc - start;
    symbol->function =
        dwfl_module_addrinfo(module, pc, &symbol->offset, &elf_symbol, NULL,
                             NULL, NULL);
    find_line(module, pc, symbol);
    const char *file = symbol->file;
    unsigned line = symbol->line;
    if (file)
        find_inlined(module, pc, symbol);
    /* The line of the code itself is that of the innermost. */
    symbol->file = file;
    symbol->line = line;
}

static void free_slot(struct slot *slot)
{
    const struct symbol *outer = slot ? slot->symbol.inlined_in : NULL;
    while (outer) {
        const struct symbol *next = outer->inlined_in;
        free((void *)(uintptr_t)outer);
        outer = next;
    }
    free(slot);
}

static size_t slot_of(const struct symbols *symbols, uint64_t pc)
{
    size_t i = (size_t)((pc * UINT64_C(0x9e3779b97f4a7c15)) >> 32)
               & (symbols->size - 1);
    while (symbols->slots[i] && symbols->slots[i]->pc != pc)
        i = (i + 1) & (symbols->size - 1);
    return i;
}

/* Makes it twice as large; without memory it stays as it is. */
static bool grow(struct symbols *symbols)
{
    struct symbols larger = *symbols;
    larger.size *= 2;
    larger.slots = calloc(larger.size, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < symbols->size; i++)
        if (symbols->slots[i])
            larger.slots[slot_of(&larger, symbols->slots[i]->pc)] =
                symbols->slots[i];
    free(symbols->slots);
    *symbols = larger;
    return true;
}

const struct symbol *symbols_find(struct symbols *symbols, uint64_t pc)
{
    static const struct symbol nothing;
    size_t i = slot_of(symbols, pc);
    if (symbols->slots[i])
        return &symbols->slots[i]->symbol;
    if (symbols->used >= symbols->size / 2 && grow(symbols))
        i = slot_of(symbols, pc);
    struct slot *slot = calloc(1, sizeof *slot);
    if (!slot || symbols->used + 1 >= symbols->size) {
        free(slot);
        return &nothing;
    }
    slot->pc = pc;
    look_up(symbols->dwfl, pc, &slot->symbol);
    symbols->slots[i] = slot;
    symbols->used++;
    return &slot->symbol;
}

void symbols_describe(const struct symbol *symbol, uint64_t pc, char *buffer,
                      size_t size_bytes)
{
    const char *where = symbol->module ? symbol->module : "?";
    if (symbol->function && symbol->file)
        snprintf(buffer, size_bytes, "%s (%s:%u)", symbol->function,
                 symbols_base_name(symbol->file), symbol->line);
    else if (symbol->function)
        snprintf(buffer, size_bytes, "%s+%#lx (%s)", symbol->function,
                 (unsigned long)symbol->offset, where);
    else
        snprintf(buffer, size_bytes, "%#lx (%s)", (unsigned long)pc, where);
}
