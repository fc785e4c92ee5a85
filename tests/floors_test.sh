#!/bin/bash
# Includes go down the floors only:
#
#     include/                         the public headers: open to everyone
#     examples/, bench/                users: of ours the public headers only
#     src/vthread.c                    where continuations and carriers meet
#     src/                             a .c file knows one of the two at most
#     continuation/     carrier/       the platform; never each other
#     src/platform/                    nothing of ours
#
# Checks the tree in $srcdir; then plants violations in a copy of it, which
# the same check has to find.
set -eu
srcdir=${srcdir:-$(dirname "$0")/..}

# The floors a file may include from, beside the public headers.
floors_open_to() { # FILE
    case $1 in
    examples/*) echo examples ;;
    bench/pair.c) echo bench continuation ;; # it measures the switch itself
    bench/*) echo bench ;;
    src/platform/*) echo platform ;;
    continuation/*) echo platform continuation ;;
    carrier/*) echo platform carrier ;;
    src/*) echo platform continuation carrier src ;;
    esac
}

# The file an include means: in the directory of the file itself, then as
# the -I options say.  Nothing for a header of the system.
resolve() { # TREE FILE INCLUDED
    local directory
    for directory in "$(dirname "$2")" include src .; do
        if [ -e "$1/$directory/$3" ]; then
            realpath --relative-to="$1" "$1/$directory/$3"
            return
        fi
    done
}

floor_of() { # FILE
    case $1 in
    include/*) echo public ;;
    src/platform/*) echo platform ;;
    *) echo "${1%%/*}" ;;
    esac
}

# Prints the violations of one file.
check_file() { # TREE FILE
    local open floor line name target seen=""
    open=" public $(floors_open_to "$2") "
    while IFS=: read -r line name; do
        target=$(resolve "$1" "$2" "$name")
        [ -n "$target" ] || continue
        floor=$(floor_of "$target")
        if [[ $open != *" $floor "* ]]; then
            echo "$2:$line: may not include $target, of floor $floor"
        fi
        seen+=" $floor"
    done < <(grep -nE '^[[:space:]]*#[[:space:]]*include' "$1/$2" |
        sed -E 's/^([0-9]+):[^"<]*["<]([^">]*).*/\1:\2/')
    if [[ $seen == *continuation* && $seen == *carrier* &&
        $2 == *.c && $2 != src/vthread.c ]]; then
        echo "$2: continuations and carriers meet in src/vthread.c only"
    fi
}

# Prints all violations; fails if there is one.
check_tree() { # TREE
    local file found
    found=$(cd "$1" && find include src continuation carrier examples bench \
        -name '*.[chS]' | sort | while read -r file; do
            check_file . "$file"
        done)
    [ -z "$found" ] || { echo "$found"; return 1; }
}

# Plants includes in a copy, where the check must find them.
expect_found() { # FILE INCLUDED...
    local copy
    copy=$(mktemp -d)
    mkdir -p "$copy"/{bench,examples}
    (cd "$srcdir" && cp -r include src continuation carrier "$copy")
    chmod -R u+w "$copy"
    printf '#include "%s"\n' "${@:2}" >>"$copy/$1"
    if check_tree "$copy" >"$copy/found"; then
        echo "not found by this check: ${*:2} included in $1"
        failed=1
    fi
    rm -rf "$copy"
}

failed=0
check_tree "$srcdir" || failed=1
if [ $failed = 0 ]; then
    expect_found src/platform/panic.h continuation/continuation.h
    expect_found continuation/continuation.h carrier/task.h
    expect_found carrier/task.h ../continuation/continuation.h
    expect_found carrier/task.h ../src/platform/../thread.h
    expect_found src/planted.c continuation/continuation.h carrier/task.h
    expect_found examples/planted.c platform/panic.h
    expect_found include/vthread.h platform/panic.h
fi
exit $failed
