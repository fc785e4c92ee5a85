#!/bin/bash
#
# lua_test.sh - examples/lua: the runner vlua, the module in lua5.4, and the
# scripts, in all modes of the library.
#
#     tests/lua_test.sh              in the build directory
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without
# vlua.  STRESS=1: ten thousand threads at once, not two thousand.

set -u
export LC_ALL=C
unset LUA_PATH LUA_CPATH LUA_INIT VTHREAD_LUA_STACK VTHREAD_LUA_COUNT

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=claims.sh
. "$here/claims.sh"
scripts=$here/../examples/lua
build=$(realpath "${top_builddir:-.}/examples/lua")
vlua=$build/vlua
if [ -n "${SANITIZE_CFLAGS:-}" ]; then
    export LUA_TEST_THREADS=${LUA_TEST_THREADS:-300}
    CONNECTIONS=${CONNECTIONS:-200}
elif [ -z "${STRESS:-}" ]; then
    export LUA_TEST_THREADS=${LUA_TEST_THREADS:-2000}
fi
# It keeps signals for later, and time slices begin with one.
is_under_tsan && export VTHREAD_LUA_COUNT=${VTHREAD_LUA_COUNT:-1000}
[ -x "$vlua" ] || { echo "# no examples/lua/vlua here"; exit 77; }

# A script of tests; its lines are shown if one of its claims fails.
passes() # NAME
{
    "$vlua" "$here/lua/$1_test.lua" >"$work/out" 2>&1 && return
    grep -v '^ok' "$work/out"
    return 1
}

# With small stacks threads share them, and what waits is copied.
settings=(
    VTHREAD_FREEZE=lazy
    "VTHREAD_FREEZE=eager VTHREAD_MIGRATE=always VTHREAD_LUA_STACK=256"
    "VTHREAD_FREEZE=guard VTHREAD_LUA_STACK=256"
    "VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2 VTHREAD_LUA_STACK=256"
    "VTHREAD_PARALLELISM=1"
    "VTHREAD_PARALLELISM=8 VTHREAD_MIGRATE=always"
    "VTHREAD_LUA_COUNT=10 VTHREAD_MIGRATE=always VTHREAD_LUA_STACK=256"
)

# A hook of the library's own is in the way of what slices_test tells of.
test_scripts()
{
    local name
    for name in waits threads channels copies sockets foreign slices; do
        [ "$name ${VTHREAD_LUA_COUNT:-}" = "slices 10" ] && continue
        claim "$name" passes "$name"
    done
}

# ---- Plain Lua ---------------------------------------------------------------

# What needs a yield across a C call fails in plain Lua, and works here.
places_differ()
{
    LUA_CPATH=none lua5.4 "$scripts/places.lua" >"$work/plain" 2>&1
    grep 'attempt to yield across a C-call boundary' "$work/plain" |
        cut -d ' ' -f 1 >"$work/names"
    cat "$work/plain"
    same "gsub require sort tostring " "$(tr '\n' ' ' <"$work/names")" ||
        return
    "$vlua" "$scripts/places.lua" >"$work/ours" 2>&1 || return
    cat "$work/ours"
    ! grep -E 'attempt|nil' "$work/ours"
}

as_module() # SCRIPT [ARGUMENT...]
{
    LUA_CPATH="$build/.libs/?.so" timeout 60 lua5.4 "$@" >"$work/out" 2>&1 &&
        return
    grep -v '^ok' "$work/out"
    return 1
}

# Objects are collected then before the threads that wait with them are told;
# Valgrind sees what is used all the same.
closes_under_threads()
{
    local under=()
    ! command -v valgrind >/dev/null ||
        under=(valgrind -q --error-exitcode=9
            --suppressions="$here/valgrind.supp")
    LUA_CPATH="$build/.libs/?.so" timeout 60 "${under[@]}" lua5.4 -e '
        local v = require "vthread"
        local l = v.tcp.listen("127.0.0.1", 0)
        local _, port = l:address()
        v.spawn(function()
            local c <close> = l:accept()
            v.sleep(1000)
        end)
        local reader = v.spawn(function()
            v.tcp.connect("127.0.0.1", port):read(5)
        end)
        v.spawn(v.join, reader)
        v.spawn(v.join, v.spawn(v.sleep, 1000))
        v.sleep(0.2)' >"$work/out" 2>&1 && return
    cat "$work/out"
    return 1
}

# The runtime of a sanitizer must be there from the start.
test_module()
{
    local name
    command -v lua5.4 >/dev/null || return
    [ -z "${SANITIZE_CFLAGS:-}" ] || return
    claim "where plain Lua cannot yield, vlua waits" places_differ
    for name in waits threads channels copies sockets foreign slices; do
        claim "$name, by lua5.4 with vthread.so" as_module \
            "$here/lua/${name}_test.lua"
    done
    claim "lua5.4 ends though threads are left" as_module -e \
        'local v = require "vthread"
         for _ = 1, 9 do v.spawn(v.sleep, 1000) end
         v.spawn(function() while true do end end)'
    claim "lua5.4 ends though threads read and join" closes_under_threads
}

# ---- The runner --------------------------------------------------------------

# ends STATUS TEXT ARGUMENT...: and says the text.
ends()
{
    local wanted=$1 text=$2
    shift 2
    timeout 60 "$vlua" "$@" >"$work/out" 2>"$work/err"
    same "$wanted" $? && cat "$work/err" &&
        { [ -z "$text" ] || grep -q -e "$text" "$work/err"; }
}

v='local v = require "vthread" '

prints() # TEXT CODE
{
    same "$1" "$(timeout 60 "$vlua" -e "$v $2" a b 2>&1)"
}

test_runner()
{
    claim "no script: usage" ends 2 usage
    claim "no such script" ends 1 'cannot open' "$work/none.lua"
    claim "a syntax error" ends 1 "syntax error near 'y'" -e 'x y'
    claim "an error of the script, with its stack" ends 1 \
        'in main chunk' -e 'error "x"'
    claim "arguments" prints "a	b	2	a	b" 'print(arg[1], arg[2], #arg, ...)'
    claim "an error in a thread that nobody joins is told at once" ends 0 \
        "thread '(-e).*' has failed, and nobody waits for it: .*lost" -e \
        "$v v.spawn(function() error 'lost' end) v.sleep(0.01)"
    claim "with both stacks" grep -q 'spawned by:' "$work/err"
    claim "but one that somebody waits for is not" prints "false" \
        "print((pcall(v.join, v.spawn(function()
            v.sleep(0.01) error 'x' end))))"
    claim "threads that are left are counted" ends 0 \
        'the script has ended, and 2 of its threads are left' -e \
        "$v v.spawn(v.sleep, 1000) v.spawn(function() while true do end end)"
    claim "and close what they have to" ends 0 '^closed' -e \
        "$v v.spawn(function()
            local o <close> = setmetatable({}, {__close = function()
                io.stderr:write 'closed\n' end})
            v.sleep(1000)
        end) v.yield() v.sleep(0.01)"
    claim "a thread may end the process" ends 3 "" -e \
        "$v v.spawn(function() os.exit(3) end) v.sleep(1000)"
    # With the state closed nobody knows of its memory any more.
    ASAN_OPTIONS=detect_leaks=0 claim "and close the state" ends 3 "" -e \
        "$v v.spawn(function() os.exit(3, true) end) v.sleep(1000)"
    claim "a deadlock is told" ends 2 "deadlock" -e \
        "$v v.channel():receive()"
    claim "values on their way when the script ends are released" ends 0 "" -e \
        "$v c = v.channel(9, 'copy') c:send({v.channel(1, 'copy')})
         d = v.channel(2) d:send(d)"
}

# ---- The examples ------------------------------------------------------------

shows() # TEXT SCRIPT [ARGUMENT...]
{
    local text=$1
    shift
    timeout 60 "$vlua" "$scripts/$1" "${@:2}" >"$work/out" 2>&1
    same 0 $? && cat "$work/out" && grep -qx -e "$text" "$work/out"
}

start_httpd() # ISOLATES
{
    local i
    : >"$work/httpd"
    "$vlua" "$scripts/httpd.lua" 127.0.0.1 0 "$1" >"$work/httpd" 2>&1 &
    pid=$!
    servers+=("$pid")
    for ((i = 0; i < 500; i++)); do
        port=$(sed -n 's|^listening on http://.*:\([0-9]*\)/$|\1|p' \
            "$work/httpd")
        [ -n "$port" ] && return
        sleep 0.02
    done
    cat "$work/httpd"
    return 1
}

# ask TEXT PATH [CURL-ARGUMENT...]
ask()
{
    same "$1" "$(curl -s --max-time 20 "http://127.0.0.1:$port$2" "${@:3}")"
}

stop_httpd()
{
    ask bye /quit || return
    wait "$pid"
    same 0 $? && grep requests "$work/httpd"
}

loads() # CONNECTIONS REQUESTS
{
    shows "$(($1 * $2)) requests, 0 failures" load.lua "$1" "$2" 127.0.0.1 \
        "$port"
}

test_httpd()
{
    local isolates
    for isolates in 1 3; do
        claim "httpd.lua starts, isolates: $isolates" start_httpd "$isolates"
        if command -v curl >/dev/null; then
            claim "a page" ask "hello, world" /hello
            claim "one that waits" ask "at last" /slow
            claim "what was posted" ask posted /echo -d posted
            claim "none" ask "no such page" /none
            claim "no request" ask "400 Bad Request" / -X 'x y'
        fi
        claim "$1 connections at once" loads "$1" 3
        claim "it ends" stop_httpd
    done
}

test_examples()
{
    claim "hello.lua" shows "100 threads slept.*yes" hello.lua
    claim "pipeline.lua" shows "100 primes, the last is 541" pipeline.lua
    claim "parallel.lua" shows "12310 numbers below 200000.*" parallel.lua
    claim "foreign.lua" shows "rmdir: -1, errno 2" foreign.lua
    test_httpd "${CONNECTIONS:-1000}"
}

[ -z "${VTHREAD_FREEZE:-}" ] || export VTHREAD_LUA_STACK=256
in_each test_scripts
unset VTHREAD_LUA_STACK
test_module
test_runner
test_examples
end_claims
