/*
 * library.c - finds libvthread's description of itself in a target, and
 * takes from it what this tool knows by name.
 *
 * A library of another version may have more names, and may have moved what
 * they stand for.  What is missing is told; nothing is guessed.
 */
#include "library.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "image.h"
#include "inspector.h"

/* Far more than there are. */
enum { ENTRIES_MAX = 4096, ENTRY_BYTES_MAX = 256, PIECE_BYTES = 1 << 16 };

#define LAYOUT_SIZE(object) "sizeof " #object,
#define LAYOUT_FIELD(object, field) #object "." #field,
#define LAYOUT_CONSTANT(constant) #constant,
#define LAYOUT_ADDRESS(variable) "&" #variable,

static const char *const names[LAYOUT_ENTRIES] = {
#include "inspect/layout_entries.h"
};

/* ---- Where it is -------------------------------------------------------- */

struct search {
    const struct image *image;
    uint64_t address;
    char piece[PIECE_BYTES];
};

static bool is_layout(const struct image *image, uint64_t address,
                      const char *bytes)
{
    uint64_t self;
    return memcmp(bytes, LAYOUT_MAGIC, sizeof LAYOUT_MAGIC) == 0
           && image_read(image,
                         address + offsetof(struct vthread_layout, self),
                         &self, sizeof self)
           && self == address;
}

static bool search_range(void *arg, uint64_t address, size_t size_bytes)
{
    struct search *search = arg;
    uint64_t end = address + size_bytes;
    for (; address < end; address += PIECE_BYTES) {
        size_t size =
            end - address < PIECE_BYTES ? end - address : PIECE_BYTES;
        if (!image_read(search->image, address, search->piece, size))
            continue;
        for (size_t i = 0; i + sizeof LAYOUT_MAGIC <= size; i += 16)
            if (is_layout(search->image, address + i, search->piece + i)) {
                search->address = address + i;
                return true;
            }
    }
    return false;
}

uint64_t library_find(const struct image *image)
{
    uint64_t address = 0;
    struct search *search = calloc(1, sizeof *search);
    if (!search)
        return 0;
    search->image = image;
    if (image_find_data(image, search_range, search))
        address = search->address;
    free(search);
    return address;
}

/* ---- What it says ------------------------------------------------------- */

static bool read_header(const struct image *image, uint64_t address,
                        struct vthread_layout *header)
{
    return image_read(image, address, header,
                      offsetof(struct vthread_layout, entry))
           && memcmp(header->magic, LAYOUT_MAGIC, sizeof LAYOUT_MAGIC) == 0
           && header->entries <= ENTRIES_MAX
           && header->entry_bytes >= sizeof(struct layout_entry)
           && header->entry_bytes <= ENTRY_BYTES_MAX;
}

static const struct layout_entry *
entry_at(const char *table, const struct vthread_layout *header, size_t number)
{
    return (const struct layout_entry *)(table + number * header->entry_bytes);
}

/* Most are at the place that they have here. */
static const struct layout_entry *
entry_named(const char *table, const struct vthread_layout *h, size_t guess)
{
    const struct layout_entry *entry = entry_at(table, h, guess);
    const size_t room = sizeof entry->name;
    if (guess < h->entries && strncmp(entry->name, names[guess], room) == 0)
        return entry;
    for (size_t i = 0; i < h->entries; i++) {
        entry = entry_at(table, h, i);
        if (strncmp(entry->name, names[guess], room) == 0)
            return entry;
    }
    return NULL;
}

static int take(struct library *library, const char *table,
                const struct vthread_layout *header)
{
    for (size_t i = 0; i < LAYOUT_ENTRIES; i++) {
        const struct layout_entry *entry = entry_named(table, header, i);
        if (!entry) {
            complain("version mismatch: libvthread %s there does not tell "
                     "of '%s', as this tool (%s) needs it to",
                     library->version, names[i], PACKAGE_VERSION);
            return STATUS_TARGET;
        }
        library->value[i] = entry->value;
        library->size_bytes[i] = entry->size_bytes;
    }
    return STATUS_FINE;
}

static int read_table(struct library *library, const struct image *image,
                      uint64_t address, const struct vthread_layout *header)
{
    size_t size = (size_t)header->entries * header->entry_bytes;
    /* Room for a look at each place that an entry has here. */
    char *table = calloc(1, size + LAYOUT_ENTRIES * header->entry_bytes);
    int status = STATUS_FAILED;
    if (!table) {
        complain("there is no memory");
    } else if (!image_read(image,
                           address + offsetof(struct vthread_layout, entry),
                           table, size)) {
        complain("what libvthread tells of itself cannot be read");
        status = STATUS_TARGET;
    } else {
        status = take(library, table, header);
    }
    free(table);
    return status;
}

int library_open(struct library *library, const struct image *image,
                 uint64_t address)
{
    struct vthread_layout header;
    if (address == 0 || !read_header(image, address, &header)) {
        complain("what libvthread tells of itself is not there");
        return STATUS_TARGET;
    }
    memcpy(library->version, header.library, sizeof library->version);
    library->version[sizeof library->version - 1] = '\0';
    if (header.version != LAYOUT_VERSION) {
        complain("version mismatch: libvthread %s there describes itself in "
                 "version %u, this tool (%s) reads version %u",
                 library->version, header.version, PACKAGE_VERSION,
                 LAYOUT_VERSION);
        return STATUS_TARGET;
    }
    return read_table(library, image, address, &header);
}

bool library_look_up(const struct image *image, uint64_t address,
                     const char *name, uint64_t *value)
{
    struct vthread_layout header;
    struct layout_entry entry;
    if (!read_header(image, address, &header))
        return false;
    address += offsetof(struct vthread_layout, entry);
    for (uint32_t i = 0; i < header.entries; i++) {
        if (!image_read(image, address + (uint64_t)i * header.entry_bytes,
                        &entry, sizeof entry))
            return false;
        if (strncmp(entry.name, name, sizeof entry.name) == 0) {
            *value = entry.value;
            return true;
        }
    }
    return false;
}

uint64_t library_peek(const struct library *library, const struct image *image,
                      uint64_t object, enum layout_number field)
{
    uint64_t value = 0;
    uint32_t size = library->size_bytes[field];
    if (object == 0 || size > sizeof value
        || !image_read(image, object + library->value[field], &value, size))
        return 0;
    return value;
}
