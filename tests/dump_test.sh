#!/bin/bash
#
# dump_test.sh - vthread dump agrees with the truth, says clearly what it
# cannot do, and harms nobody.
#
#     tests/dump_test.sh             in the build directory
#     UPDATE=1 tests/dump_test.sh    writes the golden files anew
#
# tests/dump_target has threads in every state, at known places.  What is
# different each time, addresses and numbers of processes, is taken out of
# the dumps before they are compared with tests/golden/.  One line for each
# claim; exits with 1 if one fails, 77 (skipped) where no process may be
# stopped.
#
# STRESS=1: a core file of gcore in each mode, not only where frames are
# copied, and of each library that is another version; more dumps while
# threads come and go.
set -u
export LC_ALL=C
# A process that is traced cannot look for leaks.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
unset DEBUGINFOD_URLS
# On a busy machine any thread may be one; those that are looked for are
# planted.
export VTHREAD_HOG_MS=0

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
not_under_tsan "a program's constants are in a file without a name"
golden=$(realpath "$(dirname "$0")/golden")
tool=$(realpath "${top_builddir:-.}/tools/vthread")
program=$(realpath "${top_builddir:-.}/tests/dump_target")
cd "$work" || exit 1

if "$tool" dump --help 2>&1 | grep "built without" >"$work/out"; then
    echo "# $(cat "$work/out")"
    exit 77
fi

# ---- The target --------------------------------------------------------------

# Starts the program; its number is $target, what it says in $work/said.
start() # ARGUMENT...
{
    rm -f "$work/hold" "$work/said"
    mkfifo "$work/hold"
    sleep 3600 >"$work/hold" &
    holder=$!
    : >"$work/said"
    "$program" "$@" <"$work/hold" >"$work/said" 2>"$work/complaints" &
    target=$!
    servers+=("$holder" "$target")
    await grep -q ready "$work/said" || cat "$work/complaints"
}

stop()
{
    kill "$holder"
    wait "$target" 2>/dev/null
    local status=$?
    servers=()
    return $status
}

# Neither stopped nor held by anybody.
is_well()
{
    grep -q '^TracerPid:[[:space:]]*0$' "/proc/$target/status" &&
        ! grep -qE '^State:[[:space:]]*[tTZX]' "/proc/$target/status" &&
        return
    cat "/proc/$target/status"
    return 1
}

# ---- Dumps -------------------------------------------------------------------

vthread()
{
    "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null
}

ends() # STATUS ARGUMENT...
{
    local status=0
    vthread "${@:2}" || status=$?
    same "$1" "$status" || { head -20 "$work/out" "$work/err"; return 1; }
}

# A complaint with that text, of a line or two, and nothing else.
said()
{
    grep -qF -- "$1" "$work/err" && [ "$(wc -l <"$work/err")" -le 2 ] &&
        [ ! -s "$work/out" ] && return
    cat "$work/out" "$work/err"
    return 1
}

# What is the same each time: groups, waits, and frames of the program.
plain_text() # FILE
{
    sed -E '/^(Process|Core file|Stopped)/d
        /^Scheduler|^  carrier/d
        s/0x[0-9a-f]+/ADDRESS/g
        s/OS thread [0-9]+/OS thread N/
        s/hread [0-9]{9,}/hread H/g
        s/, due in [-0-9.]+ s( to [-0-9.]+ s)?//
        s/, for (at least )?[0-9.]+ s( to [0-9.]+ s)?//
        s/, [0-9]+ bytes of frames in (chunks|place)//
        /^    [^ ]+ \(.*\)$/{/\(dump_target\.c:/!d}' "$1"
}

plain_json() # FILE
{
    sed -E '/"(process|core|pc|address|os_thread|steals|module)":/d
        /"(times|longest_ns|all_ns|depth_bytes|frozen_bytes|due_in_ns)":/d
        /"waited_ns":/d
        /"schedulers": \[/,/^  \],/d
        /"stopped": \{/,/^  \}/d
        s/0x[0-9a-f]+/ADDRESS/
        s/("(id|thread|holder|owner|runs)": )[0-9]{9,}/\1H/
        s/,$//' "$1" |
        awk '
        # A frame is of interest if it is the program'"'"'s.
        /^ *\{$/ { held = $0; frame = 0; next }
        held != "" && /"function":/ { frame = 1; held = held "\n" $0; next }
        held != "" && frame && /"file":/ { held = held "\n" "FILE" $0; next }
        held != "" && frame && /^ *\}$/ {
            if (held ~ /dump_target\.c/) {
                sub(/\nFILE[^\n]*/, "", held)
                print held "\n" $0
            }
            held = ""
            next
        }
        held != "" && frame { held = held "\n" $0; next }
        held != "" { print held; held = "" }
        { print }'
}

# Whether the dump is the golden one by now: threads that are on their way
# may take a moment.
is_golden() # NAME ARGUMENT...
{
    local name=$1 i
    for ((i = 0; i < 100; i++)); do
        vthread dump "${@:2}" || { cat "$work/err"; return 1; }
        "plain_${name##*.}" "$work/out" >"$work/plain"
        cmp -s "$golden/$name" "$work/plain" && return
        [ -n "${UPDATE:-}" ] && [ "$i" = 20 ] &&
            cp "$work/plain" "$golden/$name" && return
        sleep 0.05
    done
    diff "$golden/$name" "$work/plain"
}

# ---- The truth ---------------------------------------------------------------

has_line() # PATTERN
{
    grep -qE -- "$1" "$work/out" && return
    echo "no line like $1 in"
    cat "$work/out"
    return 1
}

census_is_right()
{
    vthread dump --census "$target" &&
        has_line '^ +6 +0 .* parks$' && has_line '^ +3 .* sleeps$' &&
        has_line '^ +3 .* wants$' && has_line '^ +0 +1 .* ends$' &&
        has_line '^ +3 .* is_a_leaf$'
}

# The numbers of threads that are shown are as many as there are.
each_is_shown()
{
    vthread dump --each "$target" &&
        same 36 "$(grep -cE '^(Thread|Platform thread|OS thread) ' "$work/out")"
}

full_shows_the_library()
{
    vthread dump --full "$target" && has_line '^    thread_main ' &&
        has_line '^    switch_base '
}

carriers_are_told()
{
    vthread dump "$target" &&
        has_line "^  carrier [0-9]+, .*: runs thread [0-9]+ 'runner'" &&
        has_line "^  carrier .* runs thread [0-9]+ 'caller', in a call" &&
        has_line "^  carrier .* waits with a pinned thread"
}

# ---- Ages --------------------------------------------------------------------

now_ms()
{
    local up
    read -r up _ </proc/uptime
    echo $((10#${up/./} * 10))
}

# How long the thread of that name has waited, in ms.
waited_ms() # NAME
{
    vthread dump --json "$target" || cat "$work/err" >&2
    sed -n "/\"name\": \"$1\"/,/waited_ns/p" "$work/out" |
        awk '/waited_ns/ { printf "%d\n", $2 / 1000000 }'
}

# The first of all threads waits before anybody has looked at the clock twice.
early_has_an_age()
{
    local waited
    waited=$(waited_ms early)
    [ "$waited" -le $(($(now_ms) - began + 20)) ] && return
    echo "$waited ms, but the process began at $began ms"
    return 1
}

# It has begun to wait when a second of sleep was over in which nothing else
# went on in the process; the clock that the library notes goes on until then.
# A hundredth of a second, and a tick, may be lost in each number.
riser_has_an_age()
{
    local first second between elapsed
    first=$(waited_ms riser)
    between=$(now_ms)
    [ "$first" -le $((between - began - 1000 + 20)) ] || {
        echo "$first ms, but it began to wait 1 s after $began," \
            "and it is $between"
        return 1
    }
    sleep 0.3
    elapsed=$(now_ms)
    second=$(waited_ms riser)
    [ $((second - first)) -ge $((elapsed - between - 20)) ] && return
    echo "$first ms, and $((elapsed - between)) ms later $second ms"
    return 1
}

look_at_all_states()
{
    start
    claim "text is as in the golden file" is_golden dump.text "$target"
    claim "so is JSON" is_golden dump.json --json "$target"
    claim "the census counts by entry function" census_is_right
    claim "--each shows each thread for itself" each_is_shown
    claim "--full shows the frames of the library" full_shows_the_library
    claim "carriers are told with what they run" carriers_are_told
    claim "the target is well" is_well
    # Where frames are copied, and, with more time, where they are not.
    if [[ ${VTHREAD_FREEZE:-} == eager || ${STRESS:-} ]] && has_gcore; then
        claim "a core file of gcore tells the same" dump_gcore
    fi
    stop
}

# ---- Core files --------------------------------------------------------------

# In the directory of the test only: a core file anywhere else, or piped to a
# program, is not ours to look for.
kernel_writes_core()
{
    [ -z "${SANITIZE_CFLAGS:-}" ] &&
        [ "$(cat /proc/sys/kernel/core_pattern)" = core ] &&
        (ulimit -c unlimited) 2>/dev/null
}

dump_kernels_core()
{
    : >"$work/said"
    (ulimit -c unlimited && exec "$program" <"$work/hold" >"$work/said" \
        2>/dev/null) &
    target=$!
    servers+=("$target")
    sleep 3600 >"$work/hold" &
    servers+=("$!")
    await grep -q ready "$work/said"
    vthread dump "$target" # they have arrived
    is_golden dump.text "$target" || return
    kill -SEGV "$target"
    wait "$target"
    local core
    core=$(ls "$work"/core* | head -1)
    is_golden dump.text "$core" && is_golden dump.json --json "$core"
    local status=$?
    rm -f "$core"
    return $status
}

# Not where a sanitizer has its shadow: that would be tens of gigabytes.
has_gcore() { [ -z "${SANITIZE_CFLAGS:-}" ] && command -v gcore >/dev/null; }

dump_gcore()
{
    gcore -o "$work/gcore" "$target" >/dev/null 2>&1
    is_golden dump.text "$work/gcore.$target"
    local status=$?
    rm -f "$work/gcore.$target"
    return $status
}

# ---- What it cannot do -------------------------------------------------------

no_process_there()
{
    local gone
    sleep 0 &
    gone=$!
    wait "$gone"
    ends 3 dump "$gone" && said "process $gone"
}

process_without_library()
{
    ends 3 dump "$holder" && said libvthread
}

held_by_another()
{
    command -v gdb >/dev/null || return 0
    gdb -nx -batch -p "$target" \
        -ex 'shell touch held; while [ -e held ]; do sleep 0.1; done' \
        >/dev/null 2>&1 &
    local other=$!
    await test -e held
    ends 3 dump "$target" && said "held by another"
    local status=$?
    rm -f held
    wait "$other"
    return $status
}

not_permitted()
{
    [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || return 0
    local copy=$work/tool status=0
    cp "$tool" "$copy" && chmod 755 "$work" "$copy"
    setpriv --reuid=65534 --regid=65534 --clear-groups "$copy" dump \
        "$target" >"$work/out" 2>"$work/err" </dev/null || status=$?
    rm -f "$copy"
    same 3 "$status" && said "$target"
}

refuse()
{
    start
    claim "a process that is not there" no_process_there
    claim "a process without the library" process_without_library
    claim "a process that a debugger holds" held_by_another
    claim "a process of somebody else" not_permitted
    claim "no process" ends 2 dump
    claim "two of them" ends 2 dump "$target" "$target"
    claim "an unknown option" ends 2 dump --nonsense "$target"
    claim "a file that is not there" ends 3 dump "$work/nothing"
    claim "that is said" said "it cannot be opened"
    claim "a file that is no core file" ends 3 dump "$program"
    claim "that is said" said "it is no core file"
    claim "leaks that nobody has looked for" no_leaks_known
    claim "a library that tells less" another_version 'thread\.wait_on' \
        'thread.wait_to' "version mismatch: libvthread" core
    claim "one that tells it otherwise" another_version \
        '\(libvthread layout\x00*\)\x01' '\1\x09' "in version 9"
    claim "one that tells nothing" another_version 'libvthread layout' \
        'libvthread nobody' "what libvthread tells of itself is not there"
    claim "the target is well" is_well
}

# ---- Hogs --------------------------------------------------------------------

hog_in_json()
{
    vthread dump --json "$target" &&
        sed -n '/^  "hogs": \[/,/^  \]/p' "$work/out" >"$work/hogs" &&
        grep -q '"keeps": "carrier"' "$work/hogs" &&
        grep -q '"name": "digger"' "$work/hogs" &&
        grep -q '"entry": "digs"' "$work/hogs" &&
        grep -qE '"held_ns": [0-9]{7,}' "$work/hogs" &&
        grep -qE '"others_ready_ns": [0-9]{7,}' "$work/hogs" &&
        grep -qE '"waiting": [1-9]' "$work/hogs" &&
        grep -qE '"ago_ns": [0-9]+' "$work/hogs" && return
    cat "$work/hogs"
    return 1
}

# Who asks for reports has them sampled; sanitizers may stand in the way of
# that.
hog_has_a_stack()
{
    [ -n "${SANITIZE_CFLAGS:-}" ] && return
    grep -q '"function": "until_hogs_are_seen"' "$work/hogs" &&
        grep -q '"function": "digs"' "$work/hogs" &&
        grep -q 'dump_target.c"' "$work/hogs" && return
    cat "$work/hogs"
    return 1
}

hog_in_text()
{
    vthread dump "$target" &&
        has_line "^  thread [0-9]+ 'digger', on its carrier for [0-9]+ ms, " ||
        return
    [ -n "${SANITIZE_CFLAGS:-}" ] || has_line '^    digs \(dump_target\.c:'
}

hog_in_core()
{
    gcore -o "$work/gcore" "$target" >/dev/null 2>&1
    vthread dump --json "$work/gcore.$target" &&
        has_line '"keeps": "carrier"' && has_line '"function": "digs"' &&
        ! grep -q ago_ns "$work/out"
    local status=$?
    rm -f "$work/gcore.$target"
    return $status
}

look_for_hogs()
{
    VTHREAD_PARALLELISM=1 VTHREAD_HOG_MS=10 VTHREAD_REPORT=hogs start hogs
    claim "who kept the carrier is in JSON" hog_in_json
    claim "with where it was then" hog_has_a_stack
    claim "and in the text" hog_in_text
    has_gcore && claim "a core file has it, too" hog_in_core
    stop
}

# Who has not asked the library for leaks has none to be told of.
no_leaks_known()
{
    ends 3 dump --leaked "$target" && said "leaks"
}

# libgc comes by preloading: the target is not linked with it.
leaks_are_told()
{
    has_line '^3 of them can never be woken$' &&
        has_line '^    is_lost \(dump_target\.c:' &&
        has_line '^    created at start \(dump_target\.c:' &&
        ! grep -q 'parks (dump_target' "$work/out"
}

look_for_leaks()
{
    local gc
    gc=$(ldconfig -p | sed -n 's/.*libgc\.so\.1 .*=> //p' | head -1)
    [ -n "$gc" ] || return
    LD_PRELOAD=$gc start leaks
    if ! grep -q ready "$work/said"; then
        echo "# no look for leaks: $(head -1 "$work/complaints")"
        stop
        return
    fi
    claim "leaks are told" ends 0 dump --leaked "$target"
    claim "those only, and where they were created" leaks_are_told
    if has_gcore; then
        gcore -o "$work/gcore" "$target" >/dev/null 2>&1
        claim "a core file has them, too" ends 0 dump --leaked \
            "$work/gcore.$target"
        claim "the same" leaks_are_told
        rm -f "$work/gcore.$target"
    fi
    stop
}

# The library that the target uses, with one thing changed in what it tells of
# itself: the tool says what is wrong, of the process and of its core file;
# of the latter once, with more time each time.
another_version() # PATTERN REPLACEMENT TEXT [CORE]
{
    local file file_name status=0 keep=$target kept=$holder
    file=$(ldd "$program" |
        sed -n 's/.*=> \(.*libvthread\.so[^ ]*\) .*/\1/p')
    file_name=${file##*/}
    mkdir -p "$work/other"
    if [ -n "$file" ]; then
        sed "s/$1/$2/" "$file" >"$work/other/$file_name"
        LD_LIBRARY_PATH=$work/other start
    else
        sed "s/$1/$2/" "$program" >"$work/other/program"
        chmod +x "$work/other/program"
        program=$work/other/program start
    fi
    ends 3 dump "$target" && said "$3" && is_well || status=1
    if [ -n "${4:-}${STRESS:-}" ] && has_gcore; then
        gcore -o "$work/gcore" "$target" >/dev/null 2>&1
        ends 3 dump "$work/gcore.$target" && said libvthread || status=1
        rm -f "$work/gcore.$target"
    fi
    stop
    target=$keep holder=$kept
    servers=("$holder" "$target")
    return $status
}

# ---- Under way ---------------------------------------------------------------

# As many as there is time for a dump to meet something; in guard mode not more
# than there are stacks.
crowd=50000
[ "${VTHREAD_FREEZE:-}" != guard ] || crowd=20000

# The target is killed at any moment.
target_dies()
{
    local i status killer
    for i in 0 0.005 0.01 0.02 0.03 0.05; do
        start crowd "$crowd"
        (sleep "$i"; kill -KILL "$target") &
        killer=$!
        status=0
        timeout 20 "$tool" dump "$target" >"$work/out" 2>"$work/err" ||
            status=$?
        case $status in
        0) ;;
        3 | 4) [ -s "$work/err" ] || return 1 ;;
        *) echo "status $status"; cat "$work/err"; return 1 ;;
        esac
        kill "$holder"
        wait "$killer" "$target" 2>/dev/null
    done
    servers=()
}

# It begins another program at any moment: of that nothing is told, and nobody
# waits for ever.
target_execs()
{
    local i status trigger
    for i in 0 0.005 0.01 0.015 0.02 0.03; do
        start exec "$crowd"
        (sleep "$i"; echo >"$work/hold") &
        trigger=$!
        status=0
        timeout -s KILL 20 "$tool" dump "$target" >"$work/out" \
            2>"$work/err" || status=$?
        case $status in
        0) has_line "^Process .* $((crowd + 1)) threads" || return ;;
        3 | 4) [ -s "$work/err" ] || return 1 ;;
        *) echo "status $status"; cat "$work/err"; return 1 ;;
        esac
        kill -KILL "$holder" "$target" "$trigger" 2>/dev/null
        wait "$target" "$trigger" 2>/dev/null
    done
    servers=()
}

# One after the other has it; who comes at the wrong moment is told.
ten_at_once()
{
    local i status found=0 tools=()
    start crowd 1000
    for ((i = 0; i < 10; i++)); do
        timeout -s KILL 60 "$tool" dump "$target" >"$work/out.$i" \
            2>"$work/err.$i" &
        tools+=($!)
    done
    for ((i = 0; i < 10; i++)); do
        wait "${tools[i]}"
        status=$?
        case $status in
        0) grep -q ' 1001 threads' "$work/out.$i" && found=1 && continue ;;
        3) grep -q 'held by another' "$work/err.$i" && continue ;;
        esac
        echo "status $status"
        cat "$work/out.$i" "$work/err.$i"
        return 1
    done
    is_well && stop && same 1 "$found"
}

# The tool is killed at any moment.
tool_is_killed()
{
    local i
    for i in 0.01 0.02 0.03 0.04 0.05 0.07; do
        "$tool" dump "$target" >/dev/null 2>&1 &
        local killed=$!
        sleep "$i"
        kill -KILL "$killed" 2>/dev/null
        wait "$killed" 2>/dev/null
        is_well || return
    done
}

all_are_there()
{
    vthread dump "$target" || { cat "$work/err"; return 1; }
    has_line '^100 threads, parked: each waits to be unparked'
}

# While threads come and go, those that stay are all there, each time.
all_stay_there()
{
    local i
    await all_are_there
    for ((i = 0; i < ${STRESS:+15} + 5; i++)); do
        all_are_there || return
    done
}

churn()
{
    start churn
    local began=$SECONDS
    claim "dumps while threads come and go" all_stay_there
    claim "the tool is killed half-way" tool_is_killed
    claim "the target ends well" stop
    echo "# $(tail -1 "$work/said") threads came and went in" \
        "$((SECONDS - began)) s"
}

# ------------------------------------------------------------------------------

start
if ! vthread dump "$target" && grep -q 'ptrace' "$work/err"; then
    sed 's/^/# /' "$work/err"
    exit 77
fi
stop

settings=(VTHREAD_FREEZE=lazy VTHREAD_FREEZE=eager VTHREAD_FREEZE=guard
    "VTHREAD_OWN_LIMIT=0 VTHREAD_COMMON_HOMES=2")
in_each look_at_all_states
if kernel_writes_core; then
    claim "a core file of the kernel tells the same" dump_kernels_core
fi
refuse
stop
began=$(now_ms)
start riser
claim "how long the first thread has waited" early_has_an_age
claim "how long one has that all others slept before" riser_has_an_age
stop
look_for_leaks
look_for_hogs
claim "the target dies half-way" target_dies
claim "the target begins another program" target_execs
claim "ten tools at once" ten_at_once
churn
end_claims
