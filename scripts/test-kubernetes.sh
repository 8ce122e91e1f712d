#!/usr/bin/env bash
# Argon on a real Kubernetes of one node (tests/kubernetes/onenode.sh): builds the cluster and the images, applies the embedded
# overlay, runs the main job, tries who reaches whom, lets the autoscaler scale, lets replicas come and go under load, and then takes the
# other overlays. Everything is in build/kubernetes.
#
#   scripts/test-kubernetes.sh          all of it; the first time Kubernetes is compiled, which takes many minutes
#   scripts/test-kubernetes.sh --keep   leaves the cluster running (tests/kubernetes/onenode.sh stop build/kubernetes)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$root/scripts/main-job.sh"

keep=
case ${1:-} in
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
  --keep) keep=1 ;;
  '') ;;
  *) die "unknown argument '$1'" ;;
esac

folder=$root/build/kubernetes
tests=$root/tests/kubernetes
bin=$root/build/release/bin
state=$folder/results
overlays=$root/deploy/kubernetes/overlays
export ARGON_ENDPOINT=dns:///argon-branch.argon.svc.cluster.local:7800

onenode() { "$tests/onenode.sh" "$@"; }
on_node() { onenode on-node "$folder" "$@"; }
kube() { onenode kubectl "$folder" "$@"; }
argon() { on_node env -C "$PWD" HOME=/run "$bin/argon" "$@"; }
phase() { # NAME: what is done from here on
  say "$1"
  printf '{"phase": "%s", "wall": %s}\n' "$1" "$(date +%s.%N)" >>"$state/phases.json"
}
load_image() {
  $engine save "docker.io/$1" -o "$state/image.tar"
  onenode load "$folder" "$state/image.tar" >/dev/null
  rm "$state/image.tar"
}
branch_pods() { # that are not on their way out
  kube -n argon get pods -l app.kubernetes.io/name=argon-branch -o json | jq -r '.items[].metadata | select(.deletionTimestamp == null) | .name'
}
no_pods() { [ -z "$(kube -n argon get pods -l "app.kubernetes.io/name=$1" -o name)" ]; }
only_pods() { [ "$(kube -n argon get pods -l app.kubernetes.io/name=argon-branch -o name | wc -l)" = "$1" ]; }
shares() {
  local addresses
  mapfile -t addresses < <(kube -n argon get pods -l app.kubernetes.io/name=argon-branch -o json |
    jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .status.podIP + ":9800"')
  on_node /usr/bin/python3 "$tests/share.py" "${addresses[@]}"
}
# pkill: processes of the node, which sees no others
kill_on_node() { on_node pkill "$@"; }
rolled_out() { kube -n argon rollout status "$1" --timeout=180s | tail -n 1; }
rest() { sleep "${REST_SECONDS:-8}"; } # load without a disturbance, to compare with
await() { # WHAT COMMAND...: until the command succeeds
  local what=$1
  shift
  for _ in $(seq 600); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  die "never: $what"
}

for file in policies autoscaler overlays; do . "$tests/$file.sh"; done

load=
start_load() { # HISTORY: clients that never rest, until stop_load
  : >"$state/load.txt"
  on_node env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$tests/load.py" "$ARGON_ENDPOINT" "$1" >>"$state/load.txt" 2>&1 &
  load=$!
  await "load" grep -q running "$state/load.txt"
}
stop_load() {
  kill_on_node -TERM -f "$tests/load.py"
  wait "$load"
  load=
}
finish() {
  status=$?
  if [ -n "$load" ]; then kill_on_node -TERM -f "$tests/load.py" || true; fi
  if [ $status != 0 ] && onenode kubectl "$folder" -n argon get pods -o wide 2>/dev/null; then
    kube -n argon get events --sort-by=.lastTimestamp | tail -n 20
  fi
  if [ -z "$keep" ]; then onenode stop "$folder"; fi
}

install_packages build run test containers kubernetes
command -v npm >/dev/null || install_packages node
build release argon
mkdir -p "$state"
rm -f "$state"/*.json "$state"/*.tar
mkdir -p "$root/build/python"
protoc --proto_path="$root/proto" --python_out="$root/build/python" argon/wal/v1/wal.proto argon/branch/v1/branch.proto
say "Kubernetes, compiled from its Go modules"
onenode build "$folder"
"$root/scripts/build-images.sh"

say "a node"
onenode stop "$folder"
trap finish EXIT
begun=$SECONDS
onenode start "$folder"
echo "Ready after $((SECONDS - begun)) s"
. "$root/scripts/containers.sh"
for image in wal-service branch-service argon; do load_image "argon/$image:0.1.0"; done
"$root/scripts/mongodb-for-tests.sh" install-secantusdb
engine_build -q --target mongodb -f "$tests/../containers/stand-ins.Dockerfile" -t docker.io/argon-test/mongodb:1.0.0 "$root/build/secantusdb"
load_image argon-test/mongodb:1.0.0
make_volume

say "the embedded overlay; the namespace takes nothing but pods of the restricted level"
kube apply --validate=strict -f "$overlays/embedded/namespace.yaml"
for overlay in mongodb dev; do
  kube apply --validate=strict --dry-run=server -k "$overlays/$overlay" >/dev/null
  echo "overlay $overlay: valid"
done
# the cluster has no Prometheus operator, whose schema is there all the same
npm install --silent --no-fund --no-audit --prefix "$folder/npm" @kubernetes-models/prometheus-operator@6.0.0
cp "$tests/service_monitor.mjs" "$folder/npm/"
/usr/bin/python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' <"$root/deploy/kubernetes/monitoring/service-monitor.yaml" |
  node "$folder/npm/service_monitor.mjs"
kube apply --validate=strict -k "$overlays/embedded"
rolled_out statefulset/argon-wal
rolled_out deployment/argon-branch
kube -n argon run root --image=docker.io/argon/argon:0.1.0 >"$state/refused.txt" 2>&1 && die "a pod that may be root was let in"
grep -o 'violates PodSecurity "restricted:latest"' "$state/refused.txt"

main_job
network_policies
autoscales

kube -n argon scale deployment/argon-branch --replicas=1
rolled_out deployment/argon-branch
: >"$state/phases.json"
start_load "$state/history.json"
phase "1 replica"
rest
phase "1 -> 4 replicas"
kube -n argon scale deployment/argon-branch --replicas=4
rolled_out deployment/argon-branch
shares
phase "4 replicas"
rest
phase "4 -> 2 replicas"
kube -n argon scale deployment/argon-branch --replicas=2
await "two replicas to go" only_pods 2
phase "2 replicas"
rest
phase "rolling restart of the branch service"
kube -n argon rollout restart deployment/argon-branch
rolled_out deployment/argon-branch
shares
phase "rolling restart of the WAL service"
kube -n argon rollout restart statefulset/argon-wal
rolled_out statefulset/argon-wal
phase "a branch pod is deleted"
kube -n argon delete pod --wait=false "$(branch_pods | head -n 1)"
rest
rolled_out deployment/argon-branch
phase "kill -9 of a branch service"
kill_on_node -KILL -o -x branch-service
rest
rolled_out deployment/argon-branch
phase "kill -9 of the WAL service"
kill_on_node -KILL -x wal-service
rest
rolled_out statefulset/argon-wal
phase "the WAL pod is deleted by force"
kube -n argon delete pod argon-wal-0 --grace-period=0 --force
rest
rolled_out statefulset/argon-wal
phase "the node is drained of branch services"
# one may go; its successor finds no node, so the other one has to stay
if kube drain node-1 --pod-selector=app.kubernetes.io/name=argon-branch --timeout=20s >"$state/drain.txt" 2>&1; then
  die "the budget let all replicas go"
fi
grep -q "violate the pod's disruption budget" "$state/drain.txt"
grep -E 'evicting|disruption budget' "$state/drain.txt" | sort | uniq -c
kube uncordon node-1
rolled_out deployment/argon-branch
phase "2 replicas again"
rest

stop_load
say "what the clients saw"
/usr/bin/python3 "$tests/history.py" "$state/history.json" "$state/phases.json"

say "the volume outlives the StatefulSet"
kube -n argon delete statefulset argon-wal
await "the pod to go" no_pods argon-wal
kube apply --validate=strict -k "$overlays/embedded" | grep -v unchanged
rolled_out statefulset/argon-wal
main_job_holds

mongodb_overlay
dev_overlay
say "Kubernetes: everything holds"
