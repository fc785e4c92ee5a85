/*
 * slice.c - time slices: a script that computes does not starve the others.
 *
 * A count hook that is always on would slow a script down to half its speed,
 * for then Lua calls a function before each instruction.  So the hook is set
 * only when a slice is over, by a signal, as the stand-alone lua does when it
 * is interrupted: every 10 ms of CPU time SIGPROF comes to an OS thread that
 * computes.  The handler sets a count hook of one instruction where Lua runs
 * on that OS thread; the hook takes itself away, gives up the turn and the
 * carrier, and waits for both.  An idle process gets no signals.
 *
 *   VTHREAD_LUA_SLICE=MS     another slice; 0: none
 *   VTHREAD_LUA_COUNT=N      a hook that stays, every N instructions
 *
 * Where Lua runs on an OS thread is known here (`running`): whoever takes or
 * gives up a turn says so, and so do coroutine.resume and coroutine.wrap,
 * which are therefore ours.  A script that has a hook of its own
 * (debug.sethook) gets no slices while it is set.
 *
 * Invariant: running.lua is NULL, or a Lua thread that lives and whose state's
 * turn the thread on this OS thread has.
 */
#include "module.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

/* Read by the signal handler on the same OS thread, hence volatile.  Reserved
 * when the module is loaded (initial-exec), for the handler cannot allocate. */
static __thread struct {
    struct vm *volatile vm;
    lua_State *volatile lua;
} running __attribute__((tls_model("initial-exec")));

static int count; /* of instructions between two turns; 0: by signal */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Not inlined: a caller that waits in between is on another OS thread then,
 * and must ask for the address anew. */
__attribute__((noinline)) void slice_set_running(struct vm *vm, lua_State *L)
{
    running.lua = NULL;
    running.vm = vm;
    running.lua = L;
}

__attribute__((noinline)) lua_State *slice_running(void)
{
    return running.lua;
}

/* A coroutine begins or ends; returns where Lua was. */
static __attribute__((noinline)) lua_State *change(lua_State *L)
{
    lua_State *before = running.lua;

    running.lua = L;
    return before;
}

static __attribute__((noinline)) struct vm *running_vm(void)
{
    return running.vm;
}

static void take_turns(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = running_vm();

    (void)ar;
    if (count == 0)
        lua_sethook(L, NULL, 0, 0);
    if (vm == NULL)
        return;
    lua_State *at = vm_leave(vm);
    vthread_yield();
    vm_enter(vm, at);
    if (vm->is_ending && vm->ender != vthread_self())
        vm_check(L, ECANCELED);
}

static void on_tick(int signal)
{
    lua_State *L = running.lua;

    (void)signal;
    if (L != NULL && lua_gethook(L) == NULL)
        lua_sethook(L, take_turns, LUA_MASKCOUNT, 1);
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? otherwise : atol(text);
}

static void start(void)
{
    long slice_us = setting("VTHREAD_LUA_SLICE", 10) * 1000;
    struct itimerval interval = {{slice_us / 1000000, slice_us % 1000000},
                                 {slice_us / 1000000, slice_us % 1000000}};
    struct sigaction ours = {.sa_handler = on_tick,
                             .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction theirs;

    count = (int)setting("VTHREAD_LUA_COUNT", 0);
    if (count > 0 || slice_us <= 0)
        return;
    /* A profiler that is there already is left alone. */
    sigaction(SIGPROF, NULL, &theirs);
    if (theirs.sa_handler != SIG_DFL)
        return;
    sigaction(SIGPROF, &ours, NULL);
    setitimer(ITIMER_PROF, &interval, NULL);
}

void slice_start(void)
{
    pthread_once(&once, start);
}

void slice_begin(lua_State *L)
{
    if (count > 0 && lua_gethook(L) == NULL)
        lua_sethook(L, take_turns, LUA_MASKCOUNT, count);
}

/* Runs the coroutine with what is on top of L's stack.  Pushes its values, and
 * returns how many; -1: an error, which is pushed. */
static int run(lua_State *L, lua_State *co, int arguments)
{
    int values;

    if (!lua_checkstack(co, arguments)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, arguments);
    lua_State *from = change(co);
    int status = lua_resume(co, L, arguments, &values);
    change(from);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, values + 1)) {
        lua_pop(co, values);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, values);
    return values;
}

static int resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);

    luaL_argexpected(L, co != NULL, 1, "coroutine");
    int values = run(L, co, lua_gettop(L) - 1);
    int pushed = values < 0 ? 1 : values; /* an error is one, too */
    lua_pushboolean(L, values >= 0);
    lua_insert(L, -pushed - 1);
    return pushed + 1;
}

/* An error goes on through the caller, who is named if it is a string. */
static int fail(lua_State *L, lua_State *co)
{
    int status = lua_status(co);

    if (status != LUA_OK && status != LUA_YIELD) {
        status = lua_resetthread(co); /* closes what is to be closed */
        if (status != LUA_OK) {
            lua_pop(L, 1);
            lua_xmove(co, L, 1);
        }
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int call_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int values = run(L, co, lua_gettop(L));

    return values < 0 ? fail(L, co) : values;
}

static int wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

void slice_open_coroutines(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"resume", resume}, {"wrap", wrap}, {NULL, NULL}};

    if (lua_getglobal(L, LUA_COLIBNAME) == LUA_TTABLE)
        luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
