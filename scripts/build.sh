#!/usr/bin/env bash
# Installs what the build needs and puts wal-service, branch-service and argon into build/PRESET/bin.
#
#   scripts/build.sh [PRESET]      (release unless given; dev, asan)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

preset=${1:-release}
case $preset in
  -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
  release | dev | asan) ;;
  *) die "unknown preset '$preset': release, dev or asan" ;;
esac
install_packages build
build "$preset" wal-service branch-service argon
say "programs: $(cd "$root/build/$preset/bin" && ls -d "$PWD"/* | tr '\n' ' ')"
