#!/bin/bash
# Checks the models of tests/models exhaustively with spin: each holds, and
# each finds every bug that can be planted in it.
#
# Usage: models_test.sh        skipped (77) without spin or a C compiler
#
# STRESS    with 1 the two largest models are checked in full, with all
#           planted bugs.  Otherwise these two are checked with less in them,
#           and of the bugs of each model the first: make check has no more
#           time, and they only change if somebody changes them.
set -u
models=$(cd "$(dirname "$0")/models" && pwd)
CC=${CC:-cc}
for tool in spin "${CC%% *}"; do
    if ! command -v "$tool" >/dev/null; then
        echo "models_test: skipped, there is no $tool"
        exit 77
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check holds|fails MODEL [-DNAME...]: prints a line; false if it is not so.
check() {
    local expected=$1 model=$2 found level=-O0
    # More costs more to compile than it saves.
    [ "$expected" = holds ] && level=-O1
    shift 2
    local directory=$work/$model$(printf '%s' "$@")
    mkdir "$directory" && cd "$directory" || return 1
    if ! spin -a "$@" "$models/$model.pml" >spin.log 2>&1 ||
        ! $CC $level -w -DSAFETY -DVECTORSZ=256 -o pan pan.c \
            >>spin.log 2>&1; then
        cat spin.log
        return 1
    fi
    timeout 300 ./pan -m100000 -w22 >pan.log 2>&1
    found=fails
    if grep -q 'errors: 0$' pan.log &&
        ! grep -q 'max search depth too small' pan.log; then
        found=holds
    elif ! grep -q 'assertion violated\|invalid end state' pan.log; then
        found='was not finished'
    fi
    echo "$model $*: $found," \
        "$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' pan.log) states"
    [ "$found" = "$expected" ] && return
    echo "models_test: $model $* was expected to be one that $expected:"
    grep -v '^$' pan.log | head -20
    return 1
}

check_plants() { # MODEL: each of its bugs is found
    local plant
    for plant in $(plants "$1"); do
        check fails "$1" "-D$plant" -DCALM || return 1
    done
}

plants() { # MODEL: the bugs that can be planted in it, or the first
    grep -o 'PLANT_[A-Z_]*' "$models/$1.pml" | grep -v 'PLANT_$' | sort -u |
        if [ -n "${STRESS:-}" ]; then cat; else head -n 1; fi
}

check_some() {
    local model
    check holds sleep_wake -DPARALLELISM=2 -DCALM || return 1
    check holds call_retake -DCALLS=1 || return 1
    for model in park_unpark home_claim request forked_deque; do
        check holds $model || return 1
    done
    for model in "$models"/*.pml; do
        check_plants "$(basename "$model" .pml)" || return 1
    done
}

if [ -z "${STRESS:-}" ]; then
    check_some
    exit
fi

failed=0
# Two at a time fit the two processors; each of these takes as long as the
# other.
{
    check holds park_unpark || exit 1
    check holds home_claim || exit 1
    check holds sleep_wake -DPARALLELISM=2 || exit 1
    check holds request || exit 1
    check_plants request || exit 1
    check_plants park_unpark || exit 1
    check holds forked_deque || exit 1
    check_plants forked_deque || exit 1
} &
{
    check holds sleep_wake -DPARALLELISM=3 -DCALM || exit 1
    check_plants home_claim || exit 1
    check holds call_retake || exit 1
    check_plants call_retake || exit 1
    check_plants sleep_wake || exit 1
} &
for job in $(jobs -p); do
    wait "$job" || failed=1
done
exit $failed
