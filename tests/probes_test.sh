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
end_claims
