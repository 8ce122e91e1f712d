#!/usr/bin/python3
"""Import from a MongoDB and checkout into it, killed in the middle and gone on with: rates, and the memory of argon.

    ARGON_BIN=build/release/bin bench/mongodb.py [DOCUMENTS]      (1,000,000 unless given)

A JSON line each. The server is the one of the tests (scripts/mongodb-for-tests.sh), so its rates are the bound: what it
delivers when nothing is done with the documents (mongo_read) stands beside what import makes of them.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from services import BIN, Cluster, MongoServer

DOCUMENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
BATCH = 5000


def say(what, documents, seconds, **more):
    line = {"bench": "mongodb", "what": what, "documents": documents, "seconds": round(seconds, 2), "documents_per_second": round(documents / seconds)}
    print(json.dumps({**line, **more}), flush=True)


def argon(cluster, *arguments, kill_after=None):
    """Runs it to its end, or kills it; (what it printed, seconds, KiB of memory at most)."""
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "XDG_STATE_HOME": str(cluster.directory)}
    begun = time.monotonic()
    process = subprocess.Popen([str(BIN / "argon"), *arguments, "-p", "p", "-o", "json"], stdout=subprocess.PIPE, text=True, env=environment)
    memory = 0
    while process.poll() is None:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        memory = max([memory, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))])
        if kill_after and time.monotonic() - begun > kill_after:
            process.kill()
        time.sleep(0.02)
    output = process.stdout.read()
    if not kill_after and process.returncode != 0:
        sys.exit(f"argon {' '.join(arguments)} failed")
    return (json.loads(output) if output else None), time.monotonic() - begun, memory


with tempfile.TemporaryDirectory(prefix="argon-bench-", dir=os.environ.get("BENCH_DIRECTORY", "/var/tmp")) as folder:
    server, cluster = MongoServer(folder), Cluster(folder)
    try:
        server.start()
        cluster.start_wal()
        cluster.start_branch("--memory", "4G")
        client = cluster.client()
        client.create_project("p")
        client.create_branch("p", "again")
        with server.client() as mongo:
            begun = time.monotonic()
            for first in range(0, DOCUMENTS, BATCH):
                documents = [{"_id": i, "name": f"user {i}", "text": "x" * 200, "n": i % 100} for i in range(first, min(first + BATCH, DOCUMENTS))]
                mongo.shop.users.insert_many(documents, ordered=False)
            say("load by pymongo", DOCUMENTS, time.monotonic() - begun)
        uri = server.uri.replace("/?", "/shop?")
        read = subprocess.run([str(BIN / "bench_mongo_read"), server.uri, "shop", "users"], check=True, capture_output=True, text=True).stdout
        print(read, end="", flush=True)
        alone = json.loads(read)["seconds"]
        result, seconds, memory = argon(cluster, "import", "mongodb", uri)
        assert result["imported"] == DOCUMENTS
        say("import", DOCUMENTS, seconds, of_read_alone=round(alone / seconds, 2), vm_hwm_kib=memory)
        _, before, first = argon(cluster, "import", "mongodb", uri, "-b", "again", kill_after=alone * 0.8)
        result, seconds, memory = argon(cluster, "import", "mongodb", uri, "-b", "again")
        assert result["imported"] == DOCUMENTS == client.count("p", "users", branch="again")
        say("import, killed and gone on", DOCUMENTS, before + seconds, inserted_after_the_kill=result["inserted"], vm_hwm_kib=max(first, memory))
        lsn = str(client.head("p"))
        result, seconds, memory = argon(cluster, "checkout", "--into", server.uri, "--at-lsn", lsn)
        say("checkout", result["documents"], seconds, vm_hwm_kib=memory)
        arguments = ["checkout", "--into", server.uri, "--at-lsn", lsn, "-b", "again"]
        _, before, first = argon(cluster, *arguments, kill_after=seconds / 2)
        result, seconds, memory = argon(cluster, *arguments)
        say("checkout, killed and gone on", result["documents"], before + seconds, vm_hwm_kib=max(first, memory))
    finally:
        cluster.close()
        server.close()
