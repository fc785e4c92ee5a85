#!/bin/bash
#
# top_test.sh - vthread top: what it shows of a program whose threads are
# known, printed and on a terminal; and targets that are not there, or go.
#
#     tests/top_test.sh              in the build directory
#
# One line for each claim; exits with 1 if one fails.
set -u
export LC_ALL=C TERM=xterm-256color
unset VTHREAD_CONTROL
export VTHREAD_PARALLELISM=${VTHREAD_PARALLELISM:-2}

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
tool=$(realpath "${top_builddir:-.}/tools/vthread")
program=$(realpath "${top_builddir:-.}/tests/busy_program")

mkfifo "$work/in"
exec 3<>"$work/in"

# Starts the program, and waits until its threads are there.  Its number is
# in $target.
start_target() # VARIABLE=VALUE...
{
    : >"$work/target"
    env "$@" "$program" <"$work/in" >"$work/target" &
    target=$!
    servers+=("$target")
    await grep -q ready "$work/target"
}

# Its threads are on their way when it is ready.
is_seen()
{
    ends 0 --once -d 0.3 $target && tells_the_truth
}

top() # ARGUMENT...
{
    timeout 60 "$tool" top "$@" >"$work/out" 2>"$work/err" </dev/null
}

ends() # STATUS ARGUMENT...
{
    local status=0
    top "${@:2}" || status=$?
    same "$1" "$status" || { cat "$work/out" "$work/err"; return 1; }
}

said()
{
    grep -qF -- "$1" "$work/err" || { cat "$work/err"; return 1; }
}

shows() # PATTERN
{
    grep -qE -- "$1" "$work/out" || { cat "$work/out"; return 1; }
}

lines_with() # COUNT PATTERN
{
    same "$1" "$(grep -cE -- "$2" "$work/out")" || { cat "$work/out"; return 1; }
}

# What is known of the program, however it was found out.
# A function is told by its name, or its address without libdw.
tells_the_truth()
{
    local at='0x[0-9a-f]+ .*' home=own
    [ "${VTHREAD_FREEZE:-}" != eager ] || home=common
    shows '^process [0-9]+: 11 virtual threads' &&
        shows ' 5 PARKED, [2-4] TIMED_PARKED, 1 PINNED, 0 TERMINATED$' &&
        lines_with 5 " PARKED +$home +[1-9][0-9]* +(reads|$at) +reader +is parked\$" &&
        lines_with 2 " TIMED_PARKED .* (sleeps|$at) +sleeper +sleeps\$" &&
        lines_with 1 " PINNED .* (holds|$at) +holder +is parked\$" &&
        lines_with 2 " (turns|$at) +turner " &&
        shows '^per second: [1-9][0-9]* switches, .* [1-9][0-9]* calls'
}

# script(1) takes what is drawn for a few milliseconds only after its child.
# shellcheck disable=SC2016
stays='status=$?; sleep 0.5; exit $status'

# As script(1) has it, whose terminal it is; it ends with a line and status 2.
# Where ncurses cannot open one it loses a little memory.
no_terminal() # WORDS OF THE SHELL
{
    command -v script >/dev/null || return 0
    ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS} \
        timeout 60 script -qec "$1 '$tool' top $target; $stays" /dev/null \
        >"$work/out" </dev/null
    same 2 $? && shows "wants a terminal.* TERM"
}

# A program that sees a part of our files only.
looks_into_a_jail()
{
    local program file jail=$work/jail
    program=$(realpath "${top_builddir:-.}/examples/echo")
    for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
        mkdir -p "$jail${file%/*}"
        cp -L "$file" "$jail$file"
    done
    unshare -r chroot "$jail" "$program" 0 >"$work/jailed" 2>&1 &
    servers+=($!)
    await top --once --delay 0.05 $!
    shows '^process [0-9]+: [0-9]+ virtual threads'
}

does_not_answer()
{
    kill -STOP $target
    ends 3 --once $target && said "does not answer; has it been stopped" &&
        kill -CONT $target
}

# The other program is as it was: it ends when its input does.
is_unharmed()
{
    kill -0 $target &&
        ! grep -E '^State:[[:space:]]+[tT]' "/proc/$target/status"
}

# On a terminal of its own, with what comes from standard input as keys.  What
# it has drawn is in $work/screen.
on_terminal()
{
    timeout 60 script -qefc "trap : INT
        stty rows 30 cols 120; '$tool' top -d 0.1 $target; $stays" \
        "$work/screen" >/dev/null 2>&1
}

# The keys come when it has drawn for the first time.
screen() # STATUS KEYS
{
    local status=0
    rm -f "$work/screen"
    { await drew SCHEDULER >&2; printf '%b' "$2"; sleep 0.5; } |
        on_terminal || status=$?
    same "$1" "$status" || { tail -c 2000 "$work/screen"; return 1; }
}

# The last thing on it is the other screen, as it was before.
is_restored()
{
    grep -qF $'\e[?1049h' "$work/screen" && grep -qF $'\e[?1049l' "$work/screen"
}

drew()
{
    grep -qaF -- "$1" "$work/screen"
}

dies_meanwhile()
{
    local status=0
    rm -f "$work/screen"
    { await drew SCHEDULER >&2; kill -KILL $target; sleep 5; } |
        on_terminal || status=$?
    same 4 "$status" && is_restored && drew "process $target has ended"
}

claim "without a process it is an error" ends 2
claim "a process that is no number is one" ends 2 --once x
claim "a process that is not there is another" ends 3 --once 4194304
claim "which it says" said "there is no process 4194304"
sleep 1000 &
servers+=("$!")
claim "a process without the library is one, too" ends 3 --once $!
claim "which it says" said "does not use libvthread"
claim "an order that there is not is an error" ends 2 -s beauty $$
claim "a delay of nothing, too" ends 2 -d 0 $$

start_target VTHREAD_CONTROL=1
await is_seen
claim "a process with its socket open is looked into" \
    ends 0 --once -d 0.3 $target
claim "and seen as it is" tells_the_truth
claim "as JSON, too" ends 0 --json -d 0.1 $target
claim "which says how it was done" shows '"source": "socket"'
claim "one that has been stopped does not answer, and that is told" \
    does_not_answer
claim "and is unharmed" is_unharmed
kill $target

start_target VTHREAD_CONTROL=0
if ! "$tool" top --once -d 0.1 $target >/dev/null 2>"$work/err" &&
    grep -q "no permission\|without libdw" "$work/err"; then
    end_claims # it may not be read here
fi
await is_seen
claim "one without is read" ends 0 --once -d 0.3 $target
claim "and seen as it is" tells_the_truth
claim "as JSON, too" ends 0 --json -d 0.1 $target
claim "which says how it was done" shows '"source": "memory"'
claim "and is unharmed" is_unharmed
claim "threads can be sorted" ends 0 --once -d 0.1 -s name $target
claim "by name" same caller \
    "$(awk '/^THREAD/ { getline; print $NF == "caller" ? $NF : $6 }' "$work/out")"

if unshare -r chroot / true 2>/dev/null; then
    claim "a process in a chroot is looked into" looks_into_a_jail
fi
if "$tool" top $target 2>&1 </dev/null | grep -q "without ncurses"; then
    claim "without ncurses there is no screen" ends 5 $target
    end_claims
fi
claim "without a terminal there is no screen" ends 2 $target
claim "which it says" said "wants a terminal"
claim "on one of a kind that nobody has told" no_terminal "unset TERM;"
claim "or that is not known, there is none either" no_terminal "TERM=nonsense"
claim "on a terminal q ends it" screen 0 q
claim "which is restored" is_restored
claim "carriers were shown" drew "SCHEDULER"
claim "and threads" drew "reader"
claim "Ctrl-C ends it, too" screen 0 '\003'
claim "and the terminal is restored" is_restored
claim "keys are obeyed" screen 0 'srhq'
claim "by explaining them" drew "blocked   the carrier waits with a pinned"
claim "the process is unharmed by all that" is_unharmed
claim "when it dies the terminal is restored, and that is told" dies_meanwhile
end_claims
