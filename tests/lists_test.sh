#!/bin/bash
# Every file of the tree is named in Makefile.am: a test that is in no list
# is never run, a header that is in none is missing from the distribution.
set -eu
cd "${srcdir:-$(dirname "$0")/..}"

failed=0
while read -r file; do
    # Programs are listed without the .c.
    if ! grep -qE "(^|[[:space:]])${file%.c}(\.c)?([[:space:]]|\$)" Makefile.am
    then
        echo "$file is in no list of Makefile.am"
        failed=1
    fi
done < <(find include src continuation carrier examples bench tests tools doc \
    -regex '.*\.\([chS]\|cpp\|sh\|md\|pml\|map\|[1-9]\)')

# A list whose last line but one lacks its backslash loses the rest.
if ! awk '
    /^\t[a-z]+\/[^ \t]+( \\)?$/ && before !~ /\\$/ {
        print "Makefile.am:" FNR ": no list goes on here"
        found = 1
    }
    { before = $0 }
    END { exit found }' Makefile.am
then
    failed=1
fi
exit $failed
