#!/bin/bash
#
# run_test.sh - vthread run: a program's signals and status, and what is said
# when nothing could be watched.
#
#     tests/run_test.sh              in the build directory
#
# One line for each claim; exits with 1 if one fails.
set -u
export LC_ALL=C
unset VTHREAD_PIN VTHREAD_CONTROL

# A library of a build with sanitizers cannot be preloaded.
track=()
[ -z "${SANITIZE_CFLAGS:-}" ] || track=(--no-track)

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
tool=$(realpath "${top_builddir:-.}/tools/vthread")
hello=$(realpath "${top_builddir:-.}/examples/hello")

# run ARGUMENT...; what is said stays in $work.
run()
{
    "$tool" run "${track[@]}" "$@" >"$work/out" 2>"$work/err" </dev/null
}

ends() # STATUS ARGUMENT...
{
    local status=0
    run "${@:2}" || status=$?
    same "$1" "$status" || { cat "$work/out" "$work/err"; return 1; }
}

said()
{
    grep -qF -- "$1" "$work/err" || { cat "$work/err"; return 1; }
}

says_nothing_of()
{
    ! grep -F -- "$1" "$work/err"
}

# A program that says when it is there, and what it gets.
cat >"$work/waits" <<'END'
trap 'echo got TERM; exit 9' TERM
trap 'echo got USR1' USR1
echo there
while :; do sleep 0.02; done
END

passes_signals_on()
{
    local status=0 pid
    : >"$work/out"
    "$tool" run "${track[@]}" -q -- bash "$work/waits" >"$work/out" 2>"$work/err" &
    pid=$!
    await grep -q there "$work/out" || return
    kill -USR1 $pid
    await grep -q "got USR1" "$work/out" || return
    kill -TERM $pid
    wait $pid || status=$?
    same 9 $status && grep -q "got TERM" "$work/out"
}

no_process_is_left()
{
    local pid
    : >"$work/out"
    "$tool" run "${track[@]}" -q -- bash -c 'echo $$; exec sleep 1000' >"$work/out" &
    pid=$!
    await grep -q . "$work/out" || return
    kill -HUP $pid
    wait $pid
    same 129 $? && ! kill -0 "$(cat "$work/out")" 2>/dev/null
}

claim "a program's status is passed on" ends 7 -- sh -c 'exit 7'
claim "its signal, too" ends 137 -- sh -c 'kill -KILL $$'
claim "its output is its own" ends 0 -- echo hello
claim "as it is" same hello "$(cat "$work/out")"
claim "options of the program are not the tool's" ends 0 echo -q --help
claim "and reach it" same "-q --help" "$(cat "$work/out")"
claim "without virtual threads it says that it was not active" \
    said "NOT ACTIVE: echo"
claim "unless it is to be quiet" ends 0 -q -- true
claim "then it says nothing" test ! -s "$work/err"
claim "a program with the library runs" ends 0 -- "$hello"
claim "and was active" says_nothing_of "NOT ACTIVE"
claim "a program that a script starts, too" ends 0 -- sh -c "'$hello'; true"
claim "was active" says_nothing_of "NOT ACTIVE"
claim "locks that are left alone are told of" ends 0 --no-track -- "$hello"
claim "with the reason" said "NOT TRACKED in $hello: --no-track"
claim "signals go to the program" passes_signals_on
claim "which does not outlive them" no_process_is_left
claim "a program that is not there is an error" ends 127 -- nowhere-at-all
claim "that names it" said "cannot run 'nowhere-at-all': No such file"
claim "one that cannot be run is another" ends 126 -- /etc/passwd
claim "without a program there is nothing to run" ends 2
claim "an option that there is not is an error" ends 2 --frobnicate -- true
claim "that names it" said "there is no option '--frobnicate'"
claim "an option without its value is an error" ends 2 --min
claim "and one that is no number" ends 2 --min=x -- true
end_claims
