#!/bin/sh
# run_all.sh - the end-to-end tests against what ./quickstart started; each script is one test.
#
# environment: AIRLOCK_RUNTIME docker|podman|sandbox (default: what build/run/runtime says),
#              AIRLOCK_PORT of the bridge (8000), AIRLOCK_BUILD build folder (build)
set -u
cd "$(dirname "$0")/../.." || exit 1
AIRLOCK_RUNTIME=${AIRLOCK_RUNTIME:-$(cat build/run/runtime)}
AIRLOCK_PORT=${AIRLOCK_PORT:-8000}
AIRLOCK_BUILD=${AIRLOCK_BUILD:-$PWD/build}
AIRLOCK_NAME=phi
export AIRLOCK_RUNTIME AIRLOCK_PORT AIRLOCK_BUILD AIRLOCK_NAME
good=0 bad=0
for t in tests/e2e/e2e_*; do
    begin=$(date +%s)
    if "$t"; then
        good=$((good + 1))
        echo "ok $t ($(($(date +%s) - begin)) s)"
    else
        bad=$((bad + 1))
        echo "FAIL $t"
    fi
done
echo "$good passed, $bad failed"
[ $bad = 0 ]
