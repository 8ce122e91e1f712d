#!/usr/bin/env bash
# From nothing to branches of real data: installs what is needed, builds, starts both services on the embedded
# log, and runs the main job. Leaves the services running.
#
#   scripts/quickstart.sh          all of it; run it again at any time
#   scripts/quickstart.sh --stop   stop the services (the data stays in .quickstart/data)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

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

# show COMMAND...: prints the command as a reader would type it, then runs it
show() {
  local word
  printf '\n$ argon'
  for word in "$@"; do
    case $word in *[^a-zA-Z0-9_./:=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  echo
  "$bin/argon" "$@"
}
argon() { "$bin/argon" "$@"; }

expect() { # WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || die "$1: expected '$2' and found '$3'"
}

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

say "importing what Debian knows of the world (package iso-codes) into project 'world'"
if argon projects get world >/dev/null 2>&1; then
  echo "project 'world' is there from an earlier run: deleting it first"
  argon projects delete world --yes
fi
show projects create world
iso=/usr/share/iso-codes/json
jq -c '."639-3"[] | {_id: .alpha_3} + del(.alpha_3)' $iso/iso_639-3.json >"$state/languages.ndjson"
jq -c '."3166-1"[] | {_id: .alpha_2} + del(.alpha_2)' $iso/iso_3166-1.json >"$state/countries.ndjson"
jq -c '."3166-2"[] | {_id: .code} + del(.code)' $iso/iso_3166-2.json >"$state/subdivisions.ndjson"
cd "$state"
show import languages.ndjson -p world -b main -c languages
show import countries.ndjson -p world -b main -c countries
show import subdivisions.ndjson -p world -b main -c subdivisions
show collections list -p world -b main

languages=$(argon docs count -p world languages -o json | jq .count)
expect "languages imported" "$(wc -l <"$state/languages.ndjson")" "$languages"

say "a branch: created in about a millisecond, whatever the size of the data"
show branches create what-if -p world
before=$(argon branches get what-if -p world -o json | jq .head_lsn)

say "the branch diverges; main does not notice"
show docs update -p world -b what-if countries '{"_id":"CH"}' '{"$set":{"name":"Helvetia","population":{"$numberLong":"8700000"}}}'
show docs delete -p world -b what-if languages '{"scope":"S"}' --many
show docs insert -p world -b what-if countries '{"_id":"XA","name":"Atlantis"}'
show docs find -p world -b what-if countries '{"_id":"CH"}'
show docs find -p world -b main countries '{"_id":"CH"}'

say "the past of the branch: what it was at LSN $before, before the changes"
show docs find -p world -b what-if countries '{"_id":"CH"}' --at-lsn "$before"
show docs count -p world -b what-if languages
show docs count -p world -b what-if languages --at-lsn "$before"

checks() { # everything that must hold, as one text
  argon docs find -p world -b what-if countries '{"_id":"CH"}' -o ndjson
  argon docs find -p world -b main countries '{"_id":"CH"}' -o ndjson
  argon docs find -p world -b what-if countries '{"_id":"CH"}' --at-lsn "$before" -o ndjson
  for branch in main what-if; do
    for collection in languages countries subdivisions; do
      echo "$branch $collection $(argon docs count -p world -b $branch $collection -o json | jq .count)"
    done
  done
}
checks >"$state/before.txt"
expect "the changed name" Helvetia "$(head -n 1 "$state/before.txt" | jq -r .name)"
expect "main's name" Switzerland "$(sed -n 2p "$state/before.txt" | jq -r .name)"
expect "the past name" Switzerland "$(sed -n 3p "$state/before.txt" | jq -r .name)"

say "kill -9 of the WAL service, and a new start on the same directory"
pid=$(pid_of wal-service)
kill -KILL "$pid"
await_end "$pid"
start_wal
grep -h '"wal.started"' "$state/wal-service.log" | tail -n 1
checks >"$state/after.txt"
cmp "$state/before.txt" "$state/after.txt" || die "the data differs after the restart"
cat "$state/after.txt"
echo "nothing is missing"

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
