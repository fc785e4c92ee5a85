#!/bin/bash
#
# curl_test.sh - libcurl against examples/httpd, on virtual threads.
#
#     tests/curl_test.sh             in the build directory
#
# Starts servers of its own on free ports, over a tree of its own in a
# temporary directory.  One line for each claim; exits with 1 if one fails, 77
# (skipped) without examples/curl or examples/httpd, and under TSan.
set -u
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
export LC_ALL=C

# shellcheck source=crowd.sh
. "$(dirname "$0")/crowd.sh"
find_program httpd
httpd=$program
find_program curl
not_under_tsan "it sees no malloc and free of those who wait in its poll"

make_tree()
{
    local i
    tree=$work/tree
    mkdir -p "$tree/a/b" "$work/other/a/b"
    for ((i = 1; i <= 60; i++)); do
        head -c $((i * i * 17)) /dev/urandom >"$tree/a/f$i"
    done
    head -c 1500000 /dev/urandom >"$tree/a/b/large"
    printf x >"$tree/a/b/with space, 50% and ü"
    cp -r "$tree/." "$work/other"
    # One byte in the middle of one file.
    printf '\n' | dd of="$work/other/a/b/large" bs=1 seek=700000 conv=notrunc \
        2>/dev/null
    printf 'y' >"$work/other/a/b/with space, 50% and ü"
}

# serve DIRECTORY: sets pid, port and url.
serve()
{
    : >"$work/out"
    : >"$work/out"
    "$httpd" -q -p 0 "$1" >"$work/out" 2>&1 &
    pid=$!
    servers+=("$pid")
    await grep -q listening "$work/out" || { cat "$work/out"; exit 1; }
    url=$(sed -n 's|^listening on \(.*\)/$|\1|p' "$work/out")
    port=${url##*:}
}

test_many()
{
    claim "2,000 threads fetch files, the same byte for byte" runs "$tree" \
        "$url"
    claim "10,000 of them" same 10000 "$(figure count)"
    claim "on $carriers carriers and no more OS threads than promised" \
        at_most $os_threads os_threads_most
    claim "a thread on one carrier" runs -t 1 -c 1 "$tree" "$url/"
    claim "on eight carriers" runs -t 200 -c 8 "$tree" "$url"
    claim "by name" runs -t 100 "$tree" "http://localhost:$port"
    claim "a byte that differs is found" fails 1 'is not the file' \
        -t 100 -r 1 "$work/other" "$url"
    claim "a file that is not there too" fails 1 'error: 404' -t 10 "$work" \
        "$url"
}

mode_runs() { claim "the same" runs -t 200 -r 3 "$tree" "$url"; }

# Connections to the server that the kernel has established.
connections()
{
    awk -v port=":$(printf %04X "$port")" \
        '$4 == "01" && substr($3, length($3) - 4) == port { n++ }
        END { print n + 0 }' /proc/net/tcp
}

has_connections() { [ "$(connections)" -ge "$1" ]; }

# A server that is stopped takes no connection and answers nothing, so all
# threads must come to wait for it at once: with blocked carriers they could
# not.
all_wait()
{
    kill -STOP "$pid"
    "$program" --json -c "$carriers" -t 600 -r 1 "$tree" "$url" \
        >"$work/figures" 2>"$work/err" &
    local curl=$! seen=1
    servers+=("$curl")
    await has_connections 600 && seen=0
    awk '$1 == "Threads:" { print $2 }' "/proc/$curl/status" >"$work/threads"
    kill -CONT "$pid"
    wait "$curl" && same 600 "$(figure count)" && [ $seen = 0 ]
}

few_os_threads()
{
    echo "$(cat "$work/threads") of $os_threads"
    [ "$(cat "$work/threads")" -le $os_threads ]
}

make_tree
serve "$tree"
test_many
in_each mode_runs
claim "600 threads wait in libcurl for a server that is stopped" all_wait
claim "with no more OS threads than promised" few_os_threads
kill -TERM "$pid"
wait "$pid"
claim "no server: says so" fails 1 'Failed to connect\|Connection refused' \
    -t 10 "$tree" "$url"
unset HTTPD_URL HTTPD_DIRECTORY
claim "no URL: says how to get a server, 2" fails 2 'examples/with.sh httpd'
claim "no such directory" fails 1 'No such file' "$work/none" "$url"
claim "no file in it" fails 1 'no file that could be fetched' \
    "$(mkdir "$work/empty" && echo "$work/empty")" "$url"
test_command_line
end_claims
