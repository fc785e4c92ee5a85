#!/bin/bash
#
# probes_test.sh - the library has the probes that doc/tracing.md lists, and
# no others; so has the archive.
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) where there
# is no <sys/sdt.h>, or no readelf.
set -u
export LC_ALL=C

grep -q '^#define HAVE_SYS_SDT_H 1' config.h \
    || { echo "# no <sys/sdt.h> here"; exit 77; }
command -v readelf >/dev/null || { echo "# no readelf here"; exit 77; }

page=${srcdir:-$(dirname "$0")/..}/doc/tracing.md
# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"

# PROBE ARGUMENTS, one line each; of a probe in several places once.
probes_of() { # FILE
    readelf --notes "$1" | awk '
        /Provider: /  { ours = $NF == "vthread" }
        /Name: /      { name = $2 }
        /Arguments: / { if (ours) print name, NF - 1 }' | sort -u
}

listed() {
    sed -n '/^## Probes/,/^## b/p' "$page" | awk -F '|' '/^\| `/ {
        gsub(/[` ]/, "", $2)
        print $2, split($3, arguments, ",")
    }' | sort
}

listed >"$work/listed"
claim "the page lists all ten" [ "$(wc -l <"$work/listed")" = 10 ]
for file in .libs/libvthread.so libvthread.a; do
    probes_of "$file" >"$work/found"
    claim "$file has the probes of the page, with as many arguments" \
        diff "$work/listed" "$work/found"
done

# ---- They are passed -----------------------------------------------------

cat >"$work/all.c" <<'SOURCE'
#include <vthread.h>
static void *blocks(void *arg) { return arg; }
static void *yields(void *arg)
{
    while (!*(volatile int *)arg)
        vthread_yield();
    return arg;
}
static void *does_all(void *arg)
{
    /* Shorter ones are over before they begin. */
    vthread_sleep(20 * VTHREAD_MS);
    vthread_pin();
    vthread_sleep(20 * VTHREAD_MS);
    vthread_unpin();
    vthread_block(blocks, arg, NULL);
    return arg;
}
int main(void)
{
    static int is_over;
    vthread_scheduler_attr_t attr = {.parallelism = 2};
    vthread_scheduler_stats_t stats = {.steals = 0};
    vthread_scheduler_t *s;
    vthread_t threads[9];
    if (vthread_scheduler_create(&s, &attr) != 0)
        return 1;
    for (int i = 0; i < 9; i++)
        vthread_create(&threads[i], &(vthread_attr_t){.scheduler = s},
                       i > 0 ? yields : does_all, &is_over);
    while (stats.steals == 0)
        vthread_scheduler_stats(s, &stats);
    is_over = 1;
    for (int i = 0; i < 9; i++)
        vthread_join(threads[i], NULL);
    return 0;
}
SOURCE

# gdb stops once at each, and has no more to stop at then.
all_are_passed()
{
    {
        printf '%s\n' 'set confirm off' 'set pagination off' 'break main' \
            run 'delete'
        awk '{ print "tbreak -probe-stap vthread:" $1 }' "$work/listed"
        awk '{ print "continue" }' "$work/listed"
        printf '%s\n' 'info breakpoints' kill
    } >"$work/commands"
    DEBUGINFOD_URLS='' timeout 120 gdb -q -nx -batch -x "$work/commands" \
        "$work/all" >"$work/gdb" 2>&1
    grep -q '^No breakpoints or watchpoints' "$work/gdb" ||
        { tail -30 "$work/gdb"; return 1; }
}

if [ -n "${SANITIZE_CFLAGS:-}" ] || ! command -v gdb >/dev/null; then
    echo "# no gdb here, or a sanitizer: nobody passed them"
elif ${CC:-cc} -w -g -I"${page%/doc/*}/include" -o "$work/all" "$work/all.c" \
    -L.libs -lvthread -Wl,-rpath,"$PWD/.libs"; then
    claim "a program passes each of them" all_are_passed
fi
end_claims
