# claims.sh - what the tests written as scripts share.  Sourced by them.
#
#   $work                   a directory, gone at the end
#   servers+=("$pid")       processes that are killed at the end
#   claim TEXT COMMAND...   one line, whether the command succeeds; with $mode
#                           in it if that is set
#   same WANTED GOT         whether two texts are the same
#   await COMMAND...        until it succeeds, 20 s at most
#   in_each COMMAND...      once with each of "${settings[@]}" in the
#                           environment, words of VARIABLE=VALUE, and in
#                           $mode.  Where the environment chooses already, by
#                           VTHREAD_FREEZE or VTHREAD_PARALLELISM, it stays as
#                           it is: once
#   is_under_tsan           whether this is built with ThreadSanitizer
#   not_under_tsan WHY      skips the test there
#   end_claims              the last line, and the exit status
#
# shellcheck shell=bash

work=$(mktemp -d)
servers=()
claims=0
failures=0

# A signal that ends a command in the background before it has become a
# program gets here, too, in a process that owns nothing of this.
cleanup()
{
    [ "$BASHPID" = $$ ] || return
    [ ${#servers[@]} -gt 0 ] && kill -KILL "${servers[@]}" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

claim()
{
    local text="$1${mode:+ ($mode)}"
    shift
    claims=$((claims + 1))
    if "$@" >"$work/claim.log" 2>&1; then
        echo "ok $claims - $text"
    else
        failures=$((failures + 1))
        echo "not ok $claims - $text"
        sed 's/^/# /' "$work/claim.log" | head -40
    fi
}

same()
{
    [ "$1" = "$2" ] && return
    printf 'wanted: %s\ngot:    %s\n' "$1" "$2"
    return 1
}

await()
{
    local i
    for ((i = 0; i < 1000; i++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.02
    done
    echo "waited in vain: $*"
    return 1
}

# shellcheck disable=SC2154
in_each()
{
    local mode setting
    if [ -n "${VTHREAD_FREEZE:-}${VTHREAD_PARALLELISM:-}" ]; then
        "$@"
        return
    fi
    for mode in "${settings[@]}"; do
        for setting in $mode; do export "${setting?}"; done
        "$@"
        for setting in $mode; do unset "${setting%%=*}"; done
    done
}

is_under_tsan()
{
    case ${SANITIZE_CFLAGS:-} in
    *thread*) return 0 ;;
    *) return 1 ;;
    esac
}

not_under_tsan() # WHY
{
    is_under_tsan || return 0
    echo "# not under ThreadSanitizer: $1"
    exit 77
}

end_claims()
{
    echo "1..$claims"
    exit $((failures > 0))
}
