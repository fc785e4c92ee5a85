#!/bin/bash
#
# perfetto_test.sh - `vthread trace` writes what Perfetto's format asks for,
# and what the program did.
#
# The file is decoded by our description of the format, and looked over by
# tests/perfetto.py.  One line for each claim; exits with 1 if one fails, 77
# (skipped) where the tool was built without the command, or there is no
# python3-protobuf or protoc-c to decode by.
set -u
export LC_ALL=C
unset DEBUGINFOD_URLS

top=${srcdir:-$(dirname "$0")/..}
tool=tools/vthread
python=
for candidate in python3 /usr/bin/python3; do
    "$candidate" -c 'import google.protobuf' 2>/dev/null && python=$candidate
done
[ -n "$python" ] || { echo "# no python3-protobuf here"; exit 77; }
command -v "${PROTOC_C:-protoc-c}" >/dev/null \
    || { echo "# no protoc-c here"; exit 77; }
"$tool" trace /nonexistent/program 2>&1 | grep -q "was built without" \
    && { echo "# no vthread trace here"; exit 77; }

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
not_under_tsan "a program's constants are in a file without a name"

"${PROTOC_C:-protoc-c}" --proto_path="$top/tools/inspector" \
    --descriptor_set_out="$work/description" perfetto.proto || exit 1

# Decodes a file into the text $work/shown; fails if something is wrong in it.
decode() { # FILE
    "$python" "$top/tests/perfetto.py" "$work/description" "$1" \
        >"$work/shown" 2>&1 || { cat "$work/shown"; return 1; }
}

shows() { # EXTENDED REGULAR EXPRESSION OF A WHOLE LINE
    grep -Exq "$1" "$work/shown" || { cat "$work/shown"; return 1; }
}

status_of() { # COMMAND...
    "$@" >"$work/out" 2>&1
    echo $?
}

# A thread that sleeps once.
claim "a program is recorded" \
    "$tool" trace -o "$work/hello" examples/hello
claim "the file is right: slices end, arrows meet, tracks have names" \
    decode "$work/hello"
claim "the process has its name" shows "process [0-9]+ (lt-)?hello"
claim "a thread has its track below its function" \
    shows "track threads: greet / greet #2: 5 slices, 0 instants"
claim "its two mounts are on a carrier's" shows "slice greet #2: 2"
claim "it sleeps" shows "slice sleeps: 1"
claim "who created it is told, with an arrow to where it runs" \
    shows "arrows: 2 begin, 1 end"
claim "nothing is left beside the file" \
    same "$(ls "$work" | grep -c recording)" 0

# Children of a scope, and calls in place, on several carriers.
claim "another program is recorded" \
    "$tool" trace -o "$work/fan" examples/fan "$top"/doc/rules.md "$top"/doc/from-go.md
claim "its file is right, too" decode "$work/fan"
claim "children are below their scope" \
    shows "track scope 0x[0-9a-f]+ / count_words #[0-9]+: .*"
claim "the calls are on tracks of their own" \
    shows "track foreign calls / calls of carrier [0-9]+: .*"
claim "all threads that were created have run" \
    shows "arrows: [0-9]+ begin, [2-9] end"

# A recording that the program makes itself.
VTHREAD_TRACE=$work/own examples/hello >"$work/log" 2>&1
claim "a recording is recognised" "$tool" trace -o "$work/own.out" "$work/own"
claim "and its file is right" decode "$work/own.out"

cut_anywhere() {
    local size length status
    size=$(stat -c %s "$work/own")
    for length in 1 31 32 40 100 $(seq 200 1237 "$size") $((size - 4)); do
        head -c "$length" "$work/own" >"$work/cut"
        "$tool" trace -o "$work/cut.out" "$work/cut" >"$work/log" 2>&1
        status=$?
        [ "$length" -ge 32 ] || continue
        [ $status = 0 ] || { echo "at $length: $status"; cat "$work/log"; return 1; }
        decode "$work/cut.out" || { echo "cut at $length"; return 1; }
    done
}
claim "one that breaks off anywhere is shown as far as it goes" cut_anywhere

# A process that runs already: a server that waits for a connection.
VTHREAD_CONTROL=1 examples/echo 0 >"$work/log" 2>&1 &
servers+=($!)
waits_for_connections() {
    "$tool" trace --for 20ms -o "$work/process" "${servers[0]}" &&
        decode "$work/process" && shows "slice waits: descriptor: 1"
}
await waits_for_connections # it listens first, and then it waits
claim "a process that runs is recorded" \
    "$tool" trace --for 20ms -o "$work/process" "${servers[0]}"
claim "its file is right" decode "$work/process"
claim "a thread that does nothing is there with what it waits for" \
    shows "slice waits: descriptor: 1"
claim "a second time works as well" \
    "$tool" trace --for 20ms -o "$work/process" "${servers[0]}"
claim "a process without the socket is told" \
    same "$(status_of "$tool" trace -o "$work/x" $$)" 3

# What happens to a process while the tool is there.
cat >"$work/victim.c" <<'SOURCE'
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <vthread.h>
static void *obey(void *arg)
{
    char order;
    size_t count;
    while (vthread_read(0, &order, 1, &count) == 0 && count == 1) {
        if (order == 'p') {
            vthread_pin();
            vthread_sleep(300 * VTHREAD_MS);
            vthread_unpin();
        } else if (order == 'd') {
            vthread_park();
        } else if (order == 'a') {
            abort();
        } else if (order == 'k') {
            kill(getpid(), SIGKILL);
        } else if (order == 'x') {
            break;
        }
    }
    return arg;
}
int main(void)
{
    vthread_t t;
    vthread_create(&t, NULL, obey, NULL);
    vthread_join(t, NULL);
    return 0;
}
SOURCE

# It has, or is at its end already.
has_begun() { # PID OF THE TOOL
    local file
    kill -0 "$1" || return 0
    for file in "/proc/$1/fd"/*; do
        [[ $(readlink "$file") == *"(deleted)" ]] && [ -s "$file" ] && return
    done
    return 1
}

has_socket() { # PROCESS; 00010000: it listens
    grep -q " 00010000 .* @vthread/$(id -u)/$1\$" /proc/net/unix
}

# happens STATUS ORDERS OPTION...: they are given to the program when the tool is
# there, which ends with the status; sets $work/log to what the tool says.
happens()
{
    local expected=$1 orders=$2 victim tracer status
    shift 2
    rm -f "$work"/seen* "$work/orders"
    mkfifo "$work/orders"
    VTHREAD_CONTROL=1 "$work/victim" <"$work/orders" >"$work/victim.log" 2>&1 &
    victim=$!
    exec 7>"$work/orders"
    await has_socket "$victim"
    "$tool" trace "$@" -o "$work/seen" "$victim" >"$work/log" 2>&1 &
    tracer=$!
    await has_begun "$tracer"
    echo "$orders" >&7
    wait "$tracer"
    status=$?
    exec 7>&-
    wait "$victim" 2>/dev/null
    same "$expected" "$status" && decode "$work/seen"
}

# Neither of one that follows a process, nor of one that has a program write.
tool_is_killed()
{
    local tracer
    mkdir -p "$work/empty"
    "$tool" trace -o "$work/empty/seen" sleep 100 &
    tracer=$!
    servers+=("$tracer")
    await pgrep -P "$tracer" sleep
    pgrep -P "$tracer" sleep >"$work/sleeper"
    kill -KILL "$tracer" "$(cat "$work/sleeper")"
    wait "$tracer" 2>/dev/null
    "$tool" trace -o "$work/empty/seen" "${servers[0]}" &
    tracer=$!
    servers+=("$tracer")
    await has_begun "$tracer"
    kill -KILL "$tracer"
    wait "$tracer" 2>/dev/null
    same "" "$(ls -A "$work/empty")"
}

says() { # TEXT
    grep -qF -- "$1" "$work/log" || { cat "$work/log"; return 1; }
}

if ${CC:-cc} ${SANITIZE_CFLAGS:-} -w -g -I"$top/include" -o "$work/victim" \
    "$work/victim.c" -L.libs -lvthread -Wl,-rpath,"$PWD/.libs"; then
    claim "the last seconds of a process, when a pinned wait lasts" \
        happens 0 p --last 5s
    claim "which is said" says "; pin"
    claim "and shown" shows "slice pinned, sleeps: [1-9]"
    claim "when it aborts" happens 0 a --last 5s
    claim "which is said, too" says "; signal 6"
    claim "on a deadlock" happens 0 d --last 5s
    claim "which is the reason" says "; deadlock"
    claim "when the tool has had enough" happens 0 "" --last 5s --for 20ms
    claim "when it ends by itself" happens 0 x --last 5s
    claim "all of one that aborts, to the end" happens 4 a
    claim "with the signal" says "; signal 6"
    claim "and that it has ended" says "has ended"
    claim "all of one that ends by itself" happens 4 x
    claim "and that it has ended" says "has ended"
    claim "what there is of one that is killed" happens 4 k
    claim "which breaks off" says "breaks off"
    claim "and is said" says "what there was until then is in $work/seen"
    claim "the last seconds of one that is killed are not there" \
        happens 4 k --last 5s
    claim "which is said, too" says "has ended"
    claim "of a tool that is killed nothing stays" tool_is_killed
fi

# One that keeps the only carrier while another one is ready.
cat >"$work/hog.c" <<'SOURCE'
#include <unistd.h>
#include <vthread.h>
#include <vthread/scheduler.h>
__attribute__((noinline)) static void spins(void)
{
    vthread_scheduler_stats_t stats = {.hogs = 0};
    while (stats.hogs == 0)
        vthread_scheduler_stats(vthread_scheduler_default(), &stats);
    sleep(1); /* for the library it runs; queues are looked at each 20 ms */
}
static void *other(void *arg) { return arg; }
static void *hogs(void *arg)
{
    vthread_t t;
    vthread_create(&t, NULL, other, NULL);
    spins();
    vthread_join(t, NULL);
    return arg;
}
int main(void)
{
    vthread_t t;
    vthread_create(&t, NULL, hogs, NULL);
    return vthread_join(t, NULL);
}
SOURCE
if ${CC:-cc} ${SANITIZE_CFLAGS:-} -w -g -I"$top/include" -o "$work/hog" \
    "$work/hog.c" -L.libs -lvthread -Wl,-rpath,"$PWD/.libs"; then
    claim "a thread that keeps its carrier is recorded" \
        env VTHREAD_PARALLELISM=1 VTHREAD_HOG_MS=5 \
        "$tool" trace -o "$work/hogs" "$work/hog"
    claim "its file is right" decode "$work/hogs"
    claim "it is told" shows "instant has kept its carrier from others: 1"
    claim "and how many waited in the queue" \
        shows "counter queue of carrier 0 of scheduler 1"
    [ -n "${SANITIZE_CFLAGS:-}" ] ||
        claim "with its stack" grep -aEq \
            'spins \(hog.c:[0-9]+\) < hogs \(hog.c:[0-9]+\)' "$work/hogs"
fi

# What happens, and what does not.
claim "a program's status is the tool's" \
    same "$(status_of "$tool" trace -o "$work/x" examples/fan /nonexistent)" \
    "$(status_of examples/fan /nonexistent)"
claim "--last without a reason writes nothing, and says so" \
    same "$("$tool" trace --last 5s -o "$work/last" examples/hello 2>&1 |
        grep -c 'nothing happened')" 1
claim "a program without the library is told" \
    same "$(status_of "$tool" trace -o "$work/x" true)" 3
claim "one that is not there, too" \
    same "$(status_of "$tool" trace -o "$work/x" /nonexistent/program)" 127
claim "nor one that cannot be run" \
    same "$(status_of "$tool" trace -o "$work/x" /)" 126
claim "a program that fails, and has not used the library, has its own status" \
    same "$(status_of "$tool" trace -o "$work/x" false)" 1
claim "the tool dies as the program did" \
    same "$(status_of "$tool" trace -o "$work/x" sh -c 'kill -TERM $$')" 143
sends_on() {
    "$tool" trace -o "$work/x" sh -c 'trap "exit 7" USR1; echo ready; while :; do sleep 0.1; done' >"$work/sent" &
    await grep -q ready "$work/sent"
    kill -USR1 $!
    wait $!
    same $? 7
}
claim "signals that are sent to the tool go to the program" sends_on
claim "times are 5s or 200ms" \
    same "$(status_of "$tool" trace --last soon examples/hello)" 2
claim "a program is needed" same "$(status_of "$tool" trace)" 2
claim "a full disk is told" \
    same "$(status_of "$tool" trace -o /dev/full "$work/own")" 5
end_claims
