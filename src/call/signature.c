/*
 * signature.c - prepared signatures: of a text, kept for ever; of types,
 * counted.
 *
 * Here too: what libffi asks of its callers and ours need not know.  It
 * returns short integers as an ffi_arg, and takes no float or short integer
 * as a variadic argument.
 *
 * One of a text is looked up without a lock: buckets are lists that only grow,
 * at their heads.  Two threads that prepare the same text meet under the
 * lock, and the second one drops what it has made.
 *
 * A signature is one block: the object, the types as given, as promoted, and
 * the structs of the text with their lists of members.
 */
#include "call/signature.h"

#include <errno.h>
#include <string.h>

#include "platform/futex.h"
#include "platform/memory.h"

enum {
    BUCKETS = 256,
    TEXT_MAX_BYTES = 4096,
    NESTED_MAX = 16, /* structs in structs */
};

static const char NO_PLACE[] = "there is no place for the signature";

static struct vthread_signature *_Atomic buckets[BUCKETS]; /* A */
static struct os_lock lock;

/* ---- Small integers ----------------------------------------------------- */

static bool is_integer(const ffi_type *type)
{
    switch (type->type) {
    case FFI_TYPE_INT:
    case FFI_TYPE_UINT8:
    case FFI_TYPE_SINT8:
    case FFI_TYPE_UINT16:
    case FFI_TYPE_SINT16:
    case FFI_TYPE_UINT32:
    case FFI_TYPE_SINT32:
    case FFI_TYPE_UINT64:
    case FFI_TYPE_SINT64:
        return true;
    default:
        return false;
    }
}

ffi_arg signature_load_small(const ffi_type *type, const void *from)
{
    switch (type->type) {
    case FFI_TYPE_UINT8:
        return *(const uint8_t *)from;
    case FFI_TYPE_SINT8:
        return (ffi_arg)(ffi_sarg) * (const int8_t *)from;
    case FFI_TYPE_UINT16:
        return *(const uint16_t *)from;
    case FFI_TYPE_SINT16:
        return (ffi_arg)(ffi_sarg) * (const int16_t *)from;
    case FFI_TYPE_UINT32:
        return *(const uint32_t *)from;
    default:
        return (ffi_arg)(ffi_sarg) * (const int32_t *)from;
    }
}

/* What C makes of a variadic argument of that type. */
static ffi_type *promoted(ffi_type *type)
{
    if (type->type == FFI_TYPE_FLOAT)
        return &ffi_type_double;
    if (is_integer(type) && type->size < ffi_type_sint.size)
        return &ffi_type_sint;
    return type;
}

union promoted_value {
    double real;
    int integer;
};

void signature_call_promoting(const struct vthread_signature *s,
                              void (*fn)(void), void *result,
                              void *const args[])
{
    unsigned count = s->cif.nargs;
    union promoted_value values[VTHREAD_SIGNATURE_MAX];
    void *places[VTHREAD_SIGNATURE_MAX];
    for (unsigned i = 0; i < count; i++) {
        places[i] = &values[i];
        if (s->given[i] == s->cif.arg_types[i])
            places[i] = args[i];
        else if (s->given[i]->type == FFI_TYPE_FLOAT)
            values[i].real = *(const float *)args[i];
        else
            values[i].integer = (int)signature_load_small(s->given[i],
                                                          args[i]);
    }
    ffi_arg small;
    ffi_call((ffi_cif *)&s->cif, fn, s->is_small ? &small : result, places);
    if (s->is_small && result)
        signature_store_small(s->cif.rtype, result, small);
}

/* ---- Preparing ---------------------------------------------------------- */

static int refuse(vthread_signature_error_t *error, size_t position,
                  const char *message)
{
    if (error)
        *error = (vthread_signature_error_t){position, message};
    return EINVAL;
}

/* Has libffi look at it.  `given` and room for as many more are there. */
static int prepare(struct vthread_signature *s, ffi_type *result,
                   unsigned fixed, unsigned count,
                   vthread_signature_error_t *error)
{
    ffi_type **types = s->given + count;
    for (unsigned i = 0; i < count; i++) {
        types[i] = i < fixed ? s->given[i] : promoted(s->given[i]);
        s->is_promoting |= types[i] != s->given[i];
    }
    ffi_status status =
        s->is_variadic
            ? ffi_prep_cif_var(&s->cif, FFI_DEFAULT_ABI, fixed, count,
                               result, types)
            : ffi_prep_cif(&s->cif, FFI_DEFAULT_ABI, count, result, types);
    if (status != FFI_OK)
        return refuse(error, 0, "libffi refuses these types");
    s->is_small = is_integer(result) && result->size < sizeof(ffi_arg);
    return 0;
}

/* ---- Of types ----------------------------------------------------------- */

static int check_types(ffi_type *result, unsigned fixed, unsigned count,
                       ffi_type *const *arguments,
                       vthread_signature_error_t *error)
{
    if (count > VTHREAD_SIGNATURE_MAX)
        return refuse(error, VTHREAD_SIGNATURE_MAX, "too many arguments");
    if (!result)
        return refuse(error, 0, "there is no type of the result");
    if (fixed > count)
        return refuse(error, 0, "more arguments are fixed than there are");
    if (fixed < count && fixed == 0)
        return refuse(error, 0, "the first argument may not be variadic");
    for (unsigned i = 0; i < count; i++)
        if (!arguments || !arguments[i]
            || arguments[i]->type == FFI_TYPE_VOID)
            return refuse(error, i, "this is no type of an argument");
    return 0;
}

int vthread_signature_create(vthread_signature_t **signature,
                             ffi_type *result, unsigned fixed,
                             unsigned count, ffi_type *const *arguments,
                             vthread_signature_error_t *error)
{
    int err = check_types(result, fixed, count, arguments, error);
    if (err != 0)
        return err;
    if (!signature)
        return refuse(error, 0, NO_PLACE);
    struct vthread_signature *s =
        memory_alloc(sizeof *s + 2 * count * sizeof *arguments);
    if (!s)
        return ENOMEM;
    *s = (struct vthread_signature){.given = (ffi_type **)(s + 1),
                                    .is_variadic = fixed < count,
                                    .users = 1};
    if (count > 0)
        memcpy(s->given, arguments, count * sizeof *arguments);
    err = prepare(s, result, fixed, count, error);
    if (err == 0)
        *signature = s;
    else
        memory_free(s);
    return err;
}

void signature_retain(struct vthread_signature *s)
{
    /* Relaxed: the caller has it, so it stays meanwhile. */
    if (!s->text)
        atomic_fetch_add_explicit(&s->users, 1, memory_order_relaxed);
}

void signature_release(struct vthread_signature *s)
{
    /* Release, then acquire: what others did with it happens before it is
     * freed; pairs with itself. */
    if (!s->text
        && atomic_fetch_sub_explicit(&s->users, 1, memory_order_acq_rel) == 1)
        memory_free(s);
}

void vthread_signature_destroy(vthread_signature_t *s)
{
    if (s)
        signature_release(s);
}

unsigned vthread_signature_count(const vthread_signature_t *s)
{
    return s->cif.nargs;
}

const ffi_type *vthread_signature_argument(const vthread_signature_t *s,
                                           unsigned argument)
{
    return argument < s->cif.nargs ? s->given[argument] : NULL;
}

const ffi_type *vthread_signature_result(const vthread_signature_t *s)
{
    return s->cif.rtype;
}

/* ---- Of a text ---------------------------------------------------------- */

struct parser {
    const char *text, *at;
    const char *message; /* what is wrong at `at`; NULL: nothing */
    ffi_type **pending;  /* members of structs that are not complete */
    ffi_type **lists;    /* room for their lists */
    ffi_type *structs;   /* room for themselves */
    unsigned nested;
};

static ffi_type *wrong(struct parser *p, const char *message)
{
    if (!p->message)
        p->message = message;
    return NULL;
}

static ffi_type *unsigned_type(struct parser *p)
{
    switch (*p->at++) {
    case '1':
        return &ffi_type_uint8;
    case '2':
        return &ffi_type_uint16;
    case '4':
        return &ffi_type_uint32;
    case '8':
        return &ffi_type_uint64;
    }
    p->at--;
    return wrong(p, "after u comes 1, 2, 4 or 8");
}

static ffi_type *type_of_letter(char letter)
{
    static const struct {
        char letter;
        ffi_type *type;
    } types[] = {
        {'b', &ffi_type_uint8},   {'c', &ffi_type_schar},
        {'C', &ffi_type_uchar},   {'h', &ffi_type_sshort},
        {'H', &ffi_type_ushort},  {'i', &ffi_type_sint},
        {'I', &ffi_type_uint},    {'l', &ffi_type_slong},
        {'L', &ffi_type_ulong},   {'q', &ffi_type_sint64},
        {'Q', &ffi_type_uint64},  {'t', &ffi_type_slong},
        {'z', &ffi_type_ulong},   {'1', &ffi_type_sint8},
        {'2', &ffi_type_sint16},  {'4', &ffi_type_sint32},
        {'8', &ffi_type_sint64},  {'f', &ffi_type_float},
        {'d', &ffi_type_double},  {'D', &ffi_type_longdouble},
        {'p', &ffi_type_pointer}, {'s', &ffi_type_pointer},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].letter == letter)
            return types[i].type;
    return NULL;
}

_Static_assert(sizeof(size_t) == sizeof(long)
                   && sizeof(ptrdiff_t) == sizeof(long)
                   && sizeof(long long) == 8 && sizeof(bool) == 1,
               "the letters t, z, q, Q and b");

static ffi_type *struct_type(struct parser *p);

/* NULL: wrong, and where it is. */
static ffi_type *type(struct parser *p)
{
    char letter = *p->at;
    if (letter == '{')
        return struct_type(p);
    if (letter == 'v')
        return wrong(p, "void is for the result only");
    if (letter == 'u') {
        p->at++;
        return unsigned_type(p);
    }
    ffi_type *found = letter ? type_of_letter(letter) : NULL;
    if (!found)
        return wrong(p, letter ? "this is no letter of a type"
                               : "the text ends too early");
    p->at++;
    return found;
}

/* From the brace to the other; its list ends with NULL. */
static ffi_type *struct_type(struct parser *p)
{
    unsigned count = 0;
    ffi_type **members = p->pending;
    if (p->nested == NESTED_MAX)
        return wrong(p, "structs are nested too deeply");
    p->nested++;
    p->at++;
    while (*p->at != '}') {
        if (count++ == VTHREAD_SIGNATURE_MAX)
            return wrong(p, "too many members");
        ffi_type *member = type(p);
        if (!member)
            return NULL;
        *p->pending++ = member;
    }
    if (count == 0)
        return wrong(p, "a struct without members cannot be passed");
    p->at++;
    p->nested--;
    p->pending = members;
    ffi_type *made = p->structs++;
    *made = (ffi_type){.type = FFI_TYPE_STRUCT, .elements = p->lists};
    memcpy(p->lists, members, count * sizeof *members);
    p->lists[count] = NULL;
    p->lists += count + 1;
    return made;
}

static ffi_type *result_type(struct parser *p)
{
    if (*p->at != 'v')
        return type(p);
    p->at++;
    return &ffi_type_void;
}

/* Those between the parentheses; *fixed: those before the dot. */
static unsigned arguments(struct parser *p, struct vthread_signature *s,
                          unsigned *fixed)
{
    unsigned count = 0;
    if (*p->at != '(') {
        wrong(p, "after the result comes (");
        return 0;
    }
    p->at++;
    while (*p->at != ')' && !p->message) {
        if (*p->at == '.' && !s->is_variadic && count > 0) {
            s->is_variadic = true;
            *fixed = count;
            p->at++;
            continue;
        }
        if (*p->at == '.')
            wrong(p, count > 0 ? "a second dot"
                               : "the first argument may not be variadic");
        else if (count == VTHREAD_SIGNATURE_MAX)
            wrong(p, "too many arguments");
        bool is_string = *p->at == 's';
        ffi_type *given = p->message ? NULL : type(p);
        if (!given)
            return 0;
        s->strings[count / 64] |= (uint64_t)is_string << count % 64;
        s->given[count++] = given;
    }
    if (!s->is_variadic)
        *fixed = count;
    p->at++;
    if (*p->at)
        wrong(p, "the text goes on after the )");
    return count;
}

static int parse(struct vthread_signature *s, struct parser *p,
                 vthread_signature_error_t *error)
{
    unsigned fixed = 0, count = 0;
    ffi_type *result = result_type(p);
    if (result)
        count = arguments(p, s, &fixed);
    if (p->message)
        return refuse(error, (size_t)(p->at - p->text), p->message);
    return prepare(s, result, fixed, count, error);
}

/* Room for a text of that length, whatever is in it: each letter is an
 * argument, given and promoted, or a member, pending and in its list. */
static struct vthread_signature *allocate(const char *text, size_t length,
                                          struct parser *p)
{
    size_t structs = 0;
    for (const char *at = text; *at; at++)
        structs += *at == '{';
    size_t pointers = 4 * length + structs;
    struct vthread_signature *s = memory_alloc(
        sizeof *s + pointers * sizeof(ffi_type *)
        + structs * sizeof(ffi_type) + length + 1);
    if (!s)
        return NULL;
    ffi_type **room = (ffi_type **)(s + 1);
    *p = (struct parser){.text = text,
                         .at = text,
                         .pending = room + 2 * length,
                         .lists = room + 3 * length,
                         .structs = (ffi_type *)(room + pointers)};
    char *copy = (char *)(p->structs + structs);
    memcpy(copy, text, length + 1);
    *s = (struct vthread_signature){.given = room, .text = copy};
    return s;
}

/* FNV-1a. */
static uint32_t hash_of(const char *text, size_t *length)
{
    uint32_t hash = 2166136261u;
    const char *at = text;
    while (*at)
        hash = (hash ^ (unsigned char)*at++) * 16777619u;
    *length = (size_t)(at - text);
    return hash;
}

static struct vthread_signature *find(uint32_t hash, const char *text)
{
    /* Acquire: observes the object, and those behind it; pairs with keep. */
    struct vthread_signature *s = atomic_load_explicit(
        &buckets[hash % BUCKETS], memory_order_acquire);
    while (s && (s->hash != hash || strcmp(s->text, text) != 0))
        s = s->next;
    return s;
}

/* Makes it known, or drops it for the one that was there first. */
static struct vthread_signature *keep(struct vthread_signature *s)
{
    os_lock_acquire(&lock);
    struct vthread_signature *other = find(s->hash, s->text);
    if (!other) {
        /* Relaxed: changes under the lock only.  Release: publishes the
         * object; pairs with find. */
        s->next = atomic_load_explicit(&buckets[s->hash % BUCKETS],
                                       memory_order_relaxed);
        atomic_store_explicit(&buckets[s->hash % BUCKETS], s,
                              memory_order_release);
    }
    os_lock_release(&lock);
    if (!other)
        return s;
    memory_free(s);
    return other;
}

int vthread_signature_parse(vthread_signature_t **signature,
                            const char *text,
                            vthread_signature_error_t *error)
{
    size_t length;
    if (!text)
        return refuse(error, 0, "there is no text");
    if (!signature)
        return refuse(error, 0, NO_PLACE);
    uint32_t hash = hash_of(text, &length);
    struct vthread_signature *s = find(hash, text);
    if (!s) {
        struct parser p;
        if (length > TEXT_MAX_BYTES)
            return refuse(error, TEXT_MAX_BYTES, "the text is too long");
        s = allocate(text, length, &p);
        if (!s)
            return ENOMEM;
        s->hash = hash;
        int err = parse(s, &p, error);
        if (err != 0) {
            memory_free(s);
            return err;
        }
        s = keep(s);
    }
    *signature = s;
    return 0;
}
