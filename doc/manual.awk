# manual.awk - makes the manual pages from the public headers.
#
#     awk -v version=0.1.0 -v directory=OUT -f manual.awk HEADER...
#
# OUT/man3 and OUT/man7 must be there.  Whatever awk there is will do.
#
# What becomes what:
#
#   comment before declarations    a page named after the first of them; the
#                                  others get a page that includes it (.so)
#   declaration after a blank line, without a comment
#                                  is added to the first page of its header
#   typedef struct { ... } NAME    is shown on the pages of the functions
#                                  that take it
#   comment of a file vthread/X.h  vthread_X(7)
#
# The vthread.7 of the whole is written by hand.
#
# In a comment: four columns more make an example, "- " an item of a list, a
# word and two spaces ("Returns  0; ...") a paragraph of that name.

BEGIN {
    if (version == "" || directory == "") {
        print "manual.awk: version and directory are not set" | "cat >&2"
        failed = 1
        exit 1
    }
    tags = "^(Returns|Blocks|Requires|Ownership|Orders|Units|Source)  +"
}

# ---- Reading a header ------------------------------------------------------

FNR == 1 {
    header = FILENAME
    sub(/^.*include\//, "", header)
    headers[++header_count] = header
    first_page[header] = 0
    comment = about_file = open_page = ""
    in_comment = in_struct = in_declaration = 0
}

# Comments: of one line, then of several.
/^[ \t]*\/\*.*\*\/[ \t]*$/ && !in_struct {
    comment = comment_text($0) "\n"
    open_page = ""
    next
}
/^\/\*/ && !in_struct {
    in_comment = 1
    comment = comment_text($0)
    comment = comment == "" ? "" : comment "\n"
    open_page = ""
    if (index($0, "*/") == 0)
        next
}
in_comment {
    if (index($0, "/*") == 0)
        comment = comment comment_text($0) "\n"
    if (index($0, "*/")) {
        in_comment = 0
        if (!(header in file_comment)) {
            file_comment[header] = comment
            comment = ""
        }
    }
    next
}

/^typedef struct .*\{/ {
    in_struct = 1
    struct_text = comment
    gsub(/\n/, "\n * ", struct_text)
    gsub(/ +\n/, "\n", struct_text)
    if (!sub(/\n \*\n \* $/, "\n */\n", struct_text))
        sub(/\n \* $/, " */\n", struct_text)
    sub(/^\n/, "/*\n", struct_text)
    if (struct_text != "" && struct_text !~ /^\/\*/)
        struct_text = "/* " struct_text
}
in_struct {
    struct_text = struct_text $0 "\n"
    if ($0 ~ /^\}/) {
        name = $0
        gsub(/[} ;]/, "", name)
        struct_of[name] = struct_text
        struct_names[++struct_count] = name
        in_struct = 0
        comment = ""
    }
    next
}

/^VTHREAD_API/ {
    in_declaration = 1
    declaration = ""
}
in_declaration {
    declaration = declaration " " $0
    if ($0 ~ /;[ \t]*$/) {
        in_declaration = 0
        add_declaration()
    }
    next
}

# A blank line, or anything else, ends what a comment is about.
{
    open_page = ""
    if ($0 !~ /^[ \t]*$/)
        comment = ""
}

# A line of a comment without what makes it one.
function comment_text(line) {
    sub(/^[ \t]*\/?\*+ ?/, "", line)
    sub(/[ \t]*\*\/[ \t]*$/, "", line)
    if (line == "/")
        line = ""
    sub(/[ \t]+$/, "", line)
    return line
}

function unwrap(text) {
    gsub(/[ \t\n]+/, " ", text)
    sub(/^ /, "", text)
    sub(/ $/, "", text)
    return text
}

function add_declaration(    name, page) {
    gsub(/[ \t]+/, " ", declaration)
    sub(/^ ?VTHREAD_API /, "", declaration)
    name = declaration
    sub(/\(.*/, "", name)
    sub(/^.*[ *]/, "", name)
    if (comment != "") {
        page = ++page_count
        page_comment[page] = comment
        page_header[page] = header
        if (!first_page[header])
            first_page[header] = page
        comment = ""
    } else {
        page = open_page != "" ? open_page : first_page[header]
    }
    if (!page) {
        print "manual.awk: " name " has no comment in " header | "cat >&2"
        failed = 1
        return
    }
    open_page = page
    member_count[page]++
    member[page, member_count[page]] = name
    prototype[page, member_count[page]] = declaration
}

# ---- Writing ---------------------------------------------------------------

# Text as troff wants it.
function escape(text) {
    gsub(/\\/, "\\e", text)
    return escape_first(text)
}

# A line that begins like a request is none.
function escape_first(text) {
    return text ~ /^[.\047]/ ? "\\&" text : text
}

# Names in bold, in the prose.
function mark(text,    result, word) {
    text = escape(text)
    result = ""
    while (match(text, /(vthread_[a-z_]+|VTHREAD_[A-Z_]+|E[A-Z][A-Z]+)/)) {
        word = substr(text, RSTART, RLENGTH)
        # An E inside of a word is no error's name.
        if (word ~ /^E/ && RSTART > 1 \
            && substr(text, RSTART - 1, 1) ~ /[A-Za-z_]/)
            result = result substr(text, 1, RSTART + RLENGTH - 1)
        else
            result = result substr(text, 1, RSTART - 1) "\\fB" word "\\fP"
        text = substr(text, RSTART + RLENGTH)
    }
    return result text
}

# The sentences of a line, one on each, as troff likes them.
function print_prose(line,    sentences, count, i) {
    count = split(line, sentences, /  +/)
    for (i = 1; i <= count; i++)
        print fold(mark(sentences[i])) > out
}

# A comment.  is_fresh: nothing has been printed since the last macro that
# begins a paragraph.
function print_comment(text,    lines, count, i, line, word, is_example, \
                       is_blank, is_fresh) {
    count = split(text, lines, "\n")
    is_example = is_blank = 0
    is_fresh = 1
    for (i = 1; i <= count; i++) {
        line = lines[i]
        if (line == "") {
            is_blank = 1
            continue
        }
        if (line ~ /^    / && (is_example || is_blank || i == 1)) {
            if (!is_example)
                print (is_fresh ? ".EX" : ".PP\n.EX") > out
            else if (is_blank)
                print "" > out
            is_example = 1
            print escape(line) > out
            is_blank = is_fresh = 0
            continue
        }
        if (is_example)
            print ".EE" > out
        if (line ~ tags) {
            word = line
            sub(/ .*/, "", word)
            sub(tags, "", line)
            print ".TP\n.B " word > out
        } else if (line ~ /^- /) {
            sub(/^- +/, "", line)
            print ".IP \\(bu 2" > out
        } else if (is_blank || is_example) {
            if (!is_fresh)
                print ".PP" > out
        }
        is_example = is_blank = is_fresh = 0
        sub(/^ +/, "", line)
        print_prose(line)
    }
    if (is_example)
        print ".EE" > out
}

# One prototype, broken after commas where it is too long for a line.
function print_prototype(text,    head, room, at) {
    text = escape(text)
    head = ""
    while (length(head text) > 76) {
        at = 0
        for (room = 1; room <= 76 - length(head); room++)
            if (substr(text, room, 2) == ", ")
                at = room
        if (!at)
            break
        print "\\fB" head substr(text, 1, at) "\\fP" > out
        text = substr(text, at + 2)
        head = "    "
    }
    print "\\fB" head text "\\fP" > out
}

function print_head(name, section) {
    print ".\\\" Made by manual.awk from <" brief_header ">." > out
    print ".TH " toupper(name) " " section " \"" date "\" \"libvthread " \
          version "\" \"libvthread manual\"" > out
    print ".SH NAME" > out
}

# The first sentence, as a phrase.
function brief_of(text,    at) {
    text = unwrap(text)
    if (match(text, /[.:;]( |$)/))
        text = substr(text, 1, RSTART - 1)
    if (text ~ /^[A-Z][a-z]/)
        text = tolower(substr(text, 1, 1)) substr(text, 2)
    return fold(escape(text))
}

# Text in lines of 72 columns.
function fold(text,    words, count, i, line, result) {
    count = split(text, words, " ")
    line = words[1]
    for (i = 2; i <= count; i++)
        if (length(line) + length(words[i]) < 72) {
            line = line " " words[i]
        } else {
            result = result line "\n"
            line = escape_first(words[i])
        }
    return result line
}

function page_of(header) {
    sub(/^vthread\//, "vthread_", header)
    sub(/\.h$/, "", header)
    return header
}

# A header that <vthread.h> does not include says so.
function include_of(header) {
    if (file_comment[header] !~ /not included by <vthread\.h>/)
        header = "vthread.h"
    return "\\fB#include <" header ">\\fP"
}

function write_page(page,    name, names, i, s, has_types, link) {
    name = member[page, 1]
    out = directory "/man3/" name ".3"
    brief_header = page_header[page]
    names = name
    for (i = 2; i <= member_count[page]; i++)
        names = names ",\n" member[page, i]
    print_head(name, 3)
    print names "\n\\- " brief_of(page_comment[page]) > out
    print ".SH SYNOPSIS\n.nf\n" include_of(page_header[page]) "\n" > out
    for (i = 1; i <= member_count[page]; i++)
        print_prototype(prototype[page, i])
    print ".fi\n.PP\nLink with \\fI\\-lvthread\\fP." > out
    print ".SH DESCRIPTION" > out
    print_comment(page_comment[page])
    for (s = 1; s <= struct_count; s++)
        if (takes(page, struct_names[s])) {
            if (!has_types++)
                print ".SH TYPES" > out
            print ".EX" > out
            printf "%s", escape(struct_of[struct_names[s]]) > out
            print ".EE" > out
        }
    print ".SH SEE ALSO" > out
    link = page_of(page_header[page])
    if (link != "vthread")
        print ".BR " link " (7)," > out
    print ".BR vthread (7)" > out
    close(out)
    for (i = 2; i <= member_count[page]; i++) {
        out = directory "/man3/" member[page, i] ".3"
        print ".so man3/" name ".3" > out
        close(out)
    }
}

# Whether a function of the page has a parameter of the type.
function takes(page, type,    i) {
    for (i = 1; i <= member_count[page]; i++)
        if (index(prototype[page, i], type " "))
            return 1
    return 0
}

# The page of a header: its comment without the first sentence, which is
# "vthread/io.h - what it is."
function write_overview(header,    name, text, brief, page, i) {
    name = page_of(header)
    text = file_comment[header]
    sub(/^[\n ]*/, "", text)
    sub(/^[^ ]+ - /, "", text)
    brief = text
    sub(/\n.*/, "", brief)
    sub(/^[^\n]*\n+/, "", text)
    out = directory "/man7/" name ".7"
    brief_header = header
    print_head(name, 7)
    print name " \\- " brief_of(brief) > out
    print ".SH SYNOPSIS\n.nf\n" include_of(header) "\n.fi" > out
    print ".SH DESCRIPTION" > out
    print_comment(text)
    print ".SH FUNCTIONS" > out
    for (page = 1; page <= page_count; page++)
        if (page_header[page] == header)
            for (i = 1; i <= member_count[page]; i++)
                print (i > 1 || page > first_page[header] ? ".br\n" : "") \
                      ".BR " member[page, i] " (3)" > out
    print ".SH SEE ALSO\n.BR vthread (7)" > out
    close(out)
}

END {
    if (failed)
        exit 1
    date = "2026-11-23" # of the last change of what all pages have in common
    for (page = 1; page <= page_count; page++)
        write_page(page)
    for (i = 1; i <= header_count; i++)
        if (headers[i] != "vthread.h" && first_page[headers[i]])
            write_overview(headers[i])
}
