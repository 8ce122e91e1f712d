#!/usr/bin/env bash
# From nothing to branches of real data: installs what is needed, builds, starts both services on the embedded
# log, and runs the main job. Leaves the services running.
#
#   scripts/quickstart.sh          all of it; run it again at any time
#   scripts/quickstart.sh --stop   stop the services (the data stays in .quickstart/data)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$root/scripts/main-job.sh"

state=$root/.quickstart
bin=$root/build/release/bin
wal_address=127.0.0.1:${ARGON_QUICKSTART_WAL_PORT:-7700}
branch_address=127.0.0.1:${ARGON_QUICKSTART_BRANCH_PORT:-7800}
export ARGON_ENDPOINT=$branch_address

pid_of() { # the process of a service that this script started, if it still runs
  local pid program
  pid=$(cat "$state/$1.pid" 2>/dev/null) || return 1
  program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  # it may have been built again since it was started
  [ "${program% (deleted)}" = "$bin/$1" ] && echo "$pid"
}

await_end() { # PID: waits until the process is gone
  while kill -0 "$1" 2>/dev/null; do sleep 0.02; done
}

stop_service() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill -TERM "$pid"
  await_end "$pid"
  rm -f "$state/$1.pid"
  echo "stopped $1 ($pid)"
}

start_service() { # NAME ARGUMENTS...: returns when it listens
  local name=$1
  shift
  rm -f "$state/$name.port"
  "$bin/$name" "$@" --port-file "$state/$name.port" >>"$state/$name.log" 2>&1 &
  local pid=$!
  disown $pid # it outlives this script, and bash need not say how it ended
  echo $pid >"$state/$name.pid"
  for _ in $(seq 200); do
    [ -s "$state/$name.port" ] && return 0
    kill -0 $pid 2>/dev/null || { tail -n 3 "$state/$name.log" >&2; die "$name did not start (is its port taken?); see $state/$name.log"; }
    sleep 0.05
  done
  die "$name is not listening after 10 s; see $state/$name.log"
}

start_wal() { start_service wal-service --listen "$wal_address" --data "$state/data"; }

case ${1:-} in
  --stop) stop_service branch-service; stop_service wal-service; exit 0 ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  '') ;;
  *) die "unknown argument '$1' (see --help)" ;;
esac

install_packages build run
build release wal-service branch-service argon

say "starting wal-service on $wal_address and branch-service on $branch_address (data and logs in .quickstart/)"
mkdir -p "$state"
stop_service branch-service
stop_service wal-service
start_wal
start_service branch-service --listen "$branch_address" --wal "$wal_address"

main_job

say "kill -9 of the WAL service, and a new start on the same directory"
pid=$(pid_of wal-service)
kill -KILL "$pid"
await_end "$pid"
start_wal
grep -h '"wal.started"' "$state/wal-service.log" | tail -n 1
main_job_holds

say "ready: both services are running"
cat <<END
Try next (the endpoint is the default):
  export PATH=$bin:\$PATH
  argon branches list -p world --show-type
  argon docs find -p world -b what-if subdivisions '{"type":"Canton"}' --limit 5
  argon branches create older -p world --from what-if --at-lsn $before
  argon docs update -p world -b older countries '{"_id":"FR"}' '{"\$inc":{"visits":1}}'
  argon export -p world -b what-if -c countries countries.ndjson
  argon --help
Stop with: scripts/quickstart.sh --stop
END
