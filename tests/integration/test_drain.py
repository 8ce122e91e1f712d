"""A service that is told to go loses no request of a client that sends it again."""

import collections
import pathlib
import re
import threading
import time
import uuid

import bson
import grpc

from harness import Argon, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESTARTS = 20
# what docs/errors.md advises
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
POLICY = [("grpc.service_config", re.search(r"```json\n(.*?)```", (ROOT / "docs/errors.md").read_text(), re.S).group(1))]


class Counter(threading.Thread):
    """Counts in a document of its own, one increment after the other, each until it is answered with OK."""

    def __init__(self, address, name, options=()):
        super().__init__()
        self.argon, self.name = Argon(address, options), name
        self.target = self.argon.target("p", "counters")
        self.since = self.argon.insert("p", "counters", {"_id": name, "n": 0}).lsn
        self.done, self.codes, self.failure, self.stop = 0, collections.Counter(), None, threading.Event()
        self.start()

    def run(self):
        try:
            while not self.stop.is_set():
                answer = self.increment(self.argon.write(uuid.uuid4().hex, self.since))
                assert answer.modified == 1
                self.since = answer.lsn
                self.done += 1
        except BaseException as error:  # for the test to raise
            self.failure = error
        finally:
            self.argon.close()

    def increment(self, write):
        return self.argon.rpc.UpdateOne(
            target=self.target,
            filter=self.argon.document({"_id": self.name}),
            update=self.argon.document({"$inc": {"n": 1}}),
            write=write,
            timeout=20,
            wait_for_ready=True,
        )


class Looping(Counter):
    """Sends again by itself; the other counters leave that to gRPC's policy, and see no failure at all."""

    def increment(self, write):
        while True:
            try:
                return super().increment(write)
            except grpc.RpcError as error:
                if error.code() not in AGAIN:
                    raise
                self.codes[error.code().name] += 1
                time.sleep(0.02)  # as any client does before it tries again


def test_restarts_lose_no_request_and_repeat_none(cluster, argon):
    branch = cluster.branches[0]
    project_id = argon.rpc.GetProject(name="p").project.id
    counters = [Looping(branch.address, f"counter-{n}") for n in range(2)]
    counters += [Counter(branch.address, f"counter-{n}", POLICY) for n in range(2, 4)]
    for _ in range(RESTARTS):
        before = [counter.done for counter in counters]
        # under load when it is told to go
        wait_until(lambda: all(c.failure or c.done > b + 20 for c, b in zip(counters, before)), "increments")
        branch.stop()
        branch.start()
    for counter in counters:
        counter.stop.set()
    for counter in counters:
        counter.join()
        assert counter.failure is None, counter.failure
    codes = sum((counter.codes for counter in counters), collections.Counter())
    print(dict(codes), sum(counter.done for counter in counters))
    after = cluster.client()
    assert {d["_id"]: d["n"] for d in after.find("p", "counters")} == {c.name: c.done for c in counters}
    # in the log every value is there once, in turn
    written = collections.defaultdict(list)
    for message in cluster.wal_client().Read(project_id=project_id, timeout=60):
        for run in message.runs:
            for entry in run.entries:
                document = bson.decode(entry.document) if entry.document else {}
                if str(document.get("_id")).startswith("counter-") and "n" in document:
                    written[document["_id"]].append(document["n"])
    assert written == {counter.name: list(range(counter.done + 1)) for counter in counters}
