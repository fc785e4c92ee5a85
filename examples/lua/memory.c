/*
 * memory.c - the memory of a Lua state.
 *
 * Only who has the turn allocates, so no lock is needed: malloc, which takes
 * one as soon as a process has several threads, made a script that allocates a
 * third slower.  Small blocks come from pages and go to free lists by size;
 * larger ones are malloc's.  Pages are given back when the state is closed.
 *
 * This is for the states that we make, the runner's and those of isolates; a
 * script of lua5.4 has malloc.
 */
#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 16           /* bytes between sizes, and the alignment */
#define LARGEST_SMALL 512 /* of all blocks in Lua most are below 100 */
#define PAGE_BYTES (32 * 1024)

struct block {
    struct block *next;
};

struct page {
    struct page *next;
    char bytes[PAGE_BYTES] __attribute__((aligned(STEP)));
};

/* All fields under the turn. */
struct memory {
    struct block *free[LARGEST_SMALL / STEP + 1]; /* by size in steps */
    char *unused, *end;                           /* of the newest page */
    struct page *pages;
    bool warns;     /* warn "@on" */
    bool continues; /* a warning in pieces has begun */
};

static size_t steps_of(size_t bytes)
{
    return (bytes + STEP - 1) / STEP;
}

/* What is left of the page before is used up, block by block, by nobody: at
 * most one block's size. */
static void *take_new(struct memory *memory, size_t bytes)
{
    if ((size_t)(memory->end - memory->unused) < bytes) {
        struct page *page = malloc(sizeof *page);
        if (page == NULL)
            return NULL;
        page->next = memory->pages;
        memory->pages = page;
        memory->unused = page->bytes;
        memory->end = page->bytes + PAGE_BYTES;
    }
    char *block = memory->unused;
    memory->unused += bytes;
    return block;
}

static void *take(struct memory *memory, size_t bytes)
{
    if (bytes > LARGEST_SMALL)
        return malloc(bytes);
    struct block **list = &memory->free[steps_of(bytes)];
    struct block *block = *list;
    if (block == NULL)
        return take_new(memory, steps_of(bytes) * STEP);
    *list = block->next;
    return block;
}

static void give(struct memory *memory, void *block, size_t bytes)
{
    if (bytes > LARGEST_SMALL) {
        free(block);
        return;
    }
    struct block **list = &memory->free[steps_of(bytes)];
    ((struct block *)block)->next = *list;
    *list = block;
}

/* From one place to another, or none if the block is large enough. */
static void *resize(struct memory *memory, void *block, size_t old_bytes,
                    size_t new_bytes)
{
    if (old_bytes > LARGEST_SMALL && new_bytes > LARGEST_SMALL)
        return realloc(block, new_bytes);
    if (new_bytes <= LARGEST_SMALL && old_bytes <= LARGEST_SMALL
        && steps_of(old_bytes) == steps_of(new_bytes))
        return block;
    void *moved = take(memory, new_bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    give(memory, block, old_bytes);
    return moved;
}

/* As lua_Alloc: without a block old_bytes says what is allocated. */
static void *allocate(void *memory, void *block, size_t old_bytes,
                      size_t new_bytes)
{
    if (block == NULL)
        return new_bytes == 0 ? NULL : take(memory, new_bytes);
    if (new_bytes > 0)
        return resize(memory, block, old_bytes, new_bytes);
    give(memory, block, old_bytes);
    return NULL;
}

/* Standard Lua's: "@on" and "@off", and warnings in pieces. */
static void warn(void *arg, const char *text, int continues)
{
    struct memory *memory = arg;

    if (!memory->continues && !continues && text[0] == '@') {
        if (strcmp(text, "@on") == 0 || strcmp(text, "@off") == 0)
            memory->warns = text[2] == 'n';
        return;
    }
    if (memory->warns)
        fprintf(stderr, "%s%s%s",
                memory->continues ? "" : "Lua warning: ", text,
                continues ? "" : "\n");
    memory->continues = continues;
}

static int panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);

    fprintf(stderr, "vthread: an error that nothing catches: %s\n",
            text == NULL ? "no text" : text);
    return 0; /* and Lua aborts */
}

lua_State *memory_new_state(void)
{
    struct memory *memory = calloc(1, sizeof *memory);
    lua_State *L = memory == NULL ? NULL : lua_newstate(allocate, memory);

    if (L == NULL) {
        free(memory);
        return NULL;
    }
    lua_atpanic(L, panic);
    lua_setwarnf(L, warn, memory);
    return L;
}

void memory_close_state(lua_State *L)
{
    void *arg;

    lua_getallocf(L, &arg);
    lua_close(L);
    struct memory *memory = arg;
    while (memory->pages != NULL) {
        struct page *page = memory->pages;
        memory->pages = page->next;
        free(page);
    }
    free(memory);
}
