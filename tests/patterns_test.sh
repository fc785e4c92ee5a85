#!/bin/bash
#
# patterns_test.sh - the examples of patterns on real input, the sources
# themselves, compared with what other programs make of it; in several modes.
#
#     tests/patterns_test.sh         EXAMPLES=directory: where they are
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without the
# examples.  An example that was not built is left out, and it says so.

set -u
export LC_ALL=C

examples=$(realpath "${EXAMPLES:-${top_builddir:-.}/examples}")
[ -x "$examples/fan" ] || { echo "# no examples here"; exit 77; }
# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
cd "${srcdir:-$(dirname "$0")/..}" || exit

tree=$work/tree
programs=(fan limiter hybrid)

# run STATUS PROGRAM ARGUMENT...: its output in $work/out and its errors in
# $work/err, among which is nothing from the library.
run()
{
    local wanted=$1 program=$2
    shift 2
    timeout 60 "$examples/$program" "$@" >"$work/out" 2>"$work/err"
    same "$wanted" $? && ! grep '^vthread:' "$work/err" && return
    cat "$work/err"
    return 1
}

# quiet COMMAND...: succeeds without a word on standard error.
quiet()
{
    "$@" && same "" "$(cat "$work/err")"
}

# complains TEXT COMMAND...: succeeds, with that on standard error.
complains()
{
    "${@:2}" && same "$1" "$(cat "$work/err")"
}

# --- checksum --------------------------------------------------------------

sums()
{
    find "$tree" -type f -print0 | sort -z | xargs -0 sha256sum
}

sums_sorted()
{
    quiet run 0 checksum --sort "$@" "$tree" && sums | cmp - "$work/out"
}

sums_as_they_come()
{
    quiet run 0 checksum "$@" "$tree" &&
        sums | sort | cmp - <(sort "$work/out")
}

test_checksum()
{
    claim "checksum: as find and sha256sum" sums_as_they_come
}

sums_are_checked()
{
    run 0 checksum "$tree" && sha256sum --quiet -c "$work/out"
}

# without_rights COMMAND...: runs it without those of the superuser.
without_rights()
{
    if [ "$(id -u)" = 0 ]; then
        setpriv --bounding-set=-dac_override,-dac_read_search \
            --inh-caps=-dac_override,-dac_read_search "$@"
    else
        "$@"
    fi
}

no_permission()
{
    echo secret >"$work/secret"
    chmod 0 "$work/secret"
    without_rights "$examples/$1" "${@:2}" "$work/secret" \
        >"$work/out" 2>"$work/err"
    same 1 $? && same "$1: $work/secret: Permission denied" \
        "$(head -1 "$work/err")"
}

full_device()
{
    "$examples/$1" "${@:2}" >/dev/full 2>"$work/err"
    same 1 $? && grep "^$1: standard output: " "$work/err"
}

test_checksum_more()
{
    claim "checksum: sorted" sums_sorted
    claim "checksum: with one worker" sums_sorted --workers 1
    claim "checksum: sha256sum -c accepts it" sums_are_checked
    claim "checksum: no such file, and the others" complains \
        "checksum: $work/none: No such file or directory" \
        run 1 checksum "$work/none" "$tree/src"
    claim "checksum: of the others all" \
        cmp <(find "$tree/src" -type f | wc -l) <(wc -l <"$work/out")
    claim "checksum: no permission" no_permission checksum
    claim "checksum: a full disk" full_device checksum "$tree"
    claim "checksum: no argument: 2" run 2 checksum
    claim "checksum: no workers: 2" run 2 checksum -w 0 "$tree"
    claim "checksum: workers without a number: 2" run 2 checksum -w 3x "$tree"
    claim "checksum: an unknown option: 2" run 2 checksum -z "$tree"
}

# --- fan -------------------------------------------------------------------

counts_words()
{
    quiet run 0 fan "$@" && cat "$@" | tr -cs A-Za-z '\n' | grep . | sort |
        uniq -c | cmp - "$work/out"
}

test_fan()
{
    claim "fan: as tr, sort and uniq" counts_words "$tree"/*/*.[ch]
}

test_fan_more()
{
    claim "fan: the same file often" counts_words "$tree"/src/{key,key,key}.c
    claim "fan: an empty file" counts_words "$tree/empty"
    claim "fan: bytes that are no text" counts_words "$tree/bytes"
    claim "fan: the first failure is reported" complains \
        "fan: $work/none: No such file or directory" \
        run 1 fan "$tree"/src/*.c "$work/none"
    claim "fan: and nothing is counted" same "" "$(cat "$work/out")"
    claim "fan: a directory" complains "fan: $tree: Is a directory" \
        run 1 fan "$tree"
    claim "fan: no permission" no_permission fan
    claim "fan: a full disk" full_device fan "$tree"/src/*.c
    claim "fan: no argument: 2" run 2 fan
}

# --- gzip ------------------------------------------------------------------

gunzips()
{
    local file
    quiet run 0 gzip "$@" || return
    for file in "${@: -files}"; do
        gunzip -c "$file.gz" | cmp - "$file" || return
        rm "$file.gz"
    done
    same "$files" "$(wc -l <"$work/out")"
}

test_gzip()
{
    local list=("$tree/large" "$tree/empty" "$tree/bytes")
    # The others, once for all.
    if [ -z "${mode:-}$*" ]; then
        list+=("$tree"/*/*.[ch])
    else
        list+=("$tree"/src/[a-d]*.[ch])
    fi
    local files=${#list[@]}
    claim "gzip: gunzip gives the same bytes" gunzips "$@" "${list[@]}"
}

keeps_what_exists()
{
    echo mine >"$tree/large.gz"
    complains "gzip: $tree/large.gz: File exists" \
        run 1 gzip "$tree/large" "$tree/bytes" &&
        same mine "$(cat "$tree/large.gz")" && gzip -t "$tree/bytes.gz"
    local result=$?
    rm -f "$tree"/{large,bytes}.gz
    return $result
}

leaves_no_half()
{
    local pid status
    mkfifo "$work/fifo"
    "$examples/gzip" "$work/fifo" 2>"$work/err" &
    pid=$!
    servers+=("$pid")
    exec 3>"$work/fifo"
    cat "$tree/large" >&3
    await test -s "$work/fifo.gz" && kill "-$1" "$pid"
    wait "$pid"
    status=$?
    exec 3>&-
    rm "$work/fifo"
    cat "$work/err"
    same "$2" $status && [ ! -e "$work/fifo.gz" ]
}

test_gzip_more()
{
    test_gzip -w 1
    claim "gzip: no such file, and the others" complains \
        "gzip: $work/none: No such file or directory" \
        run 1 gzip "$work/none" "$tree/large"
    claim "gzip: the others are made" gzip -t "$tree/large.gz"
    claim "gzip: nothing of the one" test ! -e "$work/none.gz"
    rm -f "$tree/large.gz"
    claim "gzip: a directory" complains "gzip: $tree: Is a directory" \
        run 1 gzip "$tree"
    claim "gzip: what exists is kept" keeps_what_exists
    claim "gzip: SIGINT leaves no half of a file" leaves_no_half INT 130
    claim "gzip: nor does SIGTERM" leaves_no_half TERM 143
    claim "gzip: no permission" no_permission gzip
    claim "gzip: no argument: 2" run 2 gzip
    claim "gzip: 0 compressors: 2" run 2 gzip -w 0 "$tree/large"
}

# --- limiter ---------------------------------------------------------------

# No faster than allowed: the time is at least that of the lines beyond the
# burst.
limits()
{
    run 0 limiter -r "$1" -b "$2" "${@:3}" && cat "$work/err" &&
        cat "${@:3}" | sort | cmp - <(sort "$work/out") &&
        awk -v rate="$1" -v burst="$2" -v lines="$(cat "${@:3}" | wc -l)" '
            { ok = $2 == lines && $5 + 0.001 >= (lines - burst) / rate }
            END { exit !ok }' "$work/err"
}

in_order()
{
    limits "$@" && cmp "$work/out" "${@: -1}"
}

test_limiter()
{
    claim "limiter: no faster than the rate" limits 2000 20 "$tree"/doc/*.md
}

takes_turns()
{
    run 0 limiter -r 1000 "$tree/src/key.c" "$tree/src/sync/once.c" &&
        ! cat "$tree/src/"{key,once}.c | cmp -s - "$work/out" &&
        ! cat "$tree/src/"{once,key}.c | cmp -s - "$work/out"
}

# Nobody has opened the pipe for writing when the limiter looks.
named_pipe()
{
    mkfifo "$work/lines"
    "$examples/limiter" -r 5000 "$work/lines" >"$work/out" 2>"$work/err" &
    local pid=$!
    servers+=("$pid")
    cat "$tree/src/key.c" >"$work/lines"
    wait "$pid" && cmp "$work/out" "$tree/src/key.c"
}

# Bash has background processes ignore the signal.
interrupted()
{
    : >"$work/out"
    env --default-signal=INT "$examples/limiter" -r 0.1 -b 3 \
        "$tree/src/key.c" >"$work/out" &
    local pid=$!
    servers+=("$pid")
    await test -s "$work/out" && kill -INT "$pid"
    wait "$pid"
    same 130 $?
}

test_limiter_more()
{
    claim "limiter: a file's lines are in order" in_order 4000 200 \
        "$tree/src/vthread.c"
    claim "limiter: files take turns" takes_turns
    claim "limiter: a named pipe, opened by its writer later" named_pipe
    claim "limiter: standard input" cmp "$tree/bytes" \
        <("$examples/limiter" -r 1000000 -b 1000 /dev/stdin 2>/dev/null \
            < <(cat "$tree/bytes"))
    claim "limiter: no such file, and the others" run 1 limiter \
        -r 100000 -b 1000 "$work/none" "$tree/src/key.c"
    claim "limiter: of the others all" cmp "$work/out" "$tree/src/key.c"
    claim "limiter: no permission" no_permission limiter
    claim "limiter: a full disk" full_device limiter -b 1000 \
        "$tree/src/key.c"
    claim "limiter: SIGINT ends it" interrupted
    claim "limiter: no file: 2" run 2 limiter
    claim "limiter: no rate: 2" run 2 limiter -r 0 "$tree/bytes"
    claim "limiter: a rate that is no number: 2" run 2 limiter -r 1/2 README.md
    claim "limiter: no burst: 2" run 2 limiter -b 0 "$tree/bytes"
}

# --- hybrid ----------------------------------------------------------------

start_hybrid() # [CPUS]
{
    : >"$work/hybrid.out"
    "$examples/hybrid" 0 "$@" >"$work/hybrid.out" 2>"$work/hybrid.err" &
    pid=$!
    servers+=("$pid")
    await grep -q '^listening' "$work/hybrid.out"
    port=$(sed -n 's/^listening on .*://p' "$work/hybrid.out")
}

stop_hybrid() # [SIGNAL]
{
    kill "-${1:-TERM}" "$pid"
    wait "$pid"
    same 0 $? && same "" "$(cat "$work/hybrid.err")"
}

# ask FILE: sends its lines; as many answers go to $work/out.
ask()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    cat "$1" >&3 &
    timeout 60 head -n "$(wc -l <"$1")" <&3 >"$work/${2:-out}"
    exec 3>&-
}

factors()
{
    ask "$work/numbers" && factor <"$work/numbers" | cmp - "$work/out"
}

many_connections()
{
    local i asking=()
    for ((i = 0; i < 20; i++)); do
        ask "$work/numbers" "answers.$i" &
        asking+=($!)
    done
    wait "${asking[@]}"
    factor <"$work/numbers" >"$work/out"
    for ((i = 0; i < 20; i++)); do
        cmp "$work/answers.$i" "$work/out" || return
    done
}

test_hybrid()
{
    start_hybrid
    claim "hybrid: as factor, for 20 connections at once" many_connections
    claim "hybrid: SIGTERM ends it" stop_hybrid
}

# computes TICKS: the server has used more CPU time than that.
computes()
{
    [ "$(cut -d ' ' -f 14 "/proc/$pid/stat")" -gt "$1" ]
}

# A prime that takes seconds, then a number that takes no time: on one CPU.
# Tried again if this script itself was too slow.
short_overtakes_long()
{
    local i line
    echo 2026 >"$work/one"
    exec 4<>"/dev/tcp/127.0.0.1/$port"
    for ((i = 0; i < 5; i++)); do
        echo 9999999999999999961 >&4
        await computes \
            $(($(cut -d ' ' -f 14 "/proc/$pid/stat") + 5)) || return
        ask "$work/one"
        same "2026: 2 1013" "$(cat "$work/out")" || return
        read -r -t 0 -u 4 || return 0
        read -r -t 60 -u 4 line
        echo "before: $line"
    done
    return 1
}

busy_is_stopped()
{
    stop_hybrid INT
    local result=$?
    exec 4>&-
    return $result
}

no_numbers()
{
    printf '%s\n' -1 x 7x '' 12345678901234567890 7 >"$work/words"
    ask "$work/words" && cat "$work/out" &&
        same 5 "$(grep -c ': not a number of 1 to 19 digits$' "$work/out")" &&
        same "7: 7" "$(tail -1 "$work/out")"
}

port_is_taken()
{
    complains "hybrid: cannot listen: Address already in use" \
        run 1 hybrid "$port"
}

test_hybrid_more()
{
    start_hybrid 1
    claim "hybrid: what is no number is told" no_numbers
    claim "hybrid: a port that is taken: 1" port_is_taken
    claim "hybrid: a short computation overtakes a long one" \
        short_overtakes_long
    claim "hybrid: SIGINT ends it, computing or not" busy_is_stopped
    start_hybrid 2
    claim "hybrid: on two CPUs" factors
    stop_hybrid
    claim "hybrid: no port: 2" run 2 hybrid
    claim "hybrid: a bad port: 2" run 2 hybrid 70000
    claim "hybrid: no CPUs: 2" run 2 hybrid 0 0
}

# ---------------------------------------------------------------------------

make_tree()
{
    mkdir "$tree"
    cp -r src include continuation carrier doc "$tree"
    chmod -R u+w "$tree"
    : >"$tree/empty"
    printf 'a\0b c\377d\n\n\0x' >"$tree/bytes"
    cat "$tree"/src/*.c "$tree"/src/*.c >"$tree/large"
    truncate -s $((128 * 1024)) "$tree/one_block"
    : >"$tree/back\\slash and
line"
    find "$tree" -name "*.[ch]" -exec cksum {} + |
        awk '{ print $1, $1 * $2 % 1000003 }' | tr ' ' '\n' >"$work/numbers"
}

have()
{
    [ -x "$examples/$1" ] || { echo "# no $1 here"; return 1; }
}
have checksum && programs+=(checksum)
have gzip && programs+=(gzip)

make_tree
# Each program in each mode, then the rest of its claims.
test_each()
{
    local program
    for program in "${programs[@]}"; do "test_$program"; done
}
settings=("" VTHREAD_FREEZE=eager VTHREAD_FREEZE=guard VTHREAD_PARALLELISM=1
    VTHREAD_PARALLELISM=8)
in_each test_each
for program in "${programs[@]}"; do
    "test_${program}_more"
done
end_claims
