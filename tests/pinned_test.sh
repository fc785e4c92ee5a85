#!/bin/bash
#
# pinned_test.sh - the report of examples/pinned leads to the line with the
# mistake; without the mistake there is none.
#
# One line for each claim; exits with 1 if one fails, 77 (skipped) without the
# program.
set -u
export LC_ALL=C

top=$(realpath "${srcdir:-$(dirname "$0")/..}")
pinned=$(realpath -e "${top_builddir:-.}/examples/pinned" 2>/dev/null) ||
    { echo "# examples/pinned was not built"; exit 77; }
# shellcheck source=claims.sh
. "$(dirname "$0")/claims.sh"
not_under_tsan "a program's constants are in a file without a name"

source=$top/examples/pinned.c

line_of() # FIXED-TEXT: its first line in the source
{
    grep -nF -- "$1" "$source" | head -1 | cut -d: -f1
}

# run ARGUMENT...: sets $work/out and $work/err.
run()
{
    timeout 60 env VTHREAD_PIN=report "$pinned" "$@" \
        >"$work/out" 2>"$work/err"
}

reports()
{
    run && grep -q 'customer . (entry serve_customer\|customer .*kept carrier' \
        "$work/err" &&
        grep -q 'it held mutex 0x[0-9a-f]* in pinned+0x' "$work/err" &&
        ! grep -q 'not tracked' "$work/err"
}

counts_victims()
{
    grep -q 'other.* waited for it, [0-9.]* ms together' "$work/err"
}

# The mutex was taken at this line, and waited for the database at that one.
leads_to_lines()
{
    local command begin
    begin=$(line_of 'static int price_with_mistake')
    command=$(sed -n 's/^vthread: pin:   lines: //p' "$work/err" | head -1)
    $command >"$work/lines" || return 1
    grep -q "price_with_mistake at .*pinned.c:$((begin + 2))\b" \
        "$work/lines" &&
        grep -q "price_with_mistake at .*pinned.c:$((begin + 4))\b" \
            "$work/lines"
}

sums_up()
{
    grep -q 'in all .* of pinned threads' "$work/err"
}

is_silent_when_fixed()
{
    run --fixed && same "" "$(cat "$work/err")"
}

claim "the mistake is reported" reports
claim "with those who waited for it" counts_victims
[ -n "${SANITIZE_CFLAGS:-}" ] || ! command -v addr2line >/dev/null ||
    claim "and leads to the lines" leads_to_lines
claim "at the end it is summed up" sums_up
claim "without the mistake there is no report" is_silent_when_fixed
end_claims
