#!/usr/bin/env bash
# docker-compose.yml as a user has it: builds the images, starts the services, and runs the main job from the host against both branch
# services; kills, stops and removes containers, and looks what is left. Works with Docker, and with podman where there is none.
#
#   tests/containers/compose.sh
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"
. "$root/scripts/main-job.sh"
install_packages build run containers
. "$root/scripts/containers.sh"
bin=$root/build/release/bin
state=$(mktemp -d)
compose() {
  docker-compose --project-name argon-test --file "$root/docker-compose.yml" --file "$root/tests/containers/stand-ins.yml" \
    --profile mongodb --profile prometheus "$@"
}
container() { compose ps -q "$1"; }
await() { # WHAT COMMAND...
  local what=$1
  shift
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  die "never: $what"
}

build release argon
"$root/scripts/build-images.sh" # before podman answers on a socket as if it were Docker

if [ $engine = podman ]; then
  podman system service --time 0 "unix://$state/podman.sock" >"$state/podman.log" 2>&1 &
  podman_service=$!
  export DOCKER_HOST=unix://$state/podman.sock
  await "podman's socket" test -S "$state/podman.sock"
fi
finish() {
  if [ $? != 0 ]; then compose logs --tail 20 || true; fi
  compose down --volumes --timeout 20 || true
  if [ $engine = podman ]; then kill $podman_service; fi
  rm -rf "$state"
}
trap finish EXIT

is_healthy() { # podman asks only when it is told to; Docker does by itself
  if [ $engine = podman ]; then
    podman healthcheck run "$(container "$1")"
  else
    [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]
  fi
}

"$root/scripts/mongodb-for-tests.sh" install-secantusdb
for target in mongodb prometheus; do
  engine_build -q --target $target -f "$root/tests/containers/stand-ins.Dockerfile" -t docker.io/argon-test/$target:1.0.0 "$root/build/secantusdb"
done
say "up"
compose up -d --no-build
for service in wal branch-1 branch-2 branch-mongodb; do await "$service is healthy" is_healthy $service; done

say "who runs, and what it can write"
for service in wal branch-1; do
  id=$(container $service)
  expect "the user of $service" 65532 "$($engine exec "$id" id -u)"
  $engine exec "$id" sh -c 'echo >/usr/local/bin/x' 2>"$state/read-only.txt" && die "$service can write to its programs"
  grep 'Read-only' "$state/read-only.txt"
done

export ARGON_ENDPOINT=127.0.0.1:7800,127.0.0.1:7801
(
  main_job

  say "kill -9 of the log's container"
  $engine kill --signal KILL "$(container wal)" >/dev/null
  compose up -d --no-build wal
  main_job_holds

  say "branch services come and go; SIGTERM is obeyed"
  for service in branch-1 branch-2; do
    compose stop --timeout 20 $service
    expect "the exit status of $service" 0 "$($engine inspect -f '{{.State.ExitCode}}' "$(compose ps -a -q $service)")"
    argon docs count -p world -b what-if countries
    compose up -d --no-build $service
    await "$service is healthy" is_healthy $service
  done

  say "the volume outlives the containers"
  compose down --timeout 20
  compose up -d --no-build
  main_job_holds
)

say "profile mongodb: a traditional branch, whose documents are in MongoDB"
(
  export ARGON_ENDPOINT=127.0.0.1:7802
  argon projects create shop
  argon branches create sale -p shop --traditional | tee "$state/sale.txt"
  grep -q 'Created traditional branch sale' "$state/sale.txt"
  argon docs insert -p shop -b sale items '{"_id":"tea","price":3}'
  expect "what is found in MongoDB" '{"_id":"tea","price":3}' "$(argon docs find -p shop -b sale items)"
)

say "profile prometheus: it is told by all services"
up() { curl -sf 'http://127.0.0.1:9090/api/v1/query?query=sum(up)' | jq -e '.data.result[0].value[1] == "3"'; }
await "three services that are up" up
curl -sf http://127.0.0.1:9090/api/v1/rules | jq -r '"\([.data.groups[].rules[]] | length) alerts are loaded"'

say "SIGTERM ends the log, too"
compose stop --timeout 20 wal
expect "the exit status of wal" 0 "$($engine inspect -f '{{.State.ExitCode}}' "$(compose ps -a -q wal)")"
say "compose: everything holds"
