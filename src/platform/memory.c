/*
 * memory.c - mmap, mprotect, madvise and malloc, and failures on demand.
 *
 * Not here: who uses the space and how it is cut up (run stacks, slabs).
 *
 * The machine that embeds us may have an allocator of its own: source.
 *
 * Invariants: every request that can fail asks memory_should_fail first; a
 * request that fails has changed nothing.
 */
#include "memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "collector.h"
#include "failure.h"
#include "panic.h"
#include "sanitizer.h"
#include "system.h"

/* Newer than the headers of some systems we build on. */
enum {
    ADVICE_POPULATE_WRITE = 23,  /* Linux 5.14 */
    ADVICE_DONTNEED_LOCKED = 24, /* Linux 5.18 */
    ADVICE_GUARD_INSTALL = 102,  /* Linux 6.13 */
    ADVICE_OF_NOBODY = 0x7654321,
};

static struct failure failure;

__attribute__((constructor)) static void read_environment(void)
{
    failure_set_from(&failure, "VTHREAD_FAIL_ALLOC");
}

void memory_fail_after(unsigned long count)
{
    failure_set(&failure, count);
}

bool memory_should_fail(void)
{
    return failure_due(&failure);
}

/* Address space. */

static void release_unless_empty(char *start, size_t size_bytes)
{
    if (size_bytes > 0)
        munmap(start, size_bytes);
}

size_t memory_page_bytes(void)
{
    return (size_t)getauxval(AT_PAGESZ);
}

static size_t whole_pages(size_t size_bytes)
{
    size_t page_bytes = memory_page_bytes();
    return (size_bytes + page_bytes - 1) & ~(page_bytes - 1);
}

void *memory_reserve(size_t size_bytes)
{
    size_t slack_bytes = HUGE_PAGE_SIZE_BYTES - PAGE_SIZE_MIN_BYTES;
    char *mapped, *start;
    size_t head_bytes;

    if (memory_should_fail() || size_bytes > SIZE_MAX - slack_bytes)
        return NULL;
    size_bytes = whole_pages(size_bytes);
    mapped = mmap(NULL, size_bytes + slack_bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    head_bytes = -(uintptr_t)mapped % HUGE_PAGE_SIZE_BYTES;
    start = mapped + head_bytes;
    release_unless_empty(mapped, head_bytes);
    release_unless_empty(start + size_bytes, slack_bytes - head_bytes);
    /* Or gcore writes all of it, a hundred gigabytes of zeros. */
    madvise(start, size_bytes, MADV_DONTDUMP);
    sanitizer_memory_reserved(start, size_bytes);
    return start;
}

void memory_release(void *start, size_t size_bytes)
{
    sanitizer_memory_released(start, whole_pages(size_bytes));
    munmap(start, whole_pages(size_bytes));
}

/* Pages. */

static int protect(void *start, size_t size_bytes, int protection)
{
    return mprotect(start, size_bytes, protection) == 0 ? 0 : ENOMEM;
}

/* From now on it is in core files, too. */
static int make_usable(void *start, size_t size_bytes)
{
    int err = protect(start, size_bytes, PROT_READ | PROT_WRITE);

    if (err == 0)
        madvise(start, size_bytes, MADV_DODUMP);
    return err;
}

int memory_commit(void *start, size_t size_bytes)
{
    if (memory_should_fail())
        return ENOMEM;
    if (make_usable(start, size_bytes) != 0)
        return ENOMEM;
    /* Used sparsely: one touched page must not cost 2 MiB.  A kernel that
     * has no huge pages refuses, which is as good. */
    madvise(start, size_bytes, MADV_NOHUGEPAGE);
    return 0;
}

/* Whether the administrator has turned huge pages off altogether; madvise
 * accepts the request all the same. */
static bool huge_pages_are_off(void)
{
    char setting[64] = "";
    int fd = system_open("/sys/kernel/mm/transparent_hugepage/enabled",
                         O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return true;
    if (system_read(fd, setting, sizeof setting - 1) < 0)
        setting[0] = '\0';
    system_close(fd);
    return strstr(setting, "[never]") != NULL;
}

static bool advise_huge(void *start, size_t size_bytes)
{
    enum { UNKNOWN, ON, OFF };
    static _Atomic int state;
    int now = atomic_load_explicit(&state, memory_order_relaxed);

    if (now == UNKNOWN) {
        now = huge_pages_are_off() ? OFF : ON;
        /* Relaxed: all who find out find the same. */
        atomic_store_explicit(&state, now, memory_order_relaxed);
    }
    return now == ON && madvise(start, size_bytes, MADV_HUGEPAGE) == 0;
}

int memory_commit_dense(void *start, size_t size_bytes)
{
    if (memory_should_fail())
        return ENOMEM;
    if (make_usable(start, size_bytes) != 0)
        return ENOMEM;
    if (advise_huge(start, size_bytes))
        return 0;
    if (madvise(start, size_bytes, ADVICE_POPULATE_WRITE) == 0 ||
        errno == EINVAL) /* an old kernel: the pages come when touched */
        return 0;
    memory_discard(start, size_bytes);
    protect(start, size_bytes, PROT_NONE);
    return ENOMEM;
}

void memory_discard(void *start, size_t size_bytes)
{
    if (madvise(start, size_bytes, MADV_DONTNEED) != 0 &&
        madvise(start, size_bytes, ADVICE_DONTNEED_LOCKED) != 0)
        panic("cannot discard %zu bytes at %p: error %d", size_bytes, start,
              errno);
}

/* gcore gives up on a mapping at the first page that it cannot read, and then
 * all the stacks there are missing from the core file.  A guard that is a
 * mapping of its own is in nobody's way; so there are as many of them as the
 * limit of mappings bears easily (65,530; two for each). */
static bool may_be_mapping(void)
{
    enum { MAPPINGS_MAX = 4096 };
    static _Atomic unsigned count;

    /* Relaxed: a number that orders nothing. */
    return atomic_fetch_add_explicit(&count, 1, memory_order_relaxed)
           < MAPPINGS_MAX;
}

/* Emulators of the kernel may take any advice and heed none: qemu-user does.
 * Who takes one that nobody has ever defined is not believed. */
static bool advice_is_heeded(void *start, size_t size_bytes)
{
    enum { UNKNOWN, HEEDED, IGNORED };
    static _Atomic int state;
    int now = atomic_load_explicit(&state, memory_order_relaxed);

    if (now == UNKNOWN) {
        now = madvise(start, size_bytes, ADVICE_OF_NOBODY) == 0 ? IGNORED
                                                                : HEEDED;
        /* Relaxed: all who find out find the same. */
        atomic_store_explicit(&state, now, memory_order_relaxed);
    }
    return now == HEEDED;
}

int memory_guard(void *start, size_t size_bytes)
{
    if (memory_should_fail())
        return ENOMEM;
    /* A leak checker reads all that is mapped readable. */
    if (!sanitizer_scans_memory && !may_be_mapping()
        && advice_is_heeded(start, size_bytes)
        && madvise(start, size_bytes, ADVICE_GUARD_INSTALL) == 0)
        return 0;
    return protect(start, size_bytes, PROT_NONE);
}

int memory_hide(void *start, size_t size_bytes)
{
    if (memory_should_fail())
        return ENOMEM;
    return protect(start, size_bytes, PROT_NONE);
}

int memory_show(void *start, size_t size_bytes)
{
    if (memory_should_fail())
        return ENOMEM;
    return protect(start, size_bytes, PROT_READ | PROT_WRITE);
}

/* Where it comes from. */

/* Plain: they are written before there is a second OS thread that reads
 * them. */
static struct memory_source source;
static bool has_table;
static _Atomic bool has_blocks;

bool memory_set_source(const struct memory_source *wanted)
{
    if ((wanted->alloc
         && atomic_load_explicit(&has_blocks, memory_order_relaxed))
        || (wanted->reserve_table && has_table))
        return false;
    source = *wanted;
    return true;
}

const struct memory_source *memory_source(void)
{
    return &source;
}

/* Relaxed: asked for while there is one OS thread. */
static void note_block(void)
{
    if (unlikely(!atomic_load_explicit(&has_blocks, memory_order_relaxed)))
        atomic_store_explicit(&has_blocks, true, memory_order_relaxed);
}

/* The table. */

void *memory_table_reserve(size_t size_bytes)
{
    has_table = true;
    if (!source.reserve_table)
        return memory_reserve(size_bytes);
    return memory_should_fail() ? NULL : source.reserve_table(size_bytes);
}

int memory_table_commit(void *start, size_t size_bytes, bool is_dense)
{
    if (source.commit_table)
        return memory_should_fail() ? ENOMEM
                                    : source.commit_table(start, size_bytes);
    return is_dense ? memory_commit_dense(start, size_bytes)
                    : memory_commit(start, size_bytes);
}

/* Blocks. */

void *memory_alloc_plain(size_t alignment_bytes, size_t size_bytes)
{
    void *block;

    if (memory_should_fail())
        return NULL;
    note_block();
    if (unlikely(source.alloc != NULL))
        return source.alloc(alignment_bytes, size_bytes);
    if (unlikely(collector != NULL) && collector->alloc)
        return collector->alloc(alignment_bytes, size_bytes, true);
    if (alignment_bytes <= MEMORY_ALIGNMENT_BYTES)
        return malloc(size_bytes);
    return posix_memalign(&block, alignment_bytes, size_bytes) == 0 ? block
                                                                    : NULL;
}

void *memory_alloc_aligned(size_t alignment_bytes, size_t size_bytes)
{
    if (likely(collector == NULL) || !collector->alloc)
        return memory_alloc_plain(alignment_bytes, size_bytes);
    note_block();
    return memory_should_fail()
               ? NULL
               : collector->alloc(alignment_bytes, size_bytes, false);
}

void *memory_alloc(size_t size_bytes)
{
    return memory_alloc_aligned(MEMORY_ALIGNMENT_BYTES, size_bytes);
}

void memory_free(void *block)
{
    if (unlikely(source.free != NULL)) {
        if (block)
            source.free(block);
        return;
    }
    if (likely(collector == NULL) || !collector->free
        || !collector->free(block))
        free(block);
}
