#!/bin/bash
# libvthread-posix exports the names of libc that it stands for, and no other;
# and libvthread calls none of them, for it would call itself; but for the
# resolver, which it calls in place: there a call in place changes nothing.
set -eu
[ -e .libs/libvthread-posix.so ] || { echo "not built here"; exit 77; }
source=${srcdir:-$(dirname "$0")/..}/src/posix

names_of() { # LIBRARY NM-OPTION
    ${NM:-nm} --dynamic --extern-only "$2" --format=posix "$1" |
        awk '{ sub(/@.*/, "", $1); print $1 }' | LC_ALL=C sort -u
}

failed=0
none() { # TEXT NAMES
    [ -z "$2" ] && return
    printf '%s:\n%s\n' "$1" "$2"
    failed=1
}

ours=$(names_of .libs/libvthread-posix.so --defined-only |
    grep -Ev '^(vthread_posix_|__asan|__odr_asan)')
libcs=$(names_of "$(ldd .libs/libvthread-posix.so |
    awk '$1 == "libc.so.6" { print $3 }')" --defined-only)
mapped=$(awk -F '[ ;]+' '/^        [a-z_0-9]+;/ { print $2 }' \
    "$source/libvthread-posix.map" | LC_ALL=C sort -u)
real=$(awk '/^    X\(/ { gsub(/[ X()\\]/, ""); print }' "$source/real.h" |
    LC_ALL=C sort -u)

none "exported, but not in its map" \
    "$(LC_ALL=C comm -23 <(echo "$ours") <(echo "$mapped"))"
none "in its map, but not exported" \
    "$(LC_ALL=C comm -13 <(echo "$ours") <(echo "$mapped"))"
none "exported, but no name of libc" \
    "$(LC_ALL=C comm -23 <(echo "$ours") <(echo "$libcs"))"
none "in real.h, but not exported" \
    "$(LC_ALL=C comm -13 <(echo "$ours") <(echo "$real"))"
grep -qx read <<<"$real" || { echo "real.h is not understood"; failed=1; }

# In a build with sanitizers they have to be libc's.
if [ -z "${SANITIZE_CFLAGS:-}" ]; then
    none "libvthread calls what libvthread-posix stands for" \
        "$(LC_ALL=C comm -12 <(echo "$ours") \
            <(names_of .libs/libvthread.so --undefined-only |
                grep -Ev '^get(addr|name)info$'))"
fi
exit $failed
