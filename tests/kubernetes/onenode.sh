#!/usr/bin/env bash
# A real Kubernetes of one node for tests, on any machine: the programs run in namespaces of their own, see no network but
# theirs, and end with one process. Everything is in FOLDER.
#
#   tests/kubernetes/onenode.sh build FOLDER             the programs, from Go modules, into FOLDER/bin (minutes the first time)
#   tests/kubernetes/onenode.sh start FOLDER             until the node is Ready
#   tests/kubernetes/onenode.sh stop FOLDER              ends it, and deletes what it left but FOLDER/bin and FOLDER/log
#   tests/kubernetes/onenode.sh load FOLDER ARCHIVE      an image, as docker save and podman save write it
#   tests/kubernetes/onenode.sh kubectl FOLDER ARGS...
#   tests/kubernetes/onenode.sh on-node FOLDER COMMAND...   a command that sees what the node sees: its network, names and files
#
# Network policies are enforced, and there is a metrics server; there is no provisioner of volumes. Needs root, Go 1.24, control
# groups of version 1 or hybrid, and the packages of kind "kubernetes".
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../../scripts/lib.sh"

self=$(readlink -f "$0")
verb=${1:-}
[ $# -ge 2 ] || { sed -n '2,14s/^# \{0,1\}//p' "$self" >&2; exit 2; }
folder=$(readlink -m "$2")
shift 2
[ "$(id -u)" = 0 ] || die "a node of Kubernetes needs root"

bin=$folder/bin conf=$folder/conf state=$folder/state log=$folder/log
node=node-1 gateway=10.200.0.1 pods=10.200.0.0/24 services=10.201.0.0/16 first_service=10.201.0.1 names=10.201.0.10 domain=cluster.local
containerd_socket=/run/containerd/containerd.sock # of the node's own /run

running() { [ -s "$state/pid" ] && grep -qsz -- __node "/proc/$(cat "$state/pid")/cmdline"; }
on_node() { nsenter --target "$(cat "$state/pid")" --mount --net --pid --uts --ipc --cgroup --wd=/ -- "$@"; }
kubectl() { on_node env HOME=/run "$bin/kubectl" --kubeconfig "$conf/admin.yaml" "$@"; }

build_programs() {
  local version=k8s.io/component-base/version commands=() program
  command -v go >/dev/null || die "Go 1.24 or newer is needed to build Kubernetes"
  for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    commands+=("k8s.io/kubernetes/cmd/$program")
  done
  mkdir -p "$bin"
  (cd "$(dirname "$self")/node" && CGO_ENABLED=0 go build -trimpath -o "$bin/" \
    -ldflags "-s -w -X $version.gitVersion=$(go list -m -f '{{.Version}}' k8s.io/kubernetes) -X $version.gitMajor=1 -X $version.gitMinor=32" \
    "${commands[@]}" ./coredns)
  (cd "$(dirname "$self")/node/addons" && export CGO_ENABLED=0 &&
    go build -trimpath -ldflags "-s -w" -o "$bin/" sigs.k8s.io/metrics-server/cmd/metrics-server &&
    go build -trimpath -ldflags "-s -w" -o "$bin/kube-network-policies" sigs.k8s.io/kube-network-policies/cmd)
}

# ---- who is who --------------------------------------------------------------------------------------------------------------

sign() { # NAME SUBJECT ALTERNATIVES
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$conf/$1.key" -out "$conf/$1.csr" 2>/dev/null
  openssl x509 -req -days 30 -in "$conf/$1.csr" -CA "$conf/ca.crt" -CAkey "$conf/ca.key" -CAcreateserial -out "$conf/$1.crt" \
    -extfile <(echo "extendedKeyUsage = serverAuth, clientAuth"; if [ -n "$3" ]; then echo "subjectAltName = $3"; fi) 2>/dev/null
}

user() { # FILE NAME GROUP: a token, and the kubeconfig with it
  local token
  token=$(openssl rand -hex 20)
  echo "$token,$2,$2${3:+,\"$3\"}" >>"$conf/tokens.csv"
  cat >"$conf/$1.yaml" <<END
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "https://$gateway:6443", certificate-authority: $conf/ca.crt}}]
users: [{name: me, user: {token: $token}}]
END
}

write_configuration() {
  local old
  mkdir -p "$conf/cni"
  old=$(umask)
  umask 077
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=test-ca -keyout "$conf/ca.key" -out "$conf/ca.crt" 2>/dev/null
  openssl genrsa -out "$conf/accounts.key" 2048 2>/dev/null
  openssl rsa -in "$conf/accounts.key" -pubout -out "$conf/accounts.pub" 2>/dev/null
  sign apiserver /CN=apiserver "IP:127.0.0.1,IP:$gateway,IP:$first_service,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.$domain"
  sign kubelet "/CN=$node" "IP:$gateway,DNS:$node"
  sign apiserver-client /O=system:masters/CN=apiserver ""
  sign aggregator /CN=aggregator ""
  user admin admin system:masters
  user controller-manager system:kube-controller-manager ""
  user scheduler system:kube-scheduler ""
  user kubelet "system:node:$node" system:nodes
  user proxy system:kube-proxy ""
  user metrics argon-test:metrics ""
  user policies argon-test:policies ""
  umask "$old"
  echo "nameserver $names" >"$conf/resolv.conf"

  cat >"$conf/containerd.toml" <<END
version = 2
root = "$state/containerd"
state = "/run/containerd"
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/argon-test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$conf/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
END

  cat >"$conf/cni/bridge.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "/run/cni", "routes": [{"dst": "0.0.0.0/0"}],
           "ranges": [[{"subnet": "$pods", "gateway": "$gateway", "rangeStart": "${pods%.*}.20"}]]}}]}
END

  # cgroups are those that the node was given; sysctls and disks are the machine's and not the node's to judge
  cat >"$conf/kubelet-options.yaml" <<END
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
protectKernelDefaults: true
makeIPTablesUtilChains: false
clusterDNS: [$names]
clusterDomain: $domain
resolvConf: $conf/resolv.conf
tlsCertFile: $conf/kubelet.crt
tlsPrivateKeyFile: $conf/kubelet.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $conf/ca.crt}
authorization: {mode: Webhook}
volumePluginDir: $state/volume-plugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
END

  cat >"$conf/proxy-options.yaml" <<END
kind: KubeProxyConfiguration
apiVersion: kubeproxy.config.k8s.io/v1alpha1
mode: nftables
clientConnection: {kubeconfig: $conf/proxy.yaml}
hostnameOverride: $node
clusterCIDR: $pods
conntrack: {maxPerCore: 0}
END

  sed "s/\<GATEWAY\>/$gateway/; s/\<NAMES\>/$names/; s/\<DOMAIN\>/$domain/" "$(dirname "$self")/node/system.yaml" >"$conf/system.yaml"
}

# ---- control groups: one of the node's own in each hierarchy, which its namespace then shows as the root ---------------------------

hierarchies() { # CONTROLLERS MOUNT-POINT PATH, of this process
  local controllers path
  while IFS=: read -r _ controllers path; do
    if [ -n "$controllers" ] && [ -d "/sys/fs/cgroup/${controllers#name=}" ]; then
      echo "$controllers /sys/fs/cgroup/${controllers#name=} ${path%/}"
    fi
  done </proc/self/cgroup
}

enter_control_groups() {
  local controllers mount path group setting
  while read -r controllers mount path; do
    group=$mount$path/argon-node-$$
    mkdir "$group"
    echo "$group" >>"$state/control-groups"
    if [ "$controllers" = cpuset ]; then # is empty in a new one
      for setting in cpuset.cpus cpuset.mems; do cat "$mount$path/$setting" >"$group/$setting"; done
    fi
    echo "$BASHPID" >"$group/cgroup.procs"
  done < <(hierarchies)
}

leave_control_groups() {
  local group
  [ -f "$state/control-groups" ] || return 0
  while read -r group; do
    for _ in $(seq 100); do # processes that were killed are still leaving
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    done
  done <"$state/control-groups"
}

# ---- process 1 of the node -----------------------------------------------------------------------------------------------------

run_node() {
  local controllers mount all name value image
  all=$(hierarchies)
  mount --make-rprivate /
  umount -R /sys
  mount -t sysfs sysfs /sys
  mount -t tmpfs cgroup /sys/fs/cgroup
  while read -r controllers mount _; do
    mkdir -p "$mount"
    case $controllers in name=*) controllers=none,$controllers ;; esac
    mount -t cgroup -o "$controllers" cgroup "$mount"
  done <<<"$all"
  mount -t tmpfs tmpfs /run
  mkdir -p "$state"/var/{lib,log,tmp,cache} /run/sysctl
  mount --bind "$state/var" /var
  mount --bind "$conf/resolv.conf" /etc/resolv.conf
  while read -r name value; do # what the kubelet wants to see, without a change of the machine
    echo "$value" >"/run/sysctl/${name//\//-}"
    mount --bind "/run/sysctl/${name//\//-}" "/proc/sys/$name"
  done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END
  mount --make-rshared / # volumes that the kubelet mounts are to be seen by containers

  hostname $node
  ip link set lo up
  ip link add pods0 type bridge
  ip address add "$gateway/24" dev pods0
  ip link set pods0 up
  ip route add $services dev pods0
  echo 1 >/proc/sys/net/ipv4/ip_forward
  [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

  export HOME=/run
  cd /run
  run() { local program=$1; shift; "$@" >"$log/$program.log" 2>&1 </dev/null & }
  admin() { "$bin/kubectl" --kubeconfig "$conf/admin.yaml" "$@"; }
  await() { for _ in $(seq 1200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "never: $*"; exit 1; }

  run etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync
  run containerd containerd --config "$conf/containerd.toml"
  run apiserver "$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --advertise-address $gateway --secure-port 6443 \
    --service-cluster-ip-range $services --cert-dir /run/apiserver --allow-privileged \
    --tls-cert-file "$conf/apiserver.crt" --tls-private-key-file "$conf/apiserver.key" \
    --client-ca-file "$conf/ca.crt" --token-auth-file "$conf/tokens.csv" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --service-account-issuer "https://kubernetes.default.svc.$domain" \
    --service-account-key-file "$conf/accounts.pub" --service-account-signing-key-file "$conf/accounts.key" \
    --kubelet-certificate-authority "$conf/ca.crt" --kubelet-preferred-address-types InternalIP \
    --kubelet-client-certificate "$conf/apiserver-client.crt" --kubelet-client-key "$conf/apiserver-client.key" \
    --requestheader-client-ca-file "$conf/ca.crt" --requestheader-allowed-names aggregator --requestheader-username-headers X-Remote-User \
    --requestheader-group-headers X-Remote-Group --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$conf/aggregator.crt" --proxy-client-key-file "$conf/aggregator.key"
  await admin get --raw /readyz
  run controller-manager "$bin/kube-controller-manager" --kubeconfig "$conf/controller-manager.yaml" --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file "$conf/accounts.key" --root-ca-file "$conf/ca.crt" \
    --bind-address 127.0.0.1 --cert-dir /run/controller-manager --horizontal-pod-autoscaler-sync-period 5s
  run scheduler "$bin/kube-scheduler" --kubeconfig "$conf/scheduler.yaml" --leader-elect=false --bind-address 127.0.0.1 --cert-dir /run/scheduler
  await ctr --address $containerd_socket version
  for image in pause coredns; do ctr --address $containerd_socket --namespace k8s.io images import "$state/$image.tar"; done
  run kubelet "$bin/kubelet" --config "$conf/kubelet-options.yaml" --kubeconfig "$conf/kubelet.yaml" --hostname-override $node \
    --node-ip $gateway --root-dir "$state/kubelet" --cert-dir /run/kubelet
  run proxy "$bin/kube-proxy" --config "$conf/proxy-options.yaml"
  await admin apply -f "$conf/system.yaml"
  run metrics-server "$bin/metrics-server" --kubeconfig "$conf/metrics.yaml" --authentication-kubeconfig "$conf/metrics.yaml" \
    --authorization-kubeconfig "$conf/metrics.yaml" --secure-port 4443 --cert-dir /run/metrics-server --metric-resolution 10s --kubelet-request-timeout 5s \
    --kubelet-preferred-address-types InternalIP --kubelet-certificate-authority "$conf/ca.crt"
  enforce_network_policies
  touch "$state/started"
  while :; do wait -n || sleep 0.2; done # reaps what containers leave
}

# kube-network-policies judges the first packet of each connection, which netfilter hands to it. Its own rule for that takes nftables'
# "queue", which not every kernel has; this one takes what iptables has had for long. It is the same rule: what the node itself sends
# (probes, for one) is not judged, nor what belongs to a connection that was let through.
enforce_network_policies() {
  local account=/var/run/secrets/kubernetes.io/serviceaccount # it looks for the API server as a pod would
  mkdir -p $account
  cp "$conf/ca.crt" $account/ca.crt
  sed -n 's/.*token: \([0-9a-f]*\).*/\1/p' "$conf/policies.yaml" >$account/token
  KUBERNETES_SERVICE_HOST=$gateway KUBERNETES_SERVICE_PORT=6443 run kube-network-policies "$bin/kube-network-policies" \
    --hostname-override $node --metrics-bind-address 127.0.0.1:9080
  await grep -q '^ *100 ' /proc/net/netfilter/nfnetlink_queue
  iptables -w -t mangle -A POSTROUTING -m owner --uid-owner 0 -j ACCEPT
  iptables -w -t mangle -A POSTROUTING -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
  iptables -w -t mangle -A POSTROUTING -d $pods -j NFQUEUE --queue-num 100
}

make_image() { # NAME FOLDER ENTRYPOINT: of what is in the folder
  local made layer
  made=$(mktemp -d)
  tar -C "$2" --owner=0 --group=0 -cf "$made/layer.tar" .
  layer=$(sha256sum "$made/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(dpkg --print-architecture)" "$3" "$layer" >"$made/config.json"
  echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"docker.io/argon-test/$1:1\"],\"Layers\":[\"layer.tar\"]}]" >"$made/manifest.json"
  tar -C "$made" -cf "$state/$1.tar" manifest.json config.json layer.tar
  rm -rf "$made"
}

# The container that holds a pod's namespaces: it waits, and reaps.
make_pause_image() {
  local made
  made=$(mktemp -d)
  gcc -static -Os -x c -o "$made/pause" - <<'END'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void reap(int number) { (void)number; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
static void end(int number) { (void)number; _exit(0); }
int main(void)
{
    signal(SIGCHLD, reap);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (;;)
        pause();
}
END
  make_image pause "$made" /pause
  rm -rf "$made"
}

make_dns_image() {
  local made
  made=$(mktemp -d)
  cp "$bin/coredns" "$made/"
  make_image coredns "$made" /coredns
  rm -rf "$made"
}

start() {
  local unshared
  [ -x "$bin/metrics-server" ] || die "there is no $bin/metrics-server: build first"
  ! running || die "it runs already in $folder"
  [ -d /sys/fs/cgroup/memory ] || die "control groups of version 2 alone are not provided for"
  leave_control_groups
  rm -rf "$conf" "$state"
  mkdir -p "$conf" "$state" "$log"
  write_configuration
  make_pause_image
  make_dns_image
  (
    enter_control_groups
    exec unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child --mount-proc bash "$self" __node "$folder" \
      >"$log/node.log" 2>&1 </dev/null
  ) &
  unshared=$!
  for _ in $(seq 100); do
    pgrep -P $unshared >"$state/pid" && running && break
    sleep 0.05
  done
  for _ in $(seq 1200); do
    running || { cat "$log/node.log" >&2; die "the node ended"; }
    # the first service account is made a moment later than the node is Ready
    if [ -e "$state/started" ] && kubectl wait --for=condition=Ready "node/$node" --timeout=1s >/dev/null 2>&1 &&
      kubectl get serviceaccount default >/dev/null 2>&1 &&
      kubectl -n kube-system rollout status deployment/coredns --timeout=1s >/dev/null 2>&1; then
      return
    fi
    sleep 0.1
  done
  die "the node is not Ready; see $log"
}

stop() {
  local pid
  if running; then
    pid=$(cat "$state/pid")
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  fi
  leave_control_groups
  rm -rf "$conf" "$state"
}

case $verb in
  build) build_programs ;;
  start) start ;;
  stop) stop ;;
  __node) run_node ;;
  load) on_node ctr --address $containerd_socket --namespace k8s.io images import "$(readlink -f "$1")" ;;
  kubectl) kubectl "$@" ;;
  on-node) on_node "$@" ;;
  *) die "unknown: $verb" ;;
esac
