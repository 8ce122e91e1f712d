#!/usr/bin/env bash
# Runs the integration tests: real processes over real sockets. Arguments go to pytest.
#   ARGON_BIN   folder with wal-service, branch-service, argon (build/release/bin unless set)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export ARGON_BIN=${ARGON_BIN:-$root/build/release/bin}
generated=$root/build/python
mkdir -p "$generated"
protoc --proto_path="$root/proto" --python_out="$generated" argon/wal/v1/wal.proto argon/branch/v1/branch.proto
# as a top-level module: a package `grpc` of ours would hide the library's
protoc --proto_path="$root/proto/grpc/health/v1" --python_out="$generated" health.proto
protoc --proto_path="$root/proto/grpc/reflection/v1" --python_out="$generated" reflection.proto
export PYTHONPATH=$generated:$here PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
cd "$here"
exec /usr/bin/python3 -m pytest -q -p no:cacheprovider --durations=8 "$@"
