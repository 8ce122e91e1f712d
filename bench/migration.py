#!/usr/bin/python3
"""How long a migration stands still: the longest that a writer waited, and the time between its states.

    ARGON_BIN=build/release/bin bench/migration.py [COLLECTIONS...]      (5 50 unless given)

A JSON line each. Four writers write one document after the other on the branch, through two replicas, while it is migrated and rolled
back. `frozen_ms` is what the executor says, from `frozen` to `started`. The server is the one of the
tests (scripts/mongodb-for-tests.sh), which renames a collection document by document: collections are small here.
"""

import json
import os
import sys
import tempfile
import time

from services import Cluster, MongoServer  # first: it says where the others are
from argon.branch.v1 import branch_pb2
from harness import wait_until
from migration_load import Writer
from traditional import create, options, start

State = branch_pb2.MigrationState
SIZES = [int(size) for size in sys.argv[1:]] or [5, 50]
DOCUMENTS = 20  # of a collection


def follow(client, method, branch):
    """When each state was first heard of."""
    heard = {}
    for message in client.rpc.stream(method, project="p", branch=branch, timeout=600):
        heard.setdefault(message.state, time.perf_counter())
    return heard


def hold(writers):
    wait_until(lambda: all(writer.inserted for writer in writers), "writers")
    for writer in writers:
        writer.longest = 0.0


def between(heard, first, last):
    return round(1000 * (heard[last] - heard[first]))


def measure(client, other, size):
    branch, names = f"b{size}", [f"c{i}" for i in range(size)]
    create(client, branch)
    for name in names:
        client.insert_many("p", name, [{"_id": i, "text": "x" * 100} for i in range(DOCUMENTS)], branch=branch)
    writers = [Writer((client, other)[i % 2], branch, f"w{i}", names, []) for i in range(4)]
    line = {"bench": "migration", "collections": size, "documents": size * DOCUMENTS}
    hold(writers)
    heard = follow(client, "StartMigration", branch)
    line["longest_hold_ms"] = round(1000 * max(writer.longest for writer in writers))
    line["frozen_ms"] = between(heard, State.MIGRATION_STATE_FROZEN, State.MIGRATION_STATE_STARTED)
    hold(writers)
    heard = follow(client, "RollbackMigration", branch)
    line["rollback_longest_hold_ms"] = round(1000 * max(writer.longest for writer in writers))
    for writer in writers:
        writer.stop()
    print(json.dumps(line), flush=True)


with tempfile.TemporaryDirectory(prefix="argon-bench-", dir=os.environ.get("BENCH_DIRECTORY", "/var/tmp")) as folder:
    server, cluster = MongoServer(folder, hasty=True), Cluster(folder)
    try:
        server.start()
        client = start(cluster, server)
        other = cluster.client(cluster.start_branch(*options(server)))
        for size in SIZES:
            measure(client, other, size)
    finally:
        cluster.close()
        server.close()
