/*
 * parcel_write.c - Lua values become a parcel (see parcel.h).
 *
 * A table or function that comes again is written as its number.  An error in
 * the middle leaves a parcel that can be freed: `whole` tells how far.
 */
#include "parcel.h"

#include <stdlib.h>
#include <string.h>

/* Deeper than any sensible value; keeps us off the end of the stack. */
#define DEEPEST 100

/* ---- Bytes -------------------------------------------------------------- */

static void append(lua_State *L, struct parcel *parcel, const void *bytes,
                   size_t count)
{
    if (parcel->capacity - parcel->length < count) {
        size_t capacity = 2 * parcel->capacity + count + 64;
        void *larger = realloc(parcel->bytes, capacity);
        if (larger == NULL)
            luaL_error(L, "out of memory");
        parcel->bytes = larger;
        parcel->capacity = capacity;
    }
    memcpy(parcel->bytes + parcel->length, bytes, count);
    parcel->length += count;
}

static void append_tag(lua_State *L, struct parcel *parcel, enum tag tag)
{
    unsigned char byte = (unsigned char)tag;

    append(L, parcel, &byte, 1);
}

static void append_text(lua_State *L, struct parcel *parcel, enum tag tag,
                        const char *text, size_t length)
{
    append_tag(L, parcel, tag);
    append(L, parcel, &length, sizeof length);
    append(L, parcel, text, length);
}

/* ---- Writing ------------------------------------------------------------ */

/* Where values are found again: by value their number, and where they go by
 * name. */
struct writer {
    struct parcel *parcel;
    int seen;   /* index of a table: by table or function its number */
    int loaded; /* of a table: by loaded module its name; both nil at first */
    lua_Integer count;
    int depth;
};

static void write_value(lua_State *L, struct writer *w, int index);

static _Noreturn void refuse(lua_State *L, int index, const char *why)
{
    luaL_error(L, "a %s cannot go to another state%s", luaL_typename(L, index),
               why);
    abort(); /* luaL_error does not return */
}

/* Pushes the table of loaded modules by value. */
static void push_loaded(lua_State *L)
{
    lua_newtable(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_istable(L, -1) && lua_type(L, -2) == LUA_TSTRING) {
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

/* Before the first table or function. */
static void prepare(lua_State *L, struct writer *w)
{
    if (!lua_isnil(L, w->seen))
        return;
    lua_newtable(L);
    lua_replace(L, w->seen);
    push_loaded(L);
    lua_replace(L, w->loaded);
}

/* Whether the value is written as one that is known already. */
static bool write_again(lua_State *L, struct writer *w, int index)
{
    lua_pushvalue(L, index);
    if (lua_rawget(L, w->seen) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, index);
        lua_pushinteger(L, ++w->count);
        lua_rawset(L, w->seen);
        return false;
    }
    lua_Integer number = lua_tointeger(L, -1);
    lua_pop(L, 1);
    append_tag(L, w->parcel, TAG_AGAIN);
    append(L, w->parcel, &number, sizeof number);
    return true;
}

/* Whether it is written by its name. */
static bool write_named(lua_State *L, struct writer *w, int index)
{
    bool is_named = true;

    lua_pushglobaltable(L);
    lua_pushvalue(L, index);
    if (lua_rawequal(L, -1, -2))
        append_tag(L, w->parcel, TAG_GLOBALS);
    else if (lua_rawget(L, w->loaded) == LUA_TSTRING)
        append_text(L, w->parcel, TAG_LOADED, lua_tostring(L, -1),
                    lua_rawlen(L, -1));
    else
        is_named = false;
    lua_pop(L, 2);
    return is_named;
}

static void write_table(lua_State *L, struct writer *w, int index)
{
    if (write_named(L, w, index) || write_again(L, w, index))
        return;
    if (lua_getmetatable(L, index))
        refuse(L, index, ": it has a metatable");
    append_tag(L, w->parcel, TAG_TABLE);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        write_value(L, w, lua_gettop(L) - 1);
        write_value(L, w, lua_gettop(L));
        lua_pop(L, 1);
    }
    append_tag(L, w->parcel, TAG_END);
}

static int add_piece(lua_State *L, const void *piece, size_t size, void *w)
{
    append(L, ((struct writer *)w)->parcel, piece, size);
    return 0;
}

/* The length is known, and written, when all of it is there. */
static void write_dump(lua_State *L, struct writer *w, int index)
{
    struct parcel *parcel = w->parcel;
    size_t length = 0;

    append_tag(L, parcel, TAG_FUNCTION);
    size_t place = parcel->length;
    append(L, parcel, &length, sizeof length);
    lua_pushvalue(L, index);
    lua_dump(L, add_piece, w, 0);
    lua_pop(L, 1);
    length = parcel->length - place - sizeof length;
    memcpy(parcel->bytes + place, &length, sizeof length);
}

/* Whether the function is in the table on top: pushes its name. */
static bool find_name(lua_State *L, int index)
{
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        bool is_found =
            lua_rawequal(L, -1, index) && lua_type(L, -2) == LUA_TSTRING;
        lua_pop(L, 1);
        if (is_found)
            return true;
    }
    return false;
}

/* Whether it is written as a member of a module. */
static bool write_member(lua_State *L, struct writer *w, int index)
{
    lua_pushnil(L);
    while (lua_next(L, w->loaded) != 0) { /* module, name */
        lua_pushvalue(L, -2);
        if (find_name(L, index)) { /* module, name, module, name in it */
            append_text(L, w->parcel, TAG_MEMBER, lua_tostring(L, -3),
                        lua_rawlen(L, -3));
            append_text(L, w->parcel, TAG_STRING, lua_tostring(L, -1),
                        lua_rawlen(L, -1));
            lua_pop(L, 4);
            return true;
        }
        lua_pop(L, 2);
    }
    return false;
}

static void write_c_function(lua_State *L, struct writer *w, int index)
{
    lua_CFunction function = lua_tocfunction(L, index);

    if (lua_getupvalue(L, index, 1) == NULL) {
        append_tag(L, w->parcel, TAG_C_FUNCTION);
        append(L, w->parcel, &function, sizeof function);
        return;
    }
    lua_pop(L, 1);
    if (!write_member(L, w, index))
        refuse(L, index, ": it is a C function with upvalues");
}

static void write_function(lua_State *L, struct writer *w, int index)
{
    const char *name;

    if (lua_iscfunction(L, index)) {
        write_c_function(L, w, index);
        return;
    }
    if (write_again(L, w, index))
        return;
    write_dump(L, w, index);
    for (int i = 1; (name = lua_getupvalue(L, index, i)) != NULL; i++) {
        write_value(L, w, lua_gettop(L));
        lua_pop(L, 1);
    }
    append_tag(L, w->parcel, TAG_END);
}

static void write_shared(lua_State *L, struct writer *w, int index)
{
    struct shared *shared = shared_test(L, index);

    if (shared == NULL)
        refuse(L, index, "");
    if (shared->is_local)
        refuse(L, index,
               ": it is a channel of this state; "
               "vthread.channel(n, \"copy\") makes one for several");
    append_tag(L, w->parcel, TAG_SHARED);
    append(L, w->parcel, &shared, sizeof shared);
    shared_retain(shared);
    w->parcel->whole = w->parcel->length;
}

static void write_number(lua_State *L, struct writer *w, int index)
{
    if (lua_isinteger(L, index)) {
        lua_Integer integer = lua_tointeger(L, index);
        append_tag(L, w->parcel, TAG_INTEGER);
        append(L, w->parcel, &integer, sizeof integer);
    } else {
        lua_Number number = lua_tonumber(L, index);
        append_tag(L, w->parcel, TAG_NUMBER);
        append(L, w->parcel, &number, sizeof number);
    }
}

static void write_plain(lua_State *L, struct writer *w, int index)
{
    void *pointer = lua_touserdata(L, index);

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        append_tag(L, w->parcel, TAG_NIL);
        break;
    case LUA_TBOOLEAN:
        append_tag(L, w->parcel,
                   lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
        break;
    case LUA_TNUMBER:
        write_number(L, w, index);
        break;
    case LUA_TSTRING:
        append_text(L, w->parcel, TAG_STRING, lua_tostring(L, index),
                    lua_rawlen(L, index));
        break;
    case LUA_TLIGHTUSERDATA:
        append_tag(L, w->parcel, TAG_LIGHT);
        append(L, w->parcel, &pointer, sizeof pointer);
        break;
    default: /* a coroutine */
        refuse(L, index, "");
    }
}

/* index is absolute. */
static void write_value(lua_State *L, struct writer *w, int index)
{
    w->parcel->whole = w->parcel->length;
    if (++w->depth > DEEPEST)
        luaL_error(L,
                   "a value of more than %d levels cannot go to another "
                   "state",
                   DEEPEST);
    luaL_checkstack(L, 10, "to copy a value");
    switch (lua_type(L, index)) {
    case LUA_TTABLE:
        prepare(L, w);
        write_table(L, w, index);
        break;
    case LUA_TFUNCTION:
        prepare(L, w);
        write_function(L, w, index);
        break;
    case LUA_TUSERDATA:
        write_shared(L, w, index);
        break;
    default:
        write_plain(L, w, index);
    }
    w->depth--;
}

/* In protected mode: the parcel, then the values. */
static int write_all(lua_State *L)
{
    struct parcel *parcel = lua_touserdata(L, 1);
    int last = lua_gettop(L);
    struct writer w = {.parcel = parcel, .seen = last + 1, .loaded = last + 2};

    lua_pushnil(L);
    lua_pushnil(L);
    for (int i = 2; i <= last; i++)
        write_value(L, &w, i);
    parcel->whole = parcel->length;
    return 0;
}

struct parcel *parcel_pack(lua_State *L, int first)
{
    int count = lua_gettop(L) - first + 1;
    struct parcel *parcel = calloc(1, sizeof *parcel);

    if (parcel == NULL)
        luaL_error(L, "out of memory");
    lua_pushcfunction(L, write_all);
    lua_insert(L, first);
    lua_pushlightuserdata(L, parcel);
    lua_insert(L, first + 1);
    if (lua_pcall(L, count + 1, 0, 0) != LUA_OK) {
        parcel_free(parcel);
        lua_error(L);
    }
    return parcel;
}
