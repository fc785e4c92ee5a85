#!/bin/bash
#
# tool_test.sh - the tool vthread: its command line, and what it says when
# that makes no sense.
#
#     tests/tool_test.sh             in the build directory
#
# One line for each claim; exits with 1 if one fails.
set -u
export LC_ALL=C

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
source=$(realpath "$(dirname "$0")/..")
tool=$(realpath "${top_builddir:-.}/tools/vthread")

# Runs the tool; what it says stays in $work/out and $work/err.
vthread()
{
    "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null
}

# ends STATUS ARGUMENT...
ends()
{
    local status=0
    vthread "${@:2}" || status=$?
    same "$1" "$status" || { cat "$work/out" "$work/err"; return 1; }
}

# said TEXT: as a line of what was complained.
said()
{
    grep -qF -- "$1" "$work/err" || { cat "$work/err"; return 1; }
}

# Each command of the list explains itself, and only on standard output.
all_explain_themselves()
{
    local name names
    vthread --help || return
    names=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$work/out")
    [ -n "$names" ] || return
    for name in $names; do
        vthread help "$name" || { echo "vthread help $name"; return 1; }
        [ -s "$work/out" ] && [ ! -s "$work/err" ] || return
        awk 'length > 80 { print; long = 1 } END { exit long }' "$work/out" ||
            return
    done
}

# What bash makes of a line that ends there.
completes() # WANTED WORD...
{
    (
        unset -f vthread
        PATH=$(dirname "$tool"):$PATH
        # shellcheck source=/dev/null
        . "$source/tools/inspector/completion.bash"
        COMP_WORDS=("${@:2}")
        COMP_CWORD=$(($# - 2))
        _vthread
        same "$1" "${COMPREPLY[*]}"
    )
}

# The manual page has a part for each command, and names each option.
are_in_the_manual()
{
    local name option page=$source/doc/vthread.1
    vthread --help || return
    for name in $(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$work/out"); do
        grep -q "vthread $name" "$page" || { echo "$name"; return 1; }
        vthread help "$name"
        for option in $(grep -oE -- '--[a-z][a-z-]*' "$work/out"); do
            [ "$option" = --help ] && continue
            grep -qF -- "${option//-/\\-}" "$page" ||
                { echo "$name $option"; return 1; }
        done
    done
}

into_a_full_disk()
{
    local status=0
    "$tool" --help >/dev/full 2>"$work/err" || status=$?
    same 5 $status
}

claim "asked for help it explains itself and is fine" ends 0 --help
claim "there is nothing to complain of then" test ! -s "$work/err"
claim "each command explains itself" all_explain_themselves
claim "the version is told" ends 0 --version
claim "it names the library" grep -q '^vthread (libvthread) [0-9.]*$' \
    "$work/out"
claim "without a command it explains itself as an error" ends 2
claim "on standard error" said "usage: vthread COMMAND"
claim "a command that there is not is an error" ends 2 frobnicate
claim "it says so" said "there is no command 'frobnicate'"
claim "one that is nearly right is an error, too" ends 2 verison
claim "the right one is suggested" said "did you mean 'version'?"
claim "a very long one is an error" ends 2 \
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
claim "too many arguments are an error" ends 2 version now
claim "it says where to read more" said "'vthread version --help'"
claim "output that cannot be written is a failure" into_a_full_disk
claim "which it says" said "No space left on device"
claim "commands are completed" completes "version" vthread ver
claim "options, too" completes "--fail-on" vthread pin --fa
claim "commands to be explained, too" completes "run" vthread help ru
claim "the manual page has them all" are_in_the_manual
end_claims
