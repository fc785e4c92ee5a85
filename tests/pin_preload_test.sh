#!/bin/bash
#
# pin_preload_test.sh - libvthread-pin preloaded, into programs that know
# nothing of it and into SQLite as it comes; and linked in by --wrap, into a
# dynamic and a static program, and one in C++.
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) in a build
# with sanitizers, whose libraries cannot be preloaded.
set -u
export LC_ALL=C

top=$(realpath "${srcdir:-$(dirname "$0")/..}")
library=$(realpath -e .libs/libvthread-pin.so 2>/dev/null) ||
    { echo "# there is no libvthread-pin here"; exit 77; }
[ -z "${SANITIZE_CFLAGS:-}" ] || { echo "# no preloading here"; exit 77; }
# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

wrap=$(sed -n 's/^Libs:.*-l:libvthread-pin.a//p' vthread-pin.pc)
flags=(-w -g -I"$top/include" -pthread)
links=(-L.libs -lvthread -Wl,-rpath,"$PWD/.libs")

# ---- Programs that know nothing of it ---------------------------------------

# unchanged COMMAND...: with the library it prints and returns the same.
unchanged()
{
    local without with
    timeout 30 "$@" >"$work/without" 2>&1 </dev/null
    without=$?
    timeout 30 env LD_PRELOAD="$library" "$@" >"$work/with" 2>&1 </dev/null
    with=$?
    same "$without" "$with" && cmp "$work/without" "$work/with"
}

python='
import threading
lock, ready, n = threading.Lock(), threading.Condition(), 0
def add():
    global n
    for _ in range(1000):
        with lock: n += 1
    with ready: ready.notify()
threads = [threading.Thread(target=add) for _ in range(8)]
with ready:
    for t in threads: t.start()
    ready.wait(10)
for t in threads: t.join()
print(n)
'
for command in ls sort curl; do
    if command -v $command >/dev/null; then
        claim "$command is as it was" unchanged $command --version
    fi
done
if command -v python3 >/dev/null; then
    claim "threads of python3 are as they were" unchanged python3 -c "$python"
fi

# ---- SQLite -----------------------------------------------------------------

# One connection waits for another's lock on the file, in its busy handler,
# and so does a second thread with the same connection, for SQLite's mutex.
# It knows of virtual threads only that it has some.
cat >"$work/shop.c" <<'SOURCE'
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vthread.h>

static sqlite3 *till, *clerks;
static atomic_int tries;

static void ask(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", text, sqlite3_errmsg(db));
        exit(1);
    }
}

__attribute__((noinline)) static int wait_a_little(void *arg, int count)
{
    tries++;
    usleep(1000);
    return 1;
}

static void *sell(void *arg)
{
    ask(clerks, "insert into sales values (1)");
    return arg;
}

static void *close_the_till(void *arg)
{
    while (tries < 5)
        usleep(100);
    ask(till, "commit");
    return arg;
}

int main(int argc, char **argv)
{
    vthread_t threads[3];
    sqlite3_open(argv[1], &till);
    sqlite3_open(argv[1], &clerks);
    sqlite3_busy_handler(clerks, wait_a_little, NULL);
    ask(till, "create table sales (n)");
    ask(till, "begin immediate");
    vthread_create(&threads[0], NULL, sell, NULL);
    vthread_create(&threads[1], NULL, sell, NULL);
    vthread_create(&threads[2], NULL, close_the_till, NULL);
    for (int i = 0; i < 3; i++)
        vthread_join(threads[i], NULL);
    sqlite3_close(clerks);
    sqlite3_close(till);
    return 0;
}
SOURCE

# shop MODE MS: prints what it reports.
shop()
{
    rm -f "$work/shop.db"
    timeout 60 env VTHREAD_PIN="$1" VTHREAD_PIN_MS="$2" \
        LD_PRELOAD="$library" "$work/shop" "$work/shop.db" 2>&1
}

shows_sqlites_pins()
{
    shop report 0 >"$work/pins" || return 1
    grep -q 'it held mutex 0x[0-9a-f]*, taken at libsqlite3' "$work/pins" &&
        grep -q 'it sleeps, at' "$work/pins" &&
        grep -q 'shop+0x[0-9a-f]*$' "$work/pins" &&
        grep -q '(sqlite3_step)' "$work/pins" &&
        ! grep -q 'not tracked' "$work/pins"
}

# The place of the wait is the line with usleep.
leads_to_the_line()
{
    local command line
    command=$(sed -n 's/^vthread: pin:   lines: \(addr2line.*\/shop 0x.*\)/\1/p' \
        "$work/pins" | head -1)
    line=$(grep -n 'usleep(1000)' "$work/shop.c" | cut -d: -f1)
    $command | grep -q "wait_a_little at .*shop.c:$line\$"
}

is_silent_below_the_threshold()
{
    same "" "$(shop report 60000)"
}

ends_at_the_first()
{
    shop abort 0 >"$work/aborted"
    same 134 $? && same 1 "$(grep -c 'kept carrier' "$work/aborted")"
}

if ${CC:-cc} "${flags[@]}" -o "$work/shop" "$work/shop.c" \
    -L.libs -lvthread-posix "${links[@]}" -lsqlite3 2>/dev/null; then
    claim "SQLite's pins are shown, with its mutex" shows_sqlites_pins
    claim "and where the thread waited, to the line" leads_to_the_line
    claim "none below the threshold" is_silent_below_the_threshold
    claim "VTHREAD_PIN=abort ends the process" ends_at_the_first
else
    echo "# SQLite is not here"
fi

# ---- Linked in --------------------------------------------------------------

cat >"$work/holds.c" <<'SOURCE'
#include <pthread.h>
#include <vthread.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *hold(void *arg)
{
    pthread_mutex_lock(&mutex);
    vthread_sleep(VTHREAD_MS);
    pthread_mutex_unlock(&mutex);
    return arg;
}
int main(void)
{
    vthread_t t;
    vthread_create(&t, NULL, hold, NULL);
    return vthread_join(t, NULL);
}
SOURCE

# reports PROGRAM PATTERN
reports()
{
    timeout 30 env VTHREAD_PIN=report VTHREAD_PIN_MS=0 "$1" 2>&1 |
        grep -q -- "$2"
}

# shellcheck disable=SC2086
links_dynamically()
{
    ${CC:-cc} "${flags[@]}" -o "$work/holds" "$work/holds.c" \
        libvthread-pin.a $wrap "${links[@]}" &&
        reports "$work/holds" 'it held mutex .*, taken at holds+'
}

# The tool preloads it, whatever the program has.
is_tracked_once()
{
    timeout 30 env LD_PRELOAD="$library" VTHREAD_PIN=report VTHREAD_PIN_MS=0 \
        "$work/holds" >"$work/twice" 2>&1 &&
        grep -q 'it held mutex .*, taken at holds+' "$work/twice" &&
        ! grep -q 'times more' "$work/twice"
}

# shellcheck disable=SC2086
names_the_lock()
{
    sed 's/static pthread_mutex_t mutex/pthread_mutex_t the_lock/
         s/&mutex/\&the_lock/' "$work/holds.c" >"$work/named.c" &&
        ${CC:-cc} "${flags[@]}" -rdynamic -o "$work/named" "$work/named.c" \
            libvthread-pin.a $wrap "${links[@]}" &&
        reports "$work/named" 'mutex 0x[0-9a-f]* in named+0x.* (the_lock), taken'
}

# One that locks: it is called while the functions are looked for.
allocator_locks()
{
    cat >"$work/allocator.c" <<'SOURCE'
#include <pthread.h>
#include <stddef.h>
void *__libc_malloc(size_t size), __libc_free(void *block);
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
void *malloc(size_t size)
{
    pthread_mutex_lock(&mutex);
    void *block = __libc_malloc(size);
    pthread_mutex_unlock(&mutex);
    return block;
}
void free(void *block)
{
    pthread_mutex_lock(&mutex);
    __libc_free(block);
    pthread_mutex_unlock(&mutex);
}
SOURCE
    ${CC:-cc} -w -shared -fPIC -o "$work/allocator.so" "$work/allocator.c" &&
        timeout 30 env LD_PRELOAD="$library $work/allocator.so" \
            VTHREAD_PIN=off "$work/holds"
}

tracks_nothing_when_off()
{
    same "" "$(VTHREAD_PIN=off VTHREAD_PIN_MS=0 "$work/holds" 2>&1)"
}

# shellcheck disable=SC2086
links_statically()
{
    ${CC:-cc} "${flags[@]}" -static -o "$work/static" "$work/holds.c" \
        libvthread-pin.a $wrap libvthread.a $static_libraries &&
        reports "$work/static" 'it held mutex .*, taken at static+'
}

says_that_it_does_not_track()
{
    # shellcheck disable=SC2086
    ${CC:-cc} "${flags[@]}" -static -o "$work/untracked" "$work/holds.c" \
        libvthread.a $static_libraries &&
        LD_PRELOAD=$library reports "$work/untracked" 'are not tracked'
}

static_libraries=$(sed -n 's/^Libs.private: *//p' vthread.pc)
pkg-config --exists libffi 2>/dev/null &&
    static_libraries="$static_libraries $(pkg-config --libs --static libffi)"

claim "it is linked in by --wrap" links_dynamically
claim "and preloaded besides: a lock counts once" is_tracked_once
claim "a lock that is a variable is named" names_the_lock
claim "an allocator may lock while functions are looked for" allocator_locks
claim "with VTHREAD_PIN=off it tracks nothing" tracks_nothing_when_off
if ${CC:-cc} -static -w -o "$work/plain" -xc - -x none $static_libraries \
    <<<'int main(void) { return 0; }' 2>/dev/null; then
    claim "into a static program too" links_statically
    claim "which says so otherwise: preloading does nothing" \
        says_that_it_does_not_track
fi

# ---- C++ --------------------------------------------------------------------

expected='kind 0, taken 1 times, waits 0
kind 0, taken 2 times, waits 0
kind 0, taken 1 times, waits 0
kind 1, taken 1 times, waits 0
kind 2, taken 1 times, waits 0
done'

cxx_preloaded()
{
    ${CXX:-c++} "${flags[@]}" -std=c++17 -o "$work/locks" \
        "$top/tests/pin_cxx_program.cpp" "${links[@]}" &&
        same "$expected" "$(timeout 30 env VTHREAD_PIN_MS=0 \
            LD_PRELOAD="$library" "$work/locks" preloaded)"
}

# shellcheck disable=SC2086
cxx_linked()
{
    ${CXX:-c++} "${flags[@]}" -std=c++17 -o "$work/linked" \
        "$top/tests/pin_cxx_program.cpp" libvthread-pin.a $wrap \
        "${links[@]}" &&
        same "$expected" "$(timeout 30 env VTHREAD_PIN_MS=0 "$work/linked")"
}

if command -v "${CXX:-c++}" >/dev/null; then
    claim "std::mutex and its kin are tracked" cxx_preloaded
    claim "linked in as well" cxx_linked
fi
end_claims
