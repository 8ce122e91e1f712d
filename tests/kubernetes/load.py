#!/usr/bin/python3
"""Clients that never rest, while replicas come and go; what they did and saw goes to a file for history.py.

    tests/kubernetes/load.py ENDPOINT HISTORY [WRITERS READERS]       until SIGTERM

Each client has a channel of its own that balances over all replicas, and does one thing after the other, each until it is
answered: what docs/errors.md calls worth sending again is sent again, writes with the same request_id. The documents are few,
so that clients meet at them.

    write    {$inc: {n: 1}, $set: {by: REQUEST}} on a document: n counts the writes that there were, by names the last
    read     of such a document: n and by
    insert   of a new document
"""

import json
import random
import signal
import sys
import threading
import time
import uuid

import prepare  # noqa: F401
from harness import Argon

import grpc

DOCUMENTS = 6
TRY_SECONDS, PATIENCE_SECONDS = 5, 120
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED)
BALANCED = [
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class Client(threading.Thread):
    def __init__(self, load, name, act):
        super().__init__(name=name)
        self.load, self.act = load, act
        self.argon = Argon(load.endpoint, BALANCED)
        self.random = random.Random(name)
        self.since = 0
        self.done = 0

    def run(self):
        while not self.load.stop.is_set():
            self.act(self)
            self.done += 1
        self.argon.close()

    def until_answered(self, record, call):
        """Sends until there is an answer; notes when that began and ended, and what the answers before were."""
        tries, begin, wall = [], time.monotonic(), time.time()
        while True:
            try:
                answer = call()
                break
            except grpc.RpcError as error:
                tries.append(error.code().name)
                if error.code() not in AGAIN or time.monotonic() - begin > PATIENCE_SECONDS:
                    self.load.note({**record, "client": self.name, "failed": f"{error.code().name}: {error.details()}", "begin": begin, "wall": wall})
                    return None
                time.sleep(min(0.02 * 2 ** len(tries), 0.5) * self.random.uniform(0.5, 1))
        self.load.note({**record, **answer, "client": self.name, "begin": begin, "end": time.monotonic(), "wall": wall, "again": tries})
        return answer

    def write(self):
        name, request = f"document-{self.random.randrange(DOCUMENTS)}", uuid.uuid4().hex

        def call():
            answer = self.argon.update(
                "load", "shared", {"_id": name}, {"$inc": {"n": 1}, "$set": {"by": request}},
                timeout=TRY_SECONDS, request_id=request, since=self.since,
            )
            return {"lsn": answer.lsn, "modified": answer.modified}

        answer = self.until_answered({"kind": "write", "document": name, "by": request}, call)
        self.since = answer["lsn"] if answer else self.since

    def read(self):
        name = f"document-{self.random.randrange(DOCUMENTS)}"

        def call():
            found = self.argon.find_one("load", "shared", {"_id": name}, timeout=TRY_SECONDS)
            return {"n": found["n"], "by": found["by"]}

        self.until_answered({"kind": "read", "document": name}, call)

    def insert(self):
        name, request = f"{self.name}-{self.done}", uuid.uuid4().hex

        def call():
            return {"lsn": self.argon.insert("load", "own", {"_id": name}, timeout=TRY_SECONDS, request_id=request, since=self.since).lsn}

        answer = self.until_answered({"kind": "insert", "document": name}, call)
        self.since = answer["lsn"] if answer else self.since

    def mixed(self):
        (self.write if self.random.random() < 0.7 else self.insert)()


class Load:
    def __init__(self, endpoint, path, writers, readers):
        self.endpoint, self.stop, self.lock = endpoint, threading.Event(), threading.Lock()
        self.file = open(path, "w")
        first = Argon(endpoint, BALANCED)
        first.create_project("load")
        for number in range(DOCUMENTS):
            since = first.insert("load", "shared", {"_id": f"document-{number}", "n": 0, "by": ""}).lsn
        self.clients = [Client(self, f"writer-{i}", Client.mixed) for i in range(writers)]
        self.clients += [Client(self, f"reader-{i}", Client.read) for i in range(readers)]
        for client in self.clients:
            client.since = since
        self.first = first

    def note(self, record):
        line = json.dumps(record)
        with self.lock:
            self.file.write(line + "\n")

    def run(self):
        for client in self.clients:
            client.start()
        print("running", flush=True)
        for client in self.clients:
            client.join()
        self.note({
            "kind": "final",
            "documents": {d["_id"]: {"n": d["n"], "by": d["by"]} for d in self.first.find("load", "shared")},
            "inserted": sorted(d["_id"] for d in self.first.find("load", "own")),
        })
        self.file.close()


load = Load(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:] or (6, 4)))
signal.signal(signal.SIGTERM, lambda *_: load.stop.set())
load.run()
