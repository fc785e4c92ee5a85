/*
 * module.c - the Lua module `vthread`: what it consists of.
 *
 *     local vthread = require "vthread"
 *
 *   vthread.spawn(f, ...)      a thread that runs f(...) in this Lua state
 *   vthread.isolate(f, ...)    one that runs a copy of f in a state of its own
 *   vthread.join(t [, s])      waits for its end: its results, or its error
 *   vthread.cancel(t)          its present or next wait raises "cancelled"
 *   vthread.sleep(s)           waits for s seconds
 *   vthread.yield()            lets others run first
 *   vthread.now()              seconds, for measuring
 *   vthread.channel(n [, "copy"])   see channel.c
 *   vthread.select(cases [, s])     see select.c
 *   vthread.tcp.connect(host, port [, s]), vthread.tcp.listen(host, port)
 *                              see tcp.c and stream.c
 *   vthread.foreign(library, name, signature [, policy]),
 *   vthread.call(library, name, signature, ...), vthread.buffer(bytes)
 *                              see foreign.c
 *
 * Times are in seconds.  What cannot be done for reasons outside of the
 * program returns nil and the reason ("timeout", "closed", or words of the
 * system and its number); wrong arguments and cancellation are errors.
 *
 * It works in the runner vlua, where it is built in, and as vthread.so in any
 * lua5.4.  There the script is on a platform thread, and blocks that only.
 */
#include "module.h"

#include <errno.h>
#include <string.h>

uint64_t module_deadline(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return VTHREAD_NEVER;
    lua_Number seconds = luaL_checknumber(L, index);
    if (!(seconds > 0))
        return 0;
    if (seconds > 1e9)
        return VTHREAD_NEVER;
    return vthread_now() + (uint64_t)(seconds * (double)VTHREAD_SECOND);
}

int module_fail(lua_State *L, int err)
{
    luaL_pushfail(L);
    lua_pushstring(L, err == ETIMEDOUT ? "timeout"
                      : err == EPIPE   ? "closed"
                                       : strerror(err));
    lua_pushinteger(L, err);
    return 3;
}

void module_functions(lua_State *L, struct vm *vm, const luaL_Reg *functions)
{
    lua_pushlightuserdata(L, vm);
    luaL_setfuncs(L, functions, 1);
}

static int sleep_call(lua_State *L)
{
    luaL_checknumber(L, 1);
    uint64_t deadline_ns = module_deadline(L, 1);
    lua_State *at = vm_leave(vm_of(L));
    int err = vthread_sleep_until(deadline_ns);

    vm_enter(vm_of(L), at);
    vm_check(L, err);
    return 0;
}

static int yield_call(lua_State *L)
{
    lua_State *at = vm_leave(vm_of(L));

    vthread_yield();
    vm_enter(vm_of(L), at);
    return 0;
}

static int now_call(lua_State *L)
{
    lua_pushnumber(L, (double)vthread_now() / (double)VTHREAD_SECOND);
    return 1;
}

__attribute__((visibility("default"))) int luaopen_vthread(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"spawn", task_spawn},   {"isolate", task_isolate},
        {"join", task_join},     {"cancel", task_cancel},
        {"sleep", sleep_call},   {"yield", yield_call},
        {"now", now_call},       {"channel", channel_new},
        {"select", select_call}, {NULL, NULL}};
    struct vm *vm = vm_open(L);

    task_open(L);
    channel_open(L, vm);
    stream_open(L, vm);
    slice_open_coroutines(L);
    lua_newtable(L);
    module_functions(L, vm, functions);
    foreign_open(L, vm);
    tcp_open(L, vm);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "vthread.tcp");
    lua_pop(L, 1);
    lua_setfield(L, -2, "tcp");
    return 1;
}
