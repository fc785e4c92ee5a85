#!/bin/bash
#
# gdb_threads_test.sh - virtual threads in gdb, by tools/vthread-gdb.py: of a
# process and of a core file, with frames in place and in chunks.
#
#     tests/gdb_threads_test.sh      in the build directory
#                                    VERBOSE=1: shows what gdb said
#
# gdb is started once for many claims, since that takes longer than all that
# it is asked then.  One line for each claim; exits with 1 if one fails, 77
# (skipped) without gdb that can attach.
set -u
export LC_ALL=C
# A process that is traced cannot look for leaks.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
unset DEBUGINFOD_URLS

command -v gdb >/dev/null || { echo "# no gdb here"; exit 77; }

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
script=$(realpath "$(dirname "$0")/../tools/vthread-gdb.py")
program=$(realpath "${top_builddir:-.}/tests/dump_target")
cd "$work" || exit 1

# What gdb says to each question, in $work/NAME.said; all of it in $work/out.
ask() # NAME COMMANDS...        with a semicolon between them
{
    local command arguments=() commands
    rm -f "$work"/*.said
    while [ $# -gt 0 ]; do
        arguments+=(-ex "echo @@ $1\\n")
        IFS=';' read -ra commands <<<"$2"
        for command in "${commands[@]}"; do
            arguments+=(-ex "$command")
        done
        shift 2
    done
    # shellcheck disable=SC2154
    timeout 300 gdb -nx -batch -ex 'set pagination off' -ex 'set width 0' \
        "${at[@]}" -ex "source $script" "${arguments[@]}" \
        >"$work/out" 2>&1 </dev/null
    awk -v work="$work" '
        /^@@ / { file = work "/" $2 ".said"; next }
        file { print >file }' "$work/out"
    [ -z "${VERBOSE:-}" ] || cat "$work/out"
}

# The number of the thread with that name.
number_of() # NAME
{
    sed -nE "s/^[* ] ([0-9]+) +[^']*'$1'.*/\\1/p" "$work/list" | head -1
}

# The functions of a walk, innermost first.
functions() # NAME
{
    awk '
        /^#[0-9]/ {
            name = $2 ~ /^0x/ ? $4 : $2
            line = line " " name
        }
        !/^#/ { if (/^(V|T)/) line = "" }
        END { print line }' "$work/$1.said"
}

# The thread of that name is at those functions, down to its base.
is_at() # NAME FUNCTIONS
{
    functions "$1" | grep -qE " $2 thread_main switch_base$" && return
    cat "$work/$1.said"
    return 1
}

all_are_listed()
{
    same 35 "$(grep -cE '^[* ] [0-9]+ ' "$work/list")" || return
    local state count
    for state in parked:24 running:2 pinned:6 ended:1 platform:2; do
        count=$(grep -cE "^[* ] [0-9]+ +${state%:*} " "$work/list")
        same "$state" "${state%:*}:$count" || { cat "$work/list"; return 1; }
    done
}

waits_are_told()
{
    grep -qE "'reader' waits for rwlock .* held by thread [0-9]+ 'holder'" \
        "$work/list" &&
        grep -E "'thither' waits for pthread mutex " "$work/list" |
            grep -qE "held by thread [0-9]+ 'hither'" &&
        grep -qE "'joiner' waits for the end of thread [0-9]+ 'deep'" \
            "$work/list"
}

# A bt for each, none of which runs into nonsense.
all_can_be_walked()
{
    same 35 "$(grep -c '^Virtual thread ' "$work/all.said")" &&
        ! grep -nE 'Traceback|Python Exception|annot access|\?\?|0xdbdb' \
            "$work/all.said"
}

# Arguments are told of frames in place; what is read of one in the chunks
# would be others' memory.
arguments_are_left_out()
{
    local told=0
    grep -qE "^\\* [0-9]+ .*'deep'" "$work/list" || told=1
    grep -q ' waits_inside (' "$work/deep.said" &&
        same "$told" "$(grep -c ' waits_inside (.*depth=' "$work/deep.said" |
            sed 's/^[1-9].*/1/')"
}

says() # NAME TEXT
{
    grep -qF "$2" "$work/$1.said" || { cat "$work/out"; return 1; }
}

# All that is asked in look, of threads whose numbers are in the list.
ask_about_all()
{
    local name questions=(all 'vthread apply all bt')
    for name in deep left-handed runner caller thither asker; do
        questions+=("$name" "vthread $(number_of "$name");bt")
    done
    ask "${questions[@]}" \
        late "vthread $(number_of late)" \
        none 'vthread 99999' \
        nonsense 'vthread nonsense'
}

look()
{
    ask_about_all
    claim "all threads are listed" all_are_listed
    claim "what they wait for is told" waits_are_told
    claim "a parked thread" is_at deep \
        '(waits_inside ){4}parks'
    claim "arguments, of frames in place only" arguments_are_left_out
    claim "a command for all of them" all_can_be_walked
    claim "one that waits for a lock" is_at left-handed \
        'take_both takes_left_first'
    claim "one that runs" is_at runner 'spins runs'
    claim "one in a call" is_at caller 'reads .*vthread_block.* calls'
    claim "one that waits for a pthread mutex" is_at thither \
        'want crosses_there'
    claim "one that was left by a continuation inside of it" is_at asker \
        'generates bare_main switch_base .*asks_a_generator'
    claim "one that has ended has no frames" says late \
        "has no frames: it is ended"
    claim "a number that is none" says none \
        "There is no virtual thread 99999"
    claim "a word that is none" says nonsense \
        "'nonsense' is no thread's number"
}

# Until all have arrived.
list()
{
    ask list 'info vthreads'
    mv "$work/list.said" "$work/list" && all_are_listed
}

look_at_core()
{
    local mode="${mode:+$mode, }core file"
    at=("$program" "core.$target")
    gcore -o core "$target" >/dev/null 2>&1
    list
    look
    rm -f "core.$target"
}

look_at_it()
{
    rm -f hold
    mkfifo hold
    sleep 3600 >hold &
    servers=("$!")
    : >said
    "$program" <hold >said 2>complaints &
    target=$!
    servers+=("$target")
    await grep -q ready said
    at=(-p "$target")
    list
    if grep -q 'ptrace' "$work/out"; then
        echo "# gdb may not attach here"
        exit 77
    fi
    all_are_listed >/dev/null || await list
    look
    claim "the process goes on" kill -0 "$target"
    # What a sanitizer has for its shadow would be tens of gigabytes.
    [ -n "${SANITIZE_CFLAGS:-}" ] || look_at_core
    kill "${servers[0]}"
    wait "$target"
    servers=()
}

at=("$program")
ask list 'info vthreads'
claim "without a process that is said" says list \
    "There is no libvthread in this program, or it does not run"
settings=(VTHREAD_FREEZE=lazy VTHREAD_FREEZE=eager)
in_each look_at_it
end_claims
