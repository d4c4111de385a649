#!/bin/sh
# e2e_demo_mm.sh - the multimodal demo names what is in pictures and recordings it never saw, through the bridge.
set -eu
. tests/e2e/lib.sh

python3 tests/e2e/demo_mm.py || fail "too few of a kind of held-out question are answered right"
