"""Replicas that follow the log: what is acknowledged anywhere is seen everywhere, and a quiet log is not read."""

import random
import shutil

import bson
import grpc
import pytest
from argon.branch.v1 import branch_pb2
from harness import in_parallel, wait_until


def status(client, project="p"):
    return client.rpc.GetStatus(project=project)


def wait_for_log(client, project="p"):
    """Until the replica has what the log has, without asking it for a read."""

    def reached():
        now = status(client, project)
        return now.commit_lsn and now.replica_lsn == now.commit_lsn

    wait_until(reached, "the replica to follow")


def dump(client, branches):
    """Everything that can be read of a project."""
    state = {}
    for branch in branches:
        names = client.collections("p", branch)
        state[branch] = {name: client.find("p", name, branch=branch) for name in names}
    return state


class Model:
    """What one project must hold: branch -> collection -> _id -> document."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.branches = {"main": {}}
        self.counter = 0

    def fresh(self, prefix):
        self.counter += 1
        return f"{prefix}{self.counter}"

    def step(self, write, read):
        """One change through `write`; `read` must see it at once."""
        branch = self.random.choice(list(self.branches))
        collections = self.branches[branch]
        action = self.random.random()
        if action < 0.04 and len(self.branches) < 12:
            name = self.fresh("branch")
            write.create_branch("p", name, start=branch)
            self.branches[name] = {c: dict(documents) for c, documents in collections.items()}
            collection = self.random.choice(list(collections) or ["none"])
            assert read.count("p", collection, branch=name) == len(collections.get(collection, {}))
        elif action < 0.06 and branch != "main":
            write.rpc.DeleteBranch(project="p", name=branch)
            del self.branches[branch]
            with pytest.raises(grpc.RpcError) as error:
                read.count("p", "c", branch=branch)
            assert error.value.code() == grpc.StatusCode.NOT_FOUND
        elif action < 0.08 and branch != "main":
            name = self.fresh("moved")
            write.rpc.RenameBranch(project="p", name=branch, new_name=name)
            self.branches[name] = self.branches.pop(branch)
            assert set(read.collections("p", name)) == set(collections)
        elif action < 0.11 and collections:
            collection = self.random.choice(list(collections))
            write.rpc.DropCollection(target=write.target("p", collection, branch))
            del collections[collection]
            assert read.count("p", collection, branch=branch) == 0
        elif action < 0.14 and collections:
            collection, name = self.random.choice(list(collections)), self.fresh("renamed")
            write.rpc.RenameCollection(target=write.target("p", collection, branch), new_name=name)
            collections[name] = collections.pop(collection)
            assert read.count("p", name, branch=branch) == len(collections[name])
        else:
            self.change_document(write, read, branch, collections)

    def change_document(self, write, read, branch, collections):
        collection = self.random.choice(["c", "d", *collections])
        documents = collections.get(collection, {})
        if documents and self.random.random() < 0.5:
            key = self.random.choice(list(documents))
            if self.random.random() < 0.3:
                assert write.delete("p", collection, {"_id": key}, branch=branch).deleted == 1
                del documents[key]
                assert read.find_one("p", collection, {"_id": key}, branch=branch) is None
                return
            value = self.fresh("v")
            assert write.update("p", collection, {"_id": key}, {"$set": {"v": value}}, branch=branch).matched == 1
            documents[key] = {"_id": key, "v": value}
        else:
            key = self.counter = self.counter + 1
            collections.setdefault(collection, {})[key] = {"_id": key, "v": "new"}
            write.insert("p", collection, {"_id": key, "v": "new"}, branch=branch)
        expected = collections[collection][key]
        find = find_one if self.random.random() < 0.5 else lambda client, filter, **where: client.find_one("p", filter=filter, **where)
        assert find(read, {"_id": key}, collection=collection, branch=branch) == expected

    def state(self):
        return {
            branch: {name: [documents[key] for key in sorted(documents)] for name, documents in collections.items()}
            for branch, collections in self.branches.items()
        }


@pytest.mark.parametrize("seed", [1, 2])
def test_a_strong_read_sees_what_another_replica_acknowledged(cluster, argon, seed):
    other = cluster.client(cluster.start_branch())
    model = Model(seed)
    clients = [argon, other]
    for _ in range(1500):
        if model.random.random() < 0.1:
            clients.reverse()
        model.step(*clients)
    fresh = cluster.client(cluster.start_branch("--max-follows", "0"))
    for client in (argon, other, fresh):
        assert dump(client, model.branches) == model.state()


def test_readers_and_writers_on_both_replicas_at_once(cluster, argon):
    """Own batches, followed ones and refreshes meet; a counter never goes back and never loses."""
    other = cluster.client(cluster.start_branch())
    argon.insert("p", "c", {"_id": 0, "n": 0})

    def write(client):
        def run():
            for _ in range(150):
                client.update("p", "c", {"_id": 0}, {"$inc": {"n": 1}})

        return run

    def read(client):
        def run():
            seen = 0
            for _ in range(300):
                now = client.find_one("p", "c", {"_id": 0})["n"]
                assert now >= seen
                seen = now

        return run

    in_parallel(write(argon), write(argon), write(other), read(argon), read(other), read(other))
    fresh = cluster.client(cluster.start_branch())
    for client in (argon, other, fresh):
        assert client.find_one("p", "c", {"_id": 0})["n"] == 450


def test_nothing_is_read_from_a_quiet_log(cluster, argon):
    other = cluster.client(cluster.start_branch())
    argon.insert_many("p", "c", [{"_id": i} for i in range(100)])
    assert other.count("p", "c") == 100
    for i in range(100, 120):
        argon.insert("p", "c", {"_id": i})
    wait_for_log(other)
    before = status(other)
    assert before.projects_followed == 2  # and _system
    for i in range(120):
        assert other.find_one("p", "c", {"_id": i}) == {"_id": i}
    after = status(other)
    assert after.log_reads == before.log_reads
    assert after.head_checks >= before.head_checks + 120  # each asked for itself: none is shared
    assert after.view_hits >= before.view_hits + 120
    assert after.view_misses == before.view_misses


def test_a_replica_without_follows_reads_the_log(cluster, argon):
    """What the test before this one counts is counted."""
    other = cluster.client(cluster.start_branch("--max-follows", "0"))
    for i in range(5):
        argon.insert("p", "c", {"_id": i})
        before = status(other).log_reads if i else 0
        assert other.count("p", "c") == i + 1
        assert status(other).log_reads > before
    assert status(other).projects_followed == 0


def test_follows_go_on_after_the_wal_service_was_killed(cluster, argon):
    other = cluster.client(cluster.start_branch())
    argon.insert("p", "c", {"_id": -1})
    assert other.count("p", "c") == 1
    for i in range(8):
        wait_for_log(other)
        cluster.wal.kill()
        cluster.wal.start()
        argon.insert("p", "c", {"_id": i}, timeout=60)
        # nobody reads: the follow brings it
        wait_for_log(other)
        assert other.find_one("p", "c", {"_id": i}) == {"_id": i}
    wait_until(lambda: status(other).projects_followed == 2, "both projects to be followed")


def test_a_follow_notices_that_the_log_was_replaced(cluster, argon):
    other = cluster.client(cluster.start_branch())
    argon.insert("p", "c", {"_id": "kept"})
    cluster.wal.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data, copy)
    cluster.wal.start()
    head = argon.head("p")
    for i in range(20):
        argon.insert("p", "c", {"_id": f"lost{i}"}, timeout=60)
    assert other.count("p", "c") == 21
    wait_for_log(other)
    cluster.wal.kill()
    shutil.rmtree(cluster.data)
    copy.rename(cluster.data)
    cluster.wal.start()

    # nobody reads: the follow ends with the incarnation, and what was lost goes
    wait_until(lambda: status(other).replica_lsn == head, "the replica to forget what the log has lost")
    assert [document["_id"] for document in other.find("p", "c")] == ["kept"]
    for i in range(20):
        argon.insert("p", "c", {"_id": f"new{i}"}, timeout=60)
        assert other.find_one("p", "c", {"_id": f"new{i}"}) is not None
    fresh = cluster.client(cluster.start_branch())
    assert dump(argon, ["main"]) == dump(other, ["main"]) == dump(fresh, ["main"])


def test_a_view_that_is_built_under_a_follow_of_the_catalog_misses_nothing(cluster, argon):
    other = cluster.client(cluster.start_branch())
    for i in range(20):
        name = f"c{i}"
        argon.insert("p", name, {"_id": 0})
        wait_for_log(other)
        stop = []

        def write():
            n = 0
            while not stop:
                n += 1
                argon.insert("p", name, {"_id": n})
            return n

        def read():
            try:
                for _ in range(5):
                    other.count("p", name)
            finally:
                stop.append(True)

        written, _ = in_parallel(write, read)
        assert other.count("p", name) == written + 1


def test_what_nobody_uses_is_not_followed_for_ever(cluster, argon):
    argon.insert("p", "c", {"_id": 1})
    other = cluster.client(cluster.start_branch("--follow-idle", "300ms"))
    assert other.count("p", "c") == 1
    wait_until(lambda: other.rpc.GetStatus().projects_followed == 2, "the follows to begin")
    wait_until(lambda: other.rpc.GetStatus().projects_followed == 0, "the follows to end")
    argon.insert("p", "c", {"_id": 2})
    assert other.count("p", "c") == 2
    wait_until(lambda: other.rpc.GetStatus().projects_followed == 2, "the follows to begin again")


def test_more_projects_than_follows(cluster, argon):
    other = cluster.client(cluster.start_branch("--max-follows", "3"))
    for i in range(8):
        argon.create_project(f"q{i}")
        argon.insert(f"q{i}", "c", {"_id": 1})
    for round_ in range(2, 5):
        for i in range(8):
            argon.insert(f"q{i}", "c", {"_id": round_})
            assert other.count(f"q{i}", "c") == round_
    assert other.rpc.GetStatus().projects_followed <= 3


def test_status_of_a_project(cluster, argon):
    lsn = argon.insert("p", "c", {"_id": 1}).lsn
    wait_for_log(argon)
    now = status(argon)
    assert now.commit_lsn == now.replica_lsn == lsn
    assert now.wal_reachable and now.wal_entries >= lsn and now.wal_memory_bytes > 0 and not now.wal_disk_full
    wait_until(lambda: status(argon).wal_follow_streams >= 2, "the WAL service to tell of follows")
    with pytest.raises(grpc.RpcError) as error:
        argon.rpc.GetStatus(project="nowhere")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def find_one(client, filter, project="p", collection="c", branch="main", json=None, **options):
    """FindOne, whose reads by _id go another way than Find's."""
    document = branch_pb2.Document(json=json) if json else client.document(filter)
    answer = client.rpc.FindOne(target=client.target(project, collection, branch), filter=document, **options)
    return bson.decode(answer.document.bson) if answer.HasField("document") else None


def test_find_one_by_id_on_another_replica_sees_what_was_acknowledged(cluster, argon):
    other = cluster.client(cluster.start_branch())
    for i in range(400):
        key = i % 7
        if i % 5 == 4:
            argon.delete("p", "c", {"_id": key})
            assert find_one(other, {"_id": key}) is None
        elif argon.update("p", "c", {"_id": key}, {"$set": {"v": i}}).matched == 0:
            argon.insert("p", "c", {"_id": key, "v": i})
            assert find_one(other, {"_id": key}) == {"_id": key, "v": i}
        else:
            assert find_one(other, {"_id": key}) == {"_id": key, "v": i}
        assert find_one(other, {"_id": key, "v": i}) == find_one(other, None, json=f'{{"_id": {key}, "v": {i}}}')
    assert find_one(other, {"_id": 0, "v": -1}) is None


def test_find_one_when_names_come_and_go(cluster, argon):
    other = cluster.client(cluster.start_branch())

    def expect(code, **where):
        with pytest.raises(grpc.RpcError) as error:
            find_one(other, {"_id": 1}, **where)
        assert error.value.code() == code

    for round_ in range(10):
        argon.insert("p", "c", {"_id": 1, "round": round_})
        assert find_one(other, {"_id": 1})["round"] == round_
        argon.create_branch("p", "b")
        argon.update("p", "c", {"_id": 1}, {"$set": {"on": "b"}}, branch="b")
        assert find_one(other, {"_id": 1}, branch="b") == {"_id": 1, "round": round_, "on": "b"}
        argon.rpc.RenameCollection(target=argon.target("p", "c", "b"), new_name="d")
        assert find_one(other, {"_id": 1}, branch="b") is None
        assert find_one(other, {"_id": 1}, branch="b", collection="d")["on"] == "b"
        argon.rpc.DeleteBranch(project="p", name="b")
        expect(grpc.StatusCode.NOT_FOUND, branch="b")
        argon.rpc.DropCollection(target=argon.target("p", "c"))
        assert find_one(other, {"_id": 1}) is None
        argon.delete_project("p")
        expect(grpc.StatusCode.NOT_FOUND)
        argon.create_project("p")
        assert find_one(other, {"_id": 1}) is None
    expect(grpc.StatusCode.INVALID_ARGUMENT, project="")
    expect(grpc.StatusCode.INVALID_ARGUMENT, collection="$bad")


def test_find_one_of_what_is_large_or_odd(cluster, argon):
    argon.insert("p", "c", {"_id": "large", "filling": "x" * 3_000_000})
    argon.insert("p", "c", {"_id": "k" * 1000, "filling": "y" * 70_000})
    assert len(find_one(argon, {"_id": "large"})["filling"]) == 3_000_000
    assert len(find_one(argon, {"_id": "k" * 1000})["filling"]) == 70_000
    assert find_one(argon, {"_id": "large", "filling": "x" * 3_000_000})["_id"] == "large"
    assert find_one(argon, {"filling": "y" * 70_000})["_id"] == "k" * 1000
    assert find_one(argon, {"_id": "large"}, skip=1) is None
    assert find_one(argon, {"_id": "large"}, read=branch_pb2.ReadOptions(as_of_lsn=1)) is None
    for bad in ({"_id": 1, "a": {"$foo": 1}}, {"$foo": 1}):
        with pytest.raises(grpc.RpcError) as error:
            find_one(argon, bad)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_find_one_while_the_wal_service_is_away(cluster, argon):
    argon.insert("p", "c", {"_id": 1})
    assert find_one(argon, {"_id": 1}) == {"_id": 1}
    cluster.wal.kill()
    with pytest.raises(grpc.RpcError) as error:
        find_one(argon, {"_id": 1}, timeout=2)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    cluster.wal.start()
    assert find_one(argon, {"_id": 1}, timeout=30) == {"_id": 1}
