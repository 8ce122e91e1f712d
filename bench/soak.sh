#!/usr/bin/env bash
# Does memory stay flat? Both services under load, beside readers that stopped reading and idle connections; one JSON line.
#
#   bench/soak.sh            SOAK_SECONDS (600), SOAK_RATE (1000 calls a second), BENCH_DIRECTORY (/var/tmp), SOAK_SAMPLES (a file)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cmake -S "$root" --preset release >/dev/null
cmake --build "$root/build/release" --target wal-service branch-service bench_docs bench_heap_probe -- --quiet
generated=$root/build/python
mkdir -p "$generated"
protoc --proto_path="$root/proto" --python_out="$generated" argon/wal/v1/wal.proto argon/branch/v1/branch.proto
export ARGON_BIN=$root/build/release/bin PYTHONPATH=$generated:$root/tests/integration PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$root/bench/soak.py"
