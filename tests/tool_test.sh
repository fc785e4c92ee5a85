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
end_claims
