#!/usr/bin/env bash
# The quickstart, twice over, on ports of its own, from a fresh clone of the commit that is tested. The second run
# meets the first one's services and data, and programs that have been built again since.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
clone=$(mktemp -d)
export ARGON_QUICKSTART_WAL_PORT=17700 ARGON_QUICKSTART_BRANCH_PORT=17800
finish() {
  "$clone/argon/scripts/quickstart.sh" --stop || true
  rm -rf "$clone"
}
trap finish EXIT
git clone -q "$root" "$clone/argon"
cd "$clone/argon"
./scripts/quickstart.sh
rm build/release/bin/wal-service build/release/bin/branch-service
./scripts/build.sh
./scripts/quickstart.sh >"$clone/second.txt"
grep -q 'nothing is missing' "$clone/second.txt"
grep -q "deleting it first" "$clone/second.txt"
# what it says to try next
sed -n '/^Try next/,/^Stop with/s/^  //p' "$clone/second.txt" >"$clone/next.sh"
grep -q 'docs find' "$clone/next.sh"
ARGON_ENDPOINT=127.0.0.1:17800 bash -eux "$clone/next.sh"
echo "the quickstart passes, twice"
