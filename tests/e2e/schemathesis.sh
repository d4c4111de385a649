#!/bin/sh
# schemathesis.sh - requests made from docs/openapi.json: no server error, no undocumented answer.
#
# usage: schemathesis.sh INSTALL_TREE VENV     (build/tree; a virtual environment with schemathesis)
# The server runs here, without a container, so that every route and header is reached as the file describes it.
set -eu
tree=$1/usr/local venv=$2 port=8193
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/adapters"
echo admin-token-of-a-test >"$work/admin"
chmod 600 "$work/admin"
LD_LIBRARY_PATH=$tree/lib "$tree/bin/airlock-server" --config demo/model_config.json --listen 127.0.0.1:$port \
    --plugin-dir "$tree/lib/airlock/plugins" --adapter-dir "$work/adapters" --admin-token-file "$work/admin" \
    --log-level warning 2>"$work/log" &
server=$!
n=0
until curl -fsS -o /dev/null "http://127.0.0.1:$port/readyz" 2>/dev/null; do
    n=$((n + 1))
    [ $n -lt 100 ] || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
"$venv/bin/schemathesis" run docs/openapi.json --url "http://127.0.0.1:$port" --phases examples,coverage,fuzzing \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --header 'Airlock-Admin: admin-token-of-a-test' --max-examples "${AIRLOCK_EXAMPLES:-40}" --seed 1 --workers 2 \
    --request-timeout 30 --no-color
kill -0 "$server"
