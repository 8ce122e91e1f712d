#!/usr/bin/env bash
# Builds the images argon/wal-service, argon/branch-service and argon/argon from the Dockerfile, with Docker or podman,
# and prints how large they are.
#
#   scripts/build-images.sh          $ARGON_IMAGE_TAG is the tag; unless set, the version of the project
set -euo pipefail
. "$(dirname "$0")/lib.sh"
case ${1:-} in
  -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  '') ;;
  *) die "unknown argument '$1'" ;;
esac
. "$root/scripts/containers.sh"

version=$(sed -n 's/^project(argon VERSION \([0-9.]*\) .*/\1/p' "$root/CMakeLists.txt")
tag=${ARGON_IMAGE_TAG:-$version}
revision=$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)

need_base_image
for target in wal-service branch-service argon; do
  say "image argon/$target:$tag, with $engine"
  engine_build --target "$target" --label "org.opencontainers.image.revision=$revision" -t "docker.io/argon/$target:$tag" "$root"
done
say "sizes"
for target in wal-service branch-service argon; do
  printf '%s %s MiB\n' "argon/$target:$tag" "$(($($engine image inspect -f "{{.Size}}" "docker.io/argon/$target:$tag") / 1048576))"
done
