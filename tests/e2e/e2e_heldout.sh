#!/bin/sh
# e2e_heldout.sh - the demo model and its adapters answer 95 % of each kind of held-out question through the bridge.
set -eu
. tests/e2e/lib.sh

python3 tests/e2e/heldout.py || fail "fewer than 95 % of a kind of held-out question are answered right"
