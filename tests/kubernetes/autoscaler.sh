# Sourced by scripts/test-kubernetes.sh: the autoscaler reads the CPU of the pods, adds branch services under load, and takes them back.

autoscaler() { kube -n argon get hpa argon-branch -o json; }
deployed() { kube -n argon get deployment argon-branch -o jsonpath='{.status.readyReplicas}'; }
has_metrics() { autoscaler | jq -e '.status.currentMetrics[0].resource.current.averageValue'; }
says() { autoscaler | jq -r '"\(.status.currentReplicas) replicas, \(.status.currentMetrics[0].resource.current.averageValue) CPU a pod of \(.spec.metrics[0].resource.target.averageValue), \(.status.desiredReplicas) desired"'; }
as_many() { [ "$(deployed)" -ge "$1" ]; }

autoscales() {
  local begun
  say "the autoscaler of the overlay has its metric"
  await "a metric of the pods" has_metrics
  says
  kube -n argon patch hpa argon-branch --patch-file "$tests/autoscaler.yaml"
  await "one replica, without load" only_pods 1
  say "the autoscaler under load"
  : >"$state/phases.json"
  start_load "$state/history-autoscaler.json"
  begun=$SECONDS
  phase "1 replica, until the autoscaler adds some"
  await "the autoscaler to add replicas" as_many 3
  says
  echo "3 replicas are ready after $((SECONDS - begun)) s of load"
  phase "3 replicas or more"
  shares
  rest
  says
  stop_load
  begun=$SECONDS
  await "the autoscaler to take replicas back" only_pods 1
  says
  echo "1 replica after $((SECONDS - begun)) s without load"
  /usr/bin/python3 "$tests/history.py" "$state/history-autoscaler.json" "$state/phases.json"
  argon projects delete load --yes
  kube -n argon delete hpa argon-branch # what comes next scales by hand
}
