#!/usr/bin/env bash
# Fuzzes one target, beginning with what is in its corpus. Says how many runs that were; of a finding, all that libFuzzer says and
# the input, in base64.
#   tests/fuzz/run.sh TARGET [SECONDS]     tests/fuzz/run.sh fuzz_filter 1800
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=$1 seconds=${2:-5}
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
cd "$found"
mkdir new
if ! "$root/build/fuzz/tests/$target" -max_total_time="$seconds" new "$root/tests/fuzz/corpus/$target" >report 2>&1; then
  grep -v 'REDUCE\|NEW\|pulse' report
  for input in crash-* leak-* oom-* timeout-*; do [ ! -f "$input" ] || { echo "$input:"; base64 "$input"; }; done
  exit 1
fi
echo "$target: $(tail -n 1 report)"
