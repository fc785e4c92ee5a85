#!/bin/bash
#
# sqlite_test.sh - SQLite on disk, on virtual threads.
#
#     tests/sqlite_test.sh           in the build directory
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without
# examples/sqlite.
set -u
export LC_ALL=C

# shellcheck source=crowd.sh
. "$(dirname "$0")/crowd.sh"
find_program sqlite
export TMPDIR=$work

all_wait() # CONNECTIONS
{
    same "$1" "$(figure waited)" && at_most $os_threads os_threads_waiting
}

# What SIGTERM leaves, in the middle of transactions.
is_ended()
{
    local pid
    "$program" -c "$carriers" -r 1000000 >"$work/figures" 2>&1 &
    pid=$!
    servers+=("$pid")
    await has_journal && kill -TERM "$pid"
    wait "$pid"
    same 143 $? && nothing_is_left
}

has_journal() { find "$work" -name bank-wal -size +100k | grep -q .; }

nothing_is_left() { same "" "$(find "$work" -name 'sqlite.*')"; }

# What somebody else reads in the file that is kept.
is_kept()
{
    runs -t 50 "$work/kept.db" && python3 - "$work/kept.db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
one = lambda sql: db.execute(sql).fetchone()[0]
assert one("select sum(balance) from account") == 100000
assert one("select count(*) from journal") == 500
assert one("pragma integrity_check") == "ok"
END
}

mode_runs() { claim "the same" runs -t 200 -r 3; }

claim "1,000 threads share 16 connections; no amount is lost" runs
claim "each transaction was made" same 10000 "$(figure count)"
claim "on $carriers carriers and no more OS threads than promised" \
    at_most $os_threads os_threads_most
claim "while all connections wait for the file, others run" all_wait 16
claim "150 threads with a connection each" runs -t 150 -p 150 -r 2
claim "all 150 wait at once" all_wait 150
claim "a thread on one carrier" runs -t 1 -p 1 -c 1
claim "on eight carriers" runs -t 100 -c 8
in_each mode_runs
claim "nothing is left" nothing_is_left
claim "nor if it is ended by a signal" is_ended
if command -v python3 >/dev/null; then
    claim "a file that is kept can be read by others" is_kept
fi
claim "a file that cannot be made: says so" fails 1 'unable to open' \
    "$work/none/file"
claim "no database: says so" fails 1 'not a database' "$0"
test_command_line
end_claims
