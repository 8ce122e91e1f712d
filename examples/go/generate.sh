#!/usr/bin/env bash
# Generates branchpb/ and walpb/ beside this file from Argon's proto folder, with protoc and the two Go generators on PATH.
set -euo pipefail
cd "$(dirname "$0")"
for name in branch wal; do
  mkdir -p "${name}pb"
  file=argon/$name/v1/$name.proto
  protoc --proto_path="$1" --go_out="${name}pb" --go_opt=paths=source_relative --go_opt="M$file=argon.example/${name}pb" \
    --go-grpc_out="${name}pb" --go-grpc_opt=paths=source_relative --go-grpc_opt="M$file=argon.example/${name}pb" "$file"
  mv "${name}pb/argon/$name/v1/"*.go "${name}pb/"
done
