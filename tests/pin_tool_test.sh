#!/bin/bash
#
# pin_tool_test.sh - vthread pin: what it makes of episodes that are known,
# letter by letter; of a real program; and targets that are not there, or go.
#
#     tests/pin_tool_test.sh             in the build directory
#     tests/pin_tool_test.sh --write     writes down what is wanted anew: look
#                                        at the difference
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) where
# there is no libdw.
set -u
export LC_ALL=C TZ=UTC
unset VTHREAD_CONTROL VTHREAD_PIN VTHREAD_PIN_MS

# A library of a build with sanitizers cannot be preloaded.
track=()
[ -z "${SANITIZE_CFLAGS:-}" ] || track=(--no-track)

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
not_under_tsan "a program's constants are in a file without a name"
wanted=$(realpath "$(dirname "$0")")
tool=$(realpath "${top_builddir:-.}/tools/vthread")
feed=$(realpath "${top_builddir:-.}/tests/pin_feed")
pinned=$(realpath "${top_builddir:-.}/examples/pinned")
program=$(realpath "${top_builddir:-.}/tests/busy_program")
grep -q '^#define HAVE_LIBDW 1' "${top_builddir:-.}/config.h" || {
    echo "# without libdw there are no source lines, as the golden files have"
    exit 77
}

pin() # ARGUMENT...
{
    timeout 60 "$tool" pin "${track[@]}" "$@" >"$work/out" 2>"$work/err" </dev/null
}

ends() # STATUS ARGUMENT...
{
    local status=0
    pin "${@:2}" || status=$?
    same "$1" "$status" || { cat "$work/out" "$work/err"; return 1; }
}

said()
{
    grep -qF -- "$1" "$work/err" || { cat "$work/err"; return 1; }
}

# Without what differs from run to run.
without_numbers()
{
    sed -E "s#$feed#pin_feed#; s/\"pid\": [0-9]+/\"pid\": 0/
        s/process [0-9]+/process 0/; s/\"tool\": \"[^\"]*\"/\"tool\": \"\"/" "$1"
}

is_as_wanted() # GOT WANTED
{
    without_numbers "$1" >"$work/got"
    [ "${write:-}" ] && cp "$work/got" "$wanted/$2"
    diff -u "$wanted/$2" "$work/got"
}

write=$([ "${1-}" = --write ] && echo yes)

# ---- What is known -------------------------------------------------------

claim "a program's status is its own" ends 7 -n "$feed" shop
claim "lines and table are as they should be" \
    is_as_wanted "$work/err" pin_shop.txt
claim "and standard output is the program's" test ! -s "$work/out"
claim "as JSON, without lines" ends 7 -n -q --json="$work/json" "$feed" shop
claim "it is as it should be" is_as_wanted "$work/json" pin_shop.json
claim "JSON may go to standard output" ends 7 -n -q --json "$feed" shop
claim "where it is the same" is_as_wanted "$work/out" pin_shop.json
claim "locks that nobody tracks are told of" ends 7 -n "$feed" untracked
claim "aloud" said "Locks are NOT TRACKED in process"
claim "nothing is nothing" ends 7 -n "$feed" nothing
claim "which is said" said "No thread was pinned for long."
claim "half of an episode is left out" ends 7 -n "$feed" broken
claim "and the whole one is there" said "1 wait of a pinned thread, at 1 place"
claim "what is no stream is told from one" ends 7 -n "$feed" nonsense
claim "in words" said "in a way that this tool does not know"

# ---- What to fail on -----------------------------------------------------

claim "a wait that is too long is found" ends 1 -n -f '>1s' "$feed" shop
claim "one that is not is none" ends 7 -n -f '>1500ms' "$feed" shop
claim "units are understood" ends 1 -n -f '>1499999.9us' "$feed" shop
claim "others are not" ends 2 -n -f '>5 minutes' "$feed" shop
claim "nor what is no limit" ends 2 -n -f 5ms "$feed" shop

# ---- The page ------------------------------------------------------------

is_one_page()
{
    grep -q '</html>' "$work/page.html" &&
        ! grep -nE 'https?://|src=|@import|url\(|<link' "$work/page.html"
}

# No error, and the places are shown.
works_in()
{
    local browser=$1
    HOME=$work timeout 60 "$browser" --headless --no-sandbox --disable-gpu \
        --user-data-dir="$work/browser" --virtual-time-budget=2000 \
        --enable-logging=stderr --dump-dom "file://$work/page.html" \
        >"$work/dom" 2>"$work/console" || return
    ! grep -E 'CONSOLE|Uncaught' "$work/console" &&
        grep -q '<code>finds_price</code>' "$work/dom" &&
        grep -q 'mutex, several of them' "$work/dom"
}

claim "a page is written" ends 7 -n -q --html="$work/page.html" "$feed" shop
claim "it wants nothing from elsewhere" is_one_page
if browser=$(command -v chromium || command -v chromium-browser); then
    claim "it works in a browser" works_in "$browser"
else
    echo "# no chromium: the page was not opened"
fi
claim "a page of nothing, too" ends 7 -n --html="$work/none.html" "$feed" \
    nothing
claim "a file that cannot be written is a failure" \
    ends 5 -n -q --html=/nowhere/page.html "$feed" shop
claim "which is said" said "cannot write /nowhere/page.html"

# ---- A real program ------------------------------------------------------

leads_to_the_line()
{
    said "mutex table_lock (pinned)" &&
        said "taken   price_with_mistake (pinned.c:" &&
        said "from    query_price (pinned.c:" &&
        said "from    serve_customer (pinned.c:"
}

claim "a server with a mistake is found" ends 1 -f '>5ms' "$pinned"
claim "the report leads to the line" leads_to_the_line
claim "without the mistake nothing is" ends 0 -f '>5ms' "$pinned" --fixed
claim "which is said" said "No thread was pinned for long."
claim "a program without virtual threads runs" ends 3 -- sh -c 'exit 3'
claim "and it is said that nothing was watched" said "NOT ACTIVE: sh"

# ---- Processes -----------------------------------------------------------

mkfifo "$work/in"
exec 3<>"$work/in"

start_target() # VARIABLE=VALUE...
{
    : >"$work/target"
    env "$@" "$program" <"$work/in" >"$work/target" &
    target=$!
    servers+=("$target")
    await grep -q ready "$work/target"
}

# The tool is told to end once it is connected.
follows_until_told()
{
    "$tool" pin $target 2>"$work/err" &
    local follower=$!
    await grep -q . "/proc/$follower/net/unix" &&
        await_clients 1 && kill -INT $follower && wait $follower &&
        await_clients 0 && kill -0 $target
}

# So many OS threads of it serve clients.
await_clients()
{
    await sh -c "[ \$(cat /proc/$target/task/*/comm | grep -c vthread-client) = $1 ]"
}

is_told_of_the_end()
{
    "$tool" pin $target 2>"$work/err" &
    local follower=$! status=0
    await_clients 1 && kill -KILL $target
    wait $follower || status=$?
    same 4 $status && said "process $target has ended"
}

claim "without a program there is nothing to do" ends 2
claim "a process that is not there is an error" ends 3 4194304
start_target VTHREAD_CONTROL=0
claim "one without a socket, too" ends 3 $target
claim "which is said, and what helps" said "start it with VTHREAD_CONTROL=1"
start_target VTHREAD_CONTROL=1
claim "one with it is followed until the user has enough" follows_until_told
claim "its end is told" is_told_of_the_end
end_claims
