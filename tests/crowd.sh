# crowd.sh - what the tests of the examples with crowds share.  Sourced by
# them, and sources claims.sh.
#
#   find_program NAME       sets $program, or skips the test
#   with SERVER...          runs the test anew beside a server, unless it is
#                           there; skips the test if that is not installed
#   runs ARGUMENT...        the program with --json, which must succeed
#   fails STATUS TEXT ARGUMENT...
#                           it ends with the status and says the text
#   figure NAME             what the last run has printed for it
#   at_most LIMIT NAME      whether that figure is no more
#   $settings               each mode of the library, for in_each
#   $carriers               how many there are: two, or VTHREAD_PARALLELISM
#
# Carriers are limited, so the number of OS threads is a promise, and not what
# happened to be needed: carriers, main and the monitor.
#
# shellcheck shell=bash

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=claims.sh
. "$here/claims.sh"
with=$here/../examples/with.sh

# shellcheck disable=SC2034
settings=(VTHREAD_FREEZE=eager VTHREAD_FREEZE=guard VTHREAD_MIGRATE=always
    "VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2")
carriers=${VTHREAD_PARALLELISM:-2}
max_carriers=$((carriers + 4))
os_threads=$((max_carriers + 2))
export VTHREAD_MAX_CARRIERS=$max_carriers

find_program() # NAME
{
    program=$(realpath "${top_builddir:-.}/examples/$1")
    [ -x "$program" ] && return
    echo "# no examples/$1 here: configure says what it needs"
    exit 77
}

with() # SERVER [ARGUMENT]
{
    [ -n "${CROWD_SERVER:-}" ] && return
    rm -rf "$work"
    CROWD_SERVER=$1 exec bash "$with" "$@" bash "$0"
}

# The last lines of what it says help when it fails.
runs()
{
    timeout 100 "$program" --json -c "$carriers" "$@" >"$work/figures" \
        2>"$work/err"
    local status=$?
    tail -n 20 "$work/err" "$work/figures"
    same 0 "$status" && same 0 "$(figure failures)" && same "" \
        "$(cat "$work/err")"
}

fails()
{
    local wanted=$1 text=$2
    shift 2
    timeout 100 "$program" "$@" >"$work/figures" 2>"$work/err"
    local status=$?
    head -20 "$work/err"
    same "$wanted" "$status" && grep -q -e "$text" "$work/err"
}

figure() # NAME
{
    sed -n "s/.*\"$1\": \([0-9.e+-]*\).*/\1/p" "$work/figures"
}

at_most() # LIMIT NAME
{
    local value
    value=$(figure "$2")
    echo "$2: $value, at most $1"
    [ -n "$value" ] && [ "${value%%.*}" -le "$1" ]
}

helps()
{
    "$program" --help >"$work/help" && grep '^usage: ' "$work/help"
}

test_command_line()
{
    claim "an unknown option: usage, 2" fails 2 usage --nonsense
    claim "no number: 2" fails 2 "is no number" --threads 12x
    claim "no threads: 2" fails 2 "is no number" --threads 0
    claim "a negative number: 2" fails 2 "is no number" --rounds -1
    claim "--help: usage, 0" helps
}
