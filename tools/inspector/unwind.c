/*
 * unwind.c - libdw with callbacks of ours for memory and registers.
 *
 * To libdw the process has one thread, whose registers and memory are those
 * of the stack that is unwound at the moment.
 */
#include "unwind.h"

#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "symbols.h"

struct unwinder {
    Dwfl *dwfl;
    pid_t pid;
    const struct image *image;
    const struct registers *registers;
    const struct unwind_range *ranges;
    size_t range_count;
};

/* What frame_of collects. */
struct walk {
    struct unwind_frame *frames;
    size_t count;
    bool is_call; /* the innermost is in a call as well */
    bool is_cut;
};

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    struct unwinder *unwinder = arg;
    (void)dwfl;
    if (*thread_arg)
        return 0;
    *thread_arg = unwinder;
    return unwinder->pid;
}

static bool get_thread(Dwfl *dwfl, pid_t number, void *arg, void **thread_arg)
{
    struct unwinder *unwinder = arg;
    (void)dwfl;
    *thread_arg = unwinder;
    return number == unwinder->pid;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result,
                        void *arg)
{
    const struct unwinder *unwinder = arg;
    (void)dwfl;
    for (size_t i = 0; i < unwinder->range_count; i++) {
        const struct unwind_range *range = &unwinder->ranges[i];
        if (address >= range->start && range->size_bytes >= sizeof *result
            && address - range->start
                   <= range->size_bytes - sizeof *result) {
            memcpy(result, range->bytes + (address - range->start),
                   sizeof *result);
            /* It may be a return address; of other words nothing hangs on
             * their upper bits. */
            *result = registers_address(*result);
            return true;
        }
    }
    return image_is_core(unwinder->image)
           && image_read(unwinder->image, address, result, sizeof *result);
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
    const struct registers *registers = ((struct unwinder *)arg)->registers;
    for (unsigned i = 0; i < REGISTERS_MAX; i++)
        if (registers->known >> i & 1
            && !dwfl_thread_state_registers(thread, (int)i, 1,
                                            &registers->value[i]))
            return false;
    if (registers_pc == REGISTERS_MAX)
        dwfl_thread_state_register_pc(thread, registers->pc);
    return true;
}

static const Dwfl_Thread_Callbacks callbacks = {
    .next_thread = next_thread,
    .get_thread = get_thread,
    .memory_read = read_memory,
    .set_initial_registers = set_registers,
};

struct unwinder *unwinder_open(struct symbols *symbols,
                               const struct image *image, pid_t pid,
                               const char **why)
{
    struct unwinder *unwinder = calloc(1, sizeof *unwinder);
    *why = "no memory";
    if (!unwinder)
        return NULL;
    unwinder->dwfl = symbols_dwfl(symbols);
    unwinder->image = image;
    unwinder->pid = pid > 0 ? pid : 1; /* of a core file any will do */
    if (dwfl_attach_state(unwinder->dwfl, NULL, unwinder->pid, &callbacks,
                          unwinder))
        return unwinder;
    *why = dwfl_errmsg(-1);
    free(unwinder);
    return NULL;
}

void unwinder_close(struct unwinder *unwinder)
{
    free(unwinder);
}

static int frame_of(Dwfl_Frame *state, void *arg)
{
    struct walk *walk = arg;
    bool is_activation;
    Dwarf_Addr pc;
    Dwarf_Word sp = 0;
    if (!dwfl_frame_pc(state, &pc, &is_activation) || pc == 0)
        return DWARF_CB_ABORT;
    if (walk->count == UNWIND_FRAMES) {
        walk->is_cut = true;
        return DWARF_CB_ABORT;
    }
    is_activation = is_activation && !walk->is_call;
    if (dwfl_frame_reg(state, registers_sp, &sp) != 0)
        sp = 0;
    walk->frames[walk->count++] =
        (struct unwind_frame){.pc = is_activation ? pc : pc - 1, .sp = sp};
    return DWARF_CB_OK;
}

size_t unwind(struct unwinder *unwinder, const struct registers *registers,
              const struct unwind_range *ranges, size_t range_count,
              struct unwind_frame frames[UNWIND_FRAMES], bool *is_cut)
{
    struct walk walk = {.frames = frames, .is_call = registers->is_call};
    unwinder->registers = registers;
    unwinder->ranges = ranges;
    unwinder->range_count = range_count;
    /* How it ends does not matter: at the base of a stack the caller is
     * undefined, and libdw calls that an error, sometimes. */
    (void)dwfl_getthread_frames(unwinder->dwfl, unwinder->pid, frame_of,
                                &walk);
    *is_cut = walk.is_cut;
    return walk.count;
}
