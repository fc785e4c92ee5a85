#!/bin/bash
# Builds the library for another system, and runs the unit tests there.  For
# make check-cross and check-musl.
#
# Usage: cross.sh SOURCES DIRECTORY SYSTEM [TEST...]
#
# SYSTEM is aarch64-linux-gnu or riscv64-linux-gnu, whose programs run under
# qemu-user, or x86_64-linux-musl.  DIRECTORY/SYSTEM gets root/, the libraries
# that tools/sysroot builds, and build/.  The tests are those of `make check`
# that are programs, or those named: tests/NOUN_test.
#
# PAGE_BYTES=65536 makes qemu-user pretend to pages of that size.
set -eu
sources=$(realpath "$1")
system=$3
processor=${system%%-*}
make=${MAKE:-make}
mkdir -p "$2/$system"
directory=$(realpath "$2/$system")
wanted=("${@:4}")

fail() {
    echo "cross.sh: $*" >&2
    exit 1
}

# --- What is not run there, and why. ---------------------------------------

# One place for all of it.  What configure leaves out (its summary says so):
# unwind_test and trace_test need libgcc's unwinder, which musl-gcc has not;
# posix_*_test stand before glibc; switch_test goes step by step, which only
# x86-64 lets a process do.  Scripts look into programs of this machine, or
# compare the sources, which are the same.
left_out() { # NOUN of tests/NOUN_test; prints why, or fails
    case $system:$1 in
    *:simulate | *:simulate_*)
        echo "its machine is simulated, and the same everywhere"
        ;;
    *-musl:stack_sample) echo "musl-gcc has no unwinder, so none is taken" ;;
    *-musl:walk) echo "musl-gcc has no unwinder, so nothing is walked" ;;
    *-musl:*) return 1 ;;
    # qemu-user 7.2, for the rest.
    *:call_interrupt)
        echo "qemu-user delivers no signals 63 and 64, of which one is taken" ;;
    *:call_detached | *:deadlock | *:deadlock_report)
        echo "qemu-user has an OS thread besides: there is no sure deadlock" ;;
    *:file) echo "what is opened in / is not what qemu-user -L opens there" ;;
    *:stack_sample)
        echo "in /proc are the system calls that qemu-user makes" ;;
    *:pin_chain)
        echo "without process_vm_readv, which qemu-user lacks, what is waited" \
            "for has no name" ;;
    *:target) echo "qemu-user has no process_vm_readv" ;;
    *:panic) echo "qemu-user adds words of its own to the last ones" ;;
    *:process) echo "qemu-user's vfork is a fork: no error of exec is seen" ;;
    *) return 1 ;;
    esac
}

# Of the others only the cases of these names are run, which commas part;
# behind the colon, why.
cases_of() { # NOUN
    case $system:$1 in
    *-musl:deadlock)
        echo "told,not_told,stress: after a fork musl 1.2.3 leaves its list" \
            "of threads locked when main ends by pthread_exit" ;;
    *-musl:hog) echo "hogs: musl-gcc has no unwinder" ;;
    *-musl:pin_episode) echo "none,costs: musl-gcc has no unwinder" ;;
    *-gnu:hog)
        echo "hogs: in /proc are the system calls that qemu-user makes" ;;
    *-gnu:memory)
        echo "memory: qemu-user heeds no advice, nor tells of any in smaps" ;;
    *-gnu:pin_episode)
        echo "planted,none: without process_vm_readv, which qemu-user lacks," \
            "what is waited for has no name" ;;
    aarch64-*:pin_lock)
        echo "ways,conditions,oddities: qemu-aarch64 forgets robust mutexes" \
            "when their owner dies" ;;
    *-gnu:posix_call) echo "posix_call: qemu-user has no preadv2" ;;
    *-gnu:trace_file)
        echo "on and off,when something happens: qemu-user has an OS thread" \
            "besides, with which nothing is sure to be a deadlock" ;;
    *-gnu:trace_record)
        echo "events,rings: qemu-user has few addresses here, and its own" \
            "system calls in /proc" ;;
    riscv64-*:misuse)
        echo "pointers: unwinders find no way out of a handler, for" \
            "qemu-riscv64 has no page of the kernel's that tells them" ;;
    esac
}

# --- Building. -------------------------------------------------------------

case $system in
*-musl) compiler=musl-gcc emulator=() ;;
*-gnu)
    compiler=$system-gcc
    # For each page that is reserved it keeps a record, and we reserve some
    # 100 GiB: where there are fewer addresses we take less.  Not a power of
    # two, or homes would lie at round addresses, and handles are such numbers.
    emulator=("qemu-$processor" -R 23G -L "/usr/$system"
        ${PAGE_BYTES:+-p "$PAGE_BYTES"})
    ;;
*) fail "unknown system $system" ;;
esac
[ ${#emulator[@]} = 0 ] || command -v "${emulator[0]}" >/dev/null ||
    fail "there is no ${emulator[0]} (package qemu-user)"

# The sources must not be configured in place: take a copy of them then.
if [ -e "$sources/config.status" ]; then
    $make -C "$sources" distdir distdir="$directory/sources"
    sources=$directory/sources
fi

"$sources/tools/sysroot" "$system" "$directory/root" \
    >"$directory/sysroot.log" 2>&1 ||
    fail "tools/sysroot failed; all of its output is in $directory/sysroot.log"
mkdir -p "$directory/build"
cd "$directory/build"
[ -e config.status ] ||
    PKG_CONFIG_LIBDIR="$directory/root/lib/pkgconfig" \
        "$sources/configure" --host="$system" CC="${CROSS_CC:-$compiler}" \
        CPPFLAGS="-I$directory/root/include" LDFLAGS="-L$directory/root/lib"
$make check TESTS=

# --- Running. --------------------------------------------------------------

# Everything takes longer under qemu, the more so as it forks slowly.
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-10}
passed=0 failed=0 skipped=0

# In a session of its own, so that nothing of it is left behind.
run_alone() { # TEST
    local status=0 session
    setsid timeout "${TEST_TIMEOUT:-600}" "${emulator[@]}" "$1" </dev/null &
    session=$!
    wait $session || status=$?
    pkill -KILL -s $session || true
    return $status
}

run_cases() { # TEST NOUN
    local case cases status=0
    cases=$(cases_of "$2")
    cases=${cases%%:*}
    IFS=, read -ra cases <<<"${cases:-all}"
    for case in "${cases[@]}"; do
        if [ "$case" = all ]; then
            run_alone "$1" || status=$?
        else
            CK_RUN_CASE=$case run_alone "$1" || status=$?
        fi
    done
    return $status
}

run() { # TEST
    local log=$directory/build/$1.log why noun=${1#tests/}
    noun=${noun%_test}
    if why=$(left_out "$noun"); then
        skipped=$((skipped + 1))
        echo "SKIP: $1: $why"
    elif run_cases "$1" "$noun" >"$log" 2>&1; then
        passed=$((passed + 1))
        why=$(cases_of "$noun")
        echo "PASS: $1${why:+ (only $why)}"
    else
        failed=$((failed + 1))
        echo "FAIL: $1"
        tail -n 40 "$log"
    fi
}

# Every landing pad of the switch is one, where the processor insists on them.
build_landing() { # PROGRAM [OPTION...]
    ${CROSS_CC:-$compiler} -O2 -march=armv8.5-a -mbranch-protection=standard \
        -ffreestanding -nostdlib -static -Wl,-z,force-bti -Wl,--fatal-warnings \
        -I"$sources" -I. -o "$@" "$sources/tests/landing_program.c" \
        "$sources/continuation/switch_aarch64.c" \
        "$sources/continuation/switch_aarch64.S"
}

check_landing() {
    local planted=0
    build_landing tests/landing && build_landing tests/no_landing -DPLANT_NO_PAD
    "${emulator[@]}" tests/no_landing 2>/dev/null || planted=$?
    if [ $planted = 132 ] && "${emulator[@]}" tests/landing; then # SIGILL
        passed=$((passed + 1))
        echo "PASS: landing pads"
    else
        failed=$((failed + 1))
        echo "FAIL: landing pads"
    fi
}

if [ ${#wanted[@]} = 0 ] && [ "$processor" = aarch64 ]; then
    check_landing
fi
[ ${#wanted[@]} != 0 ] || wanted=(tests/*_test)
for test in "${wanted[@]}"; do
    run "$test"
done
echo "# $system"
echo "# PASS:  $passed"
echo "# SKIP:  $skipped"
echo "# FAIL:  $failed"
[ $failed = 0 ]
