"""Materialize builds what readers then find in memory."""

import grpc
import pytest
from argon.branch.v1 import branch_pb2

from harness import in_parallel


def materialize(client, *collections, branch="main", **read):
    messages = client.rpc.Materialize(
        project="p", branch=branch, collections=collections, read=branch_pb2.ReadOptions(**read)
    )
    progress = {p.collection: p for m in messages for p in m.progress if p.done}
    return messages, progress


def fill(client):
    for i in range(10):
        client.insert_many("p", f"c{i}", [{"_id": j, "v": "x" * 50} for j in range(100 + i)])


def test_every_collection_is_built_and_reads_find_it(cluster, argon):
    fill(argon)
    other = cluster.client(cluster.start_branch())
    messages, progress = materialize(other)
    assert {name: p.documents for name, p in progress.items()} == {f"c{i}": 100 + i for i in range(10)}
    assert all(p.bytes > p.documents * 50 for p in progress.values())
    assert messages[-1].lsn == argon.head("p")
    views = other.rpc.GetStatus().views
    for i in range(10):
        assert other.count("p", f"c{i}") == 100 + i
    assert other.rpc.GetStatus().views == views, "nothing was left to build"


def test_named_collections_and_states_of_the_past(cluster, argon):
    fill(argon)
    lsn = argon.head("p")
    argon.insert("p", "c0", {"_id": 1000})
    other = cluster.client(cluster.start_branch())
    messages, progress = materialize(other, "c0", as_of_lsn=lsn)
    assert ({n: p.documents for n, p in progress.items()}, messages[-1].lsn) == ({"c0": 100}, lsn)


def test_an_empty_branch_says_where_it_is(argon):
    argon.create_branch("p", "b")
    messages, progress = materialize(argon, branch="b")
    assert progress == {} and messages[-1].lsn == argon.head("p")


def test_a_missing_collection_is_named(argon):
    fill(argon)
    with pytest.raises(grpc.RpcError) as error:
        materialize(argon, "c1", "nowhere")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND and "nowhere" in error.value.details()


def test_a_collection_over_the_budget_is_named(cluster, argon):
    for i in range(4):
        argon.insert_many("p", "large", [{"_id": 1000 * i + j, "v": "x" * 1000} for j in range(1000)])
    small = cluster.client(cluster.start_branch("--memory", "1M"))
    with pytest.raises(grpc.RpcError) as error:
        materialize(small, "large")
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "large" in error.value.details()


def test_collections_that_fit_one_at_a_time_are_built_one_at_a_time(cluster, argon):
    for i in range(3):
        argon.insert_many("p", "large", [{"_id": 1000 * i + j, "v": "x" * 1000} for j in range(1000)])
    for i in range(16):
        argon.create_branch("p", f"b{i}")
    small = cluster.client(cluster.start_branch("--memory", "5M"))
    counts = in_parallel(*(lambda i=i: small.count("p", "large", branch=f"b{i}") for i in range(16)))
    assert counts == [3000] * 16
    assert small.rpc.GetStatus().memory_used_bytes <= 5 << 20
