/*
 * memory.h - address space, pages and small blocks.
 *
 * All memory of the library comes through here, so that a test can make the
 * nth request fail (memory_fail_after).
 */
#ifndef PLATFORM_MEMORY_H
#define PLATFORM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* No system has smaller pages, and the size of any is a multiple. */
#define PAGE_SIZE_MIN_BYTES ((size_t)4096)
#define HUGE_PAGE_SIZE_BYTES ((size_t)2 * 1024 * 1024)

/* The system's page: 4 KiB on x86-64, up to 64 on other processors, as the
 * kernel was built. */
size_t memory_page_bytes(void);

/* Reserves address space, inaccessible, aligned to HUGE_PAGE_SIZE_BYTES.
 * Returns NULL when there is none. */
void *memory_reserve(size_t size_bytes);

/* Gives a range of reserved space memory to read and write.  0 or ENOMEM. */
int memory_commit(void *start, size_t size_bytes);

/* The same for memory that will be used densely from now on: huge pages
 * where the kernel has them, else faulted in at once. */
int memory_commit_dense(void *start, size_t size_bytes);

/* Gives the pages back; they read as zero afterwards. */
void memory_discard(void *start, size_t size_bytes);

/* Gives the address space back. */
void memory_release(void *start, size_t size_bytes);

/* Makes one or more pages of committed space a guard that faults on any
 * access, without a mapping of its own where the kernel can do that.
 * 0 or ENOMEM. */
int memory_guard(void *start, size_t size_bytes);

/* Makes committed pages inaccessible and accessible again, keeping their
 * contents.  0 or ENOMEM. */
int memory_hide(void *start, size_t size_bytes);
int memory_show(void *start, size_t size_bytes);

/* What malloc aligns to. */
#define MEMORY_ALIGNMENT_BYTES ((size_t)16)

/* malloc, aligned_alloc and free.  NULL when out of memory.  A collector
 * scans these blocks: what the program entrusts to us may lie there. */
void *memory_alloc(size_t size_bytes);
void *memory_alloc_aligned(size_t alignment_bytes, size_t size_bytes);

/* The same for what a collector does not scan, or not as a whole. */
void *memory_alloc_plain(size_t alignment_bytes, size_t size_bytes);

/* Frees any of these. */
void memory_free(void *block);

/* The table of thread objects: address space once, and parts of it, in order,
 * as memory_commit_dense (`is_dense`) and memory_commit would give them. */
void *memory_table_reserve(size_t size_bytes);
int memory_table_commit(void *start, size_t size_bytes, bool is_dense);

/* Where blocks and the table come from, if not from the system.  Each pair
 * may be NULL. */
struct memory_source {
    void *(*alloc)(size_t alignment_bytes, size_t size_bytes);
    void (*free)(void *block);
    void *(*reserve_table)(size_t size_bytes);
    int (*commit_table)(void *start, size_t size_bytes);
};

/* Set while one OS thread calls us.  False: there is memory of another source
 * already. */
bool memory_set_source(const struct memory_source *source);
const struct memory_source *memory_source(void);

/* For tests: the count-th request from now on fails, and all after it until
 * called again; 0: none fails.  Set at start-up by VTHREAD_FAIL_ALLOC=n. */
void memory_fail_after(unsigned long count);

/* True if this request is to fail; counts it. */
bool memory_should_fail(void);

#endif
