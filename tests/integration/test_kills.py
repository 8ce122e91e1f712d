"""Fifty kills of each service under writers, readers, forks and follows: nothing acknowledged is missing, nothing is there twice,
and no follow stream has a gap or a repeat."""

import random
import threading

import bson
import grpc
import pytest

from harness import wait_until
from log_check import check_log

KILLS = 50
BATCH = 5
# CANCELLED is what gRPC's own clients make of a call that reached a server in its last moment
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED)


class Actor(threading.Thread):
    """Does something again and again until it is told to stop; a failure that is no outage is kept."""

    def __init__(self, act):
        super().__init__()
        self.act, self.failure, self.last_error, self.stopping = act, None, None, threading.Event()
        self.rounds = 0
        self.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.act(self)
                self.rounds += 1
            except grpc.RpcError as error:
                self.last_error = error
                if error.code() not in AWAY:
                    self.failure = error
                    return
                self.stopping.wait(0.02)  # as any client does before it tries again
            except BaseException as error:  # for the test to raise
                self.failure = error
                return


class Acknowledged:
    def __init__(self):
        self.lock = threading.Lock()
        self.batches, self.branches = [], []

    def count(self):
        with self.lock:
            return len(self.batches)


def writer(client, acknowledged, name):
    numbers = iter(range(10**9))

    def act(actor):
        batch = f"{name}-{next(numbers)}"
        client.insert_many("p", "c", [{"_id": f"{batch}/{i}", "batch": batch} for i in range(BATCH)], timeout=10)
        with acknowledged.lock:
            acknowledged.batches.append(batch)

    return act


def reader(client, acknowledged):
    """A strong read sees everything that was acknowledged before it began."""

    def act(actor):
        with acknowledged.lock:
            expected = acknowledged.batches[-20:]
        if expected:
            found = client.find("p", "c", {"_id": f"{expected[0]}/0"}, timeout=10)
            assert found, f"{expected[0]} was acknowledged and is not read"

    return act


def forker(client, acknowledged):
    """A branch has what its parent had when it was made."""
    numbers = iter(range(10**9))

    def act(actor):
        actor.stopping.wait(0.02)  # branches are checked one by one in the end
        with acknowledged.lock:
            expected = acknowledged.batches[-1:]
        name = f"b{next(numbers)}"
        client.create_branch("p", name, timeout=10)
        with acknowledged.lock:
            acknowledged.branches.append((name, expected))

    return act


class Follower:
    """Follows the log itself: every LSN once, in order."""

    def __init__(self, client, project):
        self.client, self.project, self.through = client, project, 0

    def act(self, actor):
        for message in self.client.stream("Read", project_id=self.project, after_lsn=self.through, follow=True, timeout=3):
            for run in message.runs:
                assert run.first_lsn == self.through + 1, f"a run at {run.first_lsn} behind {self.through}"
                self.through += len(run.entries)
            assert message.complete_through == self.through
            if actor.stopping.is_set():
                return


class Watcher:
    """Watches a collection: every document once."""

    def __init__(self, client):
        self.client, self.through, self.seen, self.last = client, 0, {}, 0

    def act(self, actor):
        for message in self.client.rpc.stream("Watch", project="p", branch="main", collection="c", after_lsn=self.through, timeout=3):
            for change in message.changes:
                assert change.lsn > self.through, f"LSN {change.lsn} again, behind {self.through}"
                if change.lsn <= self.last or change.kind != 1:
                    continue  # a batch may come in parts, and again when the stream breaks amid it
                self.last = change.lsn
                _id = bson.decode(change.document_id.bson)["_id"]
                assert _id not in self.seen, f"{_id} at {self.seen[_id]} and at {change.lsn}"
                self.seen[_id] = change.lsn
            assert message.through_lsn >= self.through
            self.through = message.through_lsn
            if actor.stopping.is_set():
                return


@pytest.mark.parametrize("victim", ["wal", "branch"])
def test_fifty_kills_under_writers_readers_forks_and_follows(cluster, victim):
    cluster.start_wal()
    first, second = cluster.start_branch(), cluster.start_branch()
    setup = cluster.client(first)
    setup.create_project("p")
    setup.insert("p", "c", {"_id": "first"})
    project = setup.rpc.GetProject(name="p").project.id
    acknowledged = Acknowledged()
    follower, watcher = Follower(cluster.wal_client(), project), Watcher(cluster.client(second))
    actors = [
        Actor(writer(cluster.client(first), acknowledged, "a")),
        Actor(writer(cluster.client(first), acknowledged, "b")),
        Actor(writer(cluster.client(second), acknowledged, "c")),
        Actor(reader(cluster.client(second), acknowledged)),
        Actor(forker(cluster.client(first), acknowledged)),
        Actor(follower.act),
        Actor(watcher.act),
    ]
    process = cluster.wal if victim == "wal" else second
    randomness = random.Random(3)
    try:
        for _ in range(KILLS):
            target = acknowledged.count() + randomness.randrange(1, 20)
            wait_until(lambda: acknowledged.count() >= target or any(actor.failure for actor in actors), "writes to go on")
            process.kill()
            process.start()
        target = acknowledged.count() + 20
        wait_until(lambda: acknowledged.count() >= target or any(actor.failure for actor in actors), "writes after the last kill")
    finally:
        for actor in actors:
            actor.stopping.set()
        for actor in actors:
            actor.join()
    failures = [actor.failure for actor in actors if actor.failure]
    assert not failures, failures

    fresh = cluster.client(cluster.start_branch())
    found = {}
    for document in fresh.find("p", "c"):
        if document["_id"] != "first":
            found[document["batch"]] = found.get(document["batch"], 0) + 1
    assert not [batch for batch in acknowledged.batches if found.get(batch) != BATCH], "acknowledged and not there"
    assert set(found.values()) == {BATCH}, "a batch is there in part"
    check_log(cluster.wal_client(), project)
    for name, expected in random.Random(4).sample(acknowledged.branches, min(20, len(acknowledged.branches))):
        for batch in expected:
            assert fresh.find("p", "c", {"_id": f"{batch}/0"}, branch=name), f"{batch} is missing on branch {name}"

    # what the streams have not shown yet they show now, still without a gap or a repeat
    head = setup.head("p")
    finish = Actor(follower.act)
    wait_until(lambda: follower.through >= head or finish.failure, "the follower to catch up")
    finish.stopping.set()
    setup.insert("p", "c", {"_id": "last"})
    finish.join()
    assert not finish.failure, finish.failure
    finish = Actor(watcher.act)
    wait_until(lambda: "last" in watcher.seen or finish.failure, f"the watcher to catch up, it is at {watcher.through}: {finish.last_error}")
    finish.stopping.set()
    finish.join()
    assert not finish.failure, finish.failure
    documents = {document["_id"] for document in fresh.find("p", "c")}
    assert set(watcher.seen) == documents
    assert len(acknowledged.branches) > 0 and actors[3].rounds > 0
