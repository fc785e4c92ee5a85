/*
 * snapshot_memory.c - what is read once for the whole snapshot: borders of
 * homes, which never change, and constants of the library.
 */
#include "snapshot_batch.h"

#include <stdlib.h>
#include <string.h>

#include "inspector.h"

void *snapshot_need(void *memory)
{
    if (memory)
        return memory;
    complain("there is no memory");
    exit(STATUS_FAILED);
}

uint64_t snapshot_peek(const struct snapshot *snapshot, uint64_t object,
                       enum layout_number field)
{
    return library_peek(&snapshot->library, snapshot->image, object, field);
}

static void read_switch_slots(struct snapshot *snapshot, struct memory *memory)
{
    const uint64_t *value = snapshot->library.value;
    size_t count = value[IS_SWITCH_SLOTS];
    for (size_t i = 0; i < count && i < REGISTERS_MAX; i++) {
        uint64_t slot =
            value[ADDRESS_switch_slots] + i * value[SIZE_switch_slot];
        memory->slots[memory->slot_count].number = (uint32_t)snapshot_peek(
            snapshot, slot, AT_switch_slot_dwarf_number);
        memory->slots[memory->slot_count++].offset =
            (uint32_t)snapshot_peek(snapshot, slot, AT_switch_slot_offset);
    }
}

struct memory *snapshot_memory(struct snapshot *snapshot)
{
    if (snapshot->memory)
        return snapshot->memory;
    struct memory *memory = snapshot_need(calloc(1, sizeof *memory));
    image_read(snapshot->image, snapshot->library.value[ADDRESS_thread_table],
               &memory->table, sizeof memory->table);
    read_switch_slots(snapshot, memory);
    snapshot->memory = memory;
    return memory;
}

const struct known *snapshot_home(struct snapshot *snapshot, uint64_t address)
{
    struct memory *memory = snapshot_memory(snapshot);
    struct known *home =
        &memory->homes[address * UINT64_C(0x9e3779b97f4a7c15) >> 48];
    if (home->address == address)
        return home;
    home->address = address;
    home->top = snapshot_peek(snapshot, address, AT_run_stack_top);
    home->bottom = snapshot_peek(snapshot, address, AT_run_stack_bottom);
    home->is_common = snapshot_peek(snapshot, address, AT_run_stack_is_common);
    return home;
}

bool snapshot_switched(struct snapshot *snapshot, uint64_t sp,
                       const unsigned char *bytes, size_t size_bytes,
                       struct registers *registers)
{
    const struct memory *memory = snapshot_memory(snapshot);
    uint64_t frame_bytes = snapshot->library.value[IS_SWITCH_FRAME_BYTES];
    if (size_bytes < frame_bytes)
        return false;
    *registers = (struct registers){.is_call = true};
    for (size_t i = 0; i < memory->slot_count; i++) {
        uint64_t value;
        if (memory->slots[i].offset + sizeof value > size_bytes)
            return false;
        memcpy(&value, bytes + memory->slots[i].offset, sizeof value);
        value = registers_address(value);
        registers_set(registers, memory->slots[i].number, value);
        /* The last one is where it goes on. */
        registers->pc = value;
    }
    registers_set(registers, registers_sp, sp + frame_bytes);
    return memory->slot_count > 0;
}
