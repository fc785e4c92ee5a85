#!/bin/bash
#
# with_test.sh - examples/with.sh: the server comes and goes with the program.
#
#     tests/with_test.sh             in the build directory
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) where
# neither PostgreSQL nor Redis nor examples/httpd is there.
set -u
export LC_ALL=C

# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
with=$(realpath "$(dirname "$0")/../examples/with.sh")
HTTPD=$(realpath "${top_builddir:-.}/examples/httpd")
export HTTPD TMPDIR=$work/tmp
mkdir "$TMPDIR"
chmod 755 "$work" "$TMPDIR"

# What the program finds: it talks to the server.
asks() # KIND
{
    case $1 in
    postgres) echo 'PGOPTIONS= exec 3<>"/dev/tcp/127.0.0.1/$PGPORT"' ;;
    redis) echo 'exec 3<>"/dev/tcp/$REDIS_HOST/$REDIS_PORT" &&
        printf "PING\r\n" >&3 && read -r answer <&3 &&
        [ "${answer%?}" = +PONG ]' ;;
    httpd) echo 'address=${HTTPD_URL#http://} && address=${address%/} &&
        exec 3<>"/dev/tcp/${address%:*}/${address#*:}" &&
        printf "GET /there HTTP/1.0\r\n\r\n" >&3 && grep -q indeed <&3' ;;
    esac
}

# beside KIND PROGRAM...
beside()
{
    local kind=$1
    shift
    [ "$kind" != httpd ] || set -- "$work/served" "$@"
    "$with" "$kind" "$@"
}

# The program talks to the server and ends with 7; 77 says that there is no
# such server here.
talk() # KIND
{
    beside "$1" bash -c "$(asks "$1") && exit 7" >"$work/talk" 2>&1
}

has_talked() # STATUS
{
    cat "$work/talk"
    same 7 "$1"
}

# Processes of any server that has been started here.
left()
{
    find "$TMPDIR" -mindepth 1 -maxdepth 1
    pgrep -f -- "$work/" | while read -r pid; do
        [ "$pid" = $$ ] || tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline"
    done | grep -E 'postgres|redis|httpd'
}

nothing_is_left() { same "" "$(left)"; }

# ends_by SIGNAL STATUS KIND: once the program runs.
ends_by()
{
    local pid status
    rm -f "$work/runs"
    [ "$3" = httpd ] && set -- "$@" "$work/served"
    env --default-signal=INT "$with" "$3" ${4:+"$4"} bash -c \
        "echo \$\$ >$work/runs; exec sleep 1000" &
    pid=$!
    servers+=("$pid")
    await test -s "$work/runs"
    kill "-$1" "$pid"
    wait "$pid"
    status=$?
    same "$2" "$status" && await has_ended "$(cat "$work/runs")"
}

has_ended() { ! kill -0 "$1" 2>/dev/null; }
servers_have_ended() { ! left | grep -qE 'postgres|redis|httpd'; }

test_server() # KIND
{
    local mode=$1 status=0
    talk "$1" || status=$?
    if [ $status = 77 ]; then
        sed 's/^/# /' "$work/talk"
        return
    fi
    found=1
    claim "the program talks to it, and its status is ours" has_talked $status
    claim "then nothing is left" nothing_is_left
    claim "Ctrl-C ends both" ends_by INT 130 "$1"
    claim "SIGTERM too" ends_by TERM 143 "$1"
    claim "and nothing is left" nothing_is_left
    claim "SIGKILL ends the program" ends_by KILL 137 "$1"
    claim "and the server" await servers_have_ended
    rm -rf "${TMPDIR:?}"/*
}

usage_is_told()
{
    "$with" "$@" 2>"$work/err"
    same 2 $? && grep -q 'usage: with.sh' "$work/err"
}

mkdir "$work/served"
echo indeed >"$work/served/there"
found=0
for kind in httpd redis postgres; do
    test_server $kind
done
[ $found = 1 ] || { echo "# none of the servers is here"; exit 77; }
claim "no server: usage, 2" usage_is_told
claim "an unknown one: 2" usage_is_told nonsense true
claim "no program: 2" usage_is_told redis
end_claims
