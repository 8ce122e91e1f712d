#!/usr/bin/env bash
# Clients of other makes against both services: a Python, a Node and a Go program and grpcurl drive every RPC, and the
# examples run. Needs the programs in build/PRESET/bin.
#
#   tests/clients/run.sh [PRESET]      (release unless given)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
preset=${1:-release}
bin=$root/build/$preset/bin
here=$root/tests/clients
install_packages clients
command -v go >/dev/null || install_packages go
command -v npm >/dev/null || install_packages node
work=$root/build/clients # generated code, modules and programs: kept, so that the next run is quick
mkdir -p "$work"

# ---- services on a directory of their own ----
state=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$state"
}
trap cleanup EXIT
start() { # NAME ARGUMENTS...: sets `address`
  local name=$1
  shift
  "$bin/$name" --listen 127.0.0.1:0 --port-file "$state/$name.port" "$@" >"$state/$name.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 200); do
    [ -s "$state/$name.port" ] && { address=127.0.0.1:$(cat "$state/$name.port"); return; }
    kill -0 ${pids[-1]} || { cat "$state/$name.log"; die "$name did not start"; }
    sleep 0.05
  done
  die "$name is not listening after 10 s"
}
start wal-service --data "$state/data"
wal=$address
start branch-service --wal "$wal"
branch=$address
export ARGON_ENDPOINT=$branch

# ---- Python: grpcio, generated code ----
say "Python (grpcio)"
python=$work/python
mkdir -p "$python"
protoc --proto_path="$root/proto" --python_out="$python" --grpc_python_out="$python" \
  --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" argon/wal/v1/wal.proto argon/branch/v1/branch.proto
PYTHONPATH=$python /usr/bin/python3 "$here/python/every_rpc.py" "$here/calls.json" "$wal" "$branch"
PYTHONPATH=$python /usr/bin/python3 "$root/examples/python/example.py" 

# ---- Node: @grpc/grpc-js, proto files read at run time ----
say "Node (@grpc/grpc-js)"
node=$work/node
mkdir -p "$node"
cp "$root/examples/node/package.json" "$node/"
(cd "$node" && npm install --no-audit --no-fund --silent)
cp "$here/node/every_rpc.mjs" "$root/examples/node/example.mjs" "$node/"
node "$node/every_rpc.mjs" "$here/calls.json" "$wal" "$branch" "$root/proto"
node "$node/example.mjs" "$root/proto"

# ---- Go: generated code, by generators of the versions that go.mod names ----
say "Go (google.golang.org/grpc)"
go=$work/go
rm -rf "$go"
cp -r "$root/examples/go" "$go"
mkdir -p "$go/everyrpc"
cp "$here/go/main.go" "$go/everyrpc/"
export GOFLAGS=-mod=mod GOBIN=$work/bin PATH=$work/bin:$PATH
(cd "$go" && go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
"$go/generate.sh" "$root/proto"
(cd "$go" && go build -o "$work/bin/every-rpc-go" ./everyrpc && go build -o "$work/bin/example-go" .)
"$work/bin/every-rpc-go" "$here/calls.json" "$wal" "$branch"
"$work/bin/example-go"

# ---- C: the shared library ----
say "C (libargon)"
"$bin/example-c"

# ---- grpcurl: knows the services by reflection alone ----
say "grpcurl (server reflection)"
[ -x "$work/bin/grpcurl" ] || (cd "$work" && go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.8.7)
/usr/bin/python3 "$here/every_rpc_grpcurl.py" "$work/bin/grpcurl" "$here/calls.json" "$wal" "$branch"
# as README has it
grpcurl -plaintext "$branch" list
"$bin/argon" projects create shop
"$bin/argon" docs insert -p shop items '{"_id":"tea"}'
grpcurl -plaintext -d '{"target":{"project":"shop","branch":"main","collection":"items"}}' "$branch" argon.branch.v1.Documents/Find
