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
./scripts/quickstart.sh >"$clone/second.txt"
grep -q 'nothing is missing' "$clone/second.txt"
grep -q "deleting it first" "$clone/second.txt"
ARGON_ENDPOINT=127.0.0.1:17800 build/release/bin/argon docs count -p world -b what-if languages
echo "the quickstart passes, twice"
