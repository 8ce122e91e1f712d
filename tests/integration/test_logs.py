"""Logs: one JSON object a line, with the trace of the call, slow calls, and nothing of documents."""

import datetime
import json

import bson
import grpc
import pytest
from argon.branch.v1 import branch_pb2

import traditional
from harness import wait_until

SLOW = ["--log-level", "debug", "--slow-request", "1us"]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SECRET = "hunter2-is-secret"


def slow(process, method):
    return [event for event in process.events("rpc.slow") if event["method"].endswith("/" + method)]


def insert(client, identity, parent=None):
    metadata = [("traceparent", parent)] if parent else None
    client.rpc.InsertOne(target=client.target("p", "c"), document=client.document({"_id": identity}), metadata=metadata)


def test_every_line_is_an_event(cluster):
    cluster.start_wal(*SLOW)
    branch = cluster.start_branch(*SLOW)
    cluster.client().create_project("p")
    branch.stop()
    cluster.wal.stop()
    for process, service in ((cluster.wal, "wal-service"), (branch, "branch")):
        lines = process.text().splitlines()
        assert lines
        for event in map(json.loads, lines):
            assert datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).tzinfo
            assert event["service"] == service and event["level"] in ("debug", "info", "warn", "error") and event["event"]


def test_a_trace_goes_through_both_services(cluster):
    cluster.start_wal(*SLOW)
    branch = cluster.start_branch(*SLOW)
    client = cluster.client()
    client.create_project("p")
    insert(client, 1, PARENT)
    insert(client, 2)
    wait_until(lambda: len(slow(branch, "InsertOne")) == 2, "both inserts")
    assert [event.get("trace_id") for event in slow(branch, "InsertOne")] == [TRACE, None]
    assert all(event["code"] == "OK" and event["duration_ms"] >= 0 for event in slow(branch, "InsertOne"))
    wait_until(lambda: TRACE in [event.get("trace_id") for event in slow(cluster.wal, "Append")], "the append")
    assert len([event for event in slow(cluster.wal, "Append") if event.get("trace_id") == TRACE]) == 1


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"01-{TRACE}-00f067aa0ba902b7-01",
        PARENT + "-more",
        '00-"' + TRACE[1:] + "-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_trace_is_none(cluster, parent):
    cluster.start_wal()
    branch = cluster.start_branch(*SLOW)
    client = cluster.client()
    client.create_project("p")
    insert(client, 1, parent)
    wait_until(lambda: slow(branch, "InsertOne"), "the insert")
    assert all("trace_id" not in event for event in slow(branch, "InsertOne"))


def test_only_slow_calls_are_logged_as_slow(cluster):
    cluster.start_wal("--slow-request", "0s")
    branch = cluster.start_branch("--slow-request", "300ms", "--wal-away", "1h")
    client = cluster.client()
    client.create_project("p")
    insert(client, 1)
    cluster.wal.kill()
    with pytest.raises(grpc.RpcError):
        client.insert("p", "c", {"_id": 2}, timeout=1)
    cluster.wal.start()
    wait_until(lambda: branch.events("rpc.slow"), "the slow call")
    assert [event["method"].split("/")[-1] for event in branch.events("rpc.slow")] == ["InsertOne"]
    assert branch.events("rpc.slow")[0]["code"] != "OK" and branch.events("rpc.slow")[0]["duration_ms"] >= 300
    assert not cluster.wal.events("rpc.slow")


def test_streams_that_are_kept_open_are_not_slow(cluster):
    cluster.start_wal(*SLOW)
    branch = cluster.start_branch(*SLOW)
    client = cluster.client()
    client.create_project("p")
    watch = client.rpc.stream("Watch", timeout=60, project="p", branch="main")
    insert(client, 1)
    next(iter(watch))
    watch.cancel()
    wait_until(lambda: slow(branch, "InsertOne"), "the insert")
    branch.stop()
    assert not slow(branch, "Watch") and not slow(cluster.wal, "Read")


# Each of these carries the secret, and most of them fail.
def with_the_secret(client, branch):
    target, document = client.target("p", "c", branch), client.document
    ident, read, write = {"_id": SECRET}, {"secret": SECRET}, {"$set": {"secret": SECRET}}
    yield lambda: client.rpc.InsertOne(target=target, document=document({**ident, **read}))
    yield lambda: client.rpc.InsertOne(target=target, document=document(ident))  # a duplicate
    yield lambda: client.rpc.InsertOne(target=target, document=document({"_id": {"$bad": SECRET}}))
    yield lambda: client.rpc.InsertOne(target=target, document=branch_pb2.Document(bson=bson.encode(read) + SECRET.encode()))
    yield lambda: client.rpc.InsertMany(target=target, documents=[document({"_id": f"{SECRET}-{i}"}) for i in range(3)])
    for filter in (read, {"secret": {"$regex": SECRET}}, {"secret": {"$regex": "(" + SECRET}}, {"$" + SECRET: 1}, {"a": {"$in": SECRET}}, ident):
        yield lambda filter=filter: list(client.rpc.stream("Find", timeout=30, target=target, filter=document(filter)))
        yield lambda filter=filter: client.rpc.Count(target=target, filter=document(filter))
        yield lambda filter=filter: client.rpc.DeleteOne(target=client.target("p", "other", branch), filter=document(filter))
    for update in (write, {"$" + SECRET: {"a": 1}}, {"$inc": {"secret": SECRET}}, {"$inc": {SECRET: 1}}, {"$push": {"secret": SECRET}}):
        yield lambda update=update: client.rpc.UpdateOne(target=target, filter=document(ident), update=document(update))
        yield lambda update=update: client.rpc.UpdateMany(target=target, filter=document({}), update=document(update))


@pytest.mark.parametrize("kind", ["log", "MongoDB"])
def test_nothing_of_documents_and_filters_is_logged(cluster, mongo_server, kind):
    cluster.start_wal(*SLOW)
    server = mongo_server()
    branch = cluster.start_branch(*SLOW, *traditional.options(server))
    client = cluster.client()
    client.create_project("p")
    name = "main"
    if kind == "MongoDB":
        name = "t"
        traditional.create(client, name)
    outcomes = set()
    for call in with_the_secret(client, name):
        try:
            call()
            outcomes.add("OK")
        except grpc.RpcError as error:
            outcomes.add(error.code().name)
    assert {"OK", "INVALID_ARGUMENT", "ALREADY_EXISTS"} <= outcomes, outcomes
    assert slow(branch, "Find") and slow(branch, "InsertOne")
    branch.stop()
    cluster.wal.stop()
    for process in (branch, cluster.wal):
        assert process.text() and SECRET not in process.text()


def test_what_mongodb_says_of_an_unknown_failure_is_not_logged(cluster, mongo_server):
    """It may quote what it was sent."""
    cluster.start_wal()
    server = mongo_server()
    branch = cluster.start_branch(*traditional.options(server))
    client = cluster.client()
    client.create_project("p")
    traditional.create(client, "t")
    server.fail_next(["insert"], times=1, errorCode=8)
    with pytest.raises(grpc.RpcError) as error:
        client.insert("p", "c", {"_id": SECRET}, branch="t")
    assert error.value.code() == grpc.StatusCode.UNKNOWN and "MongoDB: " in error.value.details()
    event = wait_until(lambda: branch.events("rpc.failed"), "the failure")[0]
    assert event["code"] == "UNKNOWN" and "MongoDB" not in json.dumps(event)
