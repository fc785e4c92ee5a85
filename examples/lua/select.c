/*
 * select.c - vthread.select: one send or receive of several.
 *
 *     vthread.select({jobs, quit, {results, value}}, timeout)
 *
 * A case is a channel, to receive from, or a channel and a value to send.
 * Returns the number of the case and, for a receive, the value; after that of
 * a closed channel nil and "closed".  Nil and "timeout" if there was none.
 */
#include "module.h"

#include <errno.h>

#define MOST 1000

/* On the heap of Lua: it stays there while the thread waits. */
struct selection {
    vthread_select_case_t *cases;
    struct channel **channels;
    uint64_t *words;
    int count;
};

static void allocate(lua_State *L, struct selection *s)
{
    size_t count = (size_t)s->count;
    size_t bytes =
        count * (sizeof *s->cases + sizeof *s->channels + sizeof *s->words);

    s->cases = lua_newuserdatauv(L, bytes, 0);
    s->channels = (struct channel **)(s->cases + count);
    s->words = (uint64_t *)(s->channels + count);
}

/* The channel of case i, which is left on the stack, and whether a value is to
 * be sent, which is left there as well. */
static bool push_case(lua_State *L, struct selection *s, int i)
{
    bool is_send = lua_geti(L, 1, i + 1) == LUA_TTABLE;

    if (is_send) {
        lua_geti(L, -1, 2);
        lua_geti(L, -2, 1);
        lua_replace(L, -3);
    }
    int index = lua_absindex(L, is_send ? -2 : -1);
    struct shared *shared = shared_test(L, index);
    if (shared == NULL || shared->kind != &channel_kind)
        luaL_error(L, "case %d of select is no channel, nor {channel, value}",
                   i + 1);
    if (is_send && lua_isnil(L, -1))
        luaL_error(L, "case %d of select sends nil", i + 1);
    s->channels[i] = (struct channel *)shared;
    return is_send;
}

/* Channels stay on the stack, so they are not collected. */
static void check_cases(lua_State *L, struct selection *s)
{
    for (int i = 0; i < s->count; i++) {
        bool is_send = push_case(L, s, i);
        if (is_send)
            lua_pop(L, 1);
        s->cases[i] = (vthread_select_case_t){
            .channel = s->channels[i]->channel,
            .op = is_send ? VTHREAD_SELECT_SEND : VTHREAD_SELECT_RECEIVE,
            .value = &s->words[i]};
    }
}

static void drop_words(lua_State *L, struct selection *s, int count,
                       int chosen)
{
    for (int i = 0; i < count; i++)
        if (s->cases[i].op == VTHREAD_SELECT_SEND && i != chosen)
            channel_drop(L, s->channels[i], s->words[i]);
}

/* In protected mode: the selection, the cases, the number of one. */
static int make_word(lua_State *L)
{
    struct selection *s = lua_touserdata(L, 2);
    int i = (int)lua_tointeger(L, 3);

    lua_geti(L, 1, i + 1);
    lua_geti(L, -1, 2);
    s->words[i] = channel_word(L, s->channels[i], lua_gettop(L));
    return 0;
}

/* What is sent; an error drops what there is already. */
static void make_words(lua_State *L, struct selection *s)
{
    for (int i = 0; i < s->count; i++) {
        if (s->cases[i].op != VTHREAD_SELECT_SEND)
            continue;
        lua_pushcfunction(L, make_word);
        lua_pushvalue(L, 1);
        lua_pushlightuserdata(L, s);
        lua_pushinteger(L, i);
        if (lua_pcall(L, 3, 0, 0) == LUA_OK)
            continue;
        drop_words(L, s, i, -1);
        lua_error(L);
    }
}

static int wait_for_one(lua_State *L, struct selection *s,
                        uint64_t deadline_ns, size_t *chosen)
{
    size_t count = (size_t)s->count;
    int err = vthread_tryselect(s->cases, count, chosen);

    if (err != EAGAIN)
        return err;
    for (int i = 0; i < s->count; i++)
        shared_retain(&s->channels[i]->shared);
    lua_State *at = vm_leave(vm_of(L));
    err = vthread_select_until(s->cases, count, chosen, deadline_ns);
    vm_enter(vm_of(L), at);
    for (int i = 0; i < s->count; i++)
        shared_release(&s->channels[i]->shared);
    return err;
}

static int push_outcome(lua_State *L, struct selection *s, int chosen)
{
    const vthread_select_case_t *done = &s->cases[chosen];

    lua_pushinteger(L, chosen + 1);
    if (done->result != 0) {
        if (done->op == VTHREAD_SELECT_SEND)
            channel_drop(L, s->channels[chosen], s->words[chosen]);
        return 1 + module_fail(L, done->result);
    }
    if (done->op == VTHREAD_SELECT_SEND)
        lua_pushboolean(L, true);
    else
        channel_take(L, s->channels[chosen], s->words[chosen]);
    return 2;
}

int select_call(lua_State *L)
{
    struct selection s;
    size_t chosen;

    luaL_checktype(L, 1, LUA_TTABLE);
    uint64_t deadline_ns = module_deadline(L, 2);
    lua_Integer count = luaL_len(L, 1);
    luaL_argcheck(L, count >= 0 && count <= MOST, 1, "0 to 1000 cases");
    s.count = (int)count;
    luaL_checkstack(L, s.count + LUA_MINSTACK, "too many cases");
    allocate(L, &s);
    check_cases(L, &s);
    make_words(L, &s);
    int err = wait_for_one(L, &s, deadline_ns, &chosen);
    drop_words(L, &s, s.count, err == 0 ? (int)chosen : -1);
    vm_check(L, err);
    return err == 0 ? push_outcome(L, &s, (int)chosen) : module_fail(L, err);
}
