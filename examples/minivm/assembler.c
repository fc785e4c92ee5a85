/*
 * assembler.c - reads a program, as the README describes it, a line at a time:
 * what it declares, and its instructions; their operands when all names are
 * known.
 */
#include <stdarg.h>

#include "minivm.h"

/* A name, in a function or class or (NULL) the program as a whole; and what it
 * stands for: a place, or the address of what has that name. */
struct symbol {
    struct symbol *next;
    enum operand kind;
    const void *scope;
    const char *name;
    int64_t meaning;
};

const char *program;
unsigned line;
static struct symbol *symbols, **last_symbol = &symbols;
static char *first, *rest;        /* its first word, and what is not yet read */
static struct function *function; /* that it is in */

void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%u: ", program, line);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

/* ---- Words -------------------------------------------------------------- */

static bool is_more(void)
{
    rest += strspn(rest, " \t\r\n");
    return *rest && *rest != ';';
}

static char *word(void)
{
    if (!is_more())
        refuse("%s has too few operands", first);
    char *start = rest;
    rest += strcspn(rest, " \t\r\n");
    if (*rest)
        *rest++ = 0;
    return start;
}

static const char *text(void)
{
    if (!is_more() || *rest != '"')
        refuse("%s is no text", word());
    char *start = rest + 1, *to = start;
    for (rest = start; *rest != '"'; *to++ = *rest++) {
        if (*rest == '\\' && *++rest == 'n')
            *rest = '\n';
        if (*rest == 0)
            refuse("the text has no end");
    }
    rest++;
    *to = 0;
    return start;
}

static int number(void)
{
    char *digits = word(), *end;
    long long n = strtoll(digits, &end, 0);
    if (*end != 0 || n != (int)n)
        refuse("%s is no integer of 32 bits", digits);
    return (int)n;
}

static void no_more(void)
{
    if (is_more())
        refuse("%s has too many operands", first);
}

static bool is(const char *wanted)
{
    return strcmp(first, wanted) == 0;
}

/* ---- Names -------------------------------------------------------------- */

void *grow(void *array, size_t n, size_t size)
{
    char *grown = GC_REALLOC(array, (n + 1) * size);
    if (grown == NULL)
        refuse("there is no room for it");
    memset(grown + n * size, 0, size);
    return grown;
}

static struct symbol *find(enum operand kind, const void *scope,
                           const char *name)
{
    for (struct symbol *s = symbols; s; s = s->next)
        if (s->kind == kind && s->scope == scope && strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static int64_t known(enum operand kind, const void *scope, const char *name)
{
    static const char *const kinds[] = {
        [LOCAL] = "local", [LABEL] = "label", [FUNCTION] = "function",
        [GLOBAL] = "global", [CLASS] = "class", [FIELD] = "field"};
    struct symbol *s = find(kind, scope, name);
    if (s == NULL)
        refuse("there is no %s %s", kinds[kind], name);
    return s->meaning;
}

static const char *declare(enum operand kind, const void *scope,
                           int64_t meaning, const char *name)
{
    if (find(kind, scope, name))
        refuse("there is another %s", name);
    struct symbol *s = *last_symbol = grow(NULL, 0, sizeof *s);
    const char *kept = strcpy(grow(NULL, strlen(name), 1), name);
    *s = (struct symbol){NULL, kind, scope, kept, meaning};
    last_symbol = &s->next;
    return kept;
}

/* All words that follow, from that place on.  Returns the place after. */
static unsigned declare_all(enum operand kind, const void *scope,
                            unsigned place)
{
    for (; is_more(); place++)
        declare(kind, scope, place, word());
    return place;
}

/* ---- First: what is declared -------------------------------------------- */

static struct function *declare_function(const char *name)
{
    struct function *f = grow(NULL, 0, sizeof *f);
    f->name = declare(FUNCTION, NULL, (intptr_t)f, name);
    return f;
}

static void add_instruction(struct function *f)
{
    struct instruction in = {.line = line};
    while (in.opcode < OPCODES && !is(opcodes[in.opcode].name))
        in.opcode++;
    if (in.opcode == OPCODES)
        refuse("there is no instruction %s", first);
    /* Until they are resolved. */
    in.operand = (intptr_t)strcpy(grow(NULL, strlen(rest), 1), rest);
    f->code = grow(f->code, f->count, sizeof in);
    f->code[f->count++] = in;
}

static void read_in_function(struct function *f)
{
    char *last = first + strlen(first) - 1;
    if (*last == ':' && !is_more()) {
        *last = 0;
        declare(LABEL, f, f->count, first);
    } else if (is("local"))
        f->locals = declare_all(LOCAL, f, f->locals);
    else if (!is("end"))
        add_instruction(f);
    else if (f->count == 0)
        refuse("%s has no instructions", f->name);
    else
        function = NULL;
}

static void read_line(void)
{
    first = word();
    if (function)
        read_in_function(function);
    else if (is("class")) {
        struct class *c = grow(NULL, 0, sizeof *c);
        c->name = declare(CLASS, NULL, (intptr_t)c, word());
        c->fields = declare_all(FIELD, c, 0);
    } else if (is("function")) {
        function = declare_function(word());
        function->locals = declare_all(LOCAL, function, 0);
        function->arguments = function->locals;
    } else if (is("native")) {
        struct function *f = declare_function(word());
        const char *signature = text();
        native_declare(f, signature, is_more() ? word() : "auto");
        no_more();
    } else if (is("global"))
        do
            declare(GLOBAL, NULL, (intptr_t)grow(NULL, 0, sizeof(value_t)),
                    word());
        while (is_more());
    else
        refuse("there is no declaration %s", first);
}

/* ---- Then: instructions ------------------------------------------------- */

static int64_t handler(struct function *f)
{
    f->handlers = grow(f->handlers, f->handler_count, sizeof *f->handlers);
    struct handler *h = &f->handlers[f->handler_count++];
    const char *class = word();
    if (strcmp(class, "*") != 0)
        h->class = (const struct class *)known(CLASS, NULL, class);
    h->from = known(LABEL, f, word());
    h->to = known(LABEL, f, word());
    h->target = known(LABEL, f, word());
    return 0;
}

static int64_t field(unsigned *slot)
{
    char *name = word(), *dot = strchr(name, '.');
    if (dot == NULL)
        refuse("%s is no CLASS.FIELD", name);
    *dot = 0;
    const struct class *c = (const struct class *)known(CLASS, NULL, name);
    *slot = known(FIELD, c, dot + 1);
    return (intptr_t)c;
}

static int64_t operand(struct instruction *in)
{
    const struct function *f;
    enum operand kind = opcodes[in->opcode].operand;
    switch (kind) {
    case NOTHING:
        return 0;
    case NUMBER:
        return from_integer(number());
    case TEXT:
        return text_new(NULL, text());
    case LOCAL_NUMBER:
        in->slot = known(LOCAL, function, word());
        return number();
    case FIELD:
        return field(&in->slot);
    case HANDLER:
        return handler(function);
    case LOCAL:
        return known(LOCAL, function, word());
    case LABEL: /* from here */
        return known(LABEL, function, word()) - (in - function->code);
    case FUNCTION:
    case CALLBACK:
        f = (const struct function *)known(FUNCTION, NULL, word());
        in->slot = f->arguments;
        return kind == FUNCTION ? (value_t)f : native_callback(f, text());
    default:
        return known(kind, NULL, word());
    }
}

static void resolve(struct function *f)
{
    function = f;
    for (unsigned i = 0; i < f->count; i++) {
        struct instruction *in = &f->code[i];
        first = (char *)opcodes[in->opcode].name;
        rest = (char *)in->operand;
        line = in->line;
        in->operand = operand(in);
        no_more();
    }
    if (!f->native)
        verify(f);
}

const struct function *assemble(void)
{
    FILE *file = fopen(program, "r");
    if (file == NULL)
        refuse("cannot be read");
    for (const struct class *c = class_errors; c->name; c++) {
        declare(CLASS, NULL, (intptr_t)c, c->name);
        declare(FIELD, c, 0, "message");
    }
    char *buffer = NULL;
    size_t size = 0;
    for (line = 1; getline(&buffer, &size, file) >= 0; line++) {
        rest = buffer;
        if (is_more())
            read_line();
    }
    free(buffer);
    fclose(file);
    if (function)
        refuse("%s has no end", function->name);
    for (struct symbol *s = symbols; s; s = s->next)
        if (s->kind == FUNCTION)
            resolve((struct function *)s->meaning);
    return (const struct function *)known(FUNCTION, NULL, "main");
}
