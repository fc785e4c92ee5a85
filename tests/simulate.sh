#!/bin/bash
# Runs the tests on the simulated machine with one preemption more than make
# check does, and more schedules by chance; with homes of their own, with
# common ones, and copying at each wait.  Then says how many schedules that
# were.
#
# Usage: simulate.sh TEST...      from the build directory
#
# SIMULATE_SCHEDULES   how many by chance, for each program and strategy
#                      (default 2000)
# SIMULATE_SEED        where chance begins (default: the time; it is printed
#                      with what fails)
set -u
export SIMULATE_SCHEDULES=${SIMULATE_SCHEDULES:-2000}
export SIMULATE_SEED=${SIMULATE_SEED:-$(date +%s)}
export STRESS=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
total=0

modes=("VTHREAD_FREEZE=lazy"
    "VTHREAD_FREEZE=lazy VTHREAD_OWN_LIMIT=0"
    "VTHREAD_FREEZE=eager")

for mode in "${modes[@]}"; do
    for test in "$@"; do
        # shellcheck disable=SC2086
        if ! env $mode timeout 3000 "./$test" >"$log" 2>&1; then
            failed=$((failed + 1))
            cat "$log"
            echo "FAILED: $mode STRESS=1 ./$test"
        fi
        count=$(awk -F'[: ]+' '{ for (i = 2; i <= NF; i++)
            if ($i == "schedules") sum += $(i - 1) } END { print sum + 0 }' \
            "$log")
        echo "$mode $test: $count schedules"
        total=$((total + count))
    done
done
echo "simulate: $total schedules, $failed tests failed"
[ $failed = 0 ]
