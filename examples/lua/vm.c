/*
 * vm.c - a Lua state that many virtual threads run in.
 *
 * Lua itself is made for this: whatever its core has to keep consistent it
 * keeps so whenever a C function or a hook is called, and each Lua thread
 * (lua_newthread) has its own stack, calls and error handlers.  What Lua
 * keeps on the C stack (the chain of setjmp buffers, the frames of
 * luaV_execute, of a sort or a gsub) lies on the stack of the virtual thread.
 * So it is enough that one thread at a time runs Lua code in a state, and
 * that it is given up in C functions and hooks only: never in an allocator.
 *
 * Invariant: whoever calls the Lua API for a state, or touches a field of vm
 * or of its tasks, has the turn.
 */
#include "module.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* How long tasks may take to end once they are cancelled. */
#define PATIENCE (10 * VTHREAD_SECOND)

static const char key; /* its address: of the vm in the registry */

void vm_release(struct vm *vm)
{
    /* Release: what this owner did.  Acquire: the last one sees that of all
     * others; pairs with itself. */
    if (atomic_fetch_sub_explicit(&vm->references, 1, memory_order_acq_rel)
        == 1)
        free(vm);
}

/* os.exit: whoever closes the state ends its threads first, while all that
 * they use is there. */
static int exit_call(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_toboolean(L, 2))
        vm_end(vm_of(L));
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_call(L, 2, 0);
    return 0;
}

static void open_exit(lua_State *L, struct vm *vm)
{
    if (lua_getglobal(L, LUA_OSLIBNAME) == LUA_TTABLE) {
        lua_pushlightuserdata(L, vm);
        lua_getfield(L, -2, "exit");
        lua_pushcclosure(L, exit_call, 2);
        lua_setfield(L, -2, "exit");
    }
    lua_pop(L, 1);
}

/* The state closes: its tasks may not outlive it. */
static int close_vm(lua_State *L)
{
    struct vm **box = lua_touserdata(L, 1);

    if (*box == NULL)
        return 0;
    if (!vm_end(*box)) {
        fprintf(stderr, "vthread: threads that do not end are left, while "
                        "their Lua state is closed\n");
        exit(EXIT_FAILURE);
    }
    slice_set_running(NULL, NULL);
    /* The turn is kept: nobody enters any more.  If a thread of the state
     * closes it (os.exit), others may wait for that until the process ends. */
    if ((*box)->tasks == NULL)
        vm_release(*box);
    *box = NULL;
    return 0;
}

static struct vm *make(lua_State *L)
{
    struct vm **box = lua_newuserdatauv(L, sizeof *box, 0);

    *box = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, close_vm);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *box = calloc(1, sizeof **box);
    if (*box == NULL)
        luaL_error(L, "out of memory");
    atomic_init(&(*box)->references, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    return *box;
}

struct vm *vm_find(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    struct vm **box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return box == NULL ? NULL : *box;
}

struct vm *vm_open(lua_State *L)
{
    struct vm *vm = vm_find(L);

    if (vm != NULL)
        return vm;
    vm = make(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    vm->main = lua_tothread(L, -1);
    lua_pop(L, 1);
    slice_start();
    vm_enter(vm, vm->main);
    slice_begin(L);
    open_exit(L, vm);
    return vm;
}

struct vm *vm_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

lua_State *vm_leave(struct vm *vm)
{
    lua_State *at = slice_running();

    slice_set_running(NULL, NULL);
    vthread_mutex_unlock(&vm->turn);
    return at;
}

void vm_enter(struct vm *vm, lua_State *at)
{
    vthread_mutex_lock(&vm->turn);
    slice_set_running(vm, at);
}

void vm_check(lua_State *L, int err)
{
    if (err != ECANCELED)
        return;
    lua_pushliteral(L, "cancelled");
    lua_error(L);
}

/* Whether there are tasks, but for the caller; cancels them. */
static bool cancel_others(struct vm *vm)
{
    bool are_left = false;

    for (struct task *task = vm->tasks; task != NULL; task = task->next)
        if (task->id != vm->ender) {
            vthread_interrupt(task->id);
            are_left = true;
        }
    return are_left;
}

bool vm_end(struct vm *vm)
{
    uint64_t deadline_ns = vthread_now() + PATIENCE;

    vm->is_ending = true;
    vm->ender = vthread_self();
    while (cancel_others(vm)) {
        if (vthread_now() > deadline_ns)
            return false;
        lua_State *at = vm_leave(vm);
        vthread_sleep(VTHREAD_MS);
        vm_enter(vm, at);
    }
    return true;
}
