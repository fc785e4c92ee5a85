#!/bin/bash
#
# with.sh - runs a program beside a server of its own, and stops that after it.
#
#     with.sh postgres PROGRAM [ARGUMENT...]
#     with.sh redis PROGRAM [ARGUMENT...]
#     with.sh httpd DIRECTORY PROGRAM [ARGUMENT...]
#
# For example:
#
#     $ examples/with.sh postgres build/examples/postgres --threads 2000
#
# The server keeps its files in a temporary directory, listens on loopback on
# a free port, and is gone with the program: at its end, at Ctrl-C, and if this
# script is killed.  The program finds it by the environment:
#
#     postgres  PGHOST (a directory, with the socket), PGPORT, PGUSER,
#               PGDATABASE, as all clients do; on 127.0.0.1 as well
#     redis     REDIS_HOST, REDIS_PORT
#     httpd     HTTPD_URL, and HTTPD_DIRECTORY; the server is $HTTPD, else the
#               one beside the program, else that of the build
#
# The status is the program's; 128 + the signal that ended this script; 77 if
# the server is not installed; 1 if it does not start; 2 for a wrong command
# line.
set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
directory=
server=
stop=TERM # the signal that ends the server
signal=   # the one that is to end us
program=

usage()
{
    sed -n '5,7s/^# *//p' "$0" | sed 's/^/usage: /' >&2
    exit 2
}

fail() # STATUS TEXT...
{
    local status=$1
    shift
    echo "with.sh: $*" >&2
    exit "$status"
}

# Whatever comes now comes too late.
clean_up()
{
    trap '' HUP INT TERM
    if [ -n "$server" ]; then
        kill "-$stop" "$server" 2>/dev/null
        wait "$server"
    fi
    [ -z "$directory" ] || rm -rf "$directory"
}

# May come at any moment, before the program is there, and before we wait.
forward() # SIGNAL
{
    signal=$1
    [ -z "$program" ] || kill "-$1" "$program" 2>/dev/null
}

# Runs the program in the background, for a signal interrupts `wait` only; and
# background means, without env, that Ctrl-C is ignored.
run() # PROGRAM [ARGUMENT...]
{
    local status
    [ -z "$signal" ] || return $((128 + $(kill -l "$signal")))
    env --default-signal=INT,QUIT setpriv --pdeathsig TERM "$@" <&0 &
    program=$!
    [ -z "$signal" ] || kill "-$signal" "$program" 2>/dev/null
    while :; do
        wait "$program"
        status=$?
        kill -0 "$program" 2>/dev/null || break
    done 2>/dev/null
    [ -z "$signal" ] || status=$((128 + $(kill -l "$signal")))
    return $status
}

# Starts a server in a session of its own, so that Ctrl-C reaches it only when
# the program has ended.  Returns when it has said that it is ready, or with 1
# when it has ended.
start() # PATTERN COMMAND...
{
    local pattern=$1
    shift
    : >"$directory/log"
    setsid setpriv --pdeathsig "$stop" "$@" >"$directory/log" 2>&1 </dev/null &
    server=$!
    until grep -q "$pattern" "$directory/log"; do
        [ -z "$signal" ] || exit $((128 + $(kill -l "$signal")))
        if ! kill -0 "$server" 2>/dev/null; then
            wait "$server"
            server=
            return 1
        fi
        sleep 0.05
    done
}

# The same with a port, another one while they are taken.
start_with_port() # PATTERN FUNCTION
{
    local tries
    for ((tries = 0; tries < 20; tries++)); do
        port=$((20000 + RANDOM % 12000))
        mapfile -t command < <("$2")
        start "$1" "${command[@]}" && return
        grep -qi 'address already in use' "$directory/log" || break
    done
    cat "$directory/log" >&2
    fail 1 "the server does not start"
}

# --- PostgreSQL --------------------------------------------------------------

# The newest, where Debian puts it, or else on the path.
find_postgres()
{
    local candidate found=
    found=$(command -v postgres) && found=${found%/*}
    for candidate in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
        [ -x "$candidate/postgres" ] && found=$candidate
    done
    [ -n "$found" ] && [ -x "$found/initdb" ] && echo "$found"
}

# It refuses to run as root.
become_nobody()
{
    local user=nobody
    as=()
    [ "$(id -u)" = 0 ] || return 0
    id postgres >/dev/null 2>&1 && user=postgres
    chown "$user" "$directory"
    # The parent's death is asked for last: a change of user takes it back.
    as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups
        --pdeathsig "$stop")
}

postgres_command()
{
    printf '%s\n' "${as[@]}" "$bin/postgres" -D "$directory/data" -p "$port" \
        -k "$directory" -c listen_addresses=127.0.0.1 \
        -c max_connections=400 -c fsync=off -c log_checkpoints=off
}

start_postgres()
{
    bin=$(find_postgres) ||
        fail 77 "no PostgreSQL here: install the package postgresql"
    stop=INT # at once, and in order
    become_nobody
    cd "$directory" || exit 1
    "${as[@]}" "$bin/initdb" -D "$directory/data" --auth trust --no-sync \
        --username postgres --encoding UTF8 --no-locale \
        >"$directory/log" 2>&1 || {
        cat "$directory/log" >&2
        fail 1 "initdb has failed"
    }
    start_with_port 'ready to accept connections' postgres_command
    export PGHOST=$directory PGPORT=$port PGUSER=postgres PGDATABASE=postgres
    unset PGSERVICE PGPASSWORD PGOPTIONS PGHOSTADDR
}

# --- Redis -------------------------------------------------------------------

redis_command()
{
    printf '%s\n' redis-server --bind 127.0.0.1 --port "$port" \
        --dir "$directory" --save '' --appendonly no --tcp-backlog 4096
}

start_redis()
{
    command -v redis-server >/dev/null ||
        fail 77 "no Redis here: install the package redis-server"
    ulimit -Sn "$(ulimit -Hn)" 2>/dev/null
    start_with_port 'Ready to accept connections' redis_command
    export REDIS_HOST=127.0.0.1 REDIS_PORT=$port
}

# --- httpd -------------------------------------------------------------------

find_httpd() # PROGRAM
{
    local candidate
    for candidate in "${HTTPD:-}" "$(dirname "$1")/httpd" \
        "$here/../build/examples/httpd" "$here/httpd"; do
        [ -n "$candidate" ] && [ -x "$candidate" ] && realpath "$candidate" &&
            return
    done
    return 1
}

start_httpd() # DIRECTORY PROGRAM
{
    local httpd served
    httpd=$(find_httpd "$2") ||
        fail 77 "no examples/httpd here: build it, it takes http-parser"
    served=$(realpath -e "$1") || fail 2 "no directory $1"
    ulimit -Sn "$(ulimit -Hn)" 2>/dev/null
    start '^listening on' "$httpd" -q -p 0 -a 127.0.0.1 "$served" || {
        cat "$directory/log" >&2
        fail 1 "the server does not start"
    }
    export HTTPD_DIRECTORY=$served
    HTTPD_URL=$(sed -n 's/^listening on //p' "$directory/log")
    export HTTPD_URL
}

# --- The command line --------------------------------------------------------

case ${1-} in
postgres | redis) [ $# -ge 2 ] || usage ;;
httpd) [ $# -ge 3 ] || usage ;;
*) usage ;;
esac
kind=$1
shift

trap clean_up EXIT
trap 'forward HUP' HUP
trap 'forward INT' INT
trap 'forward TERM' TERM
directory=$(mktemp -d) || fail 1 "no temporary directory"
chmod 755 "$directory"
came_from=$PWD
case $kind in
postgres) start_postgres ;;
redis) start_redis ;;
httpd)
    start_httpd "$1" "$2"
    shift
    ;;
esac
cd "$came_from" || exit 1
run "$@"
