"""More watches than workers, and readers that take nothing."""

import pytest
from argon.branch.v1 import branch_pb2
from gate import Gate
from harness import Process, wait_until
from watch_model import LogModel, as_tuple

MANY = 200


def start(client, **fields):
    return client.rpc.stream("Watch", project="p", **fields)


def take(stream, through, changes):
    """Reads until so much has been told."""
    for message in stream:
        changes += map(as_tuple, message.changes)
        if message.through_lsn >= through:
            return message
    raise AssertionError("the watch has ended")


def followed(cluster):
    return cluster.wal_client().GetStatus().follow_streams


@pytest.mark.parametrize("follows", ["256", "0"])
def test_more_watches_than_workers_get_everything(cluster, argon, follows):
    service = cluster.start_branch("--workers", "2", "--max-follows", follows)
    client = cluster.client(service)
    streams = [start(client, branch="main", collection="" if i % 2 else "d") for i in range(MANY)]
    for i in range(40):
        argon.insert("p", "c", {"_id": i})
        argon.insert_many("p", "d", [{"_id": j + 10 * i} for j in range(10)])
    argon.update("p", "d", {}, {"$set": {"v": 1}}, many=True)
    argon.delete("p", "c", {}, many=True)
    last = argon.head("p")
    everything = LogModel(cluster.wal_client(), argon.rpc.GetProject(name="p").project.id).changes("main")
    for number, stream in enumerate(streams):
        shown = []
        take(stream, last, shown)
        assert shown == [c for c in everything if number % 2 or c[2] == "d"]
        if number % 20 == 0:
            assert client.count("p", "d") == 400, "others are served meanwhile"
    for stream in streams:
        stream.cancel()
    wait_until(lambda: followed(cluster) <= 4, "their follows to be gone: a replica itself follows p and _system")


def memory_of(process):
    with open(f"/proc/{process.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) // 1024


@pytest.mark.scale  # memory is measured as released: the sanitizer keeps what was freed
def test_readers_that_take_nothing_cost_some_messages(cluster, argon):
    service = cluster.start_branch("--workers", "2")
    client, slow_client = cluster.client(service), cluster.client(service)
    argon.insert_many("p", "c", [{"_id": i} for i in range(10)])
    slow = [start(slow_client, branch="main") for _ in range(16)]
    for stream in slow:
        take(stream, argon.head("p"), [])
    reading, shown = start(client, branch="main", after_lsn=argon.head("p")), []
    before = memory_of(service)
    for batch in range(100):
        last = argon.insert_many("p", "large", [{"_id": 50 * batch + i, "v": "x" * 20000} for i in range(50)]).lsn  # 100 MB in all
        if batch % 10 == 0:
            take(reading, last, shown)
            assert client.count("p", "c") == 10
    take(reading, last, shown)
    assert len(shown) == 5001
    grown = memory_of(service) - before
    # the collection is not built here; a slow watch has a message of the log twice (as it came, as it goes), and one read ahead
    assert grown < 16 * 8, f"{grown} MiB more"
    for stream in slow:
        changes = []
        take(stream, last, changes)
        assert changes == shown
        stream.cancel()


def test_readers_that_take_nothing_hold_no_worker(cluster, argon):
    service = cluster.start_branch("--workers", "2")
    client, slow_client = cluster.client(service), cluster.client(service)
    slow = [start(slow_client, branch="main") for _ in range(10)]
    for batch in range(20):
        last = argon.insert_many("p", "c", [{"_id": 50 * batch + i, "v": "x" * 20000} for i in range(50)]).lsn
    quick, shown = start(client, branch="main"), []
    take(quick, last, shown)
    assert len(shown) == 1001 and len(client.find("p", "c")) == 1000
    for stream in slow:
        changes = []
        take(stream, last, changes)
        assert changes == shown


@pytest.mark.parametrize("follows", ["256", "0"])
def test_a_log_that_does_not_answer_holds_up_no_one_else(cluster, argon, follows):
    gate = Gate(cluster.wal.address)
    process = Process(cluster.directory, "branch", ["--wal", gate.address, "--workers", "2", "--max-follows", follows]).start()
    cluster.branches.append(process)
    client = cluster.client(process)
    argon.insert("p", "c", {"_id": 0})
    assert client.count("p", "c") == 1
    streams = [start(client, branch="main") for _ in range(50)]
    for stream in streams:
        take(stream, argon.head("p"), [])
    gate.shut(after=1500)  # some watches hear of the next change, and want to know whether the branch is still there
    last = argon.insert("p", "c", {"_id": 1}).lsn
    wait_until(gate.is_held, "the news to be held up")
    stale = branch_pb2.ReadOptions(stale_ok=True)
    for _ in range(10):  # a stream, and a call that needs no log
        found = list(client.rpc.stream("Find", 3, target=client.target("p", "c"), read=stale))
        assert sum(len(message.documents) for message in found) in (1, 2)
        assert client.rpc.Count(target=client.target("p", "c"), read=stale, timeout=3).count in (1, 2)
    gate.open()
    for stream in streams:
        take(stream, last, [])
        stream.cancel()
    gate.close()
