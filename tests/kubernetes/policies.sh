# Sourced by scripts/test-kubernetes.sh: who reaches whom, tried from inside of pods, with the network policies and without.

# reached NAMESPACE/POD PLACE=ADDRESS/PORT...: PLACE=yes or PLACE=no for each: whether a connection is accepted within two seconds
reached() {
  local pod=$1
  shift
  kube -n "${pod%/*}" exec "${pod#*/}" -- bash -c '
    for place; do
      (timeout 2 bash -c "exec 3<>/dev/tcp/${place#*=}" 2>/dev/null && echo "${place%%=*}=yes" || echo "${place%%=*}=no") &
    done
    wait' bash "$@" | sort | xargs
}

address_of() { kube -n "$1" get pods -l "$2" -o json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null) | .status.podIP] | last'; }

# all_reached: the table, a line each pod. A branch service calls the other one, and the log nobody at all.
all_reached() {
  local branch log names from
  branch=$(address_of argon app.kubernetes.io/name=argon-branch)
  log=$(address_of argon app.kubernetes.io/name=argon-wal)
  names=$(address_of kube-system k8s-app=kube-dns)
  for from in argon/friend argon/stranger shop/friend shop/stranger monitoring/prometheus "argon/$(branch_pods | head -n 1)"; do
    echo "${from/argon\/argon-branch-*/argon/branch-service} $(reached "$from" "log=$(kube -n argon get service argon-wal -o jsonpath='{.spec.clusterIP}')/7700" \
      "log-metrics=$log/9700" "branch=$branch/7800" "branch-metrics=$branch/9800" "names=$names/53" "other=$names/8181")"
  done
  echo "argon/wal-service $(reached argon/argon-wal-0 "branch=$branch/7800" "branch-metrics=$branch/9800" "names=$names/53" "other=$names/8181")"
}

network_policies() {
  local pod place lines
  say "network policies: who reaches whom without them"
  kube apply --validate=strict -f "$tests/pods.yaml"
  for pod in argon/friend argon/stranger shop/friend shop/stranger monitoring/prometheus; do
    kube -n "${pod%/*}" wait --for=condition=Ready "pod/${pod#*/}" --timeout=60s >/dev/null
  done
  kube -n argon delete networkpolicy --all
  await "a network without policies" all_open
  say "network policies: who reaches whom with them"
  kube apply --validate=strict -k "$overlays/embedded" | grep networkpolicy
  await "the policies to hold" all_as_expected
  cat "$state/reached.txt"
  expect "what a pod with the label counts, in a namespace of its own" "$(argon docs count -p world countries)" \
    "$(kube -n shop exec friend -- argon docs count -p world countries --endpoint dns:///argon-branch.argon:7800)"
  for place in "$(address_of argon app.kubernetes.io/name=argon-branch)/9800" "$(address_of argon app.kubernetes.io/name=argon-wal)/9700"; do
    lines=$(kube -n monitoring exec prometheus -- bash -c "exec 3<>/dev/tcp/$place; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; grep -c ^argon_ <&3")
    echo "Prometheus is told $lines lines by $place"
  done
  kube delete -f "$tests/pods.yaml" >/dev/null
}
all_open() { all_reached >"$state/open.txt" && ! grep -q =no "$state/open.txt"; }
all_as_expected() { all_reached >"$state/reached.txt" && diff "$tests/reached.txt" "$state/reached.txt"; }
