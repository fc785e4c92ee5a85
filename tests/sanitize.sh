#!/bin/bash
# Builds the library with sanitizers in a directory of its own, and runs the
# tests there.  For make check-sanitize and check-tsan.
#
# Usage: sanitize.sh SOURCES DIRECTORY SANITIZERS [CONFIGURE ARGUMENT...]
set -eu
sources=$(realpath "$1")
directory=$2
sanitizers=$3
make=${MAKE:-make}

# No directory but one can be built in when the sources themselves are
# configured: take a copy of them then.
mkdir -p "$directory"
if [ -e "$sources/config.status" ]; then
    $make -C "$sources" distdir distdir="$(realpath "$directory")/sources"
    sources=$(realpath "$directory")/sources
fi

cd "$directory"
[ -e config.status ] ||
    "$sources/configure" --enable-sanitize="$sanitizers" "${@:4}"
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
# Everything takes longer here.
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-3}
$make
$make check TEST_TIMEOUT=1800 source_tests=
