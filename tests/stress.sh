#!/bin/bash
# Runs tests again and again, in every mode of freezing, with and without
# forced migration, on 1, 2 and 8 carriers.  For make check-stress.
#
# Usage: stress.sh TEST...        from the build directory
#
# STRESS_ROUNDS   how often each test runs in each setting (default 3)
# STRESS_JOBS     how many run at once (default: two for each processor, for
#                 tests wait, too)
# STRESS          set to 1 for the tests: they may do more than usual
#
# A test that fails shows its output, with the seed if it is randomized, and
# the command that runs it again in that setting.
set -u
rounds=${STRESS_ROUNDS:-3}
jobs=${STRESS_JOBS:-$((2 * $(nproc)))}
results=$(mktemp)
trap 'rm -f "$results"' EXIT

# What decides when frames are copied: at the latest moment; the same, with
# all threads on very few homes; at each yield; never, with guards.
modes=("VTHREAD_FREEZE=lazy"
    "VTHREAD_FREEZE=lazy VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2"
    "VTHREAD_FREEZE=eager"
    "VTHREAD_FREEZE=guard")

# In a shell of its own: several at once.
run_one() { # SETTING TEST
    local output
    # shellcheck disable=SC2086
    if output=$(env $1 timeout -s KILL 1800 "./$2" 2>&1); then
        echo passed >>"$results"
        return
    fi
    echo failed >>"$results"
    printf '%s\nFAILED: %s ./%s\n' "$output" "$1" "$2"
}
export -f run_one
export results

# SETTING and TEST, each ended by a 0: no setting waits for the end of the one
# before.
everything() { # TEST...
    local mode migrate carriers setting round test
    for mode in "${modes[@]}"; do
        for migrate in "" " VTHREAD_MIGRATE=always"; do
            for carriers in 1 2 8; do
                setting="STRESS=1 VTHREAD_PARALLELISM=$carriers $mode$migrate"
                echo "$setting: $rounds rounds of $# tests" >&2
                for ((round = 0; round < rounds; round++)); do
                    for test in "$@"; do
                        printf '%s\0' "$setting" "$test"
                    done
                done
            done
        done
    done
}

# shellcheck disable=SC2016
everything "$@" |
    xargs -0 -n 2 -P "$jobs" bash -c 'run_one "$1" "$2"' run_one
passed=$(grep -c passed "$results")
failed=$(grep -c failed "$results")
echo "stress: $passed passed, $failed failed"
[ "$passed" = $((${#modes[@]} * 2 * 3 * rounds * $#)) ]
