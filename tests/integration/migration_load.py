"""Writers on a branch that is being migrated, and what must be there in the end."""

import threading
import time

import grpc

from argon.branch.v1 import branch_pb2

# what a client hears when something is away, or nobody can tell; every other error fails the test
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED)


def goes_on(call, stop_after=60):
    """Sends a call that goes on where it stopped until it succeeds, or fails with something that is no outage."""
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in AWAY:
                raise
            stop_after -= 1
            if stop_after == 0:
                raise
            threading.Event().wait(0.1)


class Writer(threading.Thread):
    """Inserts documents without an _id, changes and deletes documents of its own share of those that were there before.

    What was answered OK is known to be there once; what was not may be there, or not."""

    def __init__(self, client, branch, name, collections, share, timeout=30, pause=0.0):
        super().__init__(daemon=True)  # a test that fails does not stop it
        self.client, self.branch, self.name_, self.collections, self.share = client, branch, name, collections, list(share)
        self.timeout, self.pause = timeout, pause
        self.stopping = threading.Event()
        self.inserted, self.maybe_inserted = set(), set()
        self.changed, self.deleted, self.maybe_touched = {}, set(), set()
        self.longest = 0.0  # seconds that a write took which was answered OK
        self.failure = None
        self.start()

    def attempt(self, call):
        begun = time.monotonic()
        try:
            call()
            self.longest = max(self.longest, time.monotonic() - begun)
            return True
        except grpc.RpcError as error:
            if error.code() not in AWAY:
                raise
            self.stopping.wait(0.02)
            return False

    def run(self):
        try:
            turn = 0
            while not self.stopping.is_set():
                self.write(turn)
                turn += 1
                self.stopping.wait(self.pause)
        except BaseException as error:  # for the test to raise
            self.failure = error

    def write(self, turn):
        collection = self.collections[turn % len(self.collections)]
        mark = (collection, f"{self.name_}-{turn}")
        inserted = self.attempt(lambda: self.client.insert("p", collection, {"n": mark[1]}, branch=self.branch, timeout=self.timeout))
        (self.inserted if inserted else self.maybe_inserted).add(mark)
        if not self.share or turn % 2:
            return
        key = self.share.pop()
        if turn % 4:
            done = self.attempt(lambda: self.client.delete("p", key[0], {"_id": key[1]}, branch=self.branch, timeout=self.timeout))
            (self.deleted if done else self.maybe_touched).add(key)
            return
        change = {"$set": {"by": mark[1]}}
        done = self.attempt(lambda: self.client.update("p", key[0], {"_id": key[1]}, change, branch=self.branch, timeout=self.timeout))
        if done:
            self.changed[key] = mark[1]
        else:
            self.maybe_touched.add(key)

    def stop(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise self.failure


def load(client, branch, collections, n, batch=1000):
    """n documents in the collections; their keys."""
    keys = []
    for collection in collections:
        share = n // len(collections)
        for start in range(0, share, batch):
            client.insert_many("p", collection, [{"_id": i, "v": i, "text": "t" * (i % 100)} for i in range(start, min(start + batch, share))], branch=branch)
        keys += [(collection, i) for i in range(share)]
    return keys


def shares(keys, n):
    return [keys[i::n] for i in range(n)]


def check(state, keys, writers):
    """state: {collection: {_id: document}}"""
    inserted = {}
    for collection, documents in state.items():
        for document in documents.values():
            if "n" in document:
                inserted.setdefault((collection, document["n"]), []).append(document)
    known = set().union(*(writer.inserted for writer in writers))
    maybe = set().union(*(writer.maybe_inserted for writer in writers))
    missing = known - set(inserted)
    assert not missing, f"{len(missing)} of {len(known)} acknowledged inserts are missing: {sorted(missing)[:5]}"
    twice = [mark for mark, documents in inserted.items() if len(documents) > 1]
    assert not twice, f"inserted twice: {twice[:5]}"
    assert set(inserted) <= known | maybe
    deleted = set().union(*(writer.deleted for writer in writers))
    touched = set().union(*(writer.maybe_touched for writer in writers))
    changed = {key: by for writer in writers for key, by in writer.changed.items()}
    back = [key for key in deleted if key[1] in state[key[0]]]
    assert not back, f"deleted, and there again: {back[:5]}"
    for collection, i in keys:
        if (collection, i) in deleted or (collection, i) in touched:
            continue
        document = state[collection].get(i)
        assert document is not None, f"{collection}/{i} is missing"
        assert document.get("by") == changed.get((collection, i)), f"{collection}/{i}: {document}"
        assert document["text"] == "t" * (i % 100)
    return len(known), len(deleted), len(changed)
