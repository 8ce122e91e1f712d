"""A watch shows exactly the changes that the log holds for its branch, however often it is begun again."""

import random
import threading

import bson
import grpc
import pytest
from harness import wait_until
from watch_model import LogModel, apply, as_tuple, find_state, of_collection

IDS = [*range(6), 0.5, 2.0**40, bson.Int64(7), "a", "b", {"x": 1.0}, None]


class Writer:
    """Random changes of the project p, until it is told to stop; its branches by name, each with its own collections."""

    def __init__(self, client, seed):
        self.client, self.random = client, random.Random(seed)
        self.branches = ["main"]
        self.ends = [client.head("p")]  # batch ends
        self.counter = self.steps = 0
        self.lock, self.stopping, self.failure = threading.Lock(), threading.Event(), None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except BaseException as failure:  # handed to the test
            self.failure = failure

    def finish(self):
        self.stopping.set()
        self.thread.join()
        if self.failure:
            raise self.failure

    def fresh(self, prefix):
        self.counter += 1
        return f"{prefix}{self.counter}"

    def note(self, lsn):
        with self.lock:
            self.ends.append(max(lsn, self.ends[-1]))

    def any_end(self):
        with self.lock:
            return self.random_of_reader.choice(self.ends)

    random_of_reader = random.Random(7)

    def step(self):
        self.steps += 1
        chance, branch = self.random.random(), self.random.choice(self.branches)
        try:
            if chance < 0.05 and len(self.branches) < 9:
                self.fork(branch)
            elif chance < 0.07 and branch != "main":
                name = self.fresh("moved")
                self.note(self.client.rpc.RenameBranch(project="p", name=branch, new_name=name).lsn)
                self.branches[self.branches.index(branch)] = name
            elif chance < 0.08 and branch != "main" and len(self.branches) > 5:
                self.branches.remove(branch)
                self.note(self.client.rpc.DeleteBranch(project="p", name=branch).lsn)
            elif chance < 0.18:
                self.change_catalog(branch)
            else:
                self.change_documents(branch)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS), error

    def fork(self, branch):
        name, at = self.fresh("branch"), self.random.choice([0, 0, self.random.choice(self.ends), self.random.randint(1, self.ends[-1])])
        with self.lock:
            answer = self.client.rpc.CreateBranch(project="p", name=name, **{"from": branch}, at_lsn=at)
            self.branches.append(name)
        self.note(answer.lsn)

    def change_catalog(self, branch):
        names, rpc = self.client.collections("p", branch), self.client.rpc
        target = self.client.target("p", self.random.choice(names or ["none"]), branch)
        kind = self.random.random()
        if kind < 0.4:
            self.note(rpc.RenameCollection(target=target, new_name=self.random.choice(["c", "d", "e"])).lsn)
        elif kind < 0.7:
            self.note(rpc.DropCollection(target=target).lsn)
        else:
            self.note(rpc.CreateCollection(target=self.client.target("p", self.random.choice(["c", "d", "e"]), branch)).lsn)

    def change_documents(self, branch):
        client, collection, actor = self.client, self.random.choice(["c", "c", "d", "e"]), self.random.choice(["", "ada"])
        kind, id = self.random.random(), self.random.choice(IDS)
        if kind < 0.3:
            self.note(client.insert("p", collection, {"_id": id, "v": self.fresh("v")}, branch=branch, actor=actor).lsn)
        elif kind < 0.5:
            size = 200_000 if self.random.random() < 0.05 else 5  # more than a message holds, at times
            documents = [{"_id": id, "v": self.fresh("v"), "p": "x" * size} for id in self.random.sample(IDS, self.random.randint(1, len(IDS)))]
            self.note(client.insert_many("p", collection, documents, branch=branch, skip=True).lsn)
        elif kind < 0.7:
            update, many = {"$set": {"v": self.fresh("v")}}, self.random.random() < 0.5
            self.note(client.update("p", collection, {} if many else {"_id": id}, update, branch=branch, many=many, actor=actor).lsn)
        else:
            many = self.random.random() < 0.3
            self.note(client.delete("p", collection, {} if many else {"_id": id}, branch=branch, many=many).lsn)


class Reader:
    """One watch, begun again and again: at random places, behind what it has been told, through a service that is killed."""

    def __init__(self, process, client, branch, after, collection=""):
        self.process, self.client = process, client
        self.branch, self.collection, self.after = branch, collection, after
        self.begin = None  # where it says that it begins
        self.through, self.seen = after, []

    def last_seen(self):
        return self.seen[-1][0] if self.seen else 0

    def read(self, most=None, kill=False):
        """So many messages, or all that there is."""
        stream = self.client.rpc.stream(
            "Watch", 60, project="p", branch=self.branch, collection=self.collection, after_lsn=self.through, stop_at_head=most is None
        )
        try:
            for number, message in enumerate(stream):
                if number == 0:
                    assert not message.changes
                    if self.begin is None:  # rounded down to a batch end; later on it is one
                        assert message.through_lsn <= self.through
                        self.begin = self.through = message.through_lsn
                    assert message.through_lsn == self.through
                assert message.through_lsn >= self.through
                known = self.last_seen()
                changes = [as_tuple(change) for change in message.changes]
                lsns = [change[0] for change in changes]
                assert lsns == sorted(set(lsns)) and all(lsn > self.through for lsn in lsns), "in order, each once"
                self.seen += [change for change in changes if change[0] > known]
                self.through = message.through_lsn
                if number == most:
                    break
        finally:
            if kill:
                self.process.kill()
                self.process.start()
            stream.cancel()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_shows_what_the_log_holds(cluster, argon, seed):
    choose = random.Random(seed)
    argon.insert_many("p", "c", [{"_id": id} for id in IDS])
    writer = Writer(argon, seed)
    for _ in range(200):
        writer.step()
    watched = cluster.start_branch("--workers", "3")
    client = cluster.client(watched)
    writer.thread.start()
    readers = []
    for round in range(30):
        with writer.lock:
            branch, last = choose.choice(writer.branches), writer.ends[-1]
        after = choose.choice([0, last, choose.randint(0, last)])
        reader = Reader(watched, client, branch, after, choose.choice(["", "", "c", "d"]))
        readers.append(reader)
        for one in choose.sample(readers, min(3, len(readers))):
            try:
                one.read(most=choose.randint(1, 6), kill=choose.random() < 0.1)
            except grpc.RpcError as error:  # it was renamed or deleted meanwhile
                assert error.code() == grpc.StatusCode.NOT_FOUND and one.branch in error.details(), error
    wait_until(lambda: writer.steps >= 800 or writer.failure, "enough to look at", 120)
    writer.finish()
    project = argon.rpc.GetProject(name="p").project
    model = LogModel(cluster.wal_client(), project.id)
    checked = 0
    for reader in readers:
        if reader.branch in writer.branches:
            reader.read()
            assert reader.through == project.head_lsn
        if reader.begin is None:
            continue
        expected = [c for c in model.changes(model.names[reader.branch]) if reader.begin < c[0] <= max(reader.through, reader.last_seen())]
        if reader.collection:
            expected = of_collection(expected, reader.collection)
        assert reader.seen == expected, f"{reader.branch} after {reader.after}"
        checked += len(expected)
        assert reader.begin <= reader.after < reader.begin + 2000
    assert checked > 500  # readers choose what they see; this is far less than they ever did
    for branch in writer.branches:
        changes = model.changes(model.names[branch])
        for _ in range(6):
            after, through = sorted(writer.any_end() for _ in range(2))
            between = [change for change in changes if after < change[0] <= through]
            assert apply(find_state(argon, branch, after), between) == find_state(argon, branch, through), f"{branch} {after}..{through}"
