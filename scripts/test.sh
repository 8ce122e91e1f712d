#!/usr/bin/env bash
# Installs what the tests need, builds with sanitizers and as released, and runs all tests.
#
#   scripts/test.sh            everything but what is below
#   scripts/test.sh unit       unit tests and source checks only
#   scripts/test.sh nightly    the images and docker-compose.yml, and a real Kubernetes, which has to be compiled first
set -euo pipefail
. "$(dirname "$0")/lib.sh"

what=${1:-all}
case $what in
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  all | unit) ;;
  nightly)
    "$root/tests/containers/compose.sh"
    exec "$root/scripts/test-kubernetes.sh"
    ;;
  *) die "unknown argument '$what'" ;;
esac
install_packages build run test

say "source checks: layers, headers, formatting"
"$root/scripts/check-source.sh"

say "a MongoDB server for the tests: $("$root/scripts/mongodb-for-tests.sh" install)"

build asan
say "unit tests under AddressSanitizer and UndefinedBehaviorSanitizer"
ctest --test-dir "$root/build/asan" --output-on-failure -j 2
[ "$what" = all ] || exit 0

concurrent='^test_(wal.*|tree|log_store|segment_.*|rpc.*|metrics|view_cache|append_queue)$'
mapfile -t tests < <(cd "$root/tests/unit" && basename -s .c test_*.c | grep -E "$concurrent")
build tsan "${tests[@]}"
say "unit tests of what is concurrent, under ThreadSanitizer"
TSAN_OPTIONS="ignore_noninstrumented_modules=1" ctest --test-dir "$root/build/tsan" --output-on-failure -j 2 -R "$concurrent"

build fuzz fuzz_targets
say "each fuzz target for ${FUZZ_SECONDS:-5} seconds, behind its corpus"
ls "$root/tests/fuzz/corpus" | xargs -P 2 -I{} "$root/tests/fuzz/run.sh" {} "${FUZZ_SECONDS:-5}"

build release wal-service/all branch-service/all cli/all client/all bench/all
if grep -l ARGON_TEST_MIGRATION "$root"/build/release/bin/*-service "$root/build/release/bin/argon"; then die "what is released does what is for tests alone"; fi
say "integration tests, real processes built with sanitizers"
# four files at a time: much of their time is waiting for what waits in earnest; those of scale measure memory, and go as released
ARGON_BIN=$root/build/asan/bin "$root/tests/integration/run.sh" -m "not scale" -n 4 --dist loadfile
say "integration tests, as released"
ARGON_BIN=$root/build/release/bin "$root/tests/integration/run.sh" -m "scale" -n 2 --dist loadfile
say "manifests, and the checker of what clients of a cluster saw"
ARGON_BIN=$root/build/release/bin PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -p no:cacheprovider "$root/tests/kubernetes"
say "clients in Python, Node, Go and C, and grpcurl: every RPC"
"$root/tests/clients/run.sh" release
say "benchmarks: do they run"
"$root/bench/run.sh" --quick
say "quickstart, as a stranger would run it"
"$root/tests/integration/quickstart.sh"
