/*
 * assembler.c - reads a program a line at a time, and twice: first what it
 * declares, so that all names are known, then its instructions.
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

#define WORDS_MAX 64

struct program program;

static uint32_t line;
static char *words[WORDS_MAX]; /* of the line; a text begins with a quote */
static unsigned count;
static struct function *function; /* that it is in */

void refuse(uint32_t at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%" PRIu32 ": ", program.file, at);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

/* ---- Words and names ---------------------------------------------------- */

/* Makes a text of what follows its quote; returns where it ends. */
static char *read_text(char *from)
{
    char *to = from;
    for (; *from != '"'; *to++ = *from++) {
        if (*from == '\\' && *++from == 'n')
            *from = '\n';
        if (*from == 0)
            refuse(line, "the text has no end");
    }
    *to = 0;
    return from + 1;
}

static void split(char *at)
{
    for (count = 0; *(at += strspn(at, " \t\r\n")) && *at != ';'; count++) {
        if (count == WORDS_MAX)
            refuse(line, "more than %d words", WORDS_MAX);
        words[count] = at;
        if (*at == '"') {
            at = read_text(at + 1);
            continue;
        }
        at += strcspn(at, " \t\r\n");
        if (*at)
            *at++ = 0;
    }
}

static bool is(const char *word)
{
    return strcmp(words[0], word) == 0;
}

/* One element more, of zeros. */
static void *grow(void *array, size_t n, size_t size)
{
    char *grown = GC_REALLOC(array, (n + 1) * size);
    if (grown == NULL || n == UINT16_MAX)
        refuse(line, "there is no room for it");
    memset(grown + n * size, 0, size);
    return grown;
}

static int find(const struct names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++)
        if (strcmp(names->at[i], name) == 0)
            return (int)i;
    return -1;
}

static int known(const struct names *names, const char *name, const char *what)
{
    int i = find(names, name);
    if (i < 0)
        refuse(line, "there is no %s %s", what, name);
    return i;
}

static void add(struct names *names, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        if (find(names, words[i]) >= 0)
            refuse(line, "there is another %s", words[i]);
        names->at = grow(names->at, names->count, sizeof *names->at);
        names->at[names->count++] = GC_STRDUP(words[i]);
    }
}

static const char *text_in(unsigned i)
{
    if (words[i][0] != '"')
        refuse(line, "%s is no text", words[i]);
    return words[i] + 1;
}

static void want(unsigned least, unsigned most)
{
    if (count <= least || count > most + 1)
        refuse(line, "%s has too %s operands", words[0],
               count <= least ? "few" : "many");
}

/* ---- First: what is declared -------------------------------------------- */

static void declare_class(void)
{
    unsigned n = program.class_names.count;
    add(&program.class_names, 1, 2);
    program.classes = grow(program.classes, n, sizeof *program.classes);
    program.classes[n].name = program.class_names.at[n];
    add(&program.classes[n].fields, 2, count);
}

static void declare_function(bool is_native)
{
    unsigned n = program.function_names.count;
    add(&program.function_names, 1, 2);
    program.functions = grow(program.functions, n, sizeof *function);
    struct function *f = &program.functions[n];
    f->name = program.function_names.at[n];
    if (!is_native) {
        function = f;
        add(&f->locals, 2, count);
        f->arguments = count - 2;
        return;
    }
    want(2, 3);
    const char *refused =
        native_declare(f, text_in(2), count > 3 ? words[3] : NULL);
    if (refused)
        refuse(line, "%s: %s", f->name, refused);
}

static bool is_label(void)
{
    return count == 1 && words[0][strlen(words[0]) - 1] == ':';
}

static void declare_in_function(void)
{
    struct function *f = function;
    if (is_label()) {
        words[0][strlen(words[0]) - 1] = 0;
        f->targets = grow(f->targets, f->labels.count, sizeof *f->targets);
        f->targets[f->labels.count] = f->count;
        add(&f->labels, 0, 1);
    } else if (is("local"))
        add(&f->locals, 1, count);
    else if (is("end"))
        function = NULL;
    else if (!is("catch"))
        f->count++;
}

static void declare(void)
{
    if (function) {
        declare_in_function();
        return;
    }
    want(1, WORDS_MAX);
    if (is("class"))
        declare_class();
    else if (is("function") || is("native"))
        declare_function(is("native"));
    else if (is("global"))
        add(&program.global_names, 1, count);
    else
        refuse(line, "there is no declaration %s", words[0]);
}

/* ---- Then: instructions ------------------------------------------------- */

static int number(const char *word)
{
    char *end;
    long long n = strtoll(word, &end, 0);
    if (*word == 0 || *end != 0 || n != (int)n)
        refuse(line, "%s is no integer of 32 bits", word);
    return (int)n;
}

static uint32_t target(const char *label)
{
    return function->targets[known(&function->labels, label, "label")];
}

static int constant(value_t v)
{
    unsigned n = program.constant_count++;
    program.constants = grow(program.constants, n, sizeof v);
    program.constants[n] = v;
    return (int)n;
}

static int callback(void)
{
    value_t address;
    int f = known(&program.function_names, words[1], "function");
    const char *refused =
        native_callback(&program.functions[f], text_in(2), &address);
    if (refused)
        refuse(line, "%s: %s", words[1], refused);
    return constant(address);
}

static int field(uint16_t *slot)
{
    char *dot = strchr(words[1], '.');
    if (dot == NULL)
        refuse(line, "%s is no CLASS.FIELD", words[1]);
    *dot = 0;
    int class = known(&program.class_names, words[1], "class");
    *slot = (uint16_t)known(&program.classes[class].fields, dot + 1, "field");
    return class;
}

static int operand(enum operand kind, uint16_t *slot)
{
    switch (kind) {
    case NOTHING:
        return 0;
    case NUMBER:
        return number(words[1]);
    case TEXT:
        text_in(1);
        return constant(
            (value_t)bytes_new(NULL, words[1] + 1, strlen(words[1] + 1)));
    case CALLBACK:
        return callback();
    case LOCAL_NUMBER:
        *slot = (uint16_t)known(&function->locals, words[1], "local");
        return number(words[2]);
    case LOCAL:
        return known(&function->locals, words[1], "local");
    case LABEL:
        return (int)target(words[1]);
    case FUNCTION:
        return known(&program.function_names, words[1], "function");
    case GLOBAL:
        return known(&program.global_names, words[1], "global");
    case CLASS:
        return known(&program.class_names, words[1], "class");
    default:
        return field(slot);
    }
}

static void add_instruction(struct function *f)
{
    struct instruction in = {0};
    while (in.opcode < OPCODES && !is(opcodes[in.opcode].name))
        in.opcode++;
    if (in.opcode == OPCODES)
        refuse(line, "there is no instruction %s", words[0]);
    enum operand kind = opcodes[in.opcode].operand;
    unsigned operands =
        kind == LOCAL_NUMBER || kind == CALLBACK ? 2 : kind != NOTHING;
    want(operands, operands);
    in.operand = operand(kind, &in.slot);
    f->code = grow(f->code, f->count, sizeof in);
    f->lines = grow(f->lines, f->count, sizeof line);
    f->lines[f->count] = line;
    f->code[f->count++] = in;
}

static void add_handler(struct function *f)
{
    want(4, 4);
    struct handler h = {NULL, target(words[2]), target(words[3]),
                        target(words[4])};
    if (strcmp(words[1], "*") != 0)
        h.class =
            &program.classes[known(&program.class_names, words[1], "class")];
    f->handlers = grow(f->handlers, f->handler_count, sizeof h);
    f->handlers[f->handler_count++] = h;
}

static void instruct(void)
{
    if (is("function") && function == NULL) {
        function = &program.functions[find(&program.function_names, words[1])];
        function->count = 0;
    } else if (function && is("end")) {
        if (function->count == 0)
            refuse(line, "%s has no instructions", function->name);
        verify(function);
        function = NULL;
    } else if (function && is("catch"))
        add_handler(function);
    else if (function && !is("local") && !is_label())
        add_instruction(function);
}

/* ---- Both --------------------------------------------------------------- */

static void each_line(FILE *file, void (*take)(void))
{
    char *text = NULL;
    size_t size = 0;
    rewind(file);
    for (line = 1; getline(&text, &size, file) >= 0; line++) {
        split(text);
        if (count > 0)
            take();
    }
    free(text);
    if (function)
        refuse(line, "%s has no end", function->name);
}

void assemble(const char *name)
{
    program.file = name;
    FILE *file = fopen(name, "r");
    if (file == NULL)
        refuse(0, "cannot be read");
    for (unsigned i = 0; i < ERRORS; i++) {
        char text[64];
        snprintf(text, sizeof text, "class %s message", error_names[i]);
        split(text);
        declare_class();
    }
    each_line(file, declare);
    program.globals =
        GC_MALLOC((program.global_names.count + 1) * sizeof(value_t));
    each_line(file, instruct);
    known(&program.function_names, "main", "function");
    fclose(file);
}
