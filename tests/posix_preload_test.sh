#!/bin/bash
#
# posix_preload_test.sh - libvthread-posix preloaded: into programs that know
# nothing of virtual threads, together with libraries that call it before its
# time, and into a program that has them.
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) in a build
# with sanitizers, whose libraries cannot be preloaded.
set -u
export LC_ALL=C

top=$(realpath "${srcdir:-$(dirname "$0")/..}")
library=$(realpath -e .libs/libvthread-posix.so 2>/dev/null) ||
    { echo "# there is no libvthread-posix here"; exit 77; }
[ -z "${SANITIZE_CFLAGS:-}" ] || { echo "# no preloading here"; exit 77; }
# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# unchanged COMMAND...: with the library it prints and returns the same, on
# standard error too.
unchanged()
{
    local without with
    timeout 30 "$@" >"$work/without" 2>&1 </dev/null
    without=$?
    timeout 30 env LD_PRELOAD="$library" "$@" >"$work/with" 2>&1 </dev/null
    with=$?
    same "$without" "$with" && cmp "$work/without" "$work/with"
}

# if_there PROGRAM ARGUMENT...
if_there()
{
    if command -v "$1" >/dev/null; then
        claim "$1 is as it was" unchanged "$@"
    else
        echo "# there is no $1"
    fi
}

python='
import os, select, signal, socket, subprocess, threading, time
a, b = socket.socketpair()
t = threading.Thread(target=lambda: b.sendall(b"x" * 1000000) or b.close())
t.start()
n = 0
while True:
    data = a.recv(65536)
    if not data: break
    n += len(data)
t.join()
print(n, select.select([a], [], [], 1)[0] == [a])
a.setblocking(False)
r, w = os.pipe()
p = select.poll(); p.register(r, select.POLLIN); print(p.poll(1))
os.write(w, b"y"); print(os.read(r, 9)); time.sleep(0.001)
print(subprocess.run(["sh", "-c", "cat; exit 3"], input=b"in").returncode)
print(socket.getaddrinfo("127.0.0.1", 80)[0][4])
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01); signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0); print("alarm")
'
perl='$| = 1; sleep 0; system("echo sub"); print $?, "\n";
pipe R, W; if (!fork) { print W "child\n"; exit 2 } close W; print <R>;
wait; print $? >> 8, "\n"; select undef, undef, undef, 0.001; print `echo q`;'

if_there ls -l "$top"
if_there cat "$top/README.md" /nowhere
if_there sh -c 'echo a | tr a b; sleep 0; (exit 4); echo $?; wait'
if_there sort -S 64k "$top/HACKING.md"
if_there curl -s "file://$top/LICENSE"
if_there python3 -c "$python"
if_there perl -e "$perl"
if_there tar -C "$top" -cf - src/posix

# ---- Before its time --------------------------------------------------------

# Two libraries that call it from a constructor, and while it looks for the
# real functions.
cat >"$work/early.c" <<'SOURCE'
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef ALLOCATES
static __thread int inside;

/* An allocator that reads its settings. */
static void look(void)
{
    char text[64];
    if (inside++ == 0) {
        int fd = open("/proc/self/stat", O_RDONLY);
        if (fd < 0 || read(fd, text, sizeof text) <= 0 || close(fd) != 0)
            abort();
        sched_yield();
        nanosleep(&(struct timespec){.tv_nsec = 1}, NULL);
    }
    inside--;
}

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);

void *malloc(size_t size)
{
    look();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    look();
    return __libc_calloc(count, size);
}

/* dlsym allocates in some versions of libc; here it does in each. */
void *dlvsym(void *, const char *, const char *);
void *dlsym(void *handle, const char *name)
{
    static void *(*next)(void *, const char *);
    if (!next) {
        next = dlvsym((void *)-1l, "dlsym", "GLIBC_2.34");
        if (!next)
            next = dlvsym((void *)-1l, "dlsym", "GLIBC_2.2.5");
    }
    free(malloc(1));
    return next(handle, name);
}
#endif

__attribute__((constructor(101))) static void early(void)
{
    char text[8];
    int fds[2];
    if (pipe(fds) != 0 || write(fds[1], "abc", 3) != 3)
        abort();
    struct pollfd entry = {.fd = fds[0], .events = POLLIN};
    if (poll(&entry, 1, 1000) != 1 || read(fds[0], text, 8) != 3)
        abort();
    errno = 0;
    if (read(-1, text, 1) != -1 || errno != EBADF || usleep(1) != 0)
        abort();
    if (close(fds[0]) != 0 || close(fds[1]) != 0)
        abort();
    if (write(1, "early\n", 6) != 6)
        abort();
}
SOURCE

# runs_early PRELOADED: true prints what the constructor does.
runs_early()
{
    same early "$(timeout 30 env LD_PRELOAD="$1" /bin/true)"
}

if ${CC:-cc} -shared -fPIC -w -o "$work/early.so" "$work/early.c" &&
    ${CC:-cc} -shared -fPIC -w -DALLOCATES -o "$work/allocator.so" \
        "$work/early.c"; then
    claim "a constructor may call it before its own" \
        runs_early "$library $work/early.so"
    claim "or after" runs_early "$work/early.so $library"
    # Not in the other order: what stands before dlsym changes RTLD_NEXT.
    claim "an allocator that reads may be used by dlsym" \
        runs_early "$library $work/allocator.so"
fi

# ---- With virtual threads ---------------------------------------------------

# Not linked with it: one carrier, where a read that blocks would end it all.
cat >"$work/talk.c" <<'SOURCE'
#include <stdio.h>
#include <unistd.h>
#include <vthread.h>

static int fds[2];

static void *hear(void *arg)
{
    char text[8] = "";
    printf("%zd ", read(fds[0], text, 7));
    printf("%s\n", text);
    return arg;
}

static void *say(void *arg)
{
    write(fds[1], "hello", 5);
    return arg;
}

int main(void)
{
    vthread_t a, b;
    if (pipe(fds) != 0 || vthread_create(&a, NULL, hear, NULL) != 0)
        return 1;
    vthread_create(&b, NULL, say, NULL);
    vthread_join(a, NULL);
    return vthread_join(b, NULL);
}
SOURCE

talks()
{
    ${CC:-cc} -w -I"$top/include" -o "$work/talk" "$work/talk.c" \
        -L.libs -lvthread -Wl,-rpath,"$PWD/.libs" -pthread &&
        same "5 hello" "$(timeout 30 env VTHREAD_PARALLELISM=1 \
            LD_PRELOAD="$library" "$work/talk")"
}

claim "preloaded it makes a read wait that knows nothing of it" talks
end_claims
