# Sourced by scripts/test-kubernetes.sh: the overlays mongodb and dev, with pods that run.

make_volume() {
  rm -rf "$folder/state/volume"
  mkdir -p "$folder/state/volume"
  kube delete persistentvolume log --ignore-not-found
  sed "s|FOLDER|$folder/state/volume|" "$tests/volume.yaml" | kube apply -f -
}

# Over the embedded overlay, as a user would go from one to the other.
mongodb_overlay() {
  local password uri
  say "the mongodb overlay: its Secret is made before"
  kube create namespace mongodb
  password=$(openssl rand -hex 12)
  uri="mongodb://argon:$password@mongodb.mongodb:27017/?directConnection=true&authSource=admin"
  kube -n mongodb create secret generic mongodb --from-literal=password="$password"
  kube -n argon create secret generic argon-mongodb --from-literal=uri="$uri"
  kube apply --validate=strict -f "$tests/mongodb.yaml"
  kube -n mongodb wait --for=condition=Ready pod/mongodb --timeout=120s
  kube apply --validate=strict -k "$overlays/mongodb" | grep -v unchanged
  rolled_out deployment/argon-branch
  kube -n argon get deployment argon-branch -o yaml | grep -q "$password" && die "the password is in the Deployment"

  say "a new branch is a traditional one, where there is a MongoDB and nobody says otherwise; its documents are in MongoDB"
  argon projects create shop
  argon branches create sale -p shop | tee "$state/sale.txt"
  grep -q 'Created traditional branch sale' "$state/sale.txt"
  show import "$state/countries.ndjson" -p shop -b sale -c countries
  show docs update -p shop -b sale countries '{"_id":"CH"}' '{"$set":{"name":"Helvetia"}}'
  show docs delete -p shop -b sale countries '{"_id":"AQ"}'
  expect "the countries of the traditional branch" "$(($(wc -l <"$state/countries.ndjson") - 1))" "$(argon docs count -p shop -b sale countries -o json | jq .count)"
  on_node env URI="$uri" NAME=mongodb.mongodb.svc.cluster.local /usr/bin/python3 - <<'PYTHON'
import os
import pymongo

client = pymongo.MongoClient(os.environ["URI"].replace("mongodb.mongodb", os.environ["NAME"]))
database = client.argon
(name,) = (name for name in database.list_collection_names() if name.endswith("countries"))
switzerland, count = database[name].find_one({"_id": "CH"}), database[name].count_documents({})
assert switzerland["name"] == "Helvetia", switzerland
print(f"MongoDB has {count} countries in {name}, and calls one {switzerland['name']}")
PYTHON
  say "and a WAL branch, when those are switched on for all replicas"
  show config set wal.enabled true
  main_job
  say "a branch service is replaced, and the traditional branch is as it was"
  kube -n argon delete pod --wait=false "$(branch_pods | head -n 1)"
  rolled_out deployment/argon-branch
  argon docs find -p shop -b sale countries '{"_id":"CH"}' -o ndjson | grep Helvetia
  main_job_holds
}

dev_overlay() {
  say "the dev overlay, from nothing"
  kube delete -k "$overlays/mongodb" --timeout=120s >/dev/null
  kube delete namespace mongodb --timeout=60s
  make_volume
  kube apply --validate=strict -k "$overlays/dev"
  rolled_out statefulset/argon-wal
  rolled_out deployment/argon-branch
  expect "branch services of the dev overlay" 1 "$(branch_pods | wc -l)"
  expect "autoscalers of the dev overlay" "" "$(kube -n argon get hpa -o name)"
  main_job
}
