#!/bin/sh
# check_map.sh - docs/architecture.md lists exactly the files that exist, each with the sentence at its own top.
#
# usage: tests/check_map.sh          compare (the test)
#        tests/check_map.sh --write  rewrite the list after files came or went
set -eu
cd "${top_srcdir:-$(dirname "$0")/..}"
map=docs/architecture.md
begin='<!-- map: written by tests/check_map.sh --write -->'
end='<!-- end of map -->'

files() {
    find src plugins sdk demo demo-mm container tests build-aux/nvcc-cc -type f \
        \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cc' -o -name '*.cpp' -o -name '*.sh' \
        -o -name '*.py' -o -name '*.js' -o -name '*.css' -o -name nvcc-cc -o -path 'container/*' ! -name local.mk \) \
        ! -path '*/golden/*' ! -path '*/data/*' ! -path '*/corpus/*' ! -path '*/__pycache__/*' | LC_ALL=C sort
}

# The first comment's first sentence, without the "name - " in front of it.
sentence() {
    head -n 14 "$1" | awk -v name="$(basename "$1")" '
        /^#!/ { next }
        { line = $0
          gsub(/^[ \t]*(\/\*+|\*\/|\*|#|\/\/|"""|\047\047\047)[ \t]?/, "", line)
          stop = line ~ /\*\/[ \t]*$/ || line ~ /"""[ \t]*$/
          gsub(/[ \t]*(\*\/|""")[ \t]*$/, "", line)
          if (line ~ /^[ \t]*$/) { if (text != "") exit; next }
          text = text == "" ? line : text " " line
          if (stop || line ~ /\.$/) exit }
        END { if (index(text, name " - ") != 1) exit 1
              text = substr(text, length(name) + 4)
              if (match(text, /\.( |$)/)) text = substr(text, 1, RSTART)
              print text }'
}

list() {
    rc=0
    for f in $(files); do
        if says=$(sentence "$f"); then
            echo "- \`$f\` - $says"
        else
            echo "$f: its first comment does not begin with \"$(basename "$f") - \"" >&2
            rc=1
        fi
    done
    return $rc
}

new=$(mktemp)
trap 'rm -f "$new"' EXIT
list >"$new"
if [ "${1:-}" = --write ]; then
    awk -v begin="$begin" -v end="$end" -v file="$new" '
        $0 == begin { print; print ""; while ((getline line < file) > 0) print line; print ""; skip = 1 }
        $0 == end { skip = 0 }
        !skip && $0 != begin { print }' "$map" >"$map.new" && mv "$map.new" "$map"
    exit
fi
sed -n "\\#^$begin\$#,\\#^$end\$#p" "$map" | grep '^- `' | diff - "$new" ||
    { echo "docs/architecture.md and the tree differ: run tests/check_map.sh --write" >&2; exit 1; }
