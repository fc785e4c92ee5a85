#!/bin/bash
# The libraries export vthread_* and nothing else.
set -eu

exported_by() { # LIBRARY [NM OPTION]: names that are not ours
    ${NM:-nm} "${@:2}" --extern-only --defined-only --format=posix "$1" |
        awk 'NF > 1 { print $1 }'
}

failed=0
expect_ours_only() { # LIBRARY [NM OPTION]
    local names foreign
    names=$(exported_by "$@")
    # AddressSanitizer and libtool's linker script add names of their own.
    foreign=$(grep -Ev '^(vthread_|__asan|__odr_asan)' <<<"$names" || true)
    if [ -n "$foreign" ]; then
        echo "$1 exports names that are not vthread_*:"
        echo "$foreign"
        failed=1
    fi
    if ! grep -q '^vthread_create$' <<<"$names"; then
        echo "$1 does not export vthread_create"
        failed=1
    fi
}

expect_ours_only .libs/libvthread.so --dynamic
expect_ours_only libvthread.a
exit $failed
