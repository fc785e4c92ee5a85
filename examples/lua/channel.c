/*
 * channel.c - channels of Lua values.
 *
 * A channel of a state passes the values themselves: tables, functions and
 * coroutines arrive as the same objects.  One that copies may go to other
 * states (task_isolate), and each value is a copy (parcel.h).
 *
 * Underneath is a channel of words: references in the registry, or parcels.
 */
#include "module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void destroy(struct shared *shared)
{
    struct channel *channel = (struct channel *)shared;
    uint64_t word;

    while (vthread_channel_tryreceive(channel->channel, &word) == 0)
        if (!shared->is_local)
            parcel_free((struct parcel *)(uintptr_t)word);
    vthread_channel_destroy(channel->channel);
    free(channel);
}

const struct shared_kind channel_kind = {"vthread.channel", destroy};

/* ---- Values as words ---------------------------------------------------- */

uint64_t channel_word(lua_State *L, struct channel *channel, int index)
{
    if (lua_isnoneornil(L, index))
        luaL_argerror(L, index,
                      "nil says that a channel is closed, and "
                      "cannot be sent");
    lua_pushvalue(L, index);
    if (channel->shared.is_local)
        return (uint64_t)luaL_ref(L, LUA_REGISTRYINDEX);
    return (uintptr_t)parcel_pack(L, lua_gettop(L));
}

void channel_drop(lua_State *L, struct channel *channel, uint64_t word)
{
    if (channel->shared.is_local)
        luaL_unref(L, LUA_REGISTRYINDEX, (int)word);
    else
        parcel_free((struct parcel *)(uintptr_t)word);
}

static int unpack(lua_State *L)
{
    return parcel_unpack(L, lua_touserdata(L, 1));
}

void channel_take(lua_State *L, struct channel *channel, uint64_t word)
{
    int status = LUA_OK;

    if (channel->shared.is_local) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, (lua_Integer)word);
    } else {
        lua_pushcfunction(L, unpack);
        lua_pushlightuserdata(L, (void *)(uintptr_t)word);
        status = lua_pcall(L, 1, 1, 0);
    }
    channel_drop(L, channel, word);
    if (status != LUA_OK)
        lua_error(L);
}

/* ---- For Lua ------------------------------------------------------------ */

int channel_new(lua_State *L)
{
    static const char *const kinds[] = {"local", "copy", NULL};
    lua_Integer capacity = luaL_optinteger(L, 1, 0);
    bool is_local = luaL_checkoption(L, 2, "local", kinds) == 0;

    luaL_argcheck(L, capacity >= 0 && capacity <= 1 << 24, 1,
                  "a capacity is 0 to 16777216");
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return luaL_error(L, "out of memory");
    channel->shared.kind = &channel_kind;
    channel->shared.is_local = is_local;
    atomic_init(&channel->shared.references, 1);
    int err = vthread_channel_create(&channel->channel, sizeof(uint64_t),
                                     (size_t)capacity);
    if (err != 0) {
        free(channel);
        return luaL_error(L, "%s", strerror(err));
    }
    shared_push(L, &channel->shared);
    return 1;
}

static struct channel *check(lua_State *L)
{
    return shared_check(L, 1, &channel_kind);
}

/* Nil and why. */
static int fail(lua_State *L, int err)
{
    vm_check(L, err);
    return module_fail(L, err);
}

static int send_value(lua_State *L)
{
    struct channel *channel = check(L);
    uint64_t deadline_ns = module_deadline(L, 3);
    uint64_t word = channel_word(L, channel, 2);
    int err = vthread_channel_trysend(channel->channel, &word);

    if (err == EAGAIN) {
        shared_retain(&channel->shared);
        lua_State *at = vm_leave(vm_of(L));
        err = vthread_channel_send_until(channel->channel, &word, deadline_ns);
        vm_enter(vm_of(L), at);
        shared_release(&channel->shared);
    }
    if (err != 0) {
        channel_drop(L, channel, word);
        return fail(L, err);
    }
    lua_pushboolean(L, true);
    return 1;
}

static int receive_until(lua_State *L, uint64_t deadline_ns)
{
    struct channel *channel = check(L);
    uint64_t word;
    int err = vthread_channel_tryreceive(channel->channel, &word);

    if (err == EAGAIN) {
        shared_retain(&channel->shared);
        lua_State *at = vm_leave(vm_of(L));
        err = vthread_channel_receive_until(channel->channel, &word,
                                            deadline_ns);
        vm_enter(vm_of(L), at);
        shared_release(&channel->shared);
    }
    if (err != 0)
        return fail(L, err);
    channel_take(L, channel, word);
    return 1;
}

static int receive_value(lua_State *L)
{
    return receive_until(L, module_deadline(L, 2));
}

/* for value in channel do */
static int next(lua_State *L)
{
    return receive_until(L, VTHREAD_NEVER);
}

static int close_channel(lua_State *L)
{
    vthread_channel_close(check(L)->channel); /* EPIPE: it is */
    return 0;
}

static int length(lua_State *L)
{
    size_t count = vthread_channel_length(check(L)->channel);

    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

/* The values that are left in a local channel are given back first. */
static int collect(lua_State *L)
{
    struct channel **box = lua_touserdata(L, 1);
    uint64_t word;

    if (*box == NULL)
        return 0;
    if ((*box)->shared.is_local)
        while (vthread_channel_tryreceive((*box)->channel, &word) == 0)
            channel_drop(L, *box, word);
    shared_release(&(*box)->shared);
    *box = NULL;
    return 0;
}

void channel_open(lua_State *L, struct vm *vm)
{
    static const luaL_Reg methods[] = {{"send", send_value},
                                       {"receive", receive_value},
                                       {"close", close_channel},
                                       {NULL, NULL}};
    static const luaL_Reg metamethods[] = {
        {"__call", next}, {"__len", length}, {"__gc", collect}, {NULL, NULL}};

    shared_open(L, vm, &channel_kind, methods, metamethods);
}
