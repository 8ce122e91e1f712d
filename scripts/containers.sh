# Sourced by what builds and runs images: which engine there is, Docker or podman, and how podman works where there is no systemd.
#
#   $engine                  docker or podman
#   engine_build ARGS...     docker build, or the same with podman

if docker info >/dev/null 2>&1; then
  engine=docker
else
  engine=podman
  install_packages containers
  if [ ! -d /run/systemd/system ]; then
    export CONTAINERS_CONF=$root/tests/containers/containers.conf
  fi
fi

engine_build() {
  if [ $engine = docker ]; then
    DOCKER_BUILDKIT=1 docker build "$@"
  else # docker: an image of OCI's format has no health check
    podman build --format docker --network host --layers "$@"
  fi
}

# The base image, where no registry can be reached: Debian's packages are what it is made of anyway.
need_base_image() {
  local base=docker.io/library/debian:bookworm-slim
  $engine image inspect $base >/dev/null 2>&1 && return
  $engine pull -q $base >/dev/null 2>&1 && return
  say "no registry has $base for us: making it from Debian's packages"
  install_packages containers
  mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm - | $engine import - $base
}
