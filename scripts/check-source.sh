#!/usr/bin/env bash
# What the compiler does not check: layers look down only, gRPC is seen by common/rpc alone and the MongoDB
# driver by the folders named mongo, generated types stop at the RPC files, each header compiles alone, the code is formatted, files stay readable.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

failed=0
complain() { echo "$1"; failed=1; }

mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.c' '*.h')

# layer RANK of a file; a file includes files of its own folder or of a lower rank only
rank() {
  case $1 in
    common/base/*) echo 10 ;;
    common/yaml/*) echo 15 ;;
    common/bson/*) echo 20 ;;
    common/mongo/*) echo 25 ;;
    common/rpc/*) echo 30 ;;
    common/service/*) echo 35 ;;
    wal-service/wal_counters.*) echo 20 ;;
    branch-service/branch_counters.* | branch-service/reasons.h) echo 20 ;;
    wal-service/store/*) echo 20 ;;
    wal-service/wal_rpc* | wal-service/main.c) echo 60 ;;
    wal-service/*) echo 40 ;;
    branch-service/query/*) echo 30 ;;
    branch-service/mongo/*) echo 30 ;;
    branch-service/view/tree*) echo 20 ;;
    branch-service/log/log_source.h) echo 35 ;;
    branch-service/log/*) echo 36 ;;
    branch-service/catalog/*) echo 40 ;;
    branch-service/view/*) echo 45 ;;
    branch-service/project/*) echo 46 ;;
    branch-service/write/*) echo 47 ;;
    branch-service/rpc/* | branch-service/main.c) echo 60 ;;
    branch-service/*) echo 50 ;;
    cli/*) echo 60 ;;
    client/*) echo 60 ;;
    include/*) echo 10 ;;
    proto/*) echo 40 ;;
    *) echo 100 ;;
  esac
}

# services and the CLI do not see each other
side() {
  case $1 in
    wal-service/*) echo wal ;;
    branch-service/*) echo branch ;;
    cli/*) echo cli ;;
    client/* | include/*) echo client ;;
    *) echo common ;;
  esac
}

for file in "${files[@]}"; do
  case $file in tests/* | bench/* | examples/*) continue ;; esac
  own=$(rank "$file") own_side=$(side "$file")
  while read -r included; do
    [ -f "$included" ] || continue
    other_side=$(side "$included")
    [ "$(rank "$included")" -le "$own" ] || complain "$file (layer $own) includes $included (layer $(rank "$included")), which lies above it"
    [ "$other_side" = common ] || [ "$other_side" = "$own_side" ] || complain "$file includes $included of another program"
  done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
  case $file in
    common/rpc/*) ;;
    *) if grep -q '#include <grpc/' "$file"; then complain "$file includes gRPC headers; only common/rpc may"; fi ;;
  esac
  case $file in
    */mongo/*) ;;
    *) if grep -q '#include <mongoc' "$file"; then complain "$file includes the MongoDB driver; only folders named mongo may"; fi ;;
  esac
  case $file in
    *_rpc.[ch] | wal-service/wal_rpc* | branch-service/rpc/* | branch-service/log/rpc_log_* | common/rpc/* | cli/* | client/*) ;;
    *) if grep -q 'pb-c\.h' "$file"; then complain "$file includes generated types; only RPC files may"; fi ;;
  esac
done

flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -I. $(pkg-config --cflags libbson-1.0 libmongoc-1.0 libprotobuf-c)"
generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
for proto in argon/wal/v1/wal argon/branch/v1/branch grpc/health/v1/health grpc/reflection/v1/reflection; do
  protoc-c --proto_path=proto --c_out="$generated" "$proto.proto"
done
for file in "${files[@]}"; do
  case $file in
    *.h) # shellcheck disable=SC2086
      cc $flags -I"$generated" -fsyntax-only -x c "$file" || complain "$file does not compile alone" ;;
  esac
done

# what programs include is C++, too
printf '%s\n' '#include "include/argon/argon.h"' 'argon_document document = ARGON_JSON("{}"), bytes = ARGON_BSON("", 0);' |
  c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -I. -fsyntax-only -x c++ - || complain "include/argon/argon.h is no C++"

clang-format --dry-run --Werror "${files[@]}" || complain "run: clang-format -i on the files above"

for file in "${files[@]}"; do
  case $file in tests/*) continue ;; esac
  lines=$(wc -l <"$file")
  [ "$lines" -le 700 ] || complain "$file has $lines lines; 700 are the limit"
done

[ $failed = 0 ] && echo "${#files[@]} files are in order"
exit $failed
