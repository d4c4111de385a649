#!/bin/sh
# e2e_isolation.sh - from inside the container there is lo and nothing else: no route, no way to connect, no write, no root.
# shellcheck disable=SC2016 # expanded inside the container
set -eu
. tests/e2e/lib.sh

[ "$(inside cat /proc/net/dev | sed -n 's/^ *\([^ :]*\):.*/\1/p')" = lo ] || fail "an interface other than lo"
[ "$(inside cat /proc/net/route | wc -l)" -le 1 ] || fail "there is a route"
reach='exec 3<>/dev/tcp/192.0.2.1/80'
if inside bash -c "$reach" 2>/dev/null; then fail "a connection left the container"; fi
[ "$(inside id -u)" != 0 ] || fail "root inside"
if inside sh -c 'echo x >/usr/local/bin/x' 2>/dev/null; then fail "the root is writable"; fi
if inside sh -c 'echo x >/models/x' 2>/dev/null; then fail "the models are writable"; fi
server=$(inside sh -c 'for p in /proc/[0-9]*; do read -r n <$p/comm && [ "$n" = airlock-server ] && cat $p/status; done; :')
echo "$server" | grep -q '^NoNewPrivs:.*1' || fail "the server may gain privileges"
echo "$server" | grep -q '^CapEff:.*0000000000000000' || fail "the server has capabilities"
# Negative control: the same attempt to connect does reach a listener on the container's own loopback.
inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/8000' || fail "the probe itself does not work"
