/*
 * foreign.c - functions of shared libraries, called from Lua.
 *
 *     local sqrt = vthread.foreign("libm.so.6", "sqrt", "d(d)")
 *     print(sqrt(2))
 *     vthread.call("libc.so.6", "sleep", "I(I)", 1)
 *
 * The signature is as vthread/call.h says.  While a function runs others take
 * over: the turn is given up, and the carrier's work is handed on when the
 * call lasts.  "critical" as the last argument of foreign says that a function
 * is over at once; "blocking" that it never is.  A call is not cancelled: were
 * it abandoned, it would go on with memory of Lua that is collected.
 *
 * A call returns the result and errno.  Strings and buffers (vthread.buffer)
 * go by address; nil is NULL.
 */
#include "module.h"

#include <errno.h>
#include <string.h>

#include <vthread/call.h>

#define FUNCTION "vthread.foreign"
#define BUFFER "vthread.buffer"
#define MOST 32

/* Libraries stay loaded: a function may be in use anywhere. */
struct foreign {
    void (*fn)(void);
    vthread_call_site_t site;
    unsigned count;
};

union value {
    long long integer;
    unsigned long long natural;
    double real;
    float single;
    const void *pointer;
};

struct buffer {
    size_t size;
    char bytes[];
};

/* ---- Arguments and results ---------------------------------------------- */

static const void *to_pointer(lua_State *L, int index)
{
    struct buffer *buffer = luaL_testudata(L, index, BUFFER);

    if (buffer != NULL)
        return buffer->bytes;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return NULL;
    case LUA_TSTRING:
        return lua_tostring(L, index);
    case LUA_TLIGHTUSERDATA:
        return lua_touserdata(L, index);
    default:
        luaL_typeerror(L, index, "string, buffer, pointer or nil");
        return NULL;
    }
}

static void to_value(lua_State *L, int index, const ffi_type *type,
                     union value *value)
{
    switch (type->type) {
    case FFI_TYPE_FLOAT:
        value->single = (float)luaL_checknumber(L, index);
        break;
    case FFI_TYPE_DOUBLE:
        value->real = luaL_checknumber(L, index);
        break;
    case FFI_TYPE_POINTER:
        value->pointer = to_pointer(L, index);
        break;
    default: /* little endian: the low bytes come first */
        value->integer = luaL_checkinteger(L, index);
    }
}

static bool is_supported(const ffi_type *type)
{
    return type->type != FFI_TYPE_STRUCT && type->type != FFI_TYPE_LONGDOUBLE;
}

static bool is_unsigned(const ffi_type *type)
{
    return type->type == FFI_TYPE_UINT8 || type->type == FFI_TYPE_UINT16
           || type->type == FFI_TYPE_UINT32 || type->type == FFI_TYPE_UINT64;
}

/* The low bytes of value, widened. */
static lua_Integer widen(const ffi_type *type, const union value *value)
{
    unsigned shift = 64 - 8 * (unsigned)type->size;
    unsigned long long high = value->natural << shift;

    return is_unsigned(type) ? (lua_Integer)(high >> shift)
                             : (long long)high >> shift;
}

/* A char * of the signature ("s") is a string, any other pointer is not. */
static void push_result(lua_State *L, const struct foreign *foreign,
                        const union value *value)
{
    const ffi_type *type = vthread_signature_result(foreign->site.prepared);

    switch (type->type) {
    case FFI_TYPE_VOID:
        lua_pushboolean(L, true);
        break;
    case FFI_TYPE_FLOAT:
        lua_pushnumber(L, value->single);
        break;
    case FFI_TYPE_DOUBLE:
        lua_pushnumber(L, value->real);
        break;
    case FFI_TYPE_POINTER:
        lua_getiuservalue(L, 1, 1);
        if (value->pointer == NULL)
            lua_pushnil(L);
        else if (lua_toboolean(L, -1))
            lua_pushstring(L, value->pointer);
        else
            lua_pushlightuserdata(L, (void *)value->pointer);
        break;
    default:
        lua_pushinteger(L, widen(type, value));
    }
}

/* ---- Calls -------------------------------------------------------------- */

/* The function, then its arguments. */
static int call_foreign(lua_State *L)
{
    struct foreign *foreign = luaL_checkudata(L, 1, FUNCTION);
    vthread_signature_t *signature = foreign->site.prepared;
    union value values[MOST], result = {0};
    void *arguments[MOST];
    int error = 0;

    if (lua_gettop(L) - 1 != (int)foreign->count)
        return luaL_error(L, "%d arguments expected, got %d",
                          (int)foreign->count, lua_gettop(L) - 1);
    for (unsigned i = 0; i < foreign->count; i++) {
        to_value(L, (int)i + 2, vthread_signature_argument(signature, i),
                 &values[i]);
        arguments[i] = &values[i];
    }
    lua_State *at = vm_leave(vm_of(L));
    int err =
        vthread_call(&foreign->site, foreign->fn, &result, arguments, &error);
    vm_enter(vm_of(L), at);
    vm_check(L, err);
    if (err != 0)
        return luaL_error(L, "the call cannot be made: %s", strerror(err));
    push_result(L, foreign, &result);
    lua_pushinteger(L, error);
    return 2;
}

/* ---- Functions ---------------------------------------------------------- */

static void parse(lua_State *L, struct foreign *foreign, const char *text)
{
    vthread_signature_error_t error = {0, "out of memory"};

    if (vthread_signature_parse(&foreign->site.prepared, text, &error) != 0)
        luaL_error(L, "bad signature '%s': %s, at \"%s\"", text, error.message,
                   text + error.position);
    foreign->count = vthread_signature_count(foreign->site.prepared);
    if (foreign->count > MOST)
        luaL_error(L, "more than %d arguments", MOST);
    bool is_fine =
        is_supported(vthread_signature_result(foreign->site.prepared));
    for (unsigned i = 0; i < foreign->count; i++)
        is_fine = is_fine
                  && is_supported(
                      vthread_signature_argument(foreign->site.prepared, i));
    if (!is_fine)
        luaL_error(L,
                   "bad signature '%s': Lua has no structs and no long "
                   "doubles",
                   text);
}

static void *load(lua_State *L, const char *path)
{
    char why[256] = "";
    void *library = NULL;
    lua_State *at = vm_leave(vm_of(L));
    int err = vthread_dlopen(path, RTLD_NOW, &library, why, sizeof why);

    vm_enter(vm_of(L), at);
    vm_check(L, err);
    if (err != 0)
        luaL_error(L, "%s", why[0] != '\0' ? why : strerror(err));
    return library;
}

/* foreign(library or nil, name, signature [, policy]) */
static int make_foreign(lua_State *L)
{
    static const char *const policies[] = {"auto", "critical", "blocking",
                                           NULL};
    const char *path = luaL_optstring(L, 1, NULL);
    const char *name = luaL_checkstring(L, 2);
    const char *signature = luaL_checkstring(L, 3);
    unsigned policy = (unsigned)luaL_checkoption(L, 4, "auto", policies);
    struct foreign *foreign = lua_newuserdatauv(L, sizeof *foreign, 1);

    *foreign = (struct foreign){.site.policy = policy};
    luaL_setmetatable(L, FUNCTION);
    parse(L, foreign, signature);
    lua_pushboolean(L, signature[0] == 's');
    lua_setiuservalue(L, -2, 1);
    *(void **)&foreign->fn = dlsym(load(L, path), name);
    if (foreign->fn == NULL)
        return luaL_error(L, "no function '%s' in %s", name,
                          path == NULL ? "this program" : path);
    return 1;
}

/* call(library or nil, name, signature, ...): functions are remembered, in
 * the second upvalue. */
static int call_named(lua_State *L)
{
    luaL_checkany(L, 3);
    lua_pushfstring(L, "%s %s %s", luaL_optstring(L, 1, ""),
                    luaL_checkstring(L, 2), luaL_checkstring(L, 3));
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, lua_upvalueindex(3));
        for (int i = 1; i <= 3; i++)
            lua_pushvalue(L, i);
        lua_call(L, 3, 1);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, lua_upvalueindex(2));
    }
    lua_insert(L, 4);
    lua_pop(L, 1);
    for (int i = 1; i <= 3; i++)
        lua_remove(L, 1);
    return call_foreign(L);
}

/* ---- Buffers ------------------------------------------------------------ */

static int make_buffer(lua_State *L)
{
    lua_Integer size = luaL_checkinteger(L, 1);

    luaL_argcheck(L, size > 0 && size <= INT32_MAX, 1, "no size");
    struct buffer *buffer =
        lua_newuserdatauv(L, sizeof *buffer + (size_t)size, 0);
    buffer->size = (size_t)size;
    memset(buffer->bytes, 0, (size_t)size);
    luaL_setmetatable(L, BUFFER);
    return 1;
}

/* string([n]): its first n bytes; all. */
static int buffer_string(lua_State *L)
{
    struct buffer *buffer = luaL_checkudata(L, 1, BUFFER);
    lua_Integer count = luaL_optinteger(L, 2, (lua_Integer)buffer->size);

    luaL_argcheck(L, count >= 0 && (size_t)count <= buffer->size, 2,
                  "the buffer has not so many bytes");
    lua_pushlstring(L, buffer->bytes, (size_t)count);
    return 1;
}

static int buffer_length(lua_State *L)
{
    struct buffer *buffer = luaL_checkudata(L, 1, BUFFER);

    lua_pushinteger(L, (lua_Integer)buffer->size);
    return 1;
}

static void open_buffers(lua_State *L)
{
    luaL_newmetatable(L, BUFFER);
    lua_pushcfunction(L, buffer_length);
    lua_setfield(L, -2, "__len");
    lua_newtable(L);
    lua_pushcfunction(L, buffer_string);
    lua_setfield(L, -2, "string");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

/* The table of the module is on top. */
void foreign_open(lua_State *L, struct vm *vm)
{
    static const luaL_Reg functions[] = {
        {"foreign", make_foreign}, {"buffer", make_buffer}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__call", call_foreign},
                                           {NULL, NULL}};

    open_buffers(L);
    luaL_newmetatable(L, FUNCTION);
    module_functions(L, vm, metamethods);
    lua_pop(L, 1);
    module_functions(L, vm, functions);
    lua_pushlightuserdata(L, vm);
    lua_newtable(L);
    lua_getfield(L, -3, "foreign");
    lua_pushcclosure(L, call_named, 3);
    lua_setfield(L, -2, "call");
}
