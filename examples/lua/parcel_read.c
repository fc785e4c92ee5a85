/*
 * parcel_read.c - a parcel becomes Lua values again, and is freed (see
 * parcel.h).
 *
 * Reading leaves the parcel as it is, so it may be read several times.  What
 * is shared has a reference in it until it is freed.
 */
#include "parcel.h"

#include <stdlib.h>
#include <string.h>

/* ---- Reading ------------------------------------------------------------ */

struct reader {
    const unsigned char *at;
    int seen; /* index: nil, or a table: by number the table or function */
    lua_Integer count;
};

static void take(struct reader *r, void *bytes, size_t count)
{
    memcpy(bytes, r->at, count);
    r->at += count;
}

static const char *take_text(struct reader *r, size_t *length)
{
    take(r, length, sizeof *length);
    const char *text = (const char *)r->at;
    r->at += *length;
    return text;
}

static void keep(lua_State *L, struct reader *r)
{
    if (r->count == 0) {
        lua_newtable(L);
        lua_replace(L, r->seen);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, r->seen, ++r->count);
}

static bool read_value(lua_State *L, struct reader *r);

static void read_table(lua_State *L, struct reader *r)
{
    lua_newtable(L);
    keep(L, r);
    while (read_value(L, r)) {
        read_value(L, r);
        lua_rawset(L, -3);
    }
}

static void read_function(lua_State *L, struct reader *r)
{
    size_t length;
    const char *dump = take_text(r, &length);

    if (luaL_loadbufferx(L, dump, length, "=copy", "b") != LUA_OK)
        lua_error(L);
    keep(L, r);
    for (int i = 1; read_value(L, r); i++)
        lua_setupvalue(L, -2, i);
}

static void read_text(lua_State *L, struct reader *r)
{
    size_t length;
    const char *text = take_text(r, &length);

    lua_pushlstring(L, text, length);
}

static void read_loaded(lua_State *L, struct reader *r)
{
    lua_getglobal(L, "require");
    read_text(L, r);
    lua_call(L, 1, 1);
}

static void read_shared(lua_State *L, struct reader *r)
{
    struct shared *shared;

    take(r, &shared, sizeof shared);
    shared_retain(shared);
    shared_push(L, shared);
}

static void read_number(lua_State *L, struct reader *r, enum tag tag)
{
    lua_Integer integer;
    lua_Number number;

    if (tag == TAG_NUMBER) {
        take(r, &number, sizeof number);
        lua_pushnumber(L, number);
        return;
    }
    take(r, &integer, sizeof integer);
    if (tag == TAG_INTEGER)
        lua_pushinteger(L, integer);
    else
        lua_rawgeti(L, r->seen, integer);
}

static void read_pointer(lua_State *L, struct reader *r, enum tag tag)
{
    lua_CFunction function;
    void *pointer;

    if (tag == TAG_LIGHT) {
        take(r, &pointer, sizeof pointer);
        lua_pushlightuserdata(L, pointer);
    } else {
        take(r, &function, sizeof function);
        lua_pushcfunction(L, function);
    }
}

/* Pushes the next value; false at TAG_END. */
static bool read_value(lua_State *L, struct reader *r)
{
    enum tag tag = *r->at++;

    luaL_checkstack(L, 10, "to copy a value");
    switch (tag) {
    case TAG_END:
        return false;
    case TAG_NIL:
        lua_pushnil(L);
        break;
    case TAG_FALSE:
    case TAG_TRUE:
        lua_pushboolean(L, tag == TAG_TRUE);
        break;
    case TAG_INTEGER:
    case TAG_NUMBER:
    case TAG_AGAIN:
        read_number(L, r, tag);
        break;
    case TAG_STRING:
        read_text(L, r);
        break;
    case TAG_LIGHT:
    case TAG_C_FUNCTION:
        read_pointer(L, r, tag);
        break;
    case TAG_TABLE:
        read_table(L, r);
        break;
    case TAG_FUNCTION:
        read_function(L, r);
        break;
    case TAG_GLOBALS:
        lua_pushglobaltable(L);
        break;
    case TAG_LOADED:
        read_loaded(L, r);
        break;
    case TAG_MEMBER:
        read_loaded(L, r);
        read_value(L, r);
        lua_gettable(L, -2);
        lua_remove(L, -2);
        break;
    case TAG_SHARED:
        read_shared(L, r);
        break;
    }
    return true;
}

int parcel_unpack(lua_State *L, const struct parcel *parcel)
{
    const unsigned char *end = parcel->bytes + parcel->length;
    int count = 0;

    lua_pushnil(L);
    struct reader r = {.at = parcel->bytes, .seen = lua_gettop(L)};
    for (; r.at < end; count++)
        read_value(L, &r);
    lua_remove(L, r.seen);
    return count;
}

/* ---- The end ------------------------------------------------------------ */

/* Steps over a tag and what belongs to it, but not over what it contains. */
static void skip(struct reader *r)
{
    struct shared *shared;
    size_t length;

    switch ((enum tag) * r->at++) {
    case TAG_STRING:
    case TAG_FUNCTION:
    case TAG_LOADED:
    case TAG_MEMBER:
        take_text(r, &length);
        break;
    case TAG_INTEGER:
    case TAG_NUMBER:
    case TAG_AGAIN:
    case TAG_LIGHT:
    case TAG_C_FUNCTION:
        r->at += sizeof(lua_Integer);
        break;
    case TAG_SHARED:
        take(r, &shared, sizeof shared);
        shared_release(shared);
        break;
    default:
        break;
    }
}

void parcel_free(struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    struct reader r = {.at = parcel->bytes};
    while (r.at < parcel->bytes + parcel->whole)
        skip(&r);
    free(parcel->bytes);
    free(parcel);
}
