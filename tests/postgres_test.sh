#!/bin/bash
#
# postgres_test.sh - libpq against a real PostgreSQL, on virtual threads.
#
#     tests/postgres_test.sh         in the build directory
#
# Starts a server of its own, see examples/with.sh.  One line for each claim;
# exits with 1 if one fails, 77 (skipped) without examples/postgres or
# PostgreSQL, and under TSan.
set -u
export LC_ALL=C

# shellcheck source=crowd.sh
. "$(dirname "$0")/crowd.sh"
find_program postgres
not_under_tsan "it sees no malloc and free of those who wait in its poll"
with postgres

all_wait() # CONNECTIONS
{
    same "$1" "$(figure waited)" && at_most $os_threads os_threads_waiting
}

test_many()
{
    claim "2,000 threads share 20 connections, every answer right" runs
    claim "on $carriers carriers and no more OS threads than promised" \
        at_most $os_threads os_threads_most
    claim "while all connections wait, others run" all_wait 20
    claim "300 threads with a connection each" runs -t 300 -p 300 -r 2
    claim "all 300 wait in libpq at once" all_wait 300
    claim "a thread on one carrier" runs -t 1 -p 1 -c 1
    claim "on eight carriers" runs -t 200 -c 8 -r 2
}

mode_runs() { claim "the same" runs -t 200 -r 2; }

by_name() { PGHOST=localhost runs -t 100 -r 2; }
by_address() { PGHOST=127.0.0.1 runs -t 100 -r 2; }

no_server() { PGPORT=1 fails 1 "$1"; }

# The server ends all connections in the middle.
is_cut_off()
{
    "$program" -c "$carriers" -r 1000000 >"$work/figures" 2>"$work/err" &
    local pid=$!
    servers+=("$pid")
    await some_are_there
    psql -qAtc "select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid()
        and backend_type = 'client backend'" >/dev/null
    wait "$pid"
    same 1 $? && cat "$work/err" && grep -q 'terminat' "$work/err" &&
        grep -q 'more failures are counted only' "$work/err"
}

some_are_there()
{
    [ "$(psql -Atc 'select count(*) > 0 from vthread_ledger')" = t ]
}

test_many
in_each mode_runs
claim "over TCP, by address" by_address
claim "by name, which is resolved" by_name
claim "no server: says so" no_server 'Is the server running'
claim "and how to get one" no_server 'examples/with.sh postgres'
if command -v psql >/dev/null; then
    claim "all connections cut off: failures are told, and it ends" is_cut_off
fi
test_command_line
end_claims
