#!/usr/bin/python3
"""One, two and four branch services on one WAL service, under the same load, which is balanced over all of them: what more replicas bring
on this machine, and who used its cores meanwhile.

    bench/replicas.py [SECONDS]       (5 a line unless given); build/release must be built

find: strong reads by _id of views that are in memory. insert, update: one document a call. 64 calls in flight.
"""

import json
import os
import subprocess
import sys
import tempfile

from services import BIN, Cluster

SECONDS = sys.argv[1] if len(sys.argv) > 1 else "5"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process):
    fields = open(f"/proc/{process.process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(cluster, what):
    target = ",".join(branch.address for branch in cluster.branches)
    before = [cpu_seconds(process) for process in (cluster.wal, *cluster.branches)]
    children = os.times()
    line = subprocess.run(
        [str(BIN / "bench_docs"), what, "--target", target, "--in-flight", "64", "--documents", "10000", "--seconds", SECONDS],
        capture_output=True, text=True, check=True,
    ).stdout
    client = os.times()
    after = [cpu_seconds(process) for process in (cluster.wal, *cluster.branches)]
    elapsed = client.elapsed - children.elapsed  # with the filling of the project, which is short
    wal, *branches = [(b - a) / elapsed for a, b in zip(before, after)]
    result = json.loads(line)
    calls = result["calls"]  # CPU time a call: what other users of the machine disturb less than rates
    return {
        "bench": "replicas", "what": what, "replicas": len(branches), "calls_per_second": round(result["calls_per_second"]),
        "p50_us": result["p50_us"], "p99_us": result["p99_us"],
        "wal_us_a_call": round(wal * elapsed / calls * 1e6, 1), "branch_us_a_call": round(sum(branches) * elapsed / calls * 1e6, 1),
        "cores_wal": round(wal, 2), "cores_branch": round(sum(branches), 2),
        "cores_client": round((client.children_user + client.children_system - children.children_user - children.children_system) / elapsed, 2),
    }


for replicas in (1, 2, 4):
    with tempfile.TemporaryDirectory(prefix="argon-bench-", dir=os.environ.get("BENCH_DIRECTORY", "/var/tmp")) as folder:
        cluster = Cluster(folder)
        try:
            cluster.start_wal()
            for _ in range(replicas):
                cluster.start_branch()
            for what in ("find", "insert", "update"):
                print(json.dumps(measure(cluster, what)), flush=True)
        finally:
            cluster.close()
