#!/bin/bash
#
# minivm_test.sh - examples/minivm: its programs in all modes of the library,
# and what becomes of programs that are wrong.
#
#     tests/minivm_test.sh           in the build directory
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without
# minivm.

set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=claims.sh
. "$here/claims.sh"
programs=$here/../examples/minivm
minivm=$(realpath "${top_builddir:-.}/examples/minivm/minivm")
[ -x "$minivm" ] || { echo "# no examples/minivm/minivm here"; exit 77; }

# What the program holds until it ends is no leak.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}

# Status and output, both kinds.
run() # FILE ARGUMENT...
{
    timeout 120 "$minivm" "$@" >"$work/out" 2>&1 </dev/null
    echo "status $?" >>"$work/out"
}

prints() # WANTED FILE ARGUMENT...
{
    local wanted=$1
    shift
    run "$@"
    same "$wanted
status 0" "$(cat "$work/out")"
}

exceptions='division by 0
calling deeper
BoundsError
index 3 of 3
BoundsError
index -1 of 3
Pair wanted, this is integer
Pair wanted, this is bytes
Pair wanted, this is null
for 8000000000024 bytes
for length 2305843009213693952
thrown in a callback
4
bytes wanted, this is array'

monitors='notify by a thread that is not in the monitor
0
exit by a thread that is not in the monitor
in wait
in join
in sleep
4000'

test_programs()
{
    claim "hello" prints $'you again\nhello, world\n5' "$programs/hello.vm"
    claim "producers and consumers" prints 2501500 "$programs/producer.vm"
    claim "philosophers" prints "100 meals" "$programs/philosophers.vm"
    claim "quicksort" prints sorted "$programs/quicksort.vm" 20000
    claim "skynet" prints 49995000 "$programs/skynet.vm" 10000
    claim "functions of C" prints $'adehrt\n-1\nBad file descriptor' \
        "$programs/native.vm"
    claim "exceptions are caught" prints "$exceptions" \
        "$here/minivm/exceptions.vm"
    claim "monitors, interrupts, time-outs" prints "$monitors" \
        "$here/minivm/monitors.vm"
    claim "lists are whole, whoever collects" prints 20 \
        "$here/minivm/collected.vm" 20
}

settings=(
    VTHREAD_FREEZE=lazy
    "VTHREAD_FREEZE=eager VTHREAD_MIGRATE=always"
    VTHREAD_FREEZE=guard
    "VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2 GC_FREE_SPACE_DIVISOR=500"
    "VTHREAD_PARALLELISM=1 GC_FREE_SPACE_DIVISOR=500"
    VTHREAD_PARALLELISM=2
    "VTHREAD_PARALLELISM=8 VTHREAD_MIGRATE=always"
)

# ---- Programs that are wrong -------------------------------------------------

# Says what it is given as wrong.vm, and ends with that status.
says() # STATUS WANTED PROGRAM
{
    printf '%b\n' "$3" >"$work/wrong.vm"
    (cd "$work" && run wrong.vm)
    same "$2
status $1" "$(cat "$work/out")"
}

# Each line: what is said, after the name of the file, and the program.
refusals()
{
    local words program
    while IFS='|' read -r words program; do
        claim "refused: $words" says 2 "wrong.vm:$words" "$program"
    done <<'END'
1: there is no declaration push|push 1
2: there is no function main|class A
1: class has too few operands|class
2: there is another A|class A\nclass A
2: there is another a|class A\nglobal a a
2: there is no instruction pusch|function main\npusch 1\nend
2: push has too few operands|function main\npush\nend
2: null has too many operands|function main\nnull 1\nend
2: 12x is no integer of 32 bits|function main\npush 12x\nend
2: 4294967296 is no integer of 32 bits|function main\npush 4294967296\nend
2: the text has no end|function main\ntext "abc\nend
2: there is no label there|function main\njump there\nend
2: there is no local x|function main\nload x\nend
2: there is no global x|function main\ngetglobal x\nend
2: there is no class X|function main\nnew X\nend
2: X is no CLASS.FIELD|function main\nget X\nend
3: there is no field y|class X x\nfunction main\nget X.y\nend
2: there is no function f|function main\ncall f\nend
4: there is no class X|function main\na:\nnull\ncatch X a b b\nb:\nreturn\nend
3: main has no end|function main\nnull
2: main has no instructions|function main\nend
2: runs past the end of main|function main\nnull\nend
3: runs past the end of main|function main\nnull\njump out\nout:\nend
2: add needs 2 operand(s), there are 0|function main\nadd\nreturn\nend
3: call needs 2 operand(s), there are 1|function main a b\nnull\ncall main\nreturn\nend
3: 0 operand(s), but 1 when coming from line 4|function main\nagain:\nnull\njump again\nend
1: nothing_such: there is no function of that name|native nothing_such "i()"
1: cos: there are values for integers and addresses only|native cos "d(d)"
1: puts: signature i(: the text ends too early, at 2|native puts "i("
1: puts: policies are auto, critical, blocking, detached|native puts "i(s)" quick
2: main: the function has another number of arguments|function main\ncallback main "i(i)"\nreturn\nend
2: main: a callback cannot have this signature|function main a b\ncallback main "i(i.i)"\nreturn\nend
END
}

trace='minivm: thread 2, outer, ended by TypeError: add wants integers
    at inner (wrong.vm:5)
    at outer (wrong.vm:10)'

thrower='class Own message
function main
new Own
dup
text "no more"
put Own.message
throw
end'

forgetful='class Lock
function main
new Lock
enter
null
return
end'

failures_tell()
{
    claim "who is not caught tells where it was, and others go on" \
        says 1 "$trace"$'\nnull' \
        'function inner a\nload a\nadd_:\nnull\nadd\nreturn\nend
function outer\nnull\ncall inner\nreturn\nend
function main\nspawn outer\njoin\nprint\nnull\nreturn\nend'
    claim "an exception of the program's own" says 1 \
        $'minivm: thread 1, main, ended by Own: no more\n    at main (wrong.vm:7)' \
        "$thrower"
    claim "a monitor that is not left" says 0 \
        'minivm: thread 1, main, has not left 1 monitor(s)' "$forgetful"
    claim "no file" fails_with 2 'nothing.vm:0: cannot be read' nothing.vm
    claim "no argument" fails_with 2 'usage: minivm FILE [ARGUMENT...]'
    claim "a deadlock is told" deadlocks
}

fails_with() # STATUS WORDS ARGUMENT...
{
    local wanted="$2
status $1"
    shift 2
    run "$@"
    same "$wanted" "$(cat "$work/out")"
}

deadlocks()
{
    run "$programs/philosophers.vm" 1
    grep -q "^vthread: deadlock: all 7 threads wait" "$work/out" &&
        grep -q "^status 2" "$work/out" && return
    cat "$work/out"
    return 1
}

# ---- Pins --------------------------------------------------------------------

# A wait in a callback is a pin, one in a monitor is none.
pins()
{
    export VTHREAD_PIN=report VTHREAD_PIN_MS=0
    run "$programs/native.vm"
    grep -q 'foreign code that called back' "$work/out" ||
        { cat "$work/out"; return 1; }
    run "$programs/philosophers.vm"
    unset VTHREAD_PIN VTHREAD_PIN_MS
    if grep 'pin: thread' "$work/out"; then return 1; fi
}

# ---- Programs at random ------------------------------------------------------

# A line of a program taken out: it is refused, throws, waits for ever or
# works, but never ends by a signal.
survives() # FILE
{
    local lines i status
    lines=$(wc -l <"$1")
    for ((i = 5; i <= lines; i += STEP)); do
        sed "${i}d" "$1" >"$work/cut.vm"
        timeout -s KILL 0.5 "$minivm" "$work/cut.vm" 30 >"$work/out" 2>&1 \
            </dev/null
        status=$?
        [ $status -le 2 ] || [ $status = 137 ] && continue
        echo "without line $i: status $status"
        tail -5 "$work/out"
        return 1
    done
}

in_each test_programs
sed -n '/^    ; sums up/,/^|/s/^    //p' "$programs/README.md" \
    >"$work/readme.vm"
claim "the program of the README" prints 1000 "$work/readme.vm"
refusals
failures_tell
claim "callbacks pin, monitors do not" pins
for name in hello quicksort skynet native; do
    STEP=${STEP:-7} claim "$name survives without any of its lines" \
        survives "$programs/$name.vm"
done
end_claims
