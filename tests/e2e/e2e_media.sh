#!/bin/sh
# e2e_media.sh - the openai package sends recordings and pictures through a bridge, a relay and a server with a tiny random Phi-4-multimodal model.
set -eu
. tests/e2e/lib.sh

venv=$AIRLOCK_BUILD/clients # made by e2e_clients.sh, which runs first
[ -x "$venv/bin/python" ] || fail "the client packages are not installed: run e2e_clients.sh"
top_builddir=$AIRLOCK_BUILD top_srcdir=$PWD
. tests/media_stack.sh
# shellcheck disable=SC2119 # no options for the bridge
stack_up
AIRLOCK_URL=$url "$venv/bin/python" tests/e2e/clients/openai_media.py || { cat "$work"/*.log >&2; exit 1; }
