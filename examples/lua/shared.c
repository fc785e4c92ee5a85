/*
 * shared.c - objects that several Lua states may have: channels, sockets.
 *
 * Such an object is on the heap and counts its references: one for each
 * userdata, for each parcel that it is in, and for each call that uses it
 * while the turn is given up.  A userdata is a pointer to it, NULL once it was
 * collected.  A channel that waits in itself to be received, and that nobody
 * else has, is never freed.
 */
#include "module.h"

#include <errno.h>

void shared_retain(struct shared *shared)
{
    /* Relaxed: the caller has a reference already. */
    atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
}

void shared_release(struct shared *shared)
{
    /* Pairs with itself: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel)
        == 1)
        shared->kind->destroy(shared);
}

/* In protected mode. */
static int push(lua_State *L)
{
    struct shared *shared = lua_touserdata(L, 1);
    struct shared **box = lua_newuserdatauv(L, sizeof *box, 0);

    *box = NULL;
    luaL_setmetatable(L, shared->kind->name);
    *box = shared;
    return 1;
}

void shared_push(lua_State *L, struct shared *shared)
{
    lua_pushcfunction(L, push);
    lua_pushlightuserdata(L, shared);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        return;
    shared_release(shared);
    lua_error(L);
}

void *shared_check(lua_State *L, int index, const struct shared_kind *kind)
{
    struct shared **box = luaL_checkudata(L, index, kind->name);

    if (*box == NULL) /* the state is being closed */
        vm_check(L, ECANCELED);
    return *box;
}

struct shared *shared_test(lua_State *L, int index)
{
    static const struct shared_kind *const kinds[] = {
        &channel_kind, &listener_kind, &stream_kind};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct shared **box = luaL_testudata(L, index, kinds[i]->name);
        if (box != NULL)
            return *box;
    }
    return NULL;
}

static int collect(lua_State *L)
{
    struct shared **box = lua_touserdata(L, 1);

    if (*box != NULL)
        shared_release(*box);
    *box = NULL;
    return 0;
}

void shared_open(lua_State *L, struct vm *vm, const struct shared_kind *kind,
                 const luaL_Reg *methods, const luaL_Reg *metamethods)
{
    luaL_newmetatable(L, kind->name);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    module_functions(L, vm, metamethods);
    lua_newtable(L);
    module_functions(L, vm, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
