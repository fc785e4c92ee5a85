/*
 * places.c - places in the code, by libdw.
 */
#include "places.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "symbols.h"

struct places *places_open(pid_t pid)
{
    const char *why;
    return (struct places *)symbols_of_process(pid, &why);
}

void places_close(struct places *places)
{
    if (places)
        symbols_close((struct symbols *)places);
}

static const struct symbol *find(struct places *places, uint64_t pc)
{
    return pc && places ? symbols_find((struct symbols *)places, pc) : NULL;
}

void places_entry(struct places *places, uint64_t fn, char *buffer,
                  size_t size)
{
    const struct symbol *symbol = find(places, fn);
    if (symbol && symbol->function)
        snprintf(buffer, size, "%s", symbol->function);
    else if (fn && !*buffer)
        snprintf(buffer, size, "%#" PRIx64, fn);
}

void places_variable(struct places *places, uint64_t address, char *buffer,
                     size_t size)
{
    Dwfl *dwfl = places ? symbols_dwfl((struct symbols *)places) : NULL;
    Dwfl_Module *module = dwfl ? dwfl_addrmodule(dwfl, address) : NULL;
    GElf_Off offset = 0;
    GElf_Sym symbol;
    const char *name = module ? dwfl_module_addrinfo(module, address, &offset,
                                                     &symbol, NULL, NULL, NULL)
                              : NULL;
    *buffer = '\0';
    if (!name || offset >= symbol.st_size)
        return;
    const char *file = symbols_base_name(
        dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    if (offset > 0)
        snprintf(buffer, size, "%s+%#" PRIx64 " (%s)", name, offset, file);
    else
        snprintf(buffer, size, "%s (%s)", name, file);
}

/* ---- Inlined functions -------------------------------------------------- */

static const char *call_file(Dwarf_Die *inlined, Dwarf_Die *unit)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    Dwarf_Files *files;
    size_t count;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute),
                        &number)
            != 0
        || dwarf_getsrcfiles(unit, &files, &count) != 0 || number >= count)
        return NULL;
    return dwarf_filesrc(files, number, NULL, NULL);
}

static unsigned call_line(Dwarf_Die *inlined)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    return dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute),
                           &number)
                   == 0
               ? (unsigned)number
               : 0;
}

static void copy(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text ? text : "");
}

/* `found` has the innermost line; what is known of each function that it is
 * inlined into follows.  Returns how many there are; 0: nothing is known. */
static size_t expand(Dwarf_Die *scopes, int count, Dwarf_Die *unit,
                     struct place *found, size_t room)
{
    size_t used = 0;
    struct place place = *found;
    for (int i = 0; i < count && used < room; i++) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        copy(place.function, sizeof place.function, dwarf_diename(&scopes[i]));
        found[used++] = place;
        if (tag == DW_TAG_subprogram)
            break;
        const char *file = call_file(&scopes[i], unit);
        copy(place.file, sizeof place.file,
             file ? symbols_base_name(file) : NULL);
        place.line = call_line(&scopes[i]);
    }
    return used;
}

/* Those that the code lies in, from the innermost outwards; where a function
 * is inlined dwarf_getscopes goes on with those of its definition. */
static int scopes_of(Dwarf_Die *unit, Dwarf_Addr pc, Dwarf_Die **scopes)
{
    Dwarf_Die *innermost = NULL;
    int count = dwarf_getscopes(unit, pc, &innermost);
    if (count > 0)
        count = dwarf_getscopes_die(&innermost[0], scopes);
    free(innermost);
    return count;
}

static size_t find_inlined(struct places *places, uint64_t pc,
                           struct place *found, size_t room)
{
    Dwarf_Addr bias;
    Dwarf_Die *scopes = NULL;
    Dwfl_Module *module =
        dwfl_addrmodule(symbols_dwfl((struct symbols *)places), pc);
    Dwarf_Die *unit = module ? dwfl_module_addrdie(module, pc, &bias) : NULL;
    int count = unit ? scopes_of(unit, pc - bias, &scopes) : 0;
    size_t used = count > 0 ? expand(scopes, count, unit, found, room) : 0;
    free(scopes);
    return used;
}

/* ---- Places ------------------------------------------------------------- */

/* The function that the symbol table knows, and the line. */
static void describe(const struct symbol *symbol, uint64_t address,
                     struct place *place)
{
    *place = (struct place){.line = 0};
    if (symbol && symbol->function)
        copy(place->function, sizeof place->function, symbol->function);
    else
        snprintf(place->function, sizeof place->function, "%#" PRIx64,
                 address);
    if (symbol && symbol->module)
        copy(place->module, sizeof place->module, symbol->module);
    if (symbol && symbol->file) {
        copy(place->file, sizeof place->file, symbols_base_name(symbol->file));
        place->line = symbol->line;
    }
}

size_t places_find(struct places *places, uint64_t return_address,
                   struct place *found, size_t room, bool *is_known)
{
    /* The call is before the address that it returns to. */
    const struct symbol *symbol = find(places, return_address - 1);
    describe(symbol, return_address, found);
    *is_known = symbol && symbol->module;
    size_t count = symbol && symbol->file
                       ? find_inlined(places, return_address - 1, found, room)
                       : 0;
    return count ? count : 1;
}
