/*
 * assembler.c - reads a program a line at a time: what it declares, and its
 * instructions; their operands when all names are known.
 *
 *     class NAME FIELD...      global NAME...
 *     native NAME "SIGNATURE" [POLICY]
 *     function NAME ARGUMENT...
 *         local NAME...
 *         catch CLASS|* FROM TO LABEL   ; what leaves [FROM, TO) goes to LABEL
 *     LABEL:
 *         INSTRUCTION OPERAND...
 *     end
 */
#include <stdarg.h>

#include "minivm.h"

/* A name, and its place among those of its kind. */
struct symbol {
    struct symbol *next;
    enum operand kind;
    unsigned place;
    const char *name;
};

struct program program;
static const char *const error_names[ERRORS] = {
    "ArithmeticError", "BoundsError",   "IllegalMonitorState",
    "Interrupted",     "NativeError",   "NullPointer",
    "OutOfMemory",     "StackOverflow", "TypeError"};
static struct symbol *symbols; /* of the program: classes, functions, globals */

static unsigned line;
static char *first, *rest;        /* its first word, and what is not yet read */
static struct function *function; /* that it is in */

void refuse(unsigned at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%u: ", program.file, at);
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
        refuse(line, "%s has too few operands", first);
    char *start = rest;
    rest += strcspn(rest, " \t\r\n");
    if (*rest)
        *rest++ = 0;
    return start;
}

static const char *text(void)
{
    if (!is_more() || *rest != '"')
        refuse(line, "%s is no text", word());
    char *start = rest + 1, *to = start;
    for (rest = start; *rest != '"'; *to++ = *rest++) {
        if (*rest == '\\' && *++rest == 'n')
            *rest = '\n';
        if (*rest == 0)
            refuse(line, "the text has no end");
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
        refuse(line, "%s is no integer of 32 bits", digits);
    return (int)n;
}

static void no_more(void)
{
    if (is_more())
        refuse(line, "%s has too many operands", first);
}

static bool is(const char *wanted)
{
    return strcmp(first, wanted) == 0;
}

static bool is_label(void)
{
    return first[strlen(first) - 1] == ':' && !is_more();
}

/* ---- Names -------------------------------------------------------------- */

static struct symbol *find(struct symbol *s, enum operand kind,
                           const char *name)
{
    while (s && (s->kind != kind || strcmp(s->name, name) != 0))
        s = s->next;
    return s;
}

static unsigned known(struct symbol *list, enum operand kind, const char *name)
{
    static const char *const kinds[] = {
        [LOCAL] = "local", [LABEL] = "label", [FUNCTION] = "function",
        [GLOBAL] = "global", [CLASS] = "class", [FIELD] = "field"};
    struct symbol *s = find(list, kind, name);
    if (s == NULL)
        refuse(line, "there is no %s %s", kinds[kind], name);
    return s->place;
}

/* One element more, of zeros. */
static void *grow(void *array, size_t n, size_t size)
{
    char *grown = GC_REALLOC(array, (n + 1) * size);
    if (grown == NULL)
        refuse(line, "there is no room for it");
    memset(grown + n * size, 0, size);
    return grown;
}

static const char *declare(struct symbol **list, enum operand kind,
                           unsigned place, const char *name)
{
    if (find(*list, kind, name))
        refuse(line, "there is another %s", name);
    if (place > UINT16_MAX)
        refuse(line, "there is no room for %s", name);
    struct symbol *s = grow(NULL, 0, sizeof *s);
    *s = (struct symbol){*list, kind, place, GC_STRDUP(name)};
    *list = s;
    return s->name;
}

/* All words that follow.  Returns the place after theirs. */
static unsigned declare_all(struct symbol **list, enum operand kind,
                            unsigned place)
{
    while (is_more())
        declare(list, kind, place++, word());
    return place;
}

/* ---- First: what is declared -------------------------------------------- */

static void declare_class(const char *name)
{
    unsigned n = program.class_count++;
    program.classes = grow(program.classes, n, sizeof *program.classes);
    struct class *c = &program.classes[n];
    c->name = declare(&symbols, CLASS, n, name);
    c->fields = declare_all(&c->symbols, FIELD, 0);
}

static struct function *declare_function(const char *name)
{
    unsigned n = program.function_count++;
    program.functions = grow(program.functions, n, sizeof *function);
    struct function *f = &program.functions[n];
    f->name = declare(&symbols, FUNCTION, n, name);
    return f;
}

static void add_instruction(struct function *f)
{
    struct instruction in = {.line = line};
    while (in.opcode < OPCODES && !is(opcodes[in.opcode].name))
        in.opcode++;
    if (in.opcode == OPCODES)
        refuse(line, "there is no instruction %s", first);
    in.operand = (intptr_t)GC_STRDUP(rest); /* until they are resolved */
    f->code = grow(f->code, f->count, sizeof in);
    f->code[f->count++] = in;
}

static void read_in_function(struct function *f)
{
    if (is_label()) {
        first[strlen(first) - 1] = 0;
        declare(&f->symbols, LABEL, f->count, first);
    } else if (is("local"))
        f->locals = declare_all(&f->symbols, LOCAL, f->locals);
    else if (!is("end"))
        add_instruction(f);
    else if (f->count == 0)
        refuse(line, "%s has no instructions", f->name);
    else
        function = NULL;
}

static void read_line(void)
{
    if (function)
        read_in_function(function);
    else if (is("class"))
        declare_class(word());
    else if (is("function")) {
        function = declare_function(word());
        function->arguments = declare_all(&function->symbols, LOCAL, 0);
        function->locals = function->arguments;
    } else if (is("native")) {
        struct function *f = declare_function(word());
        const char *signature = text();
        native_declare(f, signature, is_more() ? word() : "auto", line);
        no_more();
    } else if (is("global"))
        do
            declare(&symbols, GLOBAL, program.global_count++, word());
        while (is_more());
    else
        refuse(line, "there is no declaration %s", first);
}

/* ---- Then: instructions ------------------------------------------------- */

static int64_t field(char *name, uint16_t *slot)
{
    char *dot = strchr(name, '.');
    if (dot == NULL)
        refuse(line, "%s is no CLASS.FIELD", name);
    *dot = 0;
    unsigned class = known(symbols, CLASS, name);
    *slot = known(program.classes[class].symbols, FIELD, dot + 1);
    return class;
}

static void add_handler(struct function *f)
{
    f->handlers = grow(f->handlers, f->handler_count, sizeof *f->handlers);
    struct handler *h = &f->handlers[f->handler_count++];
    const char *class = word();
    if (strcmp(class, "*") != 0)
        h->class = &program.classes[known(symbols, CLASS, class)];
    h->from = known(f->symbols, LABEL, word());
    h->to = known(f->symbols, LABEL, word());
    h->target = known(f->symbols, LABEL, word());
}

static int64_t operand(enum operand kind, uint16_t *slot)
{
    const struct function *f;
    switch (kind) {
    case NOTHING:
        return 0;
    case NUMBER:
        return from_integer(number());
    case LOCAL_NUMBER:
        *slot = known(function->symbols, LOCAL, word());
        return number();
    case TEXT:
        return text_new(NULL, text());
    case CALLBACK:
        f = &program.functions[known(symbols, FUNCTION, word())];
        return native_callback(f, text(), line);
    case FIELD:
        return field(word(), slot);
    case HANDLER:
        add_handler(function);
        return 0;
    case LOCAL:
    case LABEL:
        return known(function->symbols, kind, word());
    default:
        return known(symbols, kind, word());
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
        in->operand = operand(opcodes[in->opcode].operand, &in->slot);
        no_more();
    }
    if (!f->native)
        verify(f);
}

const struct function *assemble(const char *name)
{
    program.file = name;
    FILE *file = fopen(name, "r");
    if (file == NULL)
        refuse(0, "cannot be read");
    for (unsigned i = 0; i < ERRORS; i++) {
        rest = (char[]){"message"};
        declare_class(error_names[i]);
    }
    char *buffer = NULL;
    size_t size = 0;
    for (line = 1; getline(&buffer, &size, file) >= 0; line++) {
        rest = buffer;
        if (is_more()) {
            first = word();
            read_line();
        }
    }
    free(buffer);
    fclose(file);
    if (function)
        refuse(line, "%s has no end", function->name);
    unsigned entry = known(symbols, FUNCTION, "main");
    program.globals = grow(NULL, program.global_count, sizeof(value_t));
    for (unsigned i = 0; i < program.function_count; i++)
        resolve(&program.functions[i]);
    return &program.functions[entry];
}
