#!/bin/bash
#
# lua_suite_test.sh - files of Lua's own test suite, in virtual threads.
#
#     tests/lua_suite_test.sh        LUA_TESTS=DIR: where the files are
#
# Debian's source package of Lua 5.4 comes without the suite.  What Debian has
# is that of Lua 5.1, in golang-github-yuin-gopher-lua-dev; many of its files
# run on 5.4, with a few old names (tests/lua/suite.lua).  So: a file that
# passes with plain lua5.4 must pass with vlua, in a thread that migrates at
# each wait, gives up its turn every thousand instructions, and has another
# beside it that waits in comparators.  The files of 5.4, lua-5.4.4-tests, are
# run in the same way if they are there.
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without
# vlua, lua5.4 or the files.

set -u
export LC_ALL=C
unset LUA_PATH LUA_INIT VTHREAD_LUA_STACK VTHREAD_LUA_COUNT
export LUA_CPATH=none

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=claims.sh
. "$here/claims.sh"
vlua=$(realpath "${top_builddir:-.}/examples/lua/vlua")
debian=/usr/share/gocode/src/github.com/yuin/gopher-lua/_lua5.1-tests
files=${LUA_TESTS:-$debian}
[ -x "$vlua" ] || { echo "# no examples/lua/vlua here"; exit 77; }
command -v lua5.4 >/dev/null || { echo "# no lua5.4 here"; exit 77; }
[ -f "$files/sort.lua" ] || { echo "# no files: LUA_TESTS or the Debian \
package golang-github-yuin-gopher-lua-dev"; exit 77; }

suite=$(realpath "$here/lua/suite.lua")
cp -r "$files" "$work/suite"
chmod -R u+w "$work/suite"
cd "$work/suite" || exit 1

# How far a file comes; the last line that it prints.
outcome() # PROGRAM FILE
{
    timeout 60 "$1" "$suite" "$2" </dev/null 2>"$work/err" | tail -n 1
}

passes() # FILE
{
    same passed "$(outcome "$vlua" "$1")" || { cat "$work/err"; return 1; }
}

# all.lua runs the others; main.lua is about the stand-alone interpreter, and
# gc.lua about when collections take place, which others have a part in;
# big.lua fills gigabytes before it finds that it is not for this version.
applies() # FILE
{
    case $1 in
    all.lua | main.lua | gc.lua | big.lua) return 1 ;;
    esac
    [ "$(outcome lua5.4 "$1")" = passed ]
}

applying=()
for file in *.lua; do
    if applies "$file"; then applying+=("$file"); fi
done
echo "# of $files: ${applying[*]}"
claim "a dozen files apply" [ ${#applying[@]} -ge 12 ]

all_pass()
{
    local file
    for file in "${applying[@]}"; do claim "$file" passes "$file"; done
}

export VTHREAD_MIGRATE=always VTHREAD_LUA_STACK=256 VTHREAD_LUA_COUNT=1000
settings=(VTHREAD_FREEZE=lazy VTHREAD_FREEZE=eager VTHREAD_FREEZE=guard)
in_each all_pass
unset VTHREAD_LUA_STACK VTHREAD_LUA_COUNT
mode="${VTHREAD_FREEZE:-lazy}, own homes, turns by time" all_pass
end_claims
