#!/bin/bash
# Runs tests again and again, in every mode of freezing, with and without
# forced migration, on 1, 2 and 8 carriers.  For make check-stress.
#
# Usage: stress.sh TEST...        from the build directory
#
# STRESS_ROUNDS   how often each test runs in each setting (default 3)
# STRESS_JOBS     how many run at once (default: one for each processor)
# STRESS          set to 1 for the tests: they may do more than usual
#
# A test that fails shows its output, with the seed if it is randomized, and
# the command that runs it again in that setting.
set -u
rounds=${STRESS_ROUNDS:-3}
jobs=${STRESS_JOBS:-$(nproc)}
results=$(mktemp)
trap 'rm -f "$results"' EXIT

# What decides when frames are copied: at the latest moment; the same, with
# all threads on very few homes; at each yield; never, with guards.
modes=("VTHREAD_FREEZE=lazy"
    "VTHREAD_FREEZE=lazy VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2"
    "VTHREAD_FREEZE=eager"
    "VTHREAD_FREEZE=guard")

# In a shell of its own: several at once.
run_one() { # TEST
    local output
    # shellcheck disable=SC2086
    if output=$(env $setting timeout -s KILL 1800 "./$1" 2>&1); then
        echo passed >>"$results"
        return
    fi
    echo failed >>"$results"
    printf '%s\nFAILED: %s ./%s\n' "$output" "$setting" "$1"
}
export -f run_one
export setting results

run_rounds() { # TEST...
    local round
    echo "$setting: $rounds rounds of $# tests"
    # shellcheck disable=SC2016
    for ((round = 0; round < rounds; round++)); do
        printf '%s\0' "$@"
    done | xargs -0 -n 1 -P "$jobs" bash -c 'run_one "$1"' run_one
}

for mode in "${modes[@]}"; do
    for migrate in "" " VTHREAD_MIGRATE=always"; do
        for carriers in 1 2 8; do
            setting="STRESS=1 VTHREAD_PARALLELISM=$carriers $mode$migrate"
            run_rounds "$@"
        done
    done
done
failed=$(grep -c failed "$results")
echo "stress: $(grep -c passed "$results") passed, $failed failed"
[ "$failed" = 0 ]
