"""Reads at a time, reads of what a replica has, and branches that begin at a time."""

import bson
import grpc
import pytest
from argon.branch.v1 import branch_pb2

from harness import wait_until


def read(**options):
    return branch_pb2.ReadOptions(**options)


def find(client, **options):
    messages = client.rpc.Find(target=client.target("p", "c"), read=read(**options))
    return messages[0].lsn, {d["_id"]: d["v"] for m in messages for d in (bson.decode(x.bson) for x in m.documents)}


def timestamps(cluster, client):
    """LSN -> time of each batch end, from the log itself."""
    project = client.rpc.GetProject(name="p").project
    times = {}
    for message in cluster.wal_client().Read(project_id=project.id):
        for run in message.runs:
            for place in range(len(run.entries)):
                times[run.first_lsn + place] = run.timestamp
    return times


def history(client, n=20):
    states = {}
    state = {}
    for i in range(n):
        lsn = client.insert("p", "c", {"_id": i, "v": i}).lsn
        state[i] = i
        states[lsn] = dict(state)
    return states


def expected_lsn(times, time):
    return max((lsn for lsn, at in times.items() if at <= time), default=0)


def test_a_time_shows_the_last_batch_at_or_before_it(cluster, argon):
    states = history(argon)
    times = timestamps(cluster, argon)
    for lsn in states:
        for time in (times[lsn] - 1, times[lsn], times[lsn] + 1):
            want = expected_lsn(times, time)
            if want == 0:
                continue
            shown = max((at for at in states if at <= want), default=None)
            assert find(argon, as_of_time=time) == (want, states[shown] if shown else {})


def test_before_the_first_batch_there_is_nothing(argon):
    history(argon, 2)
    assert find(argon, as_of_time=1) == (0, {})
    answer = argon.rpc.ListCollections(project="p", branch="main", read=read(as_of_time=1))
    assert (list(answer.collections), answer.lsn) == ([], 0)


def test_a_time_beyond_the_clock_is_out_of_range(argon):
    history(argon, 1)
    with pytest.raises(grpc.RpcError) as error:
        find(argon, as_of_time=1 << 60)
    assert error.value.code() == grpc.StatusCode.OUT_OF_RANGE


@pytest.mark.parametrize("a,b", [("as_of_lsn", "as_of_time"), ("as_of_lsn", "stale_ok"), ("as_of_time", "stale_ok")])
def test_two_states_are_refused_by_name(argon, a, b):
    for call in (
        lambda: find(argon, **{a: 1, b: 1}),
        lambda: argon.rpc.ListCollections(project="p", branch="main", read=read(**{a: 1, b: 1})),
        lambda: argon.rpc.Count(target=argon.target("p", "c"), read=read(**{a: 1, b: 1})),
        lambda: argon.rpc.FindOne(target=argon.target("p", "c"), read=read(**{a: 1, b: 1})),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert a in error.value.details() and b in error.value.details()


def create(client, name, **fields):
    return client.rpc.CreateBranch(project="p", name=name, **fields)


def test_a_branch_begins_at_a_time_and_a_repetition_gets_the_first_answer(cluster, argon):
    states = history(argon)
    times = timestamps(cluster, argon)
    lsn = sorted(states)[7]
    want = expected_lsn(times, times[lsn])
    write = argon.write("fork-1", since=1)
    first = create(argon, "then", at_time=times[lsn], write=write)
    argon.insert("p", "c", {"_id": 100, "v": 100})
    again = create(argon, "then", at_time=times[lsn], write=write)
    assert (first.branch.cut_lsn, again.lsn, again.branch.id) == (want, first.lsn, first.branch.id)
    assert {d["_id"]: d["v"] for d in argon.find("p", "c", branch="then")} == states[want]
    assert create(argon, "nothing", at_time=1).branch.cut_lsn == 0
    assert argon.find("p", "c", branch="nothing") == []


def test_a_branch_begins_at_one_state(argon):
    with pytest.raises(grpc.RpcError) as error:
        create(argon, "both", at_lsn=1, at_time=1)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "at_lsn" in error.value.details() and "at_time" in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        create(argon, "later", at_time=1 << 60)
    assert error.value.code() == grpc.StatusCode.OUT_OF_RANGE


def test_stale_reads_need_no_log(cluster, argon):
    states = history(argon)
    lsn = max(states)
    assert find(argon) == (lsn, states[lsn])
    cluster.wal.kill()
    assert find(argon, stale_ok=True) == (lsn, states[lsn])
    assert find(argon, stale_ok=True, min_lsn=lsn) == (lsn, states[lsn])
    messages = argon.rpc.Find
    with pytest.raises(grpc.RpcError) as error:
        messages(target=argon.target("p", "c"), read=read(stale_ok=True, min_lsn=lsn + 1), timeout=1)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    cluster.wal.start()
    wait_until(lambda: find(argon) == (lsn, states[lsn]), "the log to be back")


def test_a_stale_read_sees_at_least_min_lsn(cluster, argon):
    other = cluster.client(cluster.start_branch())
    assert find(other) [1] == {}
    lsn = argon.insert("p", "c", {"_id": 1, "v": 1}).lsn
    assert find(other, stale_ok=True, min_lsn=lsn) == (lsn, {1: 1})
