#!/bin/sh
# check_layers_self.sh - check_layers.sh finds an include against the arrow and passes a clean tree.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/src/server" "$dir/src/common" "$dir/plugins/ops" "$dir/plugins/engine" "$dir/sdk/include"
: >"$dir/plugins/ops/ops.h"
: >"$dir/src/common/http_server.h"
echo '#include "ops/ops.h"' >"$dir/plugins/engine/good.c"
sh "$here/check_layers.sh" "$dir"
for wrong in 'src/server/up.c ops/ops.h' 'plugins/ops/up.c engine/good.c' 'plugins/engine/up.c common/http_server.h'; do
    file=${wrong% *}
    echo "#include \"${wrong#* }\"" >"$dir/$file"
    if sh "$here/check_layers.sh" "$dir" >/dev/null; then
        echo "$file including ${wrong#* } was not found" >&2
        exit 1
    fi
    rm "$dir/$file"
done
