#!/bin/bash
# Runs the tests of a plain build under Valgrind.  For make check-valgrind.
#
# Usage: valgrind.sh TEST...        from the build directory
#
# A process that makes an error ends with status 9, which is an error of its
# case.  Children that are meant to die make some, and say so in the log.
set -eu
make=${MAKE:-make}
suppressions=$(realpath "$(dirname "$0")")/valgrind.supp

fail() {
    echo "valgrind.sh: $*" >&2
    exit 1
}

[ $# -gt 0 ] || fail "no tests: is the library check installed?"
command -v valgrind >/dev/null || fail "there is no valgrind"
grep -q '^#define HAVE_VALGRIND_MEMCHECK_H 1' config.h ||
    fail "configure found no <valgrind/memcheck.h>: the library would not" \
        "tell of its stacks"

# Valgrind runs code of its own making: nobody steps through ours instruction by
# instruction, nor do libdw and others find our frames from the outside.
tests=()
for test in "$@"; do
    case $test in
    tests/switch_test | tests/unwind_test) echo "not here: $test" ;;
    *) tests+=("$test") ;;
    esac
done

# Everything takes much longer here, and threads run one at a time.
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-5}
$make check TESTS="${tests[*]}" TEST_TIMEOUT=2400 \
    LOG_FLAGS="valgrind -q --error-exitcode=9 --fair-sched=try \
        --suppressions=$suppressions"
