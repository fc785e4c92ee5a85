/*
 * place.c - from addresses to modules, offsets in them, and function names.
 *
 * The loader knows the modules, and the names that are exported.  Lines are
 * known to who reads debugging information, which a library should not do in
 * another's process; so reports say what addr2line is to be asked.
 */
#include "inspect/place.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "platform/libc.h"
#include "platform/panic.h"

struct search {
    uintptr_t pc;
    struct place *place;
};

/* The program itself has no name here. */
static void set_file(struct place *place, const char *name)
{
    ssize_t length = -1;
    if (*name)
        format_text(place->file, sizeof place->file, "%s", name);
    else
        length =
            readlink("/proc/self/exe", place->file, sizeof place->file - 1);
    if (length >= 0)
        place->file[length] = '\0';
}

static int see_module(struct dl_phdr_info *info, size_t size, void *argument)
{
    const struct search *search = argument;
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD
            || search->pc - (info->dlpi_addr + segment->p_vaddr)
                   >= segment->p_memsz)
            continue;
        search->place->offset = search->pc - info->dlpi_addr;
        set_file(search->place, info->dlpi_name);
        return 1;
    }
    return 0;
}

static bool is_same_module(const Dl_info *info)
{
    Dl_info ours;
    return dladdr((void *)(uintptr_t)place_find, &ours)
           && ours.dli_fbase == info->dli_fbase;
}

void place_find(uint64_t return_address, struct place *place)
{
    struct search search = {(uintptr_t)return_address - 1, place};
    Dl_info info;
    *place = (struct place){.function = NULL};
    if (!dl_iterate_phdr(see_module, &search)
        || !dladdr((void *)search.pc, &info))
        return;
    place->function = info.dli_sname;
    place->is_ours = is_same_module(&info) && strstr(place->file, ".so");
}

void place_find_data(uint64_t address, struct place *place)
{
    struct search search = {(uintptr_t)address, place};
    Dl_info info;
    *place = (struct place){.function = NULL};
    if (dl_iterate_phdr(see_module, &search)
        && is_in_symbol((void *)search.pc, &info))
        place->function = info.dli_sname;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void place_describe(const struct place *place, char *buffer, size_t size_bytes)
{
    if (!place->file[0])
        format_text(buffer, size_bytes, "nowhere");
    else
        format_text(buffer, size_bytes, "%s+0x%lx%s%s%s",
                    base_name(place->file), (unsigned long)place->offset,
                    place->function ? " (" : "",
                    place->function ? place->function : "",
                    place->function ? ")" : "");
}

struct module_search {
    uintptr_t code, low, high;
};

static int see_variables(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct module_search *search = argument;
    bool has_code = false;
    (void)size;
    search->low = UINTPTR_MAX;
    search->high = 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + segment->p_vaddr;
        uintptr_t high = low + segment->p_memsz;
        if (segment->p_type != PT_LOAD)
            continue;
        has_code = has_code || search->code - low < segment->p_memsz;
        if (!(segment->p_flags & PF_W))
            continue;
        search->low = low < search->low ? low : search->low;
        search->high = high > search->high ? high : search->high;
    }
    if (!*info->dlpi_name)
        search->high = 0;
    return has_code;
}

bool place_find_variables(uint64_t code, uintptr_t *low, size_t *size_bytes)
{
    struct module_search search = {.code = (uintptr_t)code};
    if (!dl_iterate_phdr(see_variables, &search) || search.high <= search.low)
        return false;
    *low = search.low;
    *size_bytes = search.high - search.low;
    return true;
}
