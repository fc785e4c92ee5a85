#!/bin/bash
#
# crawler_test.sh - examples/crawler against examples/httpd.
#
#     tests/crawler_test.sh      CRAWLER=path, HTTPD=path: the programs
#
# Starts servers of its own on free ports, over a tree of its own in a
# temporary directory; what the crawler finds is compared with what find
# does.  One line for each claim; exits with 1 if one fails, 77 (skipped)
# without the programs.

set -u
unset http_proxy HTTP_PROXY
export LC_ALL=C

build=${top_builddir:-.}
crawler=$(realpath "${CRAWLER:-$build/examples/crawler}")
httpd=$(realpath "${HTTPD:-$build/examples/httpd}")
for program in "$crawler" "$httpd"; do
    [ -x "$program" ] || { echo "# no $program here"; exit 77; }
done

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# serve DIR: sets pid and url.
serve()
{
    : >"$work/out"
    : >"$work/out"
    "$httpd" -q -p 0 "$1" >"$work/out" 2>&1 &
    pid=$!
    servers+=("$pid")
    await grep -q listening "$work/out" || { cat "$work/out"; exit 1; }
    url=$(sed -n 's|^listening on \(.*\)/$|\1|p' "$work/out")
}

# crawls STATUS ARGUMENT...: what it prints is in $work/pages.
crawls()
{
    local wanted=$1
    shift
    timeout 60 "$crawler" "$@" >"$work/pages" 2>"$work/err"
    local status=$?
    tail -3 "$work/pages"
    cat "$work/err"
    same "$wanted" "$status" && { [ "$status" != 0 ] || [ ! -s "$work/err" ]; }
}

# Size and name of each file that was found, in order, duplicates included.
found()
{
    sed -n 's/^200  *\([0-9]* .*[^/]\)$/\1/p' "$work/pages" |
        sed 's/%/\\x/g' | while IFS= read -r line; do
        printf '%b\n' "$line"
    done | sort
}

# A tree without index.html: directories are listed.
make_tree()
{
    local i j
    tree=$work/tree
    for ((i = 0; i < 12; i++)); do
        mkdir -p "$tree/d$i/sub/deep"
        for ((j = 0; j < 20; j++)); do
            printf '%*s' $((i * 100 + j)) '' >"$tree/d$i/f$j"
            echo "<a href='../f$j'>" >"$tree/d$i/sub/p$j.html"
        done
    done
    head -c 3000000 /dev/zero >"$tree/d0/sub/large"
    : >"$tree/d1/sub/deep/empty"
    mkdir "$tree/odd" "$tree/none"
    printf 1 >"$tree/odd/with space"
    printf 22 >"$tree/odd/50%"
    printf 333 >"$tree/odd/grün ☃"
    printf 4444 >"$tree/odd/<a href=\"x\">&amp;"
    printf 55555 >"$tree/odd/a:b?c#d=href"
    printf 666666 >"$tree/odd/.hidden"
}

finds_all()
{
    crawls 0 "$@" "$url/" || return
    (cd "$tree" && find . -type f -printf '%s /%P\n') | sort >"$work/wanted"
    found >"$work/found"
    diff "$work/wanted" "$work/found"
}

# From anywhere in the tree: lists have links to the directory above.
finds_all_from_below()
{
    crawls 0 "$url/d3/sub/deep/" &&
        found >"$work/found" && diff "$work/wanted" "$work/found"
}

counts_right()
{
    local pages bytes
    pages=$(grep -c '^200' "$work/pages")
    bytes=$(awk '/^200/ { n += $2 } END { print n }' "$work/pages")
    same 488 "$(wc -l <"$work/wanted")" &&
        same "$pages pages, $bytes bytes, 0 not found, 0 failed" \
            "$(sed -n '$s/, in .*//p' "$work/pages")"
}

mirrors_as_wget()
{
    wget -q -r -e robots=off -P "$work/mirror" "$url/" &&
        diff <(cd "$work/mirror/"* && find . -type f ! -name index.html |
            sort) <(cut -d ' ' -f 2- "$work/found" | sed 's/^/./' | sort)
}

# A site of pages, with each kind of link there is.
make_site()
{
    site=$work/site
    mkdir -p "$site/dir" "$site/a"
    cat >"$site/index.html" <<'PAGE'
<a href="one.html">1</a> <A HREF='/two.html#part'>2</A> <img src=pic.png>
<a class=x href = "three.html?q=1&amp;r=2">3</a>
<a href="three.html?q=1&amp;r=2#again">3</a>
<a href="./a/../dir">a directory without its slash</a>
<a href="//HOST/four.html">4</a> <a href="http://HOST/five.html">5</a>
<a href="../../../six.html">6</a> <a href="#here">here</a> <a href="">me</a>
<a href="with space.html">7</a> <a href="gone.html">404</a>
<a href="http://other.invalid/x.html">x</a> <a href="mailto:x@y.z">x</a>
<a href="https://HOST/x.html">x</a> <a href="javascript:x">x</a>
<a href="http://HOST1/x.html">x</a> <p data-href="x.html">x <p>href=x.html
PAGE
    sed -i "s/HOST/${url#http://}/g" "$site/index.html"
    echo '<a href="?q=3">' >"$site/three.html"
    echo '<a href="..">up</a><a href="gone">' >"$site/dir/index.html"
    for page in one two four five six 'with space'; do
        echo '<a href="/">home</a><a href="one.html">' >"$site/$page.html"
    done
    # No HTML, so not looked at.
    echo '<a href="x.html">' >"$site/pic.png"
}

follows_links()
{
    crawls 1 "$url" || return
    sed '$d' "$work/pages" | sed 's/^\([0-9]*\)  *[0-9]*/\1/' |
        sort >"$work/got"
    diff - "$work/got" <<'PAGES'
200 /
200 /dir/
200 /five.html
200 /four.html
200 /one.html
200 /pic.png
200 /six.html
200 /three.html?q=1&r=2
200 /three.html?q=3
200 /two.html
200 /with%20space.html
301 /dir
404 /dir/gone, linked from /dir/
404 /gone.html, linked from /
PAGES
}

test_trees()
{
    make_tree
    serve "$tree"
    claim "every file of a tree is found exactly once" finds_all
    claim "the summary counts right" counts_right
    claim "on one connection too" finds_all -c 1
    claim "on a thousand" finds_all -c 1000
    claim "from the middle of the tree" finds_all_from_below
    if command -v wget >/dev/null; then
        claim "wget -r finds the same" mirrors_as_wget
    fi
    kill -TERM "$pid"
}

test_links()
{
    mkdir "$work/site"
    serve "$work/site"
    make_site
    claim "each kind of link, and 404s" follows_links
    claim "a page that is not there" crawls 1 "$url/nothing"
    claim "and says so" grep -q '^1 pages, .* 1 not found, 0 failed' \
        "$work/pages"
    kill -TERM "$pid"
}

# Accepts connections into its backlog, and answers nothing: a server that is
# stopped.
serve_nothing()
{
    serve "$tree"
    kill -STOP "$pid"
}

says() { grep -q -- "$1" "$work/${2:-err}" || { cat "$work/err"; return 1; }; }

# ends_by SIGNAL
ends_by()
{
    "$crawler" "$url/" >"$work/pages" 2>"$work/err" &
    local crawl=$!
    servers+=("$crawl")
    await connects "$crawl" && kill "-$1" "$crawl"
    wait "$crawl"
    same 1 $? && says "interrupted; 1 links are left"
}

# Whether the process has sockets: this is later than the block of signals.
connects() { ls -l "/proc/$1/fd" | grep -q socket; }

refused()
{
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    crawls 1 "$url/" && says '^000 .* /: Connection refused' pages &&
        says '^1 pages, 0 bytes, 0 not found, 1 failed' pages
}

test_ends()
{
    serve_nothing
    claim "a request ends at its deadline" crawls 1 -t 0.2 "$url/"
    claim "and is counted" says ' /: Connection timed out' pages
    claim "the whole ends at its deadline" crawls 1 -T 0.2 "$url/"
    claim "and says what is left" says "timed out; 1 links are left"
    claim "Ctrl-C ends it" ends_by INT
    claim "SIGTERM too" ends_by TERM
    claim "nobody listens" refused
}

# Ends in the middle of a page: more was promised.
test_protocol()
{
    command -v nc >/dev/null || return
    answers "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n12345678" &&
        claim "a page that is cut off has failed" says \
            '^000 .* /: Protocol error' pages
    answers "hello\r\n\r\n" && claim "no HTTP has failed" says \
        '^000 .* /: Protocol error' pages
    answers "HTTP/1.1 503 No\r\nX: y\r\n\r\n12345678" &&
        claim "other errors have failed" says '1 failed' pages
}

# answers TEXT: crawls a server that says this and closes.
answers()
{
    : >"$work/nc"
    # -v says which port it was.
    printf "$1" | timeout 20 nc -N -v -l 127.0.0.1 0 >/dev/null 2>"$work/nc" &
    servers+=($!)
    await grep -q Listening "$work/nc" &&
        crawls 1 "http://127.0.0.1:$(sed -n 's/^Listening .* //p' \
            "$work/nc")/" >"$work/answers"
}

test_command_line()
{
    claim "no URL: usage, 2" crawls 2
    claim "two: 2" crawls 2 "$url" "$url"
    claim "https: 2" crawls 2 "https://127.0.0.1/"
    claim "and says why" says "does not begin with http://: 'https://127"
    claim "no host: 2" crawls 2 http:///x
    claim "no such port: 2" crawls 2 http://127.0.0.1:x/
    claim "no connections: 2" crawls 2 -c 0 "$url"
    claim "no time: 2" crawls 2 -t x "$url"
    claim "an unknown option: 2" crawls 2 -Z "$url"
}

test_trees
test_links
test_ends
test_protocol
test_command_line
end_claims
