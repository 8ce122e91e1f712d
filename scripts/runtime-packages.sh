#!/usr/bin/env bash
# Prints the Debian packages whose libraries a program is linked with, one a line: what its image needs.
#
#   scripts/runtime-packages.sh PROGRAM
set -euo pipefail
[ $# = 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
objdump -p "$1" | awk '$1 == "NEEDED" { print $2 }' | while read -r library; do
  # the folder: other packages may have one of this name in a place of their own
  dpkg-query -S "/*lib/$(gcc -print-multiarch)/$library" | cut -d: -f1
done | sort -u
