# completion.bash - completes the command line of vthread(1), for bash.
#
# Commands and options are what the tool itself tells, so they are never out
# of date; processes are those of ours that use libvthread.
# shellcheck shell=bash

# The processes that we may look at, with their names behind them for the eye.
_vthread_processes()
{
    local maps
    for maps in /proc/[0-9]*/maps; do
        if grep -qs libvthread "$maps" 2>/dev/null; then
            maps=${maps#/proc/}
            echo "${maps%/maps}"
        fi
    done
}

_vthread()
{
    local word=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]}
    local command=${COMP_WORDS[1]-} i
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "--help --version $(
            "$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p')" \
            -- "$word")
        return
    fi
    # Behind the program's name it is the program's command line.
    for ((i = 2; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -- ] && [ $i -lt $((COMP_CWORD - 1)) ]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
        fi
    done
    case $command:$word in
    help:*)
        mapfile -t COMPREPLY < <(compgen -W "$(
            "$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p')" \
            -- "$word")
        ;;
    *:-*)
        mapfile -t COMPREPLY < <(compgen -W "$(
            "$tool" "$command" --help 2>/dev/null |
                grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$word")
        ;;
    top:*)
        mapfile -t COMPREPLY < <(compgen -W "$(_vthread_processes)" -- "$word")
        ;;
    dump:*)
        mapfile -t COMPREPLY < <(compgen -W "$(_vthread_processes)" -- "$word"
            compgen -f -- "$word")
        ;;
    run:*)
        mapfile -t COMPREPLY < <(compgen -c -- "$word")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$(_vthread_processes)" -- "$word"
            compgen -c -- "$word")
        ;;
    esac
}

complete -o default -F _vthread vthread
