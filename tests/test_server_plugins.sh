#!/bin/sh
# test_server_plugins.sh - which plugin files, classes and options airlock-server refuses, and with which sentence.
# shellcheck disable=SC2016,SC2119
. "${top_srcdir:-.}/tests/server_lib.sh"

# CC may be a compiler with a launcher in front.
build() { # OUTPUT [FLAG...]
    o=$1
    shift
    # shellcheck disable=SC2086
    ${CC:-cc} -shared -fPIC -fvisibility=hidden -I"$top_srcdir/sdk/include" -Wl,-z,now \
        -Wl,-z,nodelete "$top_srcdir/tests/fakes/bad_plugin.c" -o "$work/$o" "$@" || exit 1
    chmod 755 "$work/$o"
}

entry() { # PLUGIN [MORE]
    printf '{"name":"m","class_name":"BadModel","model_path":"model","plugin":"%s"%s}' "$1" "${2:-}"
}

mark=$work/mark
BAD_PLUGIN_MARK=$mark
export BAD_PLUGIN_MARK

# refused NAME PATTERN FILE [MORE]: exit 1, the sentence, and no instruction of the plugin ran.
refused() {
    rm -f "$mark"
    config "$(entry "$3" "${4:-}")"
    check_config
    [ "$status" -eq 1 ] && grep -q -e "$2" "$work/err" && [ ! -e "$mark" ]
    ok "$1" $?
}

mkdir "$work/p"
chmod 755 "$work/p"
build p/good.so
config "$(entry p/good.so)"
check_config
equal "a good plugin by a path relative to the configuration" "$status" 0
[ -e "$mark" ]
ok "its constructor ran: the mark works" $?

refused "a file that is not there" "No such file" p/none.so
build p/nosymbol.so -DNO_SYMBOL
refused "no entry symbol" "does not export llm_plugin_query_1" p/nosymbol.so
build p/two.so -DTWO_SYMBOLS
refused "two exported symbols" "exports another_symbol" p/two.so
build p/major.so -DNOTE_MAJOR=2 -DMAJOR=2
refused "another ABI major" "built for ABI 2" p/major.so
build p/minor.so -DNOTE_NEEDED=3 -DNEEDED=3
refused "a newer ABI minor, told by the note before any code runs" "needs ABI 1.3, this host has 1.0" p/minor.so
build p/lazy.so -Wl,-z,lazy
refused "lazy binding" "bound lazily: link it with -Wl,-z,now" p/lazy.so
# the linker has no switch to undo nodelete: build it without
# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -fvisibility=hidden -I"$top_srcdir/sdk/include" -Wl,-z,now \
    "$top_srcdir/tests/fakes/bad_plugin.c" -o "$work/p/delete.so" || exit 1
chmod 755 "$work/p/delete.so"
refused "a plugin that can be unmapped" "link it with -Wl,-z,nodelete" p/delete.so
build p/stack.so -Wl,-z,execstack
refused "an executable stack" "executable stack" p/stack.so
build p/rpath.so -Wl,-rpath,/tmp
refused "a library search path elsewhere" "outside .ORIGIN" p/rpath.so
build p/rpath2.so '-Wl,-rpath,$ORIGIN/../x'
refused "a library search path upwards" "outside .ORIGIN" p/rpath2.so
build p/origin.so '-Wl,-rpath,$ORIGIN/lib'
config "$(entry p/origin.so)"
check_config
equal "a library search path beside the plugin is fine" "$status" 0
build p/undefined.so -DUNDEFINED
refused "an undefined symbol" "undefined symbol: function_that_nobody_has" p/undefined.so

ln -s good.so "$work/p/link.so"
refused "a symbolic link" "symbolic link" p/link.so
cp "$work/p/good.so" "$work/p/writable.so"
chmod 666 "$work/p/writable.so"
refused "a file that everybody can write" "chmod go-w" p/writable.so
chmod 664 "$work/p/writable.so"
refused "a file that its group can write" "chmod go-w" p/writable.so
mkdir "$work/q"
cp "$work/p/good.so" "$work/q/good.so"
chmod 777 "$work/q"
refused "a directory that everybody can write" "/q can be written" q/good.so
ln -s q "$work/r"
refused "a link to such a directory" "/q can be written" r/good.so
chmod 1777 "$work/q"
config "$(entry q/good.so)"
check_config
equal "a sticky one is fine, as /tmp is" "$status" 0
if [ "$(id -u)" -eq 0 ] && cp "$work/p/good.so" "$work/p/owned.so" && chown 12345 "$work/p/owned.so"; then
    refused "a file of somebody else" "belongs to user 12345" p/owned.so
fi

echo "not a plugin" >"$work/p/text.so"
refused "a text file" "not a shared object" p/text.so
: >"$work/p/empty.so"
refused "an empty file" "not a regular file" p/empty.so
mkfifo "$work/p/fifo.so"
refused "a fifo does not hang it" "not a regular file" p/fifo.so
mkdir "$work/p/folder.so"
chmod 755 "$work/p/folder.so"
refused "a directory" "not a regular file" p/folder.so
head -c 300 "$work/p/good.so" >"$work/p/cut.so"
refused "a cut file" "malformed\|not a shared object\|too short" p/cut.so
cp "$work/p/good.so" "$work/p/machine.so"
printf '\003\000' | dd of="$work/p/machine.so" bs=1 seek=18 conv=notrunc 2>/dev/null
refused "another machine" "another kind of machine" p/machine.so

sum=$(sha256sum "$work/p/good.so" | cut -d' ' -f1)
config "$(entry p/good.so ",\"plugin_sha256\":\"$sum\"")"
check_config
equal "the right sha256" "$status" 0
refused "a wrong sha256" "sha256 $sum, which is not the configured one" p/good.so \
    ",\"plugin_sha256\":\"$(printf '%064d' 0)\""
refused "half a sha256" "models\[0\].plugin_sha256 must be 64 hexadecimal digits" p/good.so \
    ',"plugin_sha256":"abc"'

# refused_late NAME PATTERN FILE: what only its own code can tell.
refused_late() {
    config "$(entry "$3")"
    check_config
    [ "$status" -eq 1 ] && grep -q -e "$2" "$work/err"
    ok "$1" $?
}
build p/minor2.so -DNO_NOTE -DNEEDED=3
refused_late "a newer ABI minor without a note" "org.airlock.test.bad needs ABI 1.3, this host has 1.0" p/minor2.so
build p/liar.so -DNOTE_NEEDED=0 -DMAJOR=7
refused_late "a descriptor of another major" "built for ABI 7" p/liar.so
build p/null.so -DNULL_DESCRIPTOR
refused_late "no descriptor" "returned NULL" p/null.so
build p/short.so -DSHORT_VTABLE
refused_late "a table smaller than ABI 1.0's" "struct_size is smaller" p/short.so
build p/nogen.so -DNO_GENERATE
refused_late "a model without generate" "required" p/nogen.so
build p/other.so '-DCLASS_NAME="Other"'
refused_late "a plugin without the class" "has no model class BadModel" p/other.so

# The plugin directory.
config '{"name":"m","class_name":"Nobody","model_path":"model"}'
check_config
has "a class that no module has" "class_name Nobody is in no module of" "$work/err"
cp "$work/p/lazy.so" "$work/plugins/zz.so"
check_config
has "a module that cannot be judged is named" "not looked at: .*zz.so: is bound lazily" "$work/err"
rm "$work/plugins/zz.so"
cp "$work/plugins/model.so" "$work/plugins/model2.so"
config "$fake"
check_config
has "a class that two modules have" "is in both .*model.so and .*model2.so" "$work/err"
rm "$work/plugins/model2.so"
config "$fake" '{"name":"two","class_name":"PlainFake","model_path":"x"}' \
    '{"name":"three","class_name":"LLMModelFake","model_path":"x","plugin":"model"}'
check_config
equal "one plugin for three models" "$status" 0
printf 'dlname=%s\nlibrary_names=%s\n' "'evil.so'" "'evil.so'" >"$work/plugins/evil.la"
check_config
equal "a .la file is not looked at" "$status" 0

# Search paths of the environment choose nothing.
mkdir "$work/evil"
build evil/model.so '-DCLASS_NAME="LLMModelFake"'
rm -f "$mark"
config '{"name":"m","class_name":"LLMModelFake","model_path":"x","plugin":"model"}'
LD_LIBRARY_PATH=$work/evil LTDL_LIBRARY_PATH=$work/evil check_config
[ "$status" -eq 0 ] && [ ! -e "$mark" ]
ok "LD_LIBRARY_PATH and LTDL_LIBRARY_PATH do not choose the plugin" $?
cd "$work/evil" || exit 1
check_config
[ "$status" -eq 0 ] && [ ! -e "$mark" ]
ok "the working directory does not choose the plugin" $?
cd / || exit 1

# Options, adapters, loading.
wrong_entry() { # NAME PATTERN MORE
    config "{\"name\":\"fake\",\"class_name\":\"LLMModelFake\",\"model_path\":\"model\",$3}"
    check_config
    [ "$status" -eq 1 ] && grep -q -e "$2" "$work/err"
    ok "$1" $?
}
wrong_entry "an unknown option" "model fake: options.size is not an option" '"options":{"size":1}'
wrong_entry "an option of another type" 'options.depth must be of type "integer"' '"options":{"depth":"x"}'
wrong_entry "an option below its minimum" "options.depth must be at least 1" '"options":{"depth":0}'
wrong_entry "an option above its maximum" "options.depth must be at most 9" '"options":{"depth":10}'
wrong_entry "an option out of its list" 'options.mood must be one of' '"options":{"mood":"odd"}'
config '{"name":"p","class_name":"PlainFake","model_path":"x","options":{"a":1}}'
check_config
has "options for a class that takes none" "takes no options" "$work/err"
config '{"name":"p","class_name":"PlainFake","model_path":"x","adapter_map":{"a":"b"}}'
check_config
has "adapters for a class that takes none" "takes no adapters" "$work/err"
wrong_entry "an adapter that does not open" "fake\[a\]: fake adapter: the checkpoint is broken" '"adapter_map":{"a":"x/broken"}'
wrong_entry "an adapter that does not fit" "this adapter does not fit" '"adapter_map":{"misfit":"x"}'
wrong_entry "an adapter plugin that is none" "has no adapter class" '"adapter_map":{"a":"x"},"adapter_plugin":"model"'
config '{"name":"b","class_name":"LLMModelFake","model_path":"broken"}'
check_config
has "a checkpoint that does not load" "b: fake: the checkpoint is broken" "$work/err"
finish
