#!/usr/bin/env bash
# Measures this build on this machine: JSON lines into a file, tables on standard output. Under five minutes.
#
#   bench/run.sh [--quick | --write-docs] [FILE]
#
#   --quick        a smoke run of half a minute, with the soak test's first seconds: the figures mean nothing
#   --write-docs   puts the tables into docs/performance.md, between its markers
#   FILE           default build/release/bench.jsonl
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=5 cold=1000000 total=1000000 quick= write=
sizes="1000 10000 100000 1000000"
case ${1:-} in
  --quick) quick=1 seconds=0.5 cold=20000 total=50000 sizes="1000 20000"; shift ;;
  --write-docs) write=$root/docs/performance.md; shift ;;
esac
out=${1:-$root/build/release/bench.jsonl}

programs="wal-service branch-service bench_wal bench_docs bench_disk bench_echo bench_echo_server bench_query bench_pipeline bench_update bench_walk"
cmake -S "$root" --preset release >/dev/null
# shellcheck disable=SC2086
cmake --build "$root/build/release" --target $programs -- --quiet
bin=$root/build/release/bin
work=$(mktemp -d "${BENCH_DIRECTORY:-/var/tmp}/argon-bench.XXXXXX")
pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT

# start NAME PROGRAM ARGUMENTS...: sets $port and $pid
start() {
  local name=$1; shift
  rm -f "$work/$name.port"
  "$@" --listen 127.0.0.1:0 --port-file "$work/$name.port" >>"$work/$name.log" 2>&1 &
  pid=$!; pids+=("$pid")
  for _ in $(seq 200); do [ -s "$work/$name.port" ] && break; sleep 0.05; done
  port=$(cat "$work/$name.port")
}
# echo_server PORT [--sync FILE]: sets $pid
echo_server() {
  : >"$work/echo.log"
  "$bin/bench_echo_server" "$@" >"$work/echo.log" &
  pid=$!; pids+=("$pid")
  for _ in $(seq 200); do grep -q ready "$work/echo.log" && break; sleep 0.05; done
}
record() { "$@" | tee -a "$out"; }

: >"$out"
printf '{"bench":"machine","date":"%s","cpu":"%s","cores":%s,"memory_gib":%s,"kernel":"%s","disk":"%s","commit":"%s"}\n' "$(date -u +%FT%TZ)" \
  "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" "$(uname -r)" \
  "$(df --output=fstype,source "$work" | awk 'NR == 2 { print $1 " on " $2 }')" \
  "$(git -C "$root" rev-parse --short HEAD)" | tee -a "$out"

record "$bin/bench_disk" "$work" "$seconds"
record "$bin/bench_query" "$total"
record "$bin/bench_pipeline" "$total"
record "$bin/bench_update" "$(echo "$seconds" | awk '{ print $1 / 10 }')"
record "$bin/bench_walk" "$total"
# kind, port, seconds a line: unary calls and a stream of the same messages
unary_and_bidi() {
  for batches in 1 16 64; do
    for n in 1 16 64; do
      for what in unary bidi; do
        record "$bin/bench_echo" $what --target "127.0.0.1:$2" --name "$1" --in-flight $n --batches $batches --seconds "$3"
      done
    done
  done
}
for kind in echo echo_fdatasync; do
  if [ $kind = echo ]; then at=17791; echo_server $at; else at=17792; echo_server $at --sync "$work/echo.data"; fi
  for n in 1 64; do record "$bin/bench_wal" echo --target 127.0.0.1:$at --name $kind --in-flight $n --seconds "$seconds"; done
  unary_and_bidi $kind $at "$(echo "$seconds" | awk '{ print $1 / 5 }')"
  kill "$pid"
done

start wal "$bin/wal-service" --data "$work/log"
wal=127.0.0.1:$port
for n in 1 16 64; do record "$bin/bench_wal" append --target "$wal" --in-flight $n --seconds "$seconds"; done
for n in 10 100; do record "$bin/bench_wal" append --target "$wal" --in-flight 16 --entries $n --seconds "$seconds"; done
record "$bin/bench_wal" append --target "$wal" --in-flight 16 --batches 16 --seconds "$seconds"
record "$bin/bench_wal" append --target "$wal" --in-flight 256 --rate 2000 --seconds "$seconds"
record "$bin/bench_wal" read --target "$wal" --entries 1 --total "$((total / 5))"
record "$bin/bench_wal" read --target "$wal" --entries 100 --total "$total"

start branch "$bin/branch-service" --wal "$wal"
branch=127.0.0.1:$port branch_pid=$pid
for n in 1 64; do
  record "$bin/bench_docs" insert --target "$branch" --in-flight $n --documents 1000 --seconds "$seconds"
  record "$bin/bench_docs" find --target "$branch" --in-flight $n --seconds "$seconds"
  record "$bin/bench_docs" update --target "$branch" --in-flight $n --seconds "$seconds"
done
for what in insert find update; do
  record "$bin/bench_docs" $what --target "$branch" --in-flight 256 --rate 2000 --seconds "$seconds"
done
record "$bin/bench_docs" query --target "$branch" --documents 1000
for documents in $sizes; do record "$bin/bench_docs" branch --target "$branch" --documents "$documents"; done
project=$("$bin/bench_docs" fill --target "$branch" --documents "$cold")
kill "$branch_pid"; wait "$branch_pid" 2>/dev/null || true
start branch "$bin/branch-service" --wal "$wal"
record "$bin/bench_docs" cold --target "127.0.0.1:$port" --project "$project" --documents "$cold"
if [ -n "$quick" ]; then
  # does it run; the figures of eight seconds tell nothing
  SOAK_SECONDS=8 BENCH_DIRECTORY=$work "$root/bench/soak.sh" | tee -a "$out"
  "$root/bench/replicas.py" 0.3
  echo "(a smoke run: the figures mean nothing)"
fi
/usr/bin/env python3 "$root/bench/table.py" "$out" ${write:+--write "$write"}
