#!/bin/bash
#
# redis_test.sh - hiredis against a real Redis, on virtual threads.
#
#     tests/redis_test.sh            in the build directory
#
# Starts a server of its own, see examples/with.sh.  One line for each claim;
# exits with 1 if one fails, 77 (skipped) without examples/redis or Redis.
set -u
export LC_ALL=C

# shellcheck source=crowd.sh
. "$(dirname "$0")/crowd.sh"
find_program redis
with redis

all_wait() # THREADS
{
    same "$1" "$(figure waited)" && at_most $os_threads os_threads_waiting
}

nothing_is_left()
{
    same "" "$(redis-cli -p "$REDIS_PORT" --scan)"
}

test_many()
{
    claim "2,000 threads with a connection each, every answer right" \
        runs -t 2000 -r 5
    claim "on $carriers carriers and no more OS threads than promised" \
        at_most $os_threads os_threads_most
    claim "while all 2,000 wait in hiredis, another runs" all_wait 2000
    claim "one thread on one carrier" runs -t 1 -c 1
    claim "on eight carriers" runs -t 200 -c 8 -r 5
    claim "by a name, which is resolved" runs -t 100 -r 5 localhost \
        "$REDIS_PORT"
    claim "nothing is left in the server" nothing_is_left
}

mode_runs() { claim "the same" runs -t 200 -r 5; }

counts() { redis-cli -p "$REDIS_PORT" get vthread:count | grep -q '[0-9]'; }

# The server goes in the middle, and was our last one.
is_cut_off()
{
    "$program" -c "$carriers" -t 200 -r 1000000 >"$work/figures" \
        2>"$work/err" &
    local pid=$!
    servers+=("$pid")
    await counts && redis-cli -p "$REDIS_PORT" shutdown nosave
    wait "$pid"
    same 1 $? && cat "$work/err" &&
        grep -q 'more failures are counted only' "$work/err"
}

test_many
in_each mode_runs
claim "the server goes: failures are told, and it ends" is_cut_off
claim "no server: says so" fails 1 'no Redis at 127.0.0.1, port 1: Connection' \
    127.0.0.1 1
claim "and how to get one" fails 1 'examples/with.sh redis' 127.0.0.1 1
claim "no port: 2" fails 2 "'x' is no port" 127.0.0.1 x
test_command_line
end_claims
