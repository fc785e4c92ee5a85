/*
 * isolate.c - threads with a Lua state of their own.
 *
 * Threads of one state take turns, so together they use one processor.  An
 * isolate has a state to itself and runs beside them.  Nothing is shared: the
 * function, its upvalues, the arguments and the results are copied (parcel.h),
 * and whatever goes between the two while they run goes through channels that
 * copy.
 *
 * The isolate's parcel is its function and arguments at first, then its
 * results.  The thread itself belongs to the state that has started it, as any
 * task: it is joined there, and cancelled when that state ends.
 */
#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct isolate {
    struct parcel *parcel, *results;
};

/* Runs in protected mode: unpacks and calls.  The results stay. */
static int call(lua_State *L)
{
    struct isolate *isolate = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_pushcfunction(L, task_explain);
    int count = parcel_unpack(L, isolate->parcel);
    int status = lua_pcall(L, count - 1, LUA_MULTRET, 1);
    if (status != LUA_OK)
        return lua_error(L);
    isolate->results = parcel_pack(L, 2);
    return 0;
}

static int open_state(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, MODULE_NAME, luaopen_vthread, 0);
    slice_begin(L);
    return 0;
}

static char *copy_message(lua_State *L)
{
    const char *message = lua_tostring(L, -1);

    return strdup(message == NULL ? "an error without a message" : message);
}

/* Runs the parcel in a new state; returns the status.  Without memory there is
 * no report. */
static int run_state(struct isolate *isolate, char **report)
{
    lua_State *L = memory_new_state();
    int status = LUA_ERRMEM;

    if (L == NULL)
        return status;
    lua_pushcfunction(L, open_state);
    status = lua_pcall(L, 0, 0, 0);
    if (status == LUA_OK) {
        lua_pushcfunction(L, call);
        lua_pushlightuserdata(L, isolate);
        status = lua_pcall(L, 1, 0, 0);
    }
    if (status != LUA_OK)
        *report = copy_message(L);
    struct vm *vm = vm_find(L);
    if (vm != NULL)
        vm_end(vm);
    memory_close_state(L);
    return status;
}

static void *run(void *arg)
{
    struct task *task = arg;
    struct isolate isolate = {.parcel = task->parcel};
    char *report = NULL;
    int status = run_state(&isolate, &report);

    vm_enter(task->vm, NULL);
    parcel_free(task->parcel);
    task->parcel = isolate.results;
    task->report = report;
    task->status = status;
    if (status != LUA_OK
        && (report == NULL || strcmp(report, "cancelled") != 0))
        task_tell(task, report);
    task_finish(task);
    return NULL;
}

int task_isolate(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct task *task = task_new(L, vm_of(L), NULL);
    lua_insert(L, 1);
    task->parcel = parcel_pack(L, 2);
    lua_settop(L, 1);
    task_start(L, task, run);
    return 1;
}
