#!/usr/bin/env bash
# A real MongoDB server for tests: `mongod` where there is one, else SecantusDB (a server of MongoDB's protocol
# over WiredTiger, from PyPI, kept in build/secantusdb; it is only ever a process of its own).
#
#   scripts/mongodb-for-tests.sh install                             sees to it that there is one; says which
#   scripts/mongodb-for-tests.sh install-secantusdb                  the same, SecantusDB whatever there is
#   scripts/mongodb-for-tests.sh exec PORT FOLDER [--auth] [--standalone] [--hasty]
#                                                                    becomes the server; kill it as you like, but one
#                                                                    that is hasty only after a clean restart: SecantusDB
#                                                                    syncs each document that it renames or drops
#   scripts/mongodb-for-tests.sh ready PORT [--standalone]           returns when it takes writes
#
# What is there is a one-node replica set on 127.0.0.1 that obeys configureFailPoint.
# $ARGON_TEST_MONGODB_URI: tests that neither kill nor break their server use that one instead.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=0.7.0b3
secantus=$root/build/secantusdb

usage() { sed -n '2,15s/^# \{0,1\}//p' "$0"; }

install_secantus() {
  mkdir -p "$root/build"
  exec 9>"$root/build/secantusdb.lock"
  flock 9
  if [ ! -e "$secantus/installed-$version" ]; then
    rm -rf "$secantus"
    /usr/bin/python3 -m venv "$secantus" >&2 || die "no MongoDB to test with: there is no mongod, and no python3-venv to install SecantusDB with"
    "$secantus/bin/pip" install --quiet --disable-pip-version-check "SecantusDB==$version" >&2 ||
      die "no MongoDB to test with: there is no mongod, and SecantusDB $version can't be installed from PyPI"
    touch "$secantus/installed-$version"
  fi
  exec 9>&-
}

exec_mongod() {
  local port=$1 folder=$2 arguments=()
  shift 2
  case " $* " in *" --standalone "*) ;; *) arguments+=(--replSet argon) ;; esac
  case " $* " in
    *" --auth "*)
      if [ ! -e "$folder/key" ]; then # members of a replica set know each other by it
        (umask 077 && head -c 96 /dev/urandom | base64 -w0 >"$folder/key")
      fi
      arguments+=(--auth --keyFile "$folder/key")
      ;;
  esac
  exec mongod --bind_ip 127.0.0.1 --port "$port" --dbpath "$folder" --setParameter enableTestCommands=1 "${arguments[@]}"
}

command=${1:-}
shift || true
case $command in
  install)
    if command -v mongod >/dev/null; then
      echo "mongod $(mongod --version | sed -n 's/^db version v//p')"
    else
      install_secantus
      echo "SecantusDB $version"
    fi
    ;;
  install-secantusdb)
    install_secantus
    ;;
  exec)
    [ $# -ge 2 ] || { usage >&2; exit 2; }
    port=$1 folder=$2
    shift 2
    mkdir -p "$folder"
    if command -v mongod >/dev/null; then exec_mongod "$port" "$folder" "$@"; fi
    install_secantus
    arguments=() durability=--sync-on-commit
    for argument in "$@"; do
      if [ "$argument" = --hasty ]; then durability=; else arguments+=("$argument"); fi
    done
    exec "$secantus/bin/python" "$root/scripts/secantusdb.py" --host 127.0.0.1 --port "$port" --storage-path "$folder" ${durability:+"$durability"} \
      --enable-test-commands "${arguments[@]}"
    ;;
  ready)
    [ $# -ge 1 ] || { usage >&2; exit 2; }
    exec /usr/bin/python3 - "$@" <<'PYTHON'
import sys
import time

import pymongo
import pymongo.errors

port = int(sys.argv[1])
replica_set = "--standalone" not in sys.argv
end = time.monotonic() + 60
client = pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000)
while True:
    try:
        hello = client.admin.command("hello")
        if hello.get("isWritablePrimary"):
            break
        if replica_set and "setName" not in hello:
            member = {"_id": 0, "host": f"127.0.0.1:{port}"}
            client.admin.command("replSetInitiate", {"_id": "argon", "members": [member]})
    except pymongo.errors.PyMongoError as error:
        if time.monotonic() > end:
            sys.exit(f"the MongoDB server on port {port} does not answer: {error}")
    if time.monotonic() > end:
        sys.exit(f"the MongoDB server on port {port} takes no writes")
    time.sleep(0.02)
PYTHON
    ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
