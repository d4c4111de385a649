#!/bin/sh
# check_layers.sh - a file includes headers of its own layer and of the layers below it only: the arrow as a test.
#
# Includes resolve as the compiler does it: beside the file, then in the -I folders.  With an argument
# that folder is checked instead of the source tree (the test of this test uses it).
set -eu
cd "${1:-${top_srcdir:-$(dirname "$0")/..}}"

may_include() {
    case "$1" in
    sdk/include) echo ;;
    src/common) echo sdk/include ;;
    src/client) echo src/common ;;
    src/bridge) echo src/common ;;
    src/server) echo src/common sdk/include ;;
    sdk) echo src/common sdk/include ;;
    plugins/ops) echo ;;
    plugins/engine) echo plugins/ops src/base ;;
    plugins/lora) echo plugins/engine plugins/ops src/base sdk/include ;;
    plugins/phi4-common) echo plugins/engine plugins/ops src/base sdk/include ;;
    plugins/phi4-multimodal) echo plugins/lora plugins/phi4-common plugins/engine plugins/ops src/base sdk/include ;;
    plugins/phi4-mini) echo plugins/phi4-common plugins/engine plugins/ops src/base sdk/include ;;
    esac
}

layer_of() { # of a file as the includer's layer
    case "$1" in
    sdk/include/*) echo sdk/include ;;
    sdk/*) echo sdk ;;
    *) echo "$1" | cut -d/ -f1-2 ;;
    esac
}

target_of() { # of a header as the included layer: what plugins may use of src/common is src/base
    case "$1" in
    src/common/error.h | src/common/json.h | src/common/bytes.h | src/common/io.h) echo "src/common src/base" ;;
    *) layer_of "$1" ;;
    esac
}

bad=0
# shellcheck disable=SC2044 # no file or header name here has white space
for f in $(find src plugins sdk -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \)); do
    from=$(layer_of "$f")
    # shellcheck disable=SC2013
    for h in $(sed -n 's/^# *include *["<]\([^">]*\)[">].*/\1/p' "$f"); do
        for dir in "$(dirname "$f")" src plugins sdk/include sdk .; do
            [ -f "$dir/$h" ] || continue
            found=$(realpath --relative-to=. "$dir/$h")
            allowed=" $from $(may_include "$from") "
            ok=no
            for to in $(target_of "$found"); do
                case "$allowed" in *" $to "*) ok=yes ;; esac
            done
            [ $ok = yes ] || { echo "$f: $from may not include $found"; bad=1; }
            break
        done
    done
done
exit $bad
