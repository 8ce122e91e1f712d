"""kill -9 at any moment: what was acknowledged is there, what was not is whole or absent."""

import random
import subprocess
import threading

import grpc

from harness import wait_until
from log_check import check_log

BATCH = 7


class Load:
    """Writers that insert batches of documents and remember which were acknowledged."""

    def __init__(self, clients):
        self.clients = clients
        self.stop = threading.Event()
        self.acknowledged, self.unknown, self.surprises = [], [], []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(len(clients))]
        for thread in self.threads:
            thread.start()

    def run(self, index):
        client, number = self.clients[index], 0
        while not self.stop.is_set():
            number += 1
            batch = f"w{index}-{number}"
            values = [{"_id": f"{batch}/{i}", "batch": batch} for i in range(BATCH)]
            try:
                client.insert_many("p", "c", values, timeout=20)
                self.acknowledged.append(batch)
            except grpc.RpcError as error:
                # CANCELLED is what gRPC's own clients make of a call that reached a server in its last moment
                expected = (
                    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED,
                )
                (self.unknown if error.code() in expected else self.surprises).append(error)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.surprises, self.surprises[0]


def check(client, load):
    found = {}
    for document in client.find("p", "c"):
        found[document["batch"]] = found.get(document["batch"], 0) + 1
    missing = [batch for batch in load.acknowledged if found.get(batch) != BATCH]
    assert not missing, f"acknowledged and not there: {missing[:5]} of {len(missing)}"
    half = {batch: n for batch, n in found.items() if n != BATCH}
    assert not half, f"half there: {half}"


def more_than(load, n):
    return lambda: len(load.acknowledged) > n


def test_twenty_kills_of_the_wal_service_under_load(cluster, argon):
    replica = cluster.start_branch()
    load = Load([cluster.client() for _ in range(3)] + [cluster.client(replica)])
    randomness = random.Random(1)
    try:
        for _ in range(20):
            wait_until(more_than(load, len(load.acknowledged) + randomness.randrange(1, 30)), "writes to go on")
            cluster.wal.kill()
            cluster.wal.start()
    finally:
        load.finish()
    check(argon, load)
    fresh = cluster.client(cluster.start_branch())
    check(fresh, load)
    check_log(cluster.wal_client(), argon.rpc.GetProject(name="p").project.id)
    assert len(load.acknowledged) > 100


def test_twenty_kills_of_a_branch_service_under_load(cluster, argon):
    victim = cluster.start_branch()
    load = Load([cluster.client(victim) for _ in range(3)] + [cluster.client()])
    randomness = random.Random(2)
    try:
        for _ in range(20):
            wait_until(more_than(load, len(load.acknowledged) + randomness.randrange(1, 30)), "writes to go on")
            victim.kill()
            victim.start()
    finally:
        load.finish()
    check(argon, load)


def test_a_failed_fdatasync_ends_the_service_and_nothing_of_it_is_served_unsynced(cluster):
    cluster.start_wal(wrapper=["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=12+"])
    cluster.start_branch()
    argon = cluster.client()
    argon.create_project("p")
    acknowledged, failures = [], []
    for i in range(100):
        try:
            argon.insert("p", "c", {"_id": i}, timeout=2)
            acknowledged.append(i)
        except grpc.RpcError as error:
            failures.append((i, error))
            break
    assert failures, "the injected failure was not met"
    number, error = failures[0]
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert ("argon-outcome", "not-applied") not in [tuple(item)[:2] for item in error.trailing_metadata() or ()]
    assert cluster.wal.exited() != 0
    segments = {path.name for path in cluster.data.glob("segment-*.log")}
    cluster.wal.wrapper = []
    cluster.wal.start()
    documents = {document["_id"] for document in argon.find("p", "c")}
    assert set(acknowledged) <= documents <= set(acknowledged) | {number}
    assert {path.name for path in cluster.data.glob("segment-*.log")} - segments, "no new segment was begun"


def test_a_second_process_on_the_directory_is_refused(cluster, argon):
    from harness import BIN

    second = subprocess.run(
        [str(BIN / "wal-service"), "--listen", "127.0.0.1:0", "--data", str(cluster.data)], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 1
    assert str(cluster.wal.process.pid) in second.stderr
    argon.insert("p", "c", {"_id": 1})


def test_sigterm_drains(cluster, argon):
    load = Load([cluster.client()])
    wait_until(more_than(load, 5), "writes")
    cluster.branches[0].stop()
    load.finish()
    replica = cluster.client(cluster.start_branch())
    check(replica, load)
