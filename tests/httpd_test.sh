#!/bin/bash
#
# httpd_test.sh - examples/httpd seen from outside, with curl and /dev/tcp.
#
#     tests/httpd_test.sh            HTTPD=path: the server to test
#
# Starts servers of its own on free ports, over a tree of its own in a
# temporary directory.  One line for each claim; exits with 1 if one fails,
# 77 (skipped) without the server or curl.

set -u
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
export LC_ALL=C

find_httpd()
{
    local candidate
    for candidate in "${HTTPD:-}" "${top_builddir:-.}/examples/httpd" \
        build/examples/httpd examples/httpd; do
        [ -n "$candidate" ] && [ -x "$candidate" ] && echo "$candidate" &&
            return
    done
    return 1
}

httpd=$(find_httpd) || { echo "# no examples/httpd here"; exit 77; }
httpd=$(realpath "$httpd")
command -v curl >/dev/null || { echo "# no curl here"; exit 77; }

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# start_server OPTION... : sets pid, port and url; log and errors in files.
start_server()
{
    local i
    : >"$work/out"
    "$httpd" -p 0 "$@" >"$work/out" 2>"$work/err" &
    pid=$!
    servers+=("$pid")
    for ((i = 0; i < 500; i++)); do
        port=$(sed -n 's|^listening on http://.*:\([0-9]*\)/$|\1|p' \
            "$work/out")
        [ -n "$port" ] && break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    [ -n "$port" ] || { echo "# httpd does not start"; cat "$work/err"; exit 1; }
    url=http://127.0.0.1:$port
}

# Waits for the server to end, 20 s at most; its status in $status.
await_server()
{
    local i
    for ((i = 0; i < 1000; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    kill -KILL "$pid" 2>/dev/null && echo "had to be killed"
    wait "$pid" 2>/dev/null
    status=$?
}

stop_server()
{
    kill -TERM "$pid"
    await_server
    [ "$status" = 0 ] || { echo "status $status"; cat "$work/err"; }
    return "$status"
}

get() { curl -s --max-time 20 "$@"; }

# status WANTED CURL-ARGUMENT...
status()
{
    local wanted=$1
    shift
    same "$wanted" "$(get -o /dev/null -w '%{http_code}' "$@")"
}

# field NAME CURL-ARGUMENT...: the value of a response header field.
field()
{
    local name=$1
    shift
    get -D - -o /dev/null "$@" | tr -d '\r' |
        sed -n "s/^$name: //Ip"
}

# raw TEXT: sends it as it is (printf escapes), prints all that comes back.
raw()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return
    printf "$1" >&3
    timeout 20 cat <&3
    exec 3>&-
}

# raw_status WANTED TEXT
raw_status()
{
    same "$1" "$(raw "$2" | sed -n '1s/^HTTP\/1.1 \([0-9]*\).*/\1/p')"
}

fetches()
{
    get -o "$work/got" "$url/$2" && cmp "$work/got" "$tree/$1"
}

# ranges RANGE STATUS FIRST LENGTH: of the file "ten", digits.
ranges()
{
    same "$2" "$(get -o "$work/got" -w '%{http_code}' -H "Range: $1" \
        "$url/ten")" &&
        same "$(printf 0123456789 | tail -c "+$(($3 + 1))" | head -c "$4")" \
            "$(cat "$work/got")"
}

make_tree()
{
    tree=$work/tree
    mkdir -p "$tree/dir/sub" "$tree/site" "$tree/secret-not" "$work/outside"
    : >"$tree/empty"
    printf x >"$tree/one.txt"
    printf 0123456789 >"$tree/ten"
    head -c 16384 /dev/urandom >"$tree/16k.bin"
    head -c 16385 /dev/urandom >"$tree/16k1.bin"
    head -c 10485760 /dev/urandom >"$tree/10m.bin"
    head -c 67108864 /dev/zero >"$tree/64m.bin"
    printf a >"$tree/dir/with space.txt"
    printf b >"$tree/dir/50%.txt"
    printf c >"$tree/dir/grün ☃.txt"
    printf d >"$tree/dir/<b>&\"x\".html"
    printf '<h1>site</h1>' >"$tree/site/index.html"
    printf '<html xmlns="http://www.w3.org/1999/xhtml"/>' >"$tree/page.xhtml"
    printf secret >"$work/outside/file"
    ln -s one.txt "$tree/inside"
    ln -s ../one.txt "$tree/dir/up"
    ln -s ../outside/file "$tree/escape"
    ln -s "$work/outside/file" "$tree/absolute"
    ln -s ../outside "$tree/dirlink"
    ln -s loop "$tree/loop"
    mkfifo "$tree/fifo"
    printf n >"$tree/unreadable"
    chmod 0 "$tree/unreadable"
}

test_files()
{
    claim "an empty file" fetches empty empty
    claim "a file of one byte" fetches one.txt one.txt
    claim "16 KiB, the longest that is sent with its head" \
        fetches 16k.bin 16k.bin
    claim "a byte more, by sendfile" fetches 16k1.bin 16k1.bin
    claim "10 MiB byte for byte" fetches 10m.bin 10m.bin
    claim "a name with a space" fetches 'dir/with space.txt' \
        'dir/with%20space.txt'
    claim "a name with a percent sign" fetches 'dir/50%.txt' dir/50%25.txt
    claim "a name in UTF-8" fetches 'dir/grün ☃.txt' \
        dir/gr%C3%BCn%20%E2%98%83.txt
    claim "a query is no part of the name" fetches one.txt 'one.txt?a=b/c'
    claim "an absolute target" raw_status 200 \
        "GET http://x/one.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    claim "a link inside the tree" fetches one.txt inside
    claim "a link up, but inside" fetches one.txt dir/up
    claim "type of .txt" same "text/plain; charset=utf-8" \
        "$(field content-type "$url/one.txt")"
    claim "type of .html" same "text/html; charset=utf-8" \
        "$(field content-type "$url/site/index.html")"
    claim "type of .xhtml, which a browser would not show else" \
        same "application/xhtml+xml" "$(field content-type "$url/page.xhtml")"
    claim "type of no extension" same application/octet-stream \
        "$(field content-type "$url/ten")"
    claim "length of a file" same 10485760 \
        "$(field content-length "$url/10m.bin")"
}

head_has_no_body()
{
    local answer
    answer=$(raw "HEAD /ten HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    grep -q '^Content-Length: 10' <<<"$answer" && ! grep -q 0123 <<<"$answer"
}

test_conditions()
{
    local etag date
    etag=$(field etag "$url/ten")
    date=$(field last-modified "$url/ten")
    claim "HEAD sends the head only" head_has_no_body
    claim "HEAD of a long file" status 200 -I "$url/10m.bin"
    claim "a browser shall ask before it uses its copy" \
        same no-cache "$(field cache-control "$url/ten")"
    claim "If-None-Match with the tag: 304" status 304 \
        -H "If-None-Match: \"x\", $etag" "$url/ten"
    claim "If-None-Match with another: 200" status 200 \
        -H 'If-None-Match: "x"' "$url/ten"
    claim "If-Modified-Since its date: 304" status 304 \
        -H "If-Modified-Since: $date" "$url/ten"
    claim "If-Modified-Since before: 200" status 200 \
        -H "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT" "$url/ten"
}

test_ranges()
{
    local etag
    etag=$(field etag "$url/ten")
    claim "range from the start" ranges bytes=0-3 206 0 4
    claim "range in the middle" ranges bytes=2-5 206 2 4
    claim "range of one byte" ranges bytes=9-9 206 9 1
    claim "range to the end" ranges bytes=7- 206 7 3
    claim "the last three bytes" ranges bytes=-3 206 7 3
    claim "more last bytes than there are" ranges bytes=-99 206 0 10
    claim "range beyond the end is cut" ranges bytes=5-999 206 5 5
    claim "range with a number beyond 64 bits" \
        ranges bytes=5-99999999999999999999999 206 5 5
    claim "several ranges get it all" ranges bytes=0-1,4-5 200 0 10
    claim "nonsense ranges get it all" ranges bytes=a-b 200 0 10
    claim "a backward range gets it all" ranges bytes=5-2 200 0 10
    claim "other units get it all" ranges lines=1-2 200 0 10
    claim "range after the end: 416" status 416 -H 'Range: bytes=10-' \
        "$url/ten"
    claim "no last bytes: 416" status 416 -H 'Range: bytes=-0' "$url/ten"
    claim "416 says the size" same 'bytes */10' \
        "$(field content-range -H 'Range: bytes=10-' "$url/ten")"
    claim "206 says which" same 'bytes 2-5/10' \
        "$(field content-range -H 'Range: bytes=2-5' "$url/ten")"
    claim "a range of an empty file: 416" status 416 \
        -H 'Range: bytes=0-' "$url/empty"
    claim "If-Range with the tag" same 206 "$(get -o /dev/null \
        -w '%{http_code}' -H "If-Range: $etag" -r 0-1 "$url/ten")"
    claim "If-Range with another" same 200 "$(get -o /dev/null \
        -w '%{http_code}' -H 'If-Range: "x"' -r 0-1 "$url/ten")"
    claim "a long range by sendfile" long_range
}

long_range()
{
    get -r 5000000-8999999 -o "$work/got" "$url/10m.bin"
    cmp "$work/got" <(tail -c +5000001 "$tree/10m.bin" | head -c 4000000)
}

repeat() { printf "%*s" "$1" "" | tr ' ' "$2"; }

# Unlike curl, sends the body whatever has been answered.
body_status()
{
    local length=$2
    raw_status "$1" "$3 / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
Content-Length: $length\
\r\n\r\n$(repeat "$length" b)"
}

chunked_body()
{
    raw_status 200 "GET /ten HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
Transfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\nRange: bytes=0-1\r\n\r\n"
}

# expecting LENGTH: the statuses that a GET is answered with which
# says "Expect: 100-continue" and holds its body back until there is one.
expecting()
{
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /ten HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n' \
        $'Expect: 100-continue\r\nContent-Length: '"$1" >&3
    read -r -t 5 line <&3 && echo "${line:9:3}"
    [ "$1" -gt 65536 ] || printf "%$1s" "" >&3
    timeout 20 cat <&3 | tr -d '\r' | sed -n 's/^HTTP\/1.1 \([0-9]*\).*/\1/p'
    exec 3>&-
}

endless_chunks()
{
    local chunk
    chunk="1000\r\n$(repeat 4096 c)\r\n"
    raw_status 413 "GET /ten HTTP/1.1\r\nHost: x\r\n\
Transfer-Encoding: chunked\r\n\r\n$chunk$chunk$chunk$chunk$chunk$chunk\
$chunk$chunk$chunk$chunk$chunk$chunk$chunk$chunk$chunk$chunk$chunk"
}

test_errors()
{
    claim "no such file: 404" status 404 "$url/nothing"
    claim "a file as a directory: 404" status 404 "$url/ten/"
    claim "a name that is too long: 404" status 404 "$url/$(repeat 300 n)"
    claim "a FIFO: 403" status 403 "$url/fifo"
    if [ "$(id -u)" != 0 ]; then
        claim "a file that may not be read: 403" status 403 "$url/unreadable"
    fi
    claim "POST: 405" status 405 -d a=b "$url/ten"
    claim "DELETE: 405" status 405 -X DELETE "$url/ten"
    claim "405 says what is allowed" same "GET, HEAD" \
        "$(field allow -X PUT "$url/ten")"
    claim "a bad escape: 400" status 400 "$url/%zz"
    claim "a cut escape: 400" status 400 "$url/%2"
    claim "a zero byte: 400" status 400 "$url/ten%00.txt"
    claim "no HTTP: 400" raw_status 400 "\x16\x03\x01 hello\r\n\r\n"
    claim "a space in the target: 400" \
        raw_status 400 "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"
    claim "HTTP/1.1 without Host: 400" \
        raw_status 400 "GET / HTTP/1.1\r\n\r\n"
    claim "two Hosts: 400" \
        raw_status 400 "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    claim "two lengths: 400" raw_status 400 "GET / HTTP/1.1\r\nHost: a\r\n\
Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    claim "HTTP/2.0: 505" raw_status 505 "GET / HTTP/2.0\r\nHost: a\r\n\r\n"
    claim "a body is passed over" body_status 200 1000 GET
    claim "a chunked body with a trailer is passed over" chunked_body
    claim "a body that is held back is asked for" \
        same $'100\n200' "$(expecting 9)"
    claim "a body that is too long is not" same 413 "$(expecting 65537)"
    claim "a body of more than 64 KiB: 413" body_status 413 65537 GET
    claim "chunks of more than 64 KiB: 413" endless_chunks
    claim "a POST with a long body: 405" body_status 405 100000 POST
    claim "a long target: 414" status 414 "$url/$(repeat 5000 t)"
    claim "a very long one" raw_status 414 "GET /$(repeat 19000 '"')"
    claim "a long head: 431" status 431 -H "X: $(repeat 20000 h)" "$url/"
    claim "many fields: 431" raw_status 431 \
        "GET / HTTP/1.1\r\nHost: x\r\n$(yes 'Field: v\r\n' | head -2000 |
            tr -d '\n')\r\n"
    claim "a head of 12 KiB is read" status 200 \
        -H "X: $(repeat 12000 h)" "$url/ten"
}

# None of these may give a byte of what is outside.
no_escape()
{
    local path
    for path in /../outside/file /dir/../../outside/file \
        /%2e%2e/outside/file /..%2foutside%2ffile /dir/%2e%2e/../outside/file \
        //../outside/file /./../outside/file /escape /absolute \
        /dirlink/file /dirlink/ /dirlink/../outside/file \
        "/$work/outside/file" "//$work/outside/file" /loop \
        /../../../../../../../../etc/passwd; do
        code=$(get --path-as-is -o "$work/got" -w '%{http_code}' "$url$path")
        echo "$path: $code"
        case $code in 403 | 404) ;; *) return 1 ;; esac
        grep -q -e secret -e root: "$work/got" && return 1
    done
    return 0
}

redirect_stays_here()
{
    same "/dir/" "$(field location --path-as-is "$url//dir")" &&
        same "/dir/sub/" "$(field location "$url/dir/sub")"
}

# An empty query is none.
redirect_keeps_query()
{
    same "/dir/sub/?x=1&y=//z" \
        "$(field location "$url/dir/sub?x=1&y=//z")" &&
        same "/dir/sub/?%0d%0aX:%20y" \
            "$(field location "$url/dir/sub?%0d%0aX:%20y")" &&
        same "/dir/sub/" "$(field location "$url/dir/sub?")"
}

lists()
{
    get -o "$work/got" "$url/dir/" && cat "$work/got" &&
        grep -q 'href="./with%20space.txt"' "$work/got" &&
        grep -q 'href="./50%25.txt"' "$work/got" &&
        grep -q '>&lt;b&gt;&amp;&quot;x&quot;.html<' "$work/got" &&
        grep -q '>grün ☃.txt<' "$work/got" &&
        grep -q 'href="./sub/">sub/<' "$work/got" &&
        grep -q 'href="../"' "$work/got" && ! grep -q '<b>' "$work/got"
}

test_directories()
{
    claim "no path leads out of the tree" no_escape
    claim "a directory without its slash: 301" status 301 "$url/dir"
    claim "the redirect stays on this host" redirect_stays_here
    claim "the redirect keeps the query" redirect_keeps_query
    claim "a directory is listed, escaped" lists
    claim "the list of the root" status 200 "$url/"
    claim "index.html instead of a list" fetches site/index.html site/
}

connections_of_two()
{
    get -w '%{num_connects}\n' -o /dev/null -o /dev/null "$@" | tr -d '\n'
}

pipelined()
{
    local answer
    answer=$(raw "GET /one.txt HTTP/1.1\r\nHost: x\r\n\r\n\
GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n\
HEAD /ten HTTP/1.1\r\nHost: x\r\n\r\n\
\r\nGET /ten HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" | tr -d '\r')
    same "200 404 200 200" "$(sed -n 's/^.*HTTP\/1.1 \([0-9]*\) .*/\1/p' \
        <<<"$answer" | tr '\n' ' ' | sed 's/ $//')" &&
        same 0123456789 "$(tail -1 <<<"$answer")"
}

many_pipelined()
{
    local request="GET /ten HTTP/1.1\r\nHost: x\r\nX: $(repeat 100 x)\r\n"
    local i all=
    for ((i = 0; i < 99; i++)); do all+="$request\r\n"; done
    same 100 "$(raw "$all${request}Connection: close\r\n\r\n" |
        grep -c 0123456789)"
}

# The pieces of a request may come one by one.
in_pieces()
{
    local answer i text=$'GET /ten HTTP/1.1\r\nHost: x\r\nRange: bytes=2-4\r\n'
    text+=$'Connection: close\r\n\r\n'
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    for ((i = 0; i < ${#text}; i++)); do
        printf %s "${text:i:1}" >&3
        [ $((i % 8)) = 0 ] && sleep 0.005
    done
    answer=$(timeout 20 cat <&3 | tail -1)
    exec 3>&-
    same 234 "$answer"
}

# chromium TARGET FIELD...: prints the head of a request as Chromium 156
# sends it for a part of a page.
chromium()
{
    printf '%s\r\n' "GET $1 HTTP/1.1" "Host: 127.0.0.1:$port" \
        'Connection: keep-alive' 'sec-ch-ua-platform: "Linux"' \
        'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'`
        `' (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36' \
        'sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156"' \
        'sec-ch-ua-mobile: ?0' 'Accept: image/jxl,image/avif,image/webp,'`
        `'image/apng,image/svg+xml,image/*,*/*;q=0.8' \
        'Sec-Fetch-Site: same-origin' 'Sec-Fetch-Mode: no-cors' \
        'Sec-Fetch-Dest: image' "Referer: $url/" \
        'Accept-Encoding: gzip, deflate, br, zstd' \
        'Accept-Language: en-US,en;q=0.9' "${@:2}" ''
}

# browser_gets STATUS TARGET FIELD...: over the connection that is open on 3;
# reads the head and, of a response that has one, the body.
browser_gets()
{
    local line head= length=0
    chromium "${@:2}" >&3
    while IFS= read -r -t 10 line <&3 && [ "$line" != $'\r' ]; do
        head+=${line%$'\r'}$'\n'
    done
    same "$1" "${head:9:3}" || return
    [ "$1" = 304 ] && return
    length=$(sed -n 's/^Content-Length: //p' <<<"$head")
    timeout 10 head -c "$length" <&3 >"$work/got"
}

# A page's visit and its reload, then a sound that is sought, all of it over
# one connection; another was opened in advance and is never used.
plays_browser()
{
    local etag date
    etag=$(field etag "$url/16k1.bin")
    date=$(field last-modified "$url/16k1.bin")
    exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$port"
    browser_gets 200 /16k1.bin && cmp "$work/got" "$tree/16k1.bin" &&
        browser_gets 404 /favicon.ico &&
        browser_gets 304 /16k1.bin 'Cache-Control: max-age=0' \
            "If-None-Match: $etag" "If-Modified-Since: $date" &&
        browser_gets 200 /one.txt 'Pragma: no-cache' &&
        browser_gets 206 /16k1.bin 'Range: bytes=0-' &&
        cmp "$work/got" "$tree/16k1.bin" &&
        browser_gets 206 /16k1.bin 'Range: bytes=16000-' "If-Range: $etag" &&
        cmp "$work/got" <(tail -c +16001 "$tree/16k1.bin") &&
        browser_gets 301 /dir
    local result=$?
    exec 3>&- 4>&-
    return "$result"
}

test_connections()
{
    claim "keep-alive: two requests, one connection" same 10 \
        "$(connections_of_two "$url/one.txt" "$url/10m.bin")"
    claim "it survives a 404" same 10 \
        "$(connections_of_two "$url/nothing" "$url/ten")"
    claim "HTTP/1.0 closes" same 11 \
        "$(connections_of_two -0 "$url/one.txt" "$url/ten")"
    claim "pipelined requests are answered in order" pipelined
    claim "a hundred of them" many_pipelined
    claim "a request that comes byte by byte" in_pieces
    claim "a browser's visit, reload and seeking on one connection" \
        plays_browser
}

many_at_once()
{
    local i clients=()
    for ((i = 0; i < 40; i++)); do
        get -o "$work/got.$i" "$url/10m.bin" &
        clients+=($!)
    done
    wait "${clients[@]}"
    for ((i = 0; i < 40; i++)); do
        cmp "$work/got.$i" "$tree/10m.bin" || return
        rm "$work/got.$i"
    done
}

logged()
{
    grep -qE '^127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} [+-][0-9]{4}\] "GET /one\.txt HTTP/1\.1" 200 1$' "$work/out" &&
        grep -q '"HEAD /ten HTTP/1.1" 200 0$' "$work/out" &&
        grep -q '"GET /dir/\\x22q HTTP/1.1" 404' "$work/out"
}

test_server()
{
    claim "40 downloads at once" many_at_once
    get -o /dev/null "$url/dir/\"q"
    claim "SIGTERM ends an idle server with 0" stop_server
    claim "the access log has it" logged
}

timed_out()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf '%s' "$1" >&3
    local answer
    answer=$(timeout 10 head -1 <&3 | tr -d '\r')
    exec 3>&-
    same "$2" "$answer"
}

# A client that takes nothing is cut off, so fewer bytes come than promised.
stuck_client_is_dropped()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /64m.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
    sleep 1.5
    local got
    got=$(timeout 10 cat <&3 2>/dev/null | wc -c)
    exec 3>&-
    echo "$got"
    [ "$got" -lt 67108864 ]
}

test_deadlines()
{
    start_server -q -r 0.3 -k 0.5 -s 0.4 "$tree"
    claim "half a head: 408 after the time for it" timed_out \
        $'GET / HTTP/1.1\r\nHo' "HTTP/1.1 408 Request Timeout"
    claim "half a body: 408 as well" timed_out \
        $'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbo' \
        "HTTP/1.1 408 Request Timeout"
    claim "HTTP/1.0 knows no 100 Continue, so none comes before it" timed_out \
        $'GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n' \
        "HTTP/1.1 408 Request Timeout"
    claim "an idle connection is closed without a word" timed_out '' ''
    claim "a client that takes nothing is dropped" stuck_client_is_dropped
    claim "and the server goes on" fetches one.txt one.txt
    stop_server
}

finishes_download()
{
    rm -f "$work/got"
    get --limit-rate 20M -o "$work/got" "$url/64m.bin" &
    local client=$!
    await test -s "$work/got"
    kill -TERM "$pid"
    sleep 0.2
    kill -0 "$pid" || { echo "did not wait"; return 1; }
    await status 000 "$url/one.txt" || { echo "still accepts"; return 1; }
    wait "$client" && cmp "$work/got" "$tree/64m.bin" || return
    await_server
    same 0 "$status"
}

# Idle connections do not hold up the end.
drops_idle_at_once()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    exec 4<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /ten HTTP/1.1\r\nHost: x\r\n\r\n' >&3
    timeout 10 head -1 <&3 >/dev/null
    stop_server
    exec 3>&- 4>&-
    return "$status"
}

# With a download that would never end in the way.
grace_time_ends()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /64m.bin HTTP/1.1\r\nHost: x\r\n\r\n' >&3
    read -r -t 20 _ <&3 # the download has begun
    stop_server
    exec 3>&-
    same 0 "$status" && grep 'cut off 1 connection$' "$work/err"
}

test_stop()
{
    start_server -q "$tree"
    claim "SIGTERM lets a slow download finish, then exits 0" \
        finishes_download
    start_server -q -k 100 -g 100 "$tree" # longer than it is waited for
    claim "idle connections are closed at once" drops_idle_at_once
    start_server -q -g 0.5 "$tree"
    claim "after the grace time the rest is cut off" grace_time_ends
    start_server -q "$tree"
    kill -INT "$pid"
    await_server
    claim "SIGINT ends it as well" same 0 "$status"
}

# More connections than descriptors: those beyond wait their turn.
out_of_descriptors()
{
    local i fd answer descriptors=()
    for ((i = 0; i < 60; i++)); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port"
        descriptors+=("$fd")
    done
    await grep -q 'Too many open files' "$work/err"
    printf 'GET /ten HTTP/1.1\r\nHost: x\r\n\r\n' >&"${descriptors[0]}"
    answer=$(timeout 10 head -1 <&"${descriptors[0]}" | tr -d '\r')
    for fd in "${descriptors[@]}"; do exec {fd}>&-; done
    same "HTTP/1.1 503 Service Unavailable" "$answer" &&
        fetches one.txt one.txt && cat "$work/err" &&
        same 1 "$(grep -c 'Too many open files' "$work/err")"
}

# The second one is served when the first has gone.
waits_for_room()
{
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    sleep 0.1
    get -o "$work/got" "$url/ten" 3>&- &
    local client=$!
    sleep 0.2
    kill -0 "$client" || { echo "did not wait"; return 1; }
    exec 3>&-
    wait "$client" && cmp "$work/got" "$tree/ten"
}

test_limits()
{
    start_server_limited
    claim "out of descriptors: reports once, 503, goes on" \
        out_of_descriptors
    claim "and exits 0" stop_server
    start_server -q -c 1 "$tree"
    claim "-c 1: the next connection waits for its turn" waits_for_room
    claim "and exits 0 too" stop_server
}

# The server raises its soft limit, so the hard one has to be low.
start_server_limited()
{
    cat >"$work/limited" <<SCRIPT
#!/bin/sh
ulimit -n 40
exec "$httpd" "\$@"
SCRIPT
    chmod +x "$work/limited"
    local unlimited=$httpd
    httpd=$work/limited
    start_server -q -c 1000 "$tree"
    httpd=$unlimited
}

# fails STATUS TEXT ARGUMENT...
fails()
{
    local wanted=$1 text=$2
    shift 2
    "$httpd" "$@" >"$work/out" 2>"$work/err"
    same "$wanted" $? && cat "$work/err" && grep -q -e "$text" "$work/err"
}

test_command_line()
{
    claim "no directory: usage, 2" fails 2 usage
    claim "a bad port: 2" fails 2 "not a port" -p 70000 "$tree"
    claim "an unknown option: 2" fails 2 usage -Z "$tree"
    claim "no such directory: 1" fails 1 "No such file" "$work/nothing"
    claim "a port that is taken: 1" port_is_taken
    claim "-h: help, 0" helps
}

port_is_taken()
{
    start_server -q "$tree"
    fails 1 "Address already in use" -p "$port" "$tree" && stop_server
}

helps()
{
    "$httpd" -h >"$work/out" && grep -q -- '-p PORT' "$work/out"
}

# Without openat2 there are no links at all.
test_walk()
{
    start_server -q -w "$tree"
    claim "without openat2: a file in a directory" fetches \
        'dir/with space.txt' 'dir/with%20space.txt'
    claim "without openat2: the list of a directory" lists
    claim "without openat2: a file as a directory" status 404 "$url/ten/"
    claim "without openat2: no path leads out" no_escape
    claim "without openat2: nor does a link inside" status 403 "$url/inside"
    stop_server
}

make_tree
start_server "$tree"
test_files
test_conditions
test_ranges
test_errors
test_directories
test_connections
test_server
test_deadlines
test_stop
test_limits
test_walk
test_command_line
end_claims
