/*
 * vlua.c - runs a Lua script on a virtual thread.
 *
 *     vlua [-e CODE] SCRIPT [ARGUMENT...]
 *
 * The script finds the module by require "vthread", and its arguments in the
 * table arg, as from lua5.4.  It is Debian's liblua5.4, unmodified.
 *
 * When the script ends, threads that are left are cancelled: their waits raise
 * an error, what they have to close is closed, and a line on standard error
 * says how many there were.  The exit status is 0, or 1 after an error.
 *
 * What the environment may say: VTHREAD_LUA_STACK, the kilobytes of a thread's
 * stack (1024; with 256 and less threads share their stacks, which takes less
 * memory but does not bear 200 C calls in each other); VTHREAD_LUA_SLICE, the
 * milliseconds that a script may compute while others wait (10).
 */
#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static char **arguments;
static int argument_count;

static void complain(const char *message)
{
    fflush(stdout);
    fprintf(stderr, "vlua: %s\n", message);
}

/* arg, and the arguments on the stack; returns how many. */
static int push_arguments(lua_State *L, int first)
{
    lua_createtable(L, argument_count - first, first + 1);
    for (int i = 0; i < argument_count; i++) {
        lua_pushstring(L, arguments[i]);
        lua_rawseti(L, -2, i - first + 1);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, argument_count, "too many arguments");
    for (int i = first; i < argument_count; i++)
        lua_pushstring(L, arguments[i]);
    return argument_count > first ? argument_count - first : 0;
}

/* In protected mode: opens the libraries, and runs what the command line
 * says. */
static int run_script(lua_State *L)
{
    bool is_code = strcmp(arguments[1], "-e") == 0;

    luaL_openlibs(L);
    luaL_requiref(L, MODULE_NAME, luaopen_vthread, 0);
    slice_begin(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, task_explain);
    int status = is_code ? luaL_loadbuffer(L, arguments[2],
                                           strlen(arguments[2]), "=(-e)")
                         : luaL_loadfile(L, arguments[1]);
    if (status == LUA_OK)
        status = lua_pcall(L, push_arguments(L, is_code ? 3 : 2), 0, 1);
    return status == LUA_OK ? 0 : lua_error(L);
}

/* The script has ended: so do its threads. */
static bool end_threads(lua_State *L, bool is_fine)
{
    struct vm *vm = vm_find(L);

    if (vm == NULL) /* the libraries could not be opened */
        return true;
    if (vm->task_count > 0 && is_fine) {
        fflush(stdout);
        fprintf(stderr,
                "vlua: the script has ended, and %u of its threads "
                "are left: they are cancelled\n",
                vm->task_count);
    }
    if (vm_end(vm))
        return true;
    complain("some of them do not end");
    return false;
}

static void *run(void *state)
{
    lua_State *L = state;

    lua_pushcfunction(L, run_script);
    bool is_fine = lua_pcall(L, 0, 0, 0) == LUA_OK;
    if (!is_fine) {
        const char *message = lua_tostring(L, -1);
        complain(message == NULL ? "an error without a message" : message);
    }
    if (end_threads(L, is_fine))
        memory_close_state(L);
    return is_fine ? L : NULL;
}

/* Sockets are many, and the limit that counts is the hard one. */
static void raise_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    vthread_attr_t attr = {.name = "script",
                           .stack_size_bytes = task_stack_bytes()};
    void *result = NULL;
    vthread_t thread;

    arguments = argv;
    argument_count = argc;
    if (argc < 2 || (strcmp(argv[1], "-e") == 0 && argc < 3)) {
        fprintf(stderr, "usage: vlua [-e CODE] SCRIPT [ARGUMENT...]\n");
        return 2;
    }
    raise_limit();
    lua_State *L = memory_new_state();
    int err = L == NULL ? 0 : vthread_create(&thread, &attr, run, L);
    if (L == NULL || err != 0) {
        complain(L == NULL ? "out of memory" : strerror(err));
        return 1;
    }
    vthread_join(thread, &result);
    return result == NULL;
}
