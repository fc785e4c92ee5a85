#!/bin/bash
#
# documents_test.sh - what the documents show is true.
#
#     tests/documents_test.sh            in the build directory
#     tests/documents_test.sh --others   and the programs in other languages
#
# A block of C that has a main is a program: it is compiled, without a
# warning, and run.  The first block of text that follows it shows the
# output of all programs since the text before.  "```c sed": with pthread made
# vthread throughout, it prints the same.  With --others the programs in Go,
# Java and Python are run as well, for which nothing is needed otherwise;
# "```java 25" says which version is needed.  And names of the library that a
# document mentions are in its headers.
#
# One line for each claim; exits with 1 if one fails.
set -u
export LC_ALL=C

top=$(realpath "${srcdir:-$(dirname "$0")/..}")
archive=$(realpath "${LIBVTHREAD:-libvthread.a}")
# What the archive itself needs.
private=$(sed -n 's/^Libs.private: *//p' "${archive%/*}/vthread.pc")
others=${1:-}
# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# Writes the blocks of a page to files, and prints for each its number, the
# line at which it begins, its language, and what else stands there.
blocks_of() { # PAGE
    awk -v work="$work" '
        /^```./ && !inside {
            inside = 1
            file = work "/block" ++count
            printf "" >file
            print count, NR, substr($0, 4)
            next
        }
        /^```$/ { if (inside) close(file); inside = 0 }
        inside { print >file }' "$1"
}

is_program() { # LANGUAGE FILE
    case $1 in
    c) grep -q '^int main(' "$2" ;;
    go) grep -q '^func main(' "$2" ;;
    java) grep -q 'void main(' "$2" ;;
    python) grep -q 'asyncio.run(' "$2" ;;
    *) false ;;
    esac
}

# Makes the commands that build and run a program.
run_c() { # FILE
    cp "$1" "$work/program.c"
    # Unquoted: CC and the flags may be several words.
    ${CC:-cc} -std=gnu11 -O2 ${SANITIZE_CFLAGS:-} -Wall -Wextra -Werror \
        -Wno-unused-parameter -I"$top/include" -o "$work/program" \
        "$work/program.c" "$archive" $private ${FFI_LIBS:-} -pthread \
        && timeout 60 "$work/program"
}

run_go() {
    cp "$1" "$work/program.go"
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/cache" \
        go run "$work/program.go"
}

run_java() {
    cp "$1" "$work/Program.java"
    java "$work/Program.java"
}

run_python() {
    python3 "$1"
}

# Is this one to be run, here and now?
wanted() { # LANGUAGE NEEDS
    local major
    [ "$1" = c ] && return
    [ "$others" = --others ] || return
    [ -z "$2" ] && return
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge "$2" ] && return
    echo "# $page: $1 program not run, it needs version $2"
    return 1
}

prints() { # LANGUAGE FILE WANTED
    "run_$1" "$2" >"$work/output" || { cat "$work/output"; return 1; }
    diff "$3" "$work/output"
}

renamed() { # FILE
    sed 's/pthread/vthread/g; s/PTHREAD/VTHREAD/g' "$1" >"$1.renamed"
    echo "$1.renamed"
}

check_programs() { # PAGE
    local number line language needs entry waiting=()
    while read -r number line language needs <&3; do
        if [ "$language" = text ]; then
            for entry in "${waiting[@]}"; do
                set -- $entry
                claim "$page:$3: the $2 program prints what is shown" \
                    prints "$2" "$work/block$1" "$work/block$number"
                [ "${4:-}" = sed ] &&
                    claim "$page:$3: so does the one that sed makes of it" \
                        prints c "$(renamed "$work/block$1")" \
                        "$work/block$number"
            done
            waiting=()
        elif is_program "$language" "$work/block$number" &&
            wanted "$language" "$needs"; then
            waiting+=("$number $language $line $needs")
        fi
    done 3< <(blocks_of "$top/$page")
    claim "$page: each program is followed by its output" \
        [ ${#waiting[@]} = 0 ]
}

# A name that ends in _ stands for several.
names_exist() { # PAGE
    local name missing=0
    for name in $(grep -oE '\b(vthread|VTHREAD)_[A-Za-z_]+' "$top/$1" |
        sort -u); do
        grep -rqw -e "$name" "$top/include" "$top/src" && continue
        [ "$name" != "${name%_}" ] &&
            grep -rqE "\b$name" "$top/include" && continue
        echo "$name is no name of the library"
        missing=1
    done
    return $missing
}

for page in README.md doc/rules.md doc/from-go.md doc/from-java.md \
    doc/from-pthreads.md doc/from-asyncio.md; do
    check_programs "$page"
    claim "$page: its names are the library's" names_exist "$page"
done
end_claims
