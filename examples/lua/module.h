/*
 * module.h - the parts of the Lua module `vthread`, for each other.
 *
 * A Lua state is entered by one thread at a time: whoever runs Lua code in it
 * has its *turn*, and gives the turn up while it waits.  So a function of the
 * module that waits looks like this:
 *
 *     lua_State *at = vm_leave(vm);
 *     int err = vthread_sleep(duration_ns);
 *     vm_enter(vm, at);
 *     vm_check(L, err);
 *
 * and between the two it touches nothing that belongs to the state.  What it
 * needs there is on its own stack, or has a reference of its own (`struct
 * shared`), for the collector may run meanwhile.
 */
#ifndef MODULE_H
#define MODULE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread.h>

#define MODULE_NAME "vthread"

/* ---- vm.c: a state that many threads run in ----------------------------- */

struct task;

struct vm {
    vthread_mutex_t turn; /* held by who runs Lua code in the state */
    lua_State *main;      /* its main thread */
    struct task *tasks;   /* that it has spawned, and that live */
    unsigned task_count;
    bool is_ending;              /* all tasks are cancelled, */
    vthread_t ender;             /* by this thread */
    _Atomic unsigned references; /* the state's, and one for each task */
};

/* The state's; made, with the turn taken, at the first call.  vm_find raises
 * no errors: NULL if there is none. */
struct vm *vm_open(lua_State *L);
struct vm *vm_find(lua_State *L);

/* Of a function of the module: its first upvalue. */
struct vm *vm_of(lua_State *L);

/* Gives up the turn, and takes it again; what leave returns says where Lua
 * was.  On a carrier that may be another one. */
lua_State *vm_leave(struct vm *vm);
void vm_enter(struct vm *vm, lua_State *at);

/* Raises "cancelled", without a place, if err is ECANCELED. */
void vm_check(lua_State *L, int err);

/* Cancels the tasks that are left, and waits until they have ended; false if
 * some do not. */
bool vm_end(struct vm *vm);

void vm_release(struct vm *vm);

/* ---- memory.c: states that we make --------------------------------------- */

/* As luaL_newstate and lua_close, with memory that needs no lock. */
lua_State *memory_new_state(void);
void memory_close_state(lua_State *L);

/* ---- slice.c: turns for those who wait, while a script computes --------- */

/* At the first call of all. */
void slice_start(void);

/* Where Lua runs on this OS thread; NULL: nowhere. */
void slice_set_running(struct vm *vm, lua_State *L);
lua_State *slice_running(void);

/* A new Lua thread: takes turns by count if VTHREAD_LUA_COUNT says so. */
void slice_begin(lua_State *L);

/* coroutine.resume and coroutine.wrap that know where Lua runs. */
void slice_open_coroutines(lua_State *L);

/* ---- task.c, isolate.c: threads ----------------------------------------- */

struct parcel;

/* A thread as Lua sees it.  Fields: I before it runs, T under the turn of the
 * state that has started it. */
struct task {
    struct task *next, **link; /* T: in vm->tasks */
    struct vm *vm;             /* I: the state that has started it */
    lua_State *lua;            /* I: its own Lua thread; NULL: an isolate's */
    vthread_t id;              /* I */
    vthread_latch_t done;      /* open when it has ended */
    int status;                /* T: LUA_OK or not, when it has ended */
    unsigned joiners;          /* T: that wait for its end */
    struct parcel *parcel;     /* an isolate's function, then its results */
    char *report;              /* an isolate's error, in words */
    _Atomic unsigned references;
    char name[32];
};

void task_open(lua_State *L);
int task_spawn(lua_State *L);
int task_isolate(lua_State *L);
int task_join(lua_State *L);
int task_cancel(lua_State *L);

/* Makes a task of the function at index 1, and pushes its handle.  lua may be
 * NULL, else its Lua thread is on the stack's top, and is popped. */
struct task *task_new(lua_State *L, struct vm *vm, lua_State *lua);

/* Starts it; raises an error if that fails. */
void task_start(lua_State *L, struct task *task, void *(*fn)(void *));

/* It has ended; the caller has the turn, and gives it up. */
void task_finish(struct task *task);

/* Says on standard error what became of it, unless somebody waits for it. */
void task_tell(const struct task *task, const char *report);

/* A message handler: the message and the stack. */
int task_explain(lua_State *L);

/* How many kilobytes the stack of a thread has. */
size_t task_stack_bytes(void);

/* ---- shared.c: objects that several states may have --------------------- */

struct shared;

struct shared_kind {
    const char *name; /* of the metatable */
    void (*destroy)(struct shared *shared);
};

/* The beginning of such an object. */
struct shared {
    const struct shared_kind *kind;
    _Atomic unsigned references;
    bool is_local; /* it stays in its state */
};

extern const struct shared_kind channel_kind, listener_kind, stream_kind;

void shared_retain(struct shared *shared);
void shared_release(struct shared *shared);

/* Pushes a userdata that owns the caller's reference; an error gives that
 * up. */
void shared_push(lua_State *L, struct shared *shared);

/* The object at an index, or an error. */
void *shared_check(lua_State *L, int index, const struct shared_kind *kind);

/* The object at an index, of whatever kind; NULL: it is none. */
struct shared *shared_test(lua_State *L, int index);

/* Makes the metatable: methods get the vm as upvalue. */
void shared_open(lua_State *L, struct vm *vm, const struct shared_kind *kind,
                 const luaL_Reg *methods, const luaL_Reg *metamethods);

/* ---- parcel_*.c: values on their way to another state ------------------- */

/* Copies of the values from index `first` to the top; an error says what
 * cannot be copied. */
struct parcel *parcel_pack(lua_State *L, int first);

/* Pushes the values, and returns how many.  The parcel stays as it is. */
int parcel_unpack(lua_State *L, const struct parcel *parcel);

void parcel_free(struct parcel *parcel);

/* ---- channel.c, select.c, tcp.c, stream.c, foreign.c -------------------- */

struct channel {
    struct shared shared;
    vthread_channel_t *channel; /* of words */
};

/* A value as a word, and back: a reference for a local channel, else a
 * parcel.  channel_take also frees the word. */
uint64_t channel_word(lua_State *L, struct channel *channel, int index);
void channel_take(lua_State *L, struct channel *channel, uint64_t word);
void channel_drop(lua_State *L, struct channel *channel, uint64_t word);

void channel_open(lua_State *L, struct vm *vm);
int channel_new(lua_State *L);
int select_call(lua_State *L);

void tcp_open(lua_State *L, struct vm *vm);
void stream_open(lua_State *L, struct vm *vm);

/* Pushes a stream that owns the descriptor. */
void stream_push(lua_State *L, int fd);

void foreign_open(lua_State *L, struct vm *vm);

/* ---- module.c ----------------------------------------------------------- */

/* A time-out in seconds at that index; nothing or nil: never. */
uint64_t module_deadline(lua_State *L, int index);

/* Pushes nil, words and the number; returns 3. */
int module_fail(lua_State *L, int err);

/* luaL_setfuncs, with the vm as upvalue. */
void module_functions(lua_State *L, struct vm *vm, const luaL_Reg *functions);

int luaopen_vthread(lua_State *L);

#endif
