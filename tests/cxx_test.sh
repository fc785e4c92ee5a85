#!/bin/bash
#
# cxx_test.sh - the library can be used from C++.
#
#     tests/cxx_test.sh              in the build directory
#
# For g++ and clang++, whichever is here, from C++11 to C++20: each public
# header by itself compiles without a warning, and cxx_program.cpp does,
# links with the library, and does what it says; exceptions stay with the
# threads that handle them; examples/vthread.hpp works.
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without a
# compiler.
#
# STRESS=1: more exceptions, and each compiler as the oldest and the newest
# standard.
set -u
export LC_ALL=C

top=$(realpath "${srcdir:-$(dirname "$0")/..}")
archive=$(realpath "${LIBVTHREAD:-libvthread.a}")
# What the archive itself needs.
private=$(sed -n 's/^Libs.private: *//p' "${archive%/*}/vthread.pc")

# A library with a sanitizer is linked by the compiler that has built it.
case ${SANITIZE_CFLAGS:-}:${CC:-cc} in
:*) known=(g++ clang++) ;;
*clang*) known=(clang++) ;;
*) known=(g++) ;;
esac
compilers=()
for compiler in "${known[@]}"; do
    command -v "$compiler" >/dev/null && compilers+=("$compiler")
done
[ ${#compilers[@]} -gt 0 ] || { echo "# no ${known[*]} here"; exit 77; }

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

compile() { # ARGUMENT...
    # Unquoted: the flags may be several words.
    "$compiler" -std="$standard" ${SANITIZE_CFLAGS:-} -Wall -Wextra -Werror \
        ${FFI_CFLAGS:-} -I"$top/include" "$@"
}

headers_compile()
{
    local header status=0
    for header in "$top"/include/vthread.h "$top"/include/vthread/*.h \
        "$top"/examples/vthread.hpp; do
        # It needs libffi, which may be missing.
        [[ $header != */call.h || ${FFI_LIBS:-} ]] || continue
        echo "#include \"$header\"" >"$work/header.cpp"
        compile -fsyntax-only "$work/header.cpp" || status=1
    done
    return $status
}

# What is a matter of the headers is compiled without optimizing.
build() { # PROGRAM [LEVEL]
    compile "${2:--O0}" -o "$work/program" "$top/$1" "$archive" $private \
        ${FFI_LIBS:-} -pthread
}

program_runs()
{
    build tests/cxx_program.cpp || return
    same $'hello, thread\nscope: 5\nchannel: 10' \
        "$(timeout 60 "$work/program" 2>&1)"
}

words_runs()
{
    build examples/words.cpp || return
    cd "$top" || return
    LC_ALL=C same "$(cat LICENSE doc/rules.md | tr -s ' \t' '\n\n' | grep . |
        sort | uniq -c | sort -k1,1rn -k2,2 | head -5 | sed 's/^ *//')" \
        "$("$work/program" LICENSE doc/rules.md /nowhere 2>"$work/errors")" &&
        same "words: /nowhere cannot be read" "$(cat "$work/errors")"
}

wrapped_runs()
{
    build tests/cxx_wrapped.cpp || return
    same "all so" "$(timeout 60 "$work/program" 2>&1)" &&
        same "all so" "$(VTHREAD_FREEZE=eager VTHREAD_MIGRATE=always \
            VTHREAD_PARALLELISM=8 timeout 60 "$work/program" 2>&1)"
}

rounds=5
[ -z "${STRESS:-}" ] || rounds=30

# The program that has been built.  Its threads that exit in a catch block
# leave the exception behind.
handles()
{
    local caught=$((200 * (11 * rounds + 2 * ((rounds + 9) / 10)) + 1))
    same "caught: $caught" "$(VTHREAD_MIGRATE=always \
        ASAN_OPTIONS=detect_leaks=0 timeout 120 "$work/program" "$rounds" 2>&1)"
}

settings=("VTHREAD_FREEZE=lazy VTHREAD_PARALLELISM=8"
    "VTHREAD_FREEZE=lazy VTHREAD_PARALLELISM=8 VTHREAD_OWN_LIMIT=0"
    "VTHREAD_FREEZE=eager VTHREAD_PARALLELISM=8"
    "VTHREAD_FREEZE=guard VTHREAD_PARALLELISM=8")

# The headers of C++ are what takes the time.  Of two compilers one compiles
# most as the oldest standard, the other as the newest, unless there is more
# time (STRESS=1): they differ in little that a header of C has.
some=(c++11 c++20)
[ ${#compilers[@]} = 1 ] || [ -n "${STRESS:-}" ] || some=(c++11)

for compiler in "${compilers[@]}"; do
    for standard in c++11 c++14 c++17 c++20; do
        mode="$compiler, $standard"
        claim "a program compiles, links and runs" program_runs
    done
    claim "a program that throws compiles and links" \
        build tests/cxx_exceptions.cpp -O2
    in_each claim "$compiler: exceptions are handled across parks" handles
    for standard in "${some[@]}"; do
        mode="$compiler, $standard"
        claim "the example counts words" words_runs
        claim "vthread.hpp does what it says" wrapped_runs
        claim "each header compiles by itself" headers_compile
    done
    [ -n "${STRESS:-}" ] || some=(c++20)
done
end_claims
