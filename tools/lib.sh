# lib.sh - what tools/check and tools/quickstart share: packages and build.
# Sourced by them; the caller's `top` is the directory of the project.
# shellcheck shell=bash disable=SC2154

# Debian packages: the compiler and the autotools, the libraries, the
# tests' own needs (curl asks httpd; gdb, libunwind and libdw walk our
# stacks), those of the tool vthread (libdw, ncurses, protobuf-c), the clients
# of other people's servers, libuv, and Lua with what vlua is compared to (the last
# one has files of Lua's test suite).
# shellcheck disable=SC2034
packages=(build-essential autoconf automake libtool pkg-config
    libffi-dev libgc-dev liburing-dev libhttp-parser-dev nettle-dev
    zlib1g-dev check valgrind libunwind-dev libdw-dev curl gdb spin
    libncurses-dev libprotobuf-c-dev protobuf-c-compiler systemtap-sdt-dev
    python3-protobuf
    libpq-dev libhiredis-dev libcurl4-openssl-dev libsqlite3-dev
    libuv1-dev
    lua5.4 liblua5.4-dev lua-luv golang-github-yuin-gopher-lua-dev)

# What examples/with.sh starts.  On a machine with an init the packages start
# a server each, too, which nothing here uses.
# shellcheck disable=SC2034
servers=(postgresql redis-server)

# What the tests for other systems need besides: compilers, an emulator.
# shellcheck disable=SC2034
cross=(gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu libc6-dev-arm64-cross
    libc6-dev-riscv64-cross qemu-user musl-tools dpkg-dev procps)

logs=$top/build/logs

say() {
    printf '%s\n' "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command with its output in a log, and says what is done and how long
# it took.  When it fails, shows the end of the log and ends.
step() { # TEXT LOG COMMAND...
    local text=$1 log=$logs/$2.log started=$SECONDS
    mkdir -p "$logs"
    printf '%s ... ' "$text"
    if "${@:3}" >"$log" 2>&1 </dev/null; then
        say "done ($((SECONDS - started)) s)"
    else
        say "failed"
        tail -n 40 "$log" >&2
        fail "$text failed; all of its output is in $log"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@"
}

is_installed() { # PACKAGE
    dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed'
}

# Installs those of the packages that are missing.
install_packages() { # PACKAGE...
    local package missing=()
    command -v apt-get >/dev/null || {
        say "No apt-get here: install by hand what configure misses."
        return
    }
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} = 0 ]; then
        say "Packages: all $# needed are installed."
        return
    fi
    say "Packages to install: ${missing[*]}"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        fail "that takes root, and there is no sudo. As root, run:
    apt-get install --no-install-recommends ${missing[*]}"
    fi
    # Asked now, for later questions would go to a log.
    [ "$(id -u)" = 0 ] || sudo true || fail "sudo refused"
    step "Reading the package lists" apt-update apt_get update
    step "Installing them" apt-install \
        apt_get install --no-install-recommends "${missing[@]}"
    # What was configured without them has to look again.
    rm -f "$top"/build/config.status "$top"/build/build-*/config.status
}

run_configure() {
    cd "$top/build" && ../configure
}

# Configures and builds in build/, or brings it up to date.
# shellcheck disable=SC2120
build() { # MAKE ARGUMENT...
    if [ -e "$top/config.status" ]; then
        fail "the sources are configured in place: run 'make distclean' first"
    fi
    mkdir -p "$top/build"
    if ! [ "$top/configure" -nt "$top/configure.ac" ]; then
        step "Making configure" autoreconf autoreconf -fi "$top"
    fi
    if ! [ "$top/build/config.status" -nt "$top/configure" ]; then
        step "Configuring in build/" configure run_configure
    fi
    step "Building in build/" make make -C "$top/build" -j"$(nproc)" \
        "$@"
}
