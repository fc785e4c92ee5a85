#!/bin/bash
#
# gdb_test.sh - gdb's bt in a virtual thread ends at the base, without a
# word of complaint: in its function, and at each instruction of the switch.
#
#     tests/gdb_test.sh              HELLO=path: the program to look at
#                                    VERBOSE=1: shows the walks
#
# examples/hello starts one thread, which sleeps once.  So the switch is
# passed four times: to the thread, from it, to it again, and for good.  One
# line for each claim; exits with 1 if one fails, 77 (skipped) without gdb.
set -u
export LC_ALL=C
# A process that is traced cannot look for leaks.
export ASAN_OPTIONS=detect_leaks=0
unset DEBUGINFOD_URLS

hello=${HELLO:-examples/hello}
[ -x "$hello" ] || { echo "# no $hello here"; exit 77; }
command -v gdb >/dev/null || { echo "# no gdb here"; exit 77; }

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# Where it stops is said in a line with @ in front of each walk: in which
# passage, or that it is greet.
cat >"$work/commands" <<'END'
set confirm off
set pagination off
set width 0
set disable-randomization off
set print thread-events off

define walk_through
    while $pc >= (char *)&switch_stacks && $pc < (char *)&switch_base + 8
        set $offset = (long)$pc - (long)&switch_stacks
        printf "@ passage %d, at +%ld\n", $arg0, $offset
        bt
        stepi
    end
    printf "@ passage %d, past it\n", $arg0
    bt
end

break main
run
printf "@ in main\n"
set scheduler-locking step
tbreak *switch_stacks
continue
walk_through 1
tbreak greet
continue
printf "@ in greet\n"
bt
tbreak *switch_stacks
continue
walk_through 2
tbreak *switch_stacks
continue
walk_through 3
tbreak *switch_stacks_final
continue
walk_through 4
kill
END

# What gdb says for each stop: the passage, then the functions of the walk.
functions_of() { # LOG
    awk '
        /^@/ {
            if (line) print line
            line = $0 ":"
        }
        /^#[0-9]/ {
            # #1  0x0000 in name (arguments) at file, or without address.
            name = $2 ~ /^0x/ ? $4 : $2
            line = line " " name
        }
        END { print line }' "$1"
}

# Nothing but walks, and gdb has not given up on one.
no_complaint() {
    local words='Backtrace stopped|annot access memory|corrupt|[Ee]rror'
    ! grep -nE "$words|\?\? \(" "$work/log" "$work/errors"
}

in_greet() {
    grep '^@ in greet' "$work/walks"
    grep -qx '@ in greet: greet thread_main switch_base' "$work/walks"
}

# Each walk ends at the base of the thread or at that of the carrier.
all_end() {
    ! grep '^@ passage' "$work/walks" |
        grep -vE ' (switch_base|_*clone[0-9]*)$'
}

# So many instructions are on the thread's side, with all of its functions.
all_have() { # PASSAGE FUNCTIONS LEAST
    local walks
    walks=$(grep "^@ passage $1, at .* switch_base\$" "$work/walks")
    echo "$walks"
    [ "$(wc -l <<<"$walks")" -ge "$3" ] && ! grep -v " $2\$" <<<"$walks"
}

# So many instructions are on the carrier's side.
carrier_has() { # PASSAGE LEAST
    local walks
    walks=$(grep -E "^@ passage $1, at .* _*clone[0-9]*\$" "$work/walks")
    echo "$walks"
    [ "$(wc -l <<<"$walks")" -ge "$2" ] &&
        ! grep -vE ': switch_stacks(_final)? .*carrier' <<<"$walks"
}

look_at_hello() {
    local greet='greet thread_main switch_base'
    VTHREAD_PARALLELISM=1 timeout 300 gdb -nx -batch \
        -x "$work/commands" "$hello" >"$work/log" 2>"$work/errors" </dev/null
    if ! grep -q '^@ in main' "$work/log"; then
        sed 's/^/# /' "$work/errors"
        echo "# gdb cannot run programs here"
        exit 77
    fi
    functions_of "$work/log" >"$work/walks"
    claim "gdb does not complain" no_complaint
    claim "in its function: that, main, the base" in_greet
    claim "every walk ends at a base" all_end
    claim "to a new thread" all_have 1 switch_base 10
    claim "from the thread" all_have 2 "sleep.* $greet" 15
    claim "to the thread again" all_have 3 "sleep.* $greet" 8
    claim "away for good" all_have 4 "finish thread_main switch_base" 1
    claim "to a new thread, the carrier's side" carrier_has 1 15
    claim "from the thread, the carrier's side" carrier_has 2 8
    claim "to the thread again, the carrier's side" carrier_has 3 15
    claim "away for good, the carrier's side" carrier_has 4 8
    [ -z "${VERBOSE:-}" ] || cat "$work/walks" "$work/errors"
}

settings=(VTHREAD_FREEZE=lazy VTHREAD_FREEZE=eager VTHREAD_FREEZE=guard)
in_each look_at_hello
end_claims
