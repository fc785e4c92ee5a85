/*
 * task.c - threads of a Lua state: spawn, join, cancel.
 *
 * A task is a virtual thread with a Lua thread of its own in the state of its
 * spawner: they share all values, and take turns.  Its handle keeps the Lua
 * thread, where the results stay for any number of joins, and the stack of the
 * spawner in words; while the task lives the registry keeps the handle.
 *
 * An error that ends a task is told by join, with both stacks.  If nobody
 * waits for the task at that moment it is told on standard error, at once.
 */
#include "module.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lua checks the depth of C calls (200) and not the stack.  The worst that
 * this allows, gsub in gsub, takes 406 KiB; another 100 are for what C
 * functions need at that depth (getaddrinfo). */
#define STACK_KB 1024

#define HANDLE "vthread.thread"

/* How many calls of the spawner are told. */
#define DEEPEST 10

/* User values of a handle. */
enum { LUA_THREAD = 1, SPAWNER, REPORT };

static const char living; /* its address: handles by task, in the registry */

size_t task_stack_bytes(void)
{
    const char *text = getenv("VTHREAD_LUA_STACK");
    long kilobytes = text == NULL ? 0 : atol(text);

    return (size_t)(kilobytes > 0 ? kilobytes : STACK_KB) * 1024;
}

static void release(struct task *task)
{
    /* Pairs with itself: the last one frees what all have written. */
    if (atomic_fetch_sub_explicit(&task->references, 1, memory_order_acq_rel)
        > 1)
        return;
    parcel_free(task->parcel);
    free(task->report);
    vm_release(task->vm);
    free(task);
}

static struct task *check(lua_State *L)
{
    struct task **box = luaL_checkudata(L, 1, HANDLE);

    if (*box == NULL) /* the state is being closed */
        vm_check(L, ECANCELED);
    return *box;
}

/* ---- Beginning ---------------------------------------------------------- */

/* script.lua:12, of the function at index 1. */
static void name_task(lua_State *L, struct task *task)
{
    lua_Debug ar;

    lua_pushvalue(L, 1);
    lua_getinfo(L, ">S", &ar);
    const char *slash = strrchr(ar.short_src, '/');
    snprintf(task->name, sizeof task->name, "%.20s:%d",
             slash == NULL ? ar.short_src : slash + 1, ar.linedefined);
}

/* Pushes where L is: luaL_traceback takes ten times as long, for it looks for
 * the names of functions in all modules. */
static void push_stack(lua_State *L)
{
    luaL_Buffer text;
    lua_Debug ar;

    luaL_buffinit(L, &text);
    for (int level = 1; level <= DEEPEST && lua_getstack(L, level, &ar);
         level++) {
        lua_getinfo(L, "Sln", &ar);
        if (ar.currentline > 0)
            lua_pushfstring(L, "\n\t%s:%d: in ", ar.short_src, ar.currentline);
        else
            lua_pushfstring(L, "\n\t%s: in ", ar.short_src);
        luaL_addvalue(&text);
        if (*ar.namewhat != '\0')
            lua_pushfstring(L, "%s '%s'", ar.namewhat, ar.name);
        else if (*ar.what == 'm')
            lua_pushliteral(L, "main chunk");
        else if (*ar.what == 'C')
            lua_pushliteral(L, "?");
        else
            lua_pushfstring(L, "function <%s:%d>", ar.short_src,
                            ar.linedefined);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
}

static void allocate(lua_State *L, struct task **box, struct vm *vm)
{
    *box = calloc(1, sizeof **box);
    if (*box == NULL)
        luaL_error(L, "out of memory");
    (*box)->vm = vm;
    /* Relaxed: the vm is kept by its state while this runs. */
    atomic_fetch_add_explicit(&vm->references, 1, memory_order_relaxed);
    atomic_init(&(*box)->references, 1);
}

struct task *task_new(lua_State *L, struct vm *vm, lua_State *lua)
{
    if (vm->is_ending)
        vm_check(L, ECANCELED);
    struct task **box = lua_newuserdatauv(L, sizeof *box, REPORT);
    *box = NULL;
    luaL_setmetatable(L, HANDLE);
    allocate(L, box, vm);
    if (lua != NULL) {
        lua_pushvalue(L, -2);
        lua_setiuservalue(L, -2, LUA_THREAD);
        lua_remove(L, -2);
    }
    push_stack(L);
    lua_setiuservalue(L, -2, SPAWNER);
    (*box)->lua = lua;
    name_task(L, *box);
    return *box;
}

static void link_task(struct task *task)
{
    struct vm *vm = task->vm;

    task->next = vm->tasks;
    task->link = &vm->tasks;
    if (task->next != NULL)
        task->next->link = &task->next;
    vm->tasks = task;
    vm->task_count++;
}

static void unlink_task(struct task *task)
{
    *task->link = task->next;
    if (task->next != NULL)
        task->next->link = task->link;
    task->vm->task_count--;
}

/* The handle is on top. */
void task_start(lua_State *L, struct task *task, void *(*fn)(void *))
{
    vthread_attr_t attr = {.name = task->name,
                           .stack_size_bytes = task_stack_bytes(),
                           .flags = VTHREAD_DETACHED};

    vthread_latch_init(&task->done, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &living);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, task);
    /* Relaxed: nobody else knows it yet. */
    atomic_store_explicit(&task->references, 2, memory_order_relaxed);
    int err = vthread_create(&task->id, &attr, fn, task);
    if (err != 0) {
        atomic_store_explicit(&task->references, 1, memory_order_relaxed);
        lua_pushnil(L);
        lua_rawsetp(L, -2, task);
        luaL_error(L, "no thread can be had: %s", strerror(err));
    }
    link_task(task);
    lua_pop(L, 1);
}

/* ---- Ending ------------------------------------------------------------- */

void task_tell(const struct task *task, const char *report)
{
    if (task->joiners > 0)
        return;
    fprintf(stderr,
            "vthread: thread '%s' has failed, and nobody waits for "
            "it: %s\n",
            task->name, report == NULL ? "no message" : report);
}

void task_finish(struct task *task)
{
    struct vm *vm = task->vm;

    unlink_task(task);
    /* Of the main thread, for a task's own can be out of memory. */
    lua_rawgetp(vm->main, LUA_REGISTRYINDEX, &living);
    lua_pushnil(vm->main);
    lua_rawsetp(vm->main, -2, task);
    lua_pop(vm->main, 1);
    vthread_latch_count_down(&task->done, 1);
    vm_leave(vm);
    release(task);
}

/* The stack of the failing thread is on top.  Adds that of the spawner, and
 * keeps the whole with the handle. */
static void add_spawner(lua_State *L, struct task *task)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &living);
    lua_rawgetp(L, -1, task);
    lua_pushvalue(L, -3);
    lua_pushliteral(L, "\nspawned by:");
    lua_getiuservalue(L, -3, SPAWNER);
    lua_concat(L, 3);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, REPORT);
    lua_replace(L, -4);
    lua_pop(L, 2);
}

int task_explain(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* A message handler.  A string gets both stacks, unless the thread has been
 * cancelled; another error value stays what it is, and the handle alone knows
 * the stacks. */
static int explain(lua_State *L)
{
    struct task *task = lua_touserdata(L, lua_upvalueindex(1));
    bool is_text = lua_isstring(L, 1);

    if (is_text && strcmp(lua_tostring(L, 1), "cancelled") == 0)
        return 1;
    task_explain(L);
    add_spawner(L, task);
    task_tell(task, lua_tostring(L, -1));
    if (!is_text)
        lua_settop(L, 1);
    return 1;
}

/* The message handler is below the function. */
static void *run(void *arg)
{
    struct task *task = arg;
    lua_State *L = task->lua;

    vm_enter(task->vm, L);
    slice_begin(L);
    task->status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1);
    lua_remove(L, 1);
    /* Without the message handler: no memory for it, or an error in it. */
    if (task->status != LUA_OK && task->status != LUA_ERRRUN)
        task_tell(task, lua_tostring(L, -1));
    task_finish(task);
    return NULL;
}

/* ---- For Lua ------------------------------------------------------------ */

int task_spawn(lua_State *L)
{
    int top = lua_gettop(L);

    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checkstack(L, top + LUA_MINSTACK, "too many arguments");
    lua_State *lua = lua_newthread(L);
    if (!lua_checkstack(lua, top + LUA_MINSTACK))
        return luaL_error(L, "too many arguments");
    for (int i = 1; i <= top; i++)
        lua_pushvalue(L, i);
    lua_xmove(L, lua, top);
    struct task *task = task_new(L, vm_of(L), lua);
    lua_pushlightuserdata(L, task);
    lua_pushcclosure(L, explain, 1);
    lua_xmove(L, lua, 1);
    lua_insert(lua, 1);
    task_start(L, task, run);
    return 1;
}

static int push_results(lua_State *L, struct task *task)
{
    if (task->parcel != NULL)
        return parcel_unpack(L, task->parcel);
    int count = lua_gettop(task->lua);
    luaL_checkstack(L, count + 1, "too many results");
    if (!lua_checkstack(task->lua, count))
        return luaL_error(L, "too many results");
    for (int i = 1; i <= count; i++)
        lua_pushvalue(task->lua, i);
    lua_xmove(task->lua, L, count);
    return count;
}

static int push_error(lua_State *L, struct task *task)
{
    if (task->lua == NULL) {
        lua_pushstring(L,
                       task->report == NULL ? "out of memory" : task->report);
        lua_pushliteral(L, "\nspawned by:");
        lua_getiuservalue(L, 1, SPAWNER);
        lua_concat(L, 3);
    } else {
        lua_pushvalue(task->lua, -1);
        lua_xmove(task->lua, L, 1);
    }
    return lua_error(L);
}

int task_join(lua_State *L)
{
    struct task *task = check(L);
    uint64_t deadline_ns = module_deadline(L, 2);

    if (task->id == vthread_self())
        return luaL_error(L, "a thread cannot join itself");
    task->joiners++;
    /* Relaxed: the handle has a reference; unless its state is closed
     * meanwhile. */
    atomic_fetch_add_explicit(&task->references, 1, memory_order_relaxed);
    lua_State *at = vm_leave(task->vm);
    int err = vthread_latch_wait_until(&task->done, deadline_ns);
    vm_enter(task->vm, at);
    task->joiners--;
    release(task);
    vm_check(L, err);
    task = check(L);
    if (err != 0)
        return module_fail(L, err);
    return task->status == LUA_OK ? push_results(L, task)
                                  : push_error(L, task);
}

int task_cancel(lua_State *L)
{
    struct task *task = check(L);

    vthread_interrupt(task->id); /* ESRCH: it has ended */
    return 0;
}

static int traceback(lua_State *L)
{
    struct task *task = check(L);

    if (task->lua == NULL)
        lua_pushstring(L, task->report);
    else if (vthread_latch_trywait(&task->done) == EBUSY)
        luaL_traceback(L, task->lua, NULL, 0);
    else
        lua_getiuservalue(L, 1, REPORT);
    return 1;
}

static int describe(lua_State *L)
{
    struct task *task = check(L);
    bool is_done = vthread_latch_trywait(&task->done) == 0;

    lua_pushfstring(L, "thread '%s' (%s)", task->name,
                    !is_done                 ? "lives"
                    : task->status == LUA_OK ? "has ended"
                                             : "has failed");
    return 1;
}

static int collect(lua_State *L)
{
    struct task **box = lua_touserdata(L, 1);

    if (*box != NULL)
        release(*box);
    *box = NULL;
    return 0;
}

void task_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"join", task_join},
                                       {"cancel", task_cancel},
                                       {"traceback", traceback},
                                       {NULL, NULL}};

    luaL_newmetatable(L, HANDLE);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, describe);
    lua_setfield(L, -2, "__tostring");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &living);
}
