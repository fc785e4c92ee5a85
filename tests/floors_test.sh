#!/bin/bash
# Includes go down the floors only:
#
#     include/                         the public headers: open to everyone
#     examples/, bench/                users: of ours the public headers only
#     src/vthread.c, src/lifecycle.c   where continuations and carriers meet;
#     src/inspect/layout.c             this one only measures both
#     src/                             a .c file knows one of the two at most
#     continuation/     carrier/       the platform; never each other
#     src/platform/                    nothing of ours
#     src/posix/, src/track/           users, and known to nobody
#     tools/inspector/                 a user, but for the formats by which it
#                                      knows what it reads of a process
#
# Checks the tree in $srcdir; then plants violations in a copy of it, which
# the same check has to find.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}

# Prints the violations in the tree that is the current directory; fails if
# there is one.
check_tree() {
    local files
    mapfile -t files < <(find include src continuation carrier examples bench \
        tools -name '*.[chS]' | sort)
    awk '
    BEGIN {
        for (i = 1; i < ARGC; i++)
            exists[ARGV[i]] = 1
    }
    function floor_of(file) {
        if (file ~ /^src\/platform\//)
            return "platform"
        if (file ~ /^src\/posix\//)
            return "posix"
        if (file ~ /^src\/track\//)
            return "track"
        if (is_format(file))
            return "format"
        return substr(file, 1, index(file, "/") - 1)
    }
    # Layouts of bytes, without code; they include nothing of ours.
    function is_format(file) {
        return file ~ /^src\/inspect\/(layout|layout_entries|control_protocol)\.h$/ ||
            file ~ /^src\/inspect\/(pin|trace)_format\.h$/
    }
    # The floors that the files of a floor may include from, besides the
    # public headers and their own floor.
    function floors_below(file, floor) {
        if (floor == "src")
            return "continuation carrier platform format"
        if (floor == "tools")
            return "format"
        if (floor == "continuation" || floor == "carrier")
            return "platform"
        if (file == "bench/pair.c") # it measures the switch itself
            return "continuation"
        if (file == "bench/bracket.c") # and the bracket of a call
            return "src"
        return ""
    }
    function simplify(path) {
        gsub(/\/\.\//, "/", path)
        while (sub(/[^\/]+\/\.\.\//, "", path)) {}
        return path
    }
    # The file an include means: in the directory of the file itself, then
    # as the -I options say.  "" for a header of the system.
    function resolve(file, name,    i, n, place, places) {
        sub(/[^\/]*$/, "", file)
        n = split(file ":include/:src/:", places, ":")
        for (i = 1; i <= n; i++) {
            place = simplify(places[i] name)
            if (place in exists)
                return place
        }
        return ""
    }
    function report(text) {
        print FILENAME ":" FNR ": " text
        found = 1
    }
    FNR == 1 { knows = "" }
    /^[ \t]*#[ \t]*include[ \t]*["<]/ {
        name = $0
        sub(/^[^"<]*["<]/, "", name)
        sub(/[">].*/, "", name)
        target = resolve(FILENAME, name)
        if (target == "")
            next
        floor = floor_of(FILENAME)
        below = floor_of(target)
        if (below != floor && below != "include" &&
            index(" " floors_below(FILENAME, floor) " ", " " below " ") == 0)
            report("floor " floor " may not include " target)
        if (FILENAME ~ /\.c$/ && below ~ /^(continuation|carrier)$/) {
            if (knows != "" && knows != below &&
                FILENAME !~ /^src\/(vthread|lifecycle|inspect\/layout)\.c$/)
                report("continuations and carriers do not meet here")
            knows = below
        }
    }
    END { exit found }' "${files[@]}"
}

failed=0

# Plants includes in a copy, where the check must find them.
expect_found() { # FILE INCLUDED...
    local kept=
    [ ! -e "$1" ] || kept=$(cat "$1")
    printf '#include "%s"\n' "${@:2}" >>"$1"
    if check_tree >/dev/null; then
        echo "not found by this check: ${*:2} included in $1"
        failed=1
    fi
    printf '%s\n' "$kept" >"$1"
}

cd "$srcdir"
check_tree || exit 1

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r include src continuation carrier examples bench tools "$copy"
chmod -R u+w "$copy"
cd "$copy"
expect_found src/platform/panic.h continuation/continuation.h
expect_found continuation/continuation.h carrier/task.h
expect_found carrier/task.h ../continuation/continuation.h
expect_found carrier/task.h ../src/platform/../thread.h
expect_found src/planted.c continuation/continuation.h carrier/task.h
expect_found src/planted.c posix/own.h
expect_found src/posix/planted.c thread.h
expect_found src/planted.c track/track.h
expect_found src/track/planted.c thread.h
expect_found src/posix/planted.c platform/system.h
expect_found tools/inspector/planted.c thread.h
expect_found tools/inspector/planted.c platform/panic.h
mkdir -p src/inspect
expect_found src/inspect/pin_format.h ../thread.h
expect_found examples/planted.c platform/panic.h
expect_found include/vthread.h platform/panic.h
check_tree || failed=1
exit $failed
