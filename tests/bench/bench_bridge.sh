#!/bin/sh
# bench_bridge.sh - what the way through bridge and container adds to an answer, beside a process for each message.
#
# usage: tests/bench/bench_bridge.sh BUILD_DIR [REQUESTS]      as a user who may use Docker
# A container without network runs tests/fakes/stub_server, which answers at once, so that all time
# is the way's.  Three ways in one run: the stub without container or bridge (a unix socket), the
# bridge, and `docker exec -i CONTAINER python3 ...` for each message, as the original does it.
# The image, Debian with python3, is made with mmdebstrap when it is missing.
set -eu

build=$(cd "${1:?usage: bench_bridge.sh BUILD_DIR [REQUESTS]}" && pwd)
requests=${2:-2000}
here=$(cd "$(dirname "$0")" && pwd)
image=airlock-bench name=bench
tmp=$(mktemp -d)
stub='' bridge=''
end() {
    [ -z "$bridge" ] || kill "$bridge" 2>/dev/null || :
    [ -z "$stub" ] || kill "$stub" 2>/dev/null || :
    docker rm -f "$name" >/dev/null 2>&1 || :
    rm -rf "$tmp"
}
trap end EXIT

make -s -C "$build" airlock-bridge airlock-client tests/fakes/stub_server tests/bench/bench_bridge
docker image inspect "$image" >/dev/null 2>&1 ||
    mmdebstrap --quiet --variant=minbase --include=python3 bookworm - | docker import - "$image" >/dev/null

mkdir "$tmp/bin"
cp "$build/airlock-client" "$build/tests/fakes/stub_server" "$tmp/bin"
cp "$here/exec_client.py" "$tmp/bin"
chmod -R a+rX "$tmp"
docker rm -f "$name" >/dev/null 2>&1 || :
docker run -d --name "$name" --network none --read-only --cap-drop ALL --pids-limit 512 \
    --user 10001:10001 -v "$tmp/bin:/usr/local/bin:ro" "$image" stub_server 127.0.0.1:8000 >/dev/null

"$build/tests/fakes/stub_server" "unix:$tmp/stub" >/dev/null & stub=$!
"$build/airlock-bridge" --listen 127.0.0.1:0 --container "$name" 2>"$tmp/log" & bridge=$!
until grep -q 'is ready' "$tmp/log"; do sleep 0.1; done
at=$(sed -n 's/.*listening on \([^ ]*\).*/\1/p' "$tmp/log")

ask() { "$build/tests/bench/bench_bridge" "$@"; }
starts() { curl -s "http://$at/metrics" | awk '/^airlock_bridge_channel_starts_total/ { print $2 }'; }

# Milliseconds of each of $1 messages, $2 of them at a time.
original() {
    i=0
    pids=''
    while [ $i -lt "$2" ]; do
        i=$((i + 1))
        k=0
        while [ $k -lt "$1" ]; do
            k=$((k + 1))
            began=$(date +%s%N)
            printf '{"model":"echo","messages":[{"role":"user","content":"how are you?"}]}' |
                docker exec -i "$name" python3 /usr/local/bin/exec_client.py >/dev/null
            echo $(($(date +%s%N) - began))
        done >"$tmp/original.$i" &
        pids="$pids $!"
    done
    # shellcheck disable=SC2086 # a list of numbers
    wait $pids
    sort -n "$tmp"/original.* | awk '{ t[NR] = $1 / 1000 } END { printf "%.0f %.0f\n", t[int((NR + 1) / 2)], t[NR] }'
    rm -f "$tmp"/original.*
}

echo "machine: $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), Docker $(docker version -f '{{.Server.Version}}')"
for callers in 1 8 64; do
    each=$((requests / callers > 20 ? requests / callers : 20))
    ask "$at" "$callers" 2 sleep:2000 >/dev/null # opens the channels
    before=$(starts)
    ask "unix:$tmp/stub" "$callers" "$each" >"$tmp/direct"
    ask "$at" "$callers" "$each" >"$tmp/bridged"
    after=$(starts)
    if [ "$callers" = 64 ]; then slow=$(original 1 64); else slow=$(original 5 "$callers"); fi
    echo "$callers $(cut -d' ' -f3- "$tmp/direct") $(cut -d' ' -f3- "$tmp/bridged") $slow $((after - before))"
done | awk '{
    printf "%d callers: bridge p50 %d us p99 %d us %d/s; stub alone p50 %d us p99 %d us; added p50 %d us p99 %d us; new processes %d; exec for each message p50 %d us: %.0f times the bridge\n", \
        $1, $6, $7, $9, $2, $3, $6 - $2, $7 - $3, $12, $10, $10 / $6
}'
