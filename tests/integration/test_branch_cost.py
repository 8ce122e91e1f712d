"""A branch costs the same whatever it stands on."""

import statistics
import threading
import time

import pytest


def log_bytes(wal, project_id, after):
    return sum(run.ByteSize() for message in wal.Read(project_id=project_id, after_lsn=after) for run in message.runs)


def fill(argon, collection, n):
    for start in range(0, n, 5000):
        argon.insert_many("p", collection, [{"_id": i, "payload": "x" * 40} for i in range(start, min(start + 5000, n))], timeout=120)


def median_creation(argon, prefix, start, n=30):
    times = []
    for i in range(n):
        begin = time.perf_counter()
        argon.create_branch("p", f"{prefix}{i}", start=start)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@pytest.mark.scale
def test_same_cost_on_a_thousand_and_a_million_documents(cluster, argon):
    wal = cluster.wal_client()
    project = argon.rpc.GetProject(name="p").project.id
    argon.create_branch("p", "small")
    argon.insert_many("p", "c", [{"_id": i} for i in range(1000)], branch="small")
    argon.create_branch("p", "large")
    for start in range(0, 1_000_000, 20_000):
        argon.insert_many("p", "c", [{"_id": i} for i in range(start, start + 20_000)], branch="large", timeout=120)
    assert argon.count("p", "c", branch="large") == 1_000_000
    before = argon.head("p")
    argon.create_branch("p", "child", start="large")
    assert log_bytes(wal, project, before) < 1024
    # interleaved, so that a slow moment of the machine meets both
    rounds = [(median_creation(argon, f"s{i}-", "small"), median_creation(argon, f"l{i}-", "large")) for i in range(5)]
    ratio = statistics.median(large / small for small, large in rounds)
    print(f"branch creation, 1,000,000 against 1,000 documents: {ratio:.2f} times")
    assert ratio < 1.5


def test_less_than_a_kibibyte_at_depth_100_too(cluster, argon):
    wal = cluster.wal_client()
    project = argon.rpc.GetProject(name="p").project.id
    argon.insert("p", "c", {"_id": "root"})
    start = "main"
    for depth in range(100):
        argon.insert("p", "c", {"_id": depth}, branch=start)
        before = argon.head("p")
        argon.create_branch("p", f"d{depth}", start=start)
        assert log_bytes(wal, project, before) < 1024
        start = f"d{depth}"
    argon.insert("p", "c", {"_id": "leaf"}, branch=start)
    assert argon.count("p", "c", branch=start) == 102
    cold = cluster.client(cluster.start_branch())
    assert cold.count("p", "c", branch=start) == 102
    assert cold.count("p", "c", branch="d49") == 52


def test_the_child_of_a_warm_parent_reads_at_once_while_the_parent_is_written_to(cluster, argon):
    fill(argon, "c", 20_000)
    assert argon.count("p", "c") == 20_000
    warm = argon.rpc.GetStatus().memory_used_bytes
    stop = threading.Event()
    writer_client = cluster.client()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            writer_client.insert("p", "c", {"_id": f"new{i}"})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(20):
            branch = argon.create_branch("p", f"warm{i}")
            assert argon.find_one("p", "c", {"_id": 7}, branch=f"warm{i}") is not None
            inherited = argon.count("p", "c", branch=f"warm{i}")
            assert inherited == argon.count("p", "c", at=branch.cut_lsn)
    finally:
        stop.set()
        writer.join()
    # twenty children stand on their parent's tree at their cuts: replayed, each would hold a copy of its own
    assert argon.rpc.GetStatus().memory_used_bytes < 2 * warm
