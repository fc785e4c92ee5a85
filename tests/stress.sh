#!/bin/bash
# Runs tests again and again, in every mode of freezing, with and without
# forced migration, on 1, 2 and 8 carriers.  For make check-stress.
#
# Usage: stress.sh TEST...        from the build directory
#
# STRESS_ROUNDS   how often each test runs in each setting (default 3)
# STRESS          set to 1 for the tests: they may do more than usual
#
# A test that fails shows its output, with the seed if it is randomized, and
# the command that runs it again in that setting.
set -u
rounds=${STRESS_ROUNDS:-3}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0
failed=0

# What decides when frames are copied: at the latest moment; the same, with
# all threads on very few homes; at each yield; never, with guards.
modes=("VTHREAD_FREEZE=lazy"
    "VTHREAD_FREEZE=lazy VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2"
    "VTHREAD_FREEZE=eager"
    "VTHREAD_FREEZE=guard")

run_one() { # TEST
    # shellcheck disable=SC2086
    if env $setting timeout 1800 "./$1" >"$log" 2>&1; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    cat "$log"
    echo "FAILED: $setting ./$1"
}

run_rounds() { # TEST...
    local round test
    echo "$setting: $rounds rounds of $# tests"
    for ((round = 0; round < rounds; round++)); do
        for test in "$@"; do
            run_one "$test"
        done
    done
}

for mode in "${modes[@]}"; do
    for migrate in "" " VTHREAD_MIGRATE=always"; do
        for carriers in 1 2 8; do
            setting="STRESS=1 VTHREAD_PARALLELISM=$carriers $mode$migrate"
            run_rounds "$@"
        done
    done
done
echo "stress: $passed passed, $failed failed"
[ $failed = 0 ]
