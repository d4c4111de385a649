#!/bin/sh
# test_server_strangers.sh - airlock-server answers with a model plugin and an adapter plugin that it has never seen, new or kept from 1.0.
# shellcheck disable=SC2154
. "${top_srcdir:-.}/tests/server_lib.sh"
mkdir -p "$work/one" "$work/two"
echo 1 >"$work/one/scale.txt"
echo 2 >"$work/two/scale.txt"

hear() { # [ADAPTER]
    say 'here I am' "${1:-}" Echo
    cat "$work/body"
}

strangers() { # folder-with-plugins name
    config "{\"name\":\"Echo\",\"class_name\":\"EchoModel\",\"model_path\":\"model\",\"plugin\":\"$1/echo.so\",
        \"adapter_plugin\":\"$1/scale_adapter.so\",\"adapter_map\":{\"twice\":\"one\",\"thrice\":\"two\"}}"
    check_config
    equal "$2: the configuration is taken" "$status" 0
    start
    equal "$2: the model answers" "$(hear)" "here I am"
    equal "$2: with one adapter" "$(hear twice)" "here here I I amam"
    equal "$2: with another adapter" "$(hear thrice)" "here here here I I I amamam"
    equal "$2: and without again" "$(hear)" "here I am"
    stop_server
    rm -f "$work/s"
}

flags="-O2 -fPIC -shared -fvisibility=hidden -Wl,-z,now,-z,nodelete,-z,defs -I$top_srcdir/sdk/include"
mkdir "$work/new"
# shellcheck disable=SC2086
$CC $flags -o "$work/new/echo.so" "$top_srcdir/sdk/examples/plugin-echo/echo.c" &&
    $CC $flags -o "$work/new/scale_adapter.so" "$top_srcdir/sdk/examples/plugin-scale-adapter/scale_adapter.c" ||
    exit 1
strangers "$work/new" "built now"
if [ "$(uname -m)" = x86_64 ]; then
    mkdir "$work/old"
    cp "$top_srcdir"/tests/data/abi-1.0/*.so "$work/old"
    chmod 755 "$work/old" "$work"/old/*.so
    strangers "$work/old" "built for 1.0"
fi
finish
