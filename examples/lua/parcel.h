/*
 * parcel.h - what a parcel looks like inside: for who writes and reads it.
 *
 * A parcel is a sequence of bytes: each value is a tag and what belongs to it.
 * It is written under the turn of one state and read under that of another,
 * and needs neither in between.
 *
 *   copied     nil, booleans, numbers, strings, light userdata; tables without
 *              a metatable, whatever they refer to, circles too; Lua functions
 *              with their upvalues, each function with its own
 *   by name    a table that is in package.loaded, such as `string` or
 *              `require "vthread"`, and C functions in it; the table of
 *              globals (and so _ENV)
 *   as it is   a C function without upvalues
 *   shared     sockets, and channels that copy
 *
 * Anything else is an error that says what it is.
 */
#ifndef PARCEL_H
#define PARCEL_H

#include "module.h"

enum tag {
    TAG_NIL,
    TAG_FALSE,
    TAG_TRUE,
    TAG_INTEGER,
    TAG_NUMBER,
    TAG_STRING,
    TAG_LIGHT,
    TAG_TABLE,    /* keys and values, then TAG_END */
    TAG_FUNCTION, /* bytes, then upvalues, then TAG_END */
    TAG_C_FUNCTION,
    TAG_AGAIN, /* number of a table or function */
    TAG_GLOBALS,
    TAG_LOADED, /* name */
    TAG_MEMBER, /* name of a module, then a string: the name in there */
    TAG_SHARED,
    TAG_END,
};

struct parcel {
    size_t length, capacity;
    size_t whole; /* as far as it can be read; behind is one value at most */
    unsigned char *bytes;
};

_Static_assert(sizeof(lua_Integer) == sizeof(lua_Number)
                   && sizeof(lua_Integer) == sizeof(void *)
                   && sizeof(lua_Integer) == sizeof(lua_CFunction),
               "all that is not text takes the same space");

#endif
