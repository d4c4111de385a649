#!/bin/sh
# test_openapi.sh - docs/openapi.json and the server's table of routes name the same routes.
set -eu
cd "${top_srcdir:-$(dirname "$0")/..}"

# A path stands at two spaces of the file's indent, its methods at three.
described() {
    sed -n '/^ "paths": {/,/^ }/p' docs/openapi.json | awk '
        /^  "\// { split($0, p, "\""); path = p[2] }
        /^   "(get|post|put|delete|patch|head|options)": / { split($0, m, "\""); print toupper(m[2]), path }' | sort
}

served() {
    sed -n 's/^ *{ "\([A-Z]*\)", "\([^"]*\)", .*/\1 \2/p' src/server/routes.c | sort
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
described >"$work/described"
served >"$work/served"
[ "$(wc -l <"$work/served")" -ge 5 ] || { echo "src/server/routes.c has no table that this test can read" >&2; exit 1; }
diff "$work/described" "$work/served" ||
    { echo "docs/openapi.json (left) and src/server/routes.c (right) differ" >&2; exit 1; }
