#!/bin/sh
# check_man.sh - every program has a man page that names each option of its --help, and mandoc finds no fault in it.
# shellcheck disable=SC2154 # make check sets them
set -u
bad=0
for program in airlock airlock-bridge airlock-client airlock-server airlock-plugin-check; do
    page=$top_srcdir/docs/man/$program.1
    [ -f "$page" ] || { echo "not ok - $program has no man page"; bad=1; continue; }
    "$top_builddir/$program" --help | grep -o -- '--[a-z][a-z-]*' | sort -u | while read -r option; do
        grep -Eq -- "(Fl|,) -${option#--}( |\$)" "$page" || echo "not ok - $program.1 does not name $option"
    done | grep . && bad=1
    if [ -n "${MANDOC:-}" ]; then
        "$MANDOC" -Tlint -Wwarning "$page" || bad=1
    fi
done
exit $bad
