/*
 * dump_scopes.c - open scopes as a tree: a scope, its children by state, and
 * below each child the scopes that it has opened itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dump.h"
#include "json.h"

enum { DEPTH_MAX = 40, NAMED_MAX = 8 };

/* Children and scopes, each in the order of what they belong to. */
struct tree {
    const struct dump *dump;
    const struct seen_thread **children; /* by scope */
    size_t child_count;
    const struct seen_scope **scopes; /* by owner */
    size_t scope_count;
};

static int by_scope(const void *a, const void *b)
{
    const struct seen_thread *const *left = a, *const *right = b;
    if ((*left)->scope != (*right)->scope)
        return (*left)->scope < (*right)->scope ? -1 : 1;
    return snapshot_number(*left) < snapshot_number(*right) ? -1 : 1;
}

static int by_owner(const void *a, const void *b)
{
    const struct seen_scope *const *left = a, *const *right = b;
    if ((*left)->owner != (*right)->owner)
        return (*left)->owner < (*right)->owner ? -1 : 1;
    return *left < *right ? -1 : *left > *right;
}

static void make_tree(struct tree *tree, const struct dump *dump)
{
    const struct snapshot *s = &dump->snapshot;
    *tree = (struct tree){.dump = dump};
    tree->children = calloc(s->thread_count + 1, sizeof *tree->children);
    tree->scopes = calloc(s->scope_count + 1, sizeof *tree->scopes);
    if (!tree->children || !tree->scopes)
        return;
    for (size_t i = 0; i < s->thread_count; i++)
        if (s->threads[i].scope)
            tree->children[tree->child_count++] = &s->threads[i];
    for (size_t i = 0; i < s->scope_count; i++)
        tree->scopes[tree->scope_count++] = &s->scopes[i];
    qsort(tree->children, tree->child_count, sizeof *tree->children,
          by_scope);
    qsort(tree->scopes, tree->scope_count, sizeof *tree->scopes, by_owner);
}

static void free_tree(struct tree *tree)
{
    free(tree->children);
    free(tree->scopes);
}

/* The first child of that scope; there may be none at that place. */
static size_t first_child(const struct tree *tree, uint64_t scope)
{
    size_t low = 0, high = tree->child_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tree->children[middle]->scope < scope)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t first_scope(const struct tree *tree, uint32_t owner)
{
    size_t low = 0, high = tree->scope_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tree->scopes[middle]->owner < owner)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_child_of(const struct tree *tree, size_t i, uint64_t scope)
{
    return i < tree->child_count && tree->children[i]->scope == scope;
}

static bool is_scope_of(const struct tree *tree, size_t i, uint32_t owner)
{
    return i < tree->scope_count && tree->scopes[i]->owner == owner;
}

/* Owned by a thread that is in no scope itself. */
static bool is_root(const struct tree *tree, const struct seen_scope *scope)
{
    const struct seen_thread *owner = snapshot_thread(&tree->dump->snapshot,
                                                      scope->owner);
    return !owner || owner->scope == 0;
}

/* ---- Text --------------------------------------------------------------- */

static void write_scope(const struct tree *tree,
                        const struct seen_scope *scope, unsigned depth);

static void write_scopes_of(const struct tree *tree, uint32_t owner,
                            unsigned depth)
{
    for (size_t i = first_scope(tree, owner); is_scope_of(tree, i, owner);
         i++)
        write_scope(tree, tree->scopes[i], depth);
}

static void write_children(const struct tree *tree, uint64_t scope,
                           unsigned depth)
{
    char name[120];
    size_t named = 0, others = 0;
    for (size_t i = first_child(tree, scope); is_child_of(tree, i, scope);
         i++) {
        const struct seen_thread *t = tree->children[i];
        uint32_t number = snapshot_number(t);
        bool is_owner = is_scope_of(tree, first_scope(tree, number), number);
        if (!is_owner && named >= NAMED_MAX) {
            others++;
            continue;
        }
        dump_name(t, name, sizeof name);
        printf("%*s%s, %s\n", (int)depth * 2, "", name, dump_state(t));
        named += !is_owner;
        if (depth < DEPTH_MAX)
            write_scopes_of(tree, number, depth + 1);
    }
    if (others > 0)
        printf("%*sand %zu more\n", (int)depth * 2, "", others);
}

static void write_scope(const struct tree *tree,
                        const struct seen_scope *scope, unsigned depth)
{
    char name[120] = "a thread that has ended";
    const struct seen_thread *owner = snapshot_thread(&tree->dump->snapshot,
                                                      scope->owner);
    if (owner)
        dump_name(owner, name, sizeof name);
    printf("%*sscope %#llx%s%s%s of %s: %u live%s\n", (int)depth * 2, "",
           (unsigned long long)scope->address, scope->name[0] ? " '" : "",
           scope->name, scope->name[0] ? "'" : "", name, scope->pending,
           scope->is_cancelled ? ", cancelled" : "");
    write_children(tree, scope->address, depth + 1);
}

void dump_scopes_text(struct dump *dump)
{
    struct tree tree;
    if (dump->snapshot.scope_count == 0)
        return;
    make_tree(&tree, dump);
    printf("\nScopes\n");
    for (size_t i = 0; i < tree.scope_count; i++)
        if (is_root(&tree, tree.scopes[i]))
            write_scope(&tree, tree.scopes[i], 1);
    free_tree(&tree);
}

/* ---- JSON --------------------------------------------------------------- */

static void put_scope(const struct tree *tree, struct json *json,
                      const struct seen_scope *scope, unsigned depth);

static void put_scopes_of(const struct tree *tree, struct json *json,
                          uint32_t owner, unsigned depth)
{
    json_open_array(json, "scopes");
    for (size_t i = first_scope(tree, owner);
         is_scope_of(tree, i, owner) && depth < 12; i++)
        put_scope(tree, json, tree->scopes[i], depth);
    json_close_array(json);
}

static void put_child(const struct tree *tree, struct json *json,
                      const struct seen_thread *t, unsigned depth)
{
    uint32_t number = snapshot_number(t);
    json_open_object(json, NULL);
    json_unsigned(json, "thread", t->handle);
    if (is_scope_of(tree, first_scope(tree, number), number))
        put_scopes_of(tree, json, number, depth + 1);
    json_close_object(json);
}

static void put_scope(const struct tree *tree, struct json *json,
                      const struct seen_scope *scope, unsigned depth)
{
    const struct seen_thread *owner = snapshot_thread(&tree->dump->snapshot,
                                                      scope->owner);
    json_open_object(json, NULL);
    json_address(json, "address", scope->address);
    json_text(json, "name", scope->name[0] ? scope->name : NULL);
    if (owner)
        json_unsigned(json, "owner", owner->handle);
    json_unsigned(json, "live", scope->pending);
    json_bool(json, "cancelled", scope->is_cancelled);
    json_open_array(json, "children");
    for (size_t i = first_child(tree, scope->address);
         is_child_of(tree, i, scope->address); i++)
        put_child(tree, json, tree->children[i], depth);
    json_close_array(json);
    json_close_object(json);
}

void dump_scopes_json(struct dump *dump, struct json *json)
{
    struct tree tree;
    make_tree(&tree, dump);
    json_open_array(json, "scopes");
    for (size_t i = 0; i < tree.scope_count; i++)
        if (is_root(&tree, tree.scopes[i]))
            put_scope(&tree, json, tree.scopes[i], 0);
    json_close_array(json);
    free_tree(&tree);
}
