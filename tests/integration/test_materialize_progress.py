"""Materialize tells how far it is, and ends when nobody waits for it; the log comes through a gate that can be shut amid it."""

import shutil
import time

import grpc
import pytest
from argon.branch.v1 import branch_pb2
from gate import Gate
from harness import Process, wait_until

BATCHES, BATCH, SIZE = 24, 500, 2000  # 24 MB a collection
TOTAL = BATCHES * BATCH
PART = 8 * 1024 * 1024  # the gate shuts behind so much of it


def fill(client, *names):
    for name in names:
        for batch in range(BATCHES):
            client.insert_many("p", name, [{"_id": batch * BATCH + i, "v": "x" * SIZE} for i in range(BATCH)])


@pytest.fixture
def gate(cluster, argon):
    gate = Gate(cluster.wal.address)
    yield gate
    gate.close()


def start_behind(cluster, gate, *arguments):
    """A branch service that has the log through the gate, and nothing of it yet."""
    process = Process(cluster.directory, "branch", ["--wal", gate.address, *arguments]).start()
    cluster.branches.append(process)
    client = cluster.client(process)
    client.rpc.ListCollections(project="p", branch="main")
    return client


def start_materialize(client, *names, timeout=None, **read):
    return client.rpc.stream(
        "Materialize", timeout, project="p", branch="main", collections=names, read=branch_pb2.ReadOptions(**read)
    )


def until_it_moves(stream):
    """The first message that tells of entries."""
    for message in stream:
        moved = [p for p in message.progress if p.entries > 0]
        if moved:
            return message
    raise AssertionError("the stream ended before anything was replayed")


def building(client):
    return client.rpc.GetStatus().views_building


def ended(client):
    wait_until(lambda: building(client) == 0, "the work to end", 20)


def finish(stream):
    """The rest: the last state of each collection."""
    return {p.collection: p for message in stream for p in message.progress}


def test_progress_is_told_while_it_works(cluster, argon, gate):
    fill(argon, "a", "b")
    client = start_behind(cluster, gate)
    gate.shut(after=PART)
    stream = start_materialize(client)
    first = next(stream)
    assert [(p.collection, p.done) for p in first.progress] == [("a", False), ("b", False)]
    assert first.lsn == argon.head("p")
    moved = until_it_moves(stream)
    assert all(0 <= p.entries < TOTAL and not p.done for p in moved.progress), "both are under way: 8 of 48 MB have come"
    wait_until(lambda: building(client) == 2, "both to be built")
    gate.open()
    seen = {p.collection: p.entries for p in moved.progress}
    messages, began = 0, time.monotonic()
    for message in stream:
        messages += 1
        assert message.progress, "no message without news"
        for p in message.progress:
            assert p.entries >= seen.get(p.collection, 0)
            seen[p.collection] = p.entries
    assert seen == {"a": TOTAL, "b": TOTAL}
    assert messages <= 3 + (time.monotonic() - began) / 0.1, "coalesced"
    assert all(p.done and p.entries == TOTAL and p.documents == TOTAL for p in message.progress)
    ended(client)
    again = finish(start_materialize(client))
    assert {name: (p.entries, p.documents) for name, p in again.items()} == {"a": (0, TOTAL), "b": (0, TOTAL)}


def test_a_cancelled_call_ends_its_work_and_what_was_complete_stays(cluster, argon, gate):
    argon.insert_many("p", "small", [{"_id": i} for i in range(100)])
    fill(argon, "large", "other")
    client = start_behind(cluster, gate)
    done = finish(start_materialize(client, "small"))
    assert done["small"].done
    gate.shut(after=PART)
    stream = start_materialize(client)
    until_it_moves(stream)
    wait_until(gate.is_held, "the log to be held up")
    wait_until(lambda: building(client) == 2, "both to be built")
    stream.cancel()
    ended(client)
    views = client.rpc.GetStatus().views
    assert client.rpc.Count(target=client.target("p", "small"), read=branch_pb2.ReadOptions(stale_ok=True)).count == 100
    gate.open()
    rest = finish(start_materialize(client))
    assert {name: (p.entries, p.documents) for name, p in rest.items()} == {
        "small": (0, 100), "large": (TOTAL, TOTAL), "other": (TOTAL, TOTAL),
    }
    assert client.rpc.GetStatus().views == views + 2


def test_a_cancel_while_the_log_flows(cluster, argon, gate):
    fill(argon, *(f"c{i}" for i in range(4)))
    client = start_behind(cluster, gate, "--workers", "1")
    for _ in range(8):
        stream = start_materialize(client)
        until_it_moves(stream)
        stream.cancel()
        ended(client)
    assert {name: p.documents for name, p in finish(start_materialize(client)).items()} == {f"c{i}": TOTAL for i in range(4)}


def test_work_ends_at_the_deadline(cluster, argon, gate):
    fill(argon, "c")
    client = start_behind(cluster, gate)
    gate.shut(after=PART)
    stream = start_materialize(client, timeout=4)
    until_it_moves(stream)
    with pytest.raises(grpc.RpcError) as error:
        list(stream)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    ended(client)
    gate.open()
    assert client.count("p", "c") == TOTAL


def test_a_service_that_stops_does_not_wait_for_the_log(cluster, argon, gate):
    fill(argon, "c")
    client = start_behind(cluster, gate)
    gate.shut(after=PART)
    stream = start_materialize(client)
    until_it_moves(stream)
    process = cluster.branches[-1]
    begin = time.monotonic()
    process.stop()  # with status 0, and nothing leaked where that is looked for
    assert time.monotonic() - begin < 9, "it does not use up the grace"
    with pytest.raises(grpc.RpcError) as error:
        list(stream)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def test_calls_hold_no_worker_and_take_turns(cluster, argon, gate):
    argon.insert_many("p", "known", [{"_id": i} for i in range(10)])
    fill(argon, "c")
    client = start_behind(cluster, gate, "--workers", "2")
    assert client.count("p", "known") == 10
    gate.shut(after=PART)
    streams = [start_materialize(client, "c", stale_ok=True) for _ in range(10)]
    until_it_moves(streams[0])
    wait_until(lambda: building(client) == 2, "as many builds as there are workers")
    stale = branch_pb2.ReadOptions(stale_ok=True)
    for _ in range(20):
        assert client.rpc.Count(target=client.target("p", "known"), read=stale, timeout=5).count == 10
    gate.open()
    for stream in streams:
        assert finish(stream)["c"].documents == TOTAL
    ended(client)


def test_who_waits_for_the_build_of_another_call_sees_it_and_takes_over(cluster, argon, gate):
    fill(argon, "c")
    client = start_behind(cluster, gate)
    gate.shut(after=PART)
    first = start_materialize(client)
    until_it_moves(first)
    wait_until(gate.is_held, "the log to be held up")
    second = start_materialize(client, stale_ok=True)
    moved = until_it_moves(second)
    assert 0 < moved.progress[0].entries < TOTAL and not moved.progress[0].done
    first.cancel()
    wait_until(lambda: building(client) == 1, "the first to end")
    gate.open()
    assert finish(second)["c"].entries == TOTAL


def test_a_build_goes_on_when_the_log_comes_back(cluster, argon):
    fill(argon, "c", "d")
    lsn = argon.head("p")
    for round in range(3):
        gate = Gate(cluster.wal.address)
        client = start_behind(cluster, gate)
        gate.shut(after=PART)
        stream = start_materialize(client, as_of_lsn=lsn if round == 1 else 0)
        until_it_moves(stream)
        cluster.wal.kill()
        gate.open()
        cluster.wal.start()
        assert {name: p.documents for name, p in finish(stream).items()} == {"c": TOTAL, "d": TOTAL}
        gate.close()


def test_an_older_log_amid_a_build(cluster, argon):
    fill(argon, "c")
    head = argon.head("p")
    cluster.wal.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data, copy)
    cluster.wal.start()
    argon.delete("p", "c", {"_id": 1})
    for past in (False, True):
        gate = Gate(cluster.wal.address)
        client = start_behind(cluster, gate)
        lsn = argon.head("p")
        gate.shut(after=PART)
        stream = start_materialize(client, as_of_lsn=lsn if past else 0)
        until_it_moves(stream)
        cluster.wal.kill()
        shutil.rmtree(cluster.data)
        shutil.copytree(copy, cluster.data)
        cluster.wal.start()
        assert argon.head("p") == head
        gate.open()
        if past:
            with pytest.raises(grpc.RpcError) as error:
                list(stream)
            assert error.value.code() == grpc.StatusCode.ABORTED
        else:
            assert finish(stream)["c"].documents == TOTAL
        ended(client)
        argon.delete("p", "c", {"_id": 1})
        gate.close()
