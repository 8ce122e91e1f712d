#!/usr/bin/env bash
# Writes docs/cli.md from the tables of the commands. tests/unit/test_cli.c compares the two.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
build dev argon
"$root/build/dev/bin/argon" help --markdown >"$root/docs/cli.md"
