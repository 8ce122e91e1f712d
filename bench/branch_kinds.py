#!/usr/bin/python3
"""What a branch costs of each kind: CreateBranch of a traditional and of a WAL branch, side by side, over the same documents.

    ARGON_BIN=build/release/bin bench/branch_kinds.py [DOCUMENTS...]      (1000 10000 100000 unless given)

A JSON line each: the median of several creations, one in flight. A traditional branch is a copy that MongoDB makes of its
parent's collection, so the server (the one of the tests, scripts/mongodb-for-tests.sh) is what is measured there.
"""

import json
import os
import statistics
import sys
import tempfile
import time

from services import Cluster, MongoServer
from traditional import TRADITIONAL, WAL, branch_of, create, start

SIZES = [int(size) for size in sys.argv[1:]] or [1000, 10_000, 100_000]
BATCH = 5000
CREATIONS = {TRADITIONAL: 3, WAL: 25}


def batches(documents):
    for first in range(0, documents, BATCH):
        yield [{"_id": i, "name": f"user {i}", "text": "x" * 240} for i in range(first, min(first + BATCH, documents))]


def fill(client, server, documents):
    """A traditional branch and a WAL branch with the same documents."""
    create(client, f"wal-{documents}", kind=WAL)
    for batch in batches(documents):
        client.insert_many("p", "users", batch, branch=f"wal-{documents}")
    create(client, f"traditional-{documents}")
    branch = branch_of(client, f"traditional-{documents}")
    with server.client() as mongo:
        for batch in batches(documents):
            mongo[branch.database][branch.prefix + "users"].insert_many(batch)


def creations(client, kind, parent):
    seconds = []
    for number in range(CREATIONS[kind]):
        name = f"{parent}-{number}"
        begun = time.perf_counter()
        create(client, name, start=parent, kind=kind, timeout=600)
        seconds.append(time.perf_counter() - begun)
        client.rpc.DeleteBranch(project="p", name=name, timeout=600)
    return statistics.median(seconds)


with tempfile.TemporaryDirectory(prefix="argon-bench-", dir=os.environ.get("BENCH_DIRECTORY", "/var/tmp")) as folder:
    server, cluster = MongoServer(folder), Cluster(folder)
    try:
        server.start()
        client = start(cluster, server)
        for size in SIZES:
            fill(client, server, size)
            for kind, name in [(TRADITIONAL, "traditional"), (WAL, "wal")]:
                p50 = creations(client, kind, f"{name}-{size}")
                print(json.dumps({"bench": "branch_kinds", "kind": name, "documents": size, "p50_ms": round(1000 * p50, 2)}), flush=True)
    finally:
        cluster.close()
        server.close()
