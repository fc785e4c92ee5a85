#!/bin/bash
#
# chat_test.sh - examples/chat seen from outside, with /dev/tcp and the many
# clients of tests/chat_crowd.
#
#     tests/chat_test.sh             CHAT=path: the server to test
#
# Starts servers of its own on free ports.  One line for each claim; exits
# with 1 if one fails, 77 (skipped) without the programs.

set -u
export LC_ALL=C

build=${top_builddir:-.}
chat=${CHAT:-$build/examples/chat}
many=${CHAT_CROWD:-$build/tests/chat_crowd}
for program in "$chat" "$many"; do
    [ -x "$program" ] || { echo "# no $program here"; exit 77; }
done

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# start_server OPTION...: sets pid and port.
start_server()
{
    : >"$work/out"
    : >"$work/out"
    "$chat" "$@" 0 >"$work/out" 2>"$work/err" &
    pid=$!
    servers+=("$pid")
    await grep -q listening "$work/out" || { cat "$work/err"; exit 1; }
    port=$(sed -n 's/^listening on .*://p' "$work/out")
}

has_ended() { ! kill -0 "$1" 2>/dev/null; }

# Ends it as Ctrl-C does.
stop_server()
{
    kill -INT "$pid"
    await has_ended "$pid" || kill -KILL "$pid"
    wait "$pid"
    local status=$?
    cat "$work/err"
    same 0 "$status" && same "" "$(cat "$work/err")"
}

# enter N: connects descriptor N.
enter() { eval "exec $1<>/dev/tcp/127.0.0.1/$port"; }
leave() { eval "exec $1>&-"; }

# reads N LINE...: these lines come next on descriptor N.
reads()
{
    local fd=$1 line wanted
    shift
    for wanted in "$@"; do
        IFS= read -r -t 20 -u "$fd" line
        same "$wanted" "$line" || return
    done
}

says() { printf '%s\n' "${@:2}" >&"$1"; }

two_talk()
{
    enter 3 && reads 3 "* guest-1 has come" &&
        enter 4 && reads 4 "* guest-2 has come" &&
        reads 3 "* guest-2 has come" &&
        says 3 "hello, world" && reads 3 "<guest-1> hello, world" &&
        reads 4 "<guest-1> hello, world" && says 4 one two &&
        reads 3 "<guest-2> one" "<guest-2> two" &&
        reads 4 "<guest-2> one" "<guest-2> two"
}

takes_names()
{
    says 3 "/nick ada" && reads 3 "* guest-1 is now ada" &&
        reads 4 "* guest-1 is now ada" &&
        says 4 "/nick ada" && reads 4 "! ada is taken" &&
        says 4 "/nick a b" "/nick " "/nick abcdefghijklmnopqrstu" &&
        reads 4 "! a nick is 1 to 20 letters, digits, - and _" \
            "! a nick is 1 to 20 letters, digits, - and _" \
            "! a nick is 1 to 20 letters, digits, - and _" &&
        says 4 /who && reads 4 "* 2 here: guest-2 ada"
}

# Nobody but the sender hears of a command, so what they read next is this.
reads_both() { reads 3 "$@" && reads 4 "$@"; }

odd_lines()
{
    local long
    long=$(printf '%512s' '' | tr ' ' x)
    says 3 "" $'\r' $'crlf\r' && reads_both "<ada> crlf" &&
        says 3 $'\e[2Jclear\a' && reads_both "<ada>  [2Jclear " &&
        says 3 "${long}rest" && reads_both "<ada> $long" "<ada> rest" &&
        says 3 "/nonsense" && reads 3 "! there are /nick NAME, /who and /quit"
}

# A client that goes in the middle of a line; one with lines unread, which
# resets the connection; one that says so.
come_and_go()
{
    enter 5 && reads_both "* guest-3 has come" && reads 5 "* guest-3 has come"
    printf 'half a li' >&5 && leave 5
    reads_both "<guest-3> half a li" "* guest-3 has left" &&
        enter 5 && reads_both "* guest-4 has come" && leave 5 &&
        reads_both "* guest-4 has left" &&
        enter 5 && reads_both "* guest-5 has come" &&
        says 5 "/quit" "never said" && reads_both "* guest-5 has left" &&
        reads 5 "* guest-5 has come" && same "" "$(timeout 20 cat <&5)"
}

# A line that was said before Ctrl-C arrives, then the good-bye.
stops()
{
    says 4 "last words" && reads 3 "<guest-2> last words" && stop_server &&
        reads 3 "* the server stops" && same "" "$(timeout 20 cat <&3)" &&
        reads 4 "<guest-2> last words" "* the server stops"
}

test_few()
{
    start_server
    claim "what is said comes to all, the sender too" two_talk
    claim "names are taken once, and /who tells them" takes_names
    claim "empty, long and wicked lines" odd_lines
    claim "clients come and go, at the worst of times" come_and_go
    claim "Ctrl-C says good-bye, and the server exits with 0" stops
    leave 3
    leave 4
    leave 5
}

# start_many ARGUMENT...: the clients; what they print in $work/many.
start_many()
{
    : >"$work/many"
    "$many" "$port" "$@" >"$work/many" 2>"$work/many.err" &
    many_pid=$!
    servers+=("$many_pid")
}

many_are_done()
{
    grep -qx done "$work/many" || has_ended "$many_pid"
}

# They have checked it all, and end with the server.
await_many()
{
    local i
    for ((i = 0; i < 10; i++)); do
        await many_are_done && break
    done
    stop_server
    local stopped=$(($? || i == 10))
    wait "$many_pid"
    local status=$?
    cat "$work/many.err"
    same 0 "$status" && [ ! -s "$work/many.err" ] && return "$stopped"
}

crowd_talks()
{
    start_server
    start_many 20 20 10 5 40
    await_many
}

crowd_with_quitters()
{
    local i
    start_server
    start_many 10 10 10 20 40
    for ((i = 0; i < 30; i++)); do
        enter 5
        says 5 "here I am" "and n" 2>/dev/null
        leave 5
    done
    await_many
}

# The one who takes nothing has lines up to where it was thrown out.
slow_is_thrown_out()
{
    start_server -q 256
    enter 3 && reads 3 "* guest-1 has come" || return
    start_many 4 2 20 50 500
    await_many && grep -x '\* guest-1 was too slow' "$work/many" || return
    timeout 20 cat <&3 >"$work/got"
    leave 3
    sed -i '$d' "$work/got" # may be cut
    local speaker
    for speaker in c0 c1; do
        sed -n "s/^<$speaker> \([0-9]*\) *$/\1/p" "$work/got" >"$work/numbers"
        [ -s "$work/numbers" ] || { echo "nothing of $speaker"; return 1; }
        seq 0 $(($(wc -l <"$work/numbers") - 1)) | cmp - "$work/numbers" ||
            return
    done
}

# The buffers of the kernel are full, but not the channel.
stuck_client_is_cut_off()
{
    start_server -q 100000
    enter 3 && reads 3 "* guest-1 has come" || return
    start_many 4 4 20 25 500
    await_many
    local stopped=$?
    grep 'too slow' "$work/many"
    leave 3
    return "$stopped"
}

thousand_clients()
{
    start_server -q 8192
    start_many 1000 10 10 1 40
    await_many
}

test_many()
{
    claim "20 clients get all lines of all, in one order" crowd_talks
    claim "so they do while others come and go" crowd_with_quitters
    claim "a slow client is thrown out, and holds up nobody" \
        slow_is_thrown_out
    claim "one that takes nothing does not hold up the end" \
        stuck_client_is_cut_off
    claim "1,000 clients" thousand_clients
}

# fails STATUS TEXT ARGUMENT...
fails()
{
    local wanted=$1 text=$2
    shift 2
    "$chat" "$@" >"$work/out" 2>"$work/err"
    same "$wanted" $? && cat "$work/err" && grep -q -e "$text" "$work/err"
}

port_is_taken()
{
    start_server
    fails 1 "Address already in use" "$port" && : >"$work/err" && stop_server
}

test_command_line()
{
    claim "no port: usage, 2" fails 2 usage
    claim "a bad port: 2" fails 2 usage 65536
    claim "no number: 2" fails 2 usage 12x
    claim "two ports: 2" fails 2 usage 1 2
    claim "an unknown option: 2" fails 2 usage -Z 0
    claim "a queue of nothing: 2" fails 2 usage -q 0 0
    claim "a port that is taken: 1" port_is_taken
}

test_few
test_many
test_command_line
end_claims
