"""A request repeated with its request_id has one effect and one answer: anywhere, any time."""

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import in_parallel, not_applied


def find_and(verb, filter, update=None, after=False, **fields):
    def send(a, rid, since):
        named = {"Update": "update", "Replace": "replacement"}.get(verb)
        more = {named: a.document(update), "return_document": int(after)} if named else {}
        call = getattr(a.rpc, f"FindOneAnd{verb}")
        return call(target=a.target("p", "c"), filter=a.document(filter), write=a.write(rid, since), **more, **fields)

    return send


def upsert(filter, many=False):
    def send(a, rid, since):
        call = a.rpc.UpdateMany if many else a.rpc.UpdateOne
        update = a.document({"$inc": {"n": 1}})
        return call(target=a.target("p", "c"), filter=a.document(filter), update=update, upsert=True, write=a.write(rid, since))

    return send


def bulk(*operations, unordered=True):
    """Inserts of documents, increments of what (filter,) finds, upserted."""

    def made(a, operation):
        if isinstance(operation, dict):
            return branch_pb2.BulkOperation(insert_one=branch_pb2.BulkInsert(document=a.document(operation)))
        change = branch_pb2.BulkUpdate(filter=a.document(operation[0]), update=a.document({"$inc": {"n": 1}}), upsert=True)
        return branch_pb2.BulkOperation(update_one=change)

    def send(a, rid, since):
        made_ones = [made(a, operation) for operation in operations]
        return a.rpc.BulkWrite(target=a.target("p", "c"), operations=made_ones, unordered=unordered, write=a.write(rid, since))

    return send


def insert_stop(*values):
    def send(a, rid, since):
        documents = [a.document(value) for value in values]
        return a.rpc.InsertMany(target=a.target("p", "c"), documents=documents, on_duplicate=4, write=a.write(rid, since))

    return send


REQUESTS = {
    "insert": lambda a, rid, since: a.insert("p", "c", {"made": "here"}, request_id=rid, since=since),
    "increment": lambda a, rid, since: a.update("p", "c", {"_id": 1}, {"$inc": {"n": 1}}, request_id=rid, since=since),
    "delete": lambda a, rid, since: a.delete("p", "c", {"_id": 2}, request_id=rid, since=since),
    "update without match": lambda a, rid, since: a.update("p", "c", {"_id": "later"}, {"$inc": {"n": 1}}, request_id=rid, since=since),
    "delete without match": lambda a, rid, since: a.delete("p", "c", {"_id": "later"}, request_id=rid, since=since),
    "upsert that inserts": upsert({"_id": "new"}),
    "upsert with an _id made here": upsert({"key": "new"}),
    "upsert that updates": upsert({"_id": 1}),
    "upsert of many": upsert({"_id": "new"}, many=True),
    "find and update, before": find_and("Update", {"_id": 1}, {"$inc": {"n": 1}}),
    "find and update, after": find_and("Update", {"_id": 1}, {"$inc": {"n": 1}}, after=True),
    "find and update, no change": find_and("Update", {"_id": 1}, {"$set": {"n": 0}}),
    "find and update, no match": find_and("Update", {"_id": "later"}, {"$inc": {"n": 1}}),
    "find and upsert": find_and("Update", {"_id": "new"}, {"$inc": {"n": 1}}, after=True, upsert=True),
    "find and replace": find_and("Replace", {"n": 0}, {"z": 1}, projection={"json": '{"n":1,"at":"$$NOW"}'}),
    "find and delete": find_and("Delete", {"_id": 2}),
    "bulk": bulk({"_id": "a"}, ({"_id": 1},), ({"key": "new"},), {"made": "here"}),
    "bulk with errors": bulk({"_id": 1}, {"_id": "a"}, {"_id": "a"}, ({"_id": 2},)),
    "bulk that stops": bulk({"_id": "a"}, {"_id": 1}, {"_id": "b"}, unordered=False),
    "bulk without effect": bulk({"_id": 1}, {"_id": 2}),
    "ordered insert of many": insert_stop({"_id": "a"}, {"made": "here"}, {"_id": 1}, {"_id": "b"}),
    "ordered insert that stops at once": insert_stop({"_id": 1}, {"_id": "b"}),
    "branch": lambda a, rid, since: a.create_branch("p", "dev", request_id=rid, since=since),
    "collection": lambda a, rid, since: a.rpc.CreateCollection(target=a.target("p", "new"), write=a.write(rid, since)),
}


def prepare(argon):
    argon.insert_many("p", "c", [{"_id": 1, "n": 0}, {"_id": 2}])
    return argon.head("p")


def effect(argon):
    return argon.find("p", "c"), argon.collections("p"), [b.name for b in argon.rpc.ListBranches(project="p").branches]


@pytest.mark.parametrize("request_", REQUESTS)
def test_repeated_on_another_replica_and_across_restarts(cluster, argon, request_):
    send = REQUESTS[request_]
    since = prepare(argon)
    other = cluster.client(cluster.start_branch())
    first = send(argon, "r-1", since)
    after = effect(argon)
    assert send(argon, "r-1", since) == first
    assert send(other, "r-1", since) == first
    cluster.wal.kill()
    cluster.wal.start()
    assert send(argon, "r-1", since) == first
    assert effect(argon) == after


@pytest.mark.parametrize("request_", REQUESTS)
def test_sent_twice_at_the_same_time(cluster, argon, request_):
    send = REQUESTS[request_]
    since = prepare(argon)
    other = cluster.client(cluster.start_branch())
    for round_ in range(5):
        project_before = argon.find_one("p", "c", {"_id": 1})
        rid = f"r-{round_}"
        if request_ in ("branch", "collection") and round_:
            break
        count_before = argon.count("p", "c")
        one, two = in_parallel(lambda: send(argon, rid, since), lambda: send(other, rid, since))
        assert one == two
        assert argon.count("p", "c") - count_before <= 3
        if request_ == "increment":
            assert argon.find_one("p", "c", {"_id": 1})["n"] == project_before["n"] + 1


def test_a_repetition_finds_the_document_in_the_past_of_its_collection(cluster, argon):
    """After later writes, a rename and a drop, on a replica that has seen nothing of it."""
    since = prepare(argon)
    sends = {
        "before": find_and("Update", {"_id": 1}, {"$inc": {"n": 1}}),
        "unchanged": find_and("Update", {"_id": 1}, {"$set": {"n": 1}}, after=True),
        "deleted": find_and("Delete", {"_id": 2}),
    }
    first = {name: send(argon, name, since) for name, send in sends.items()}
    assert [bson.decode(answer.document.bson) for answer in first.values()] == [{"_id": 1, "n": 0}, {"_id": 1, "n": 1}, {"_id": 2}]
    argon.update("p", "c", {}, {"$set": {"n": 99}}, many=True)
    argon.rpc.RenameCollection(target=argon.target("p", "c"), new_name="d")
    argon.rpc.DropCollection(target=argon.target("p", "d"))
    argon.insert("p", "c", {"_id": 1, "n": "of another collection"})
    other = cluster.client(cluster.start_branch())
    for name, send in sends.items():
        assert send(argon, name, since) == first[name]
        assert send(other, name, since) == first[name]


def test_a_late_copy_does_not_take_effect_after_the_picture_changed(cluster, argon):
    since = prepare(argon)
    other = cluster.client(cluster.start_branch())
    nothing = argon.update("p", "c", {"_id": "later"}, {"$inc": {"n": 1}}, request_id="r-late", since=since)
    assert nothing.matched == 0
    argon.insert("p", "c", {"_id": "later", "n": 0})
    assert other.update("p", "c", {"_id": "later"}, {"$inc": {"n": 1}}, request_id="r-late", since=since) == nothing
    assert argon.find_one("p", "c", {"_id": "later"})["n"] == 0

    with pytest.raises(grpc.RpcError) as taken:
        argon.insert("p", "c", {"_id": 1}, request_id="r-taken", since=since)
    assert taken.value.code() == grpc.StatusCode.ALREADY_EXISTS
    argon.delete("p", "c", {"_id": 1})
    with pytest.raises(grpc.RpcError) as again:
        other.insert("p", "c", {"_id": 1}, request_id="r-taken", since=since)
    assert again.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert again.value.details() == taken.value.details()
    assert not_applied(again.value)
    assert argon.find_one("p", "c", {"_id": 1}) is None


def test_the_same_id_with_another_request_is_refused(argon):
    since = prepare(argon)
    argon.update("p", "c", {"_id": 1}, {"$inc": {"n": 1}}, request_id="r", since=since)
    with pytest.raises(grpc.RpcError) as error:
        argon.update("p", "c", {"_id": 1}, {"$inc": {"n": 2}}, request_id="r", since=since)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not_applied(error.value)
    assert argon.find_one("p", "c", {"_id": 1})["n"] == 1


def test_one_older_than_the_horizon_is_refused(cluster):
    # room for a handful of requests a project
    cluster.start_wal("--request-window-bytes", "64K")
    cluster.start_branch()
    argon = cluster.client()
    argon.create_project("p")
    since = prepare(argon)
    first = argon.insert("p", "c", {"_id": "first"}, request_id="old", since=since)
    for i in range(3000):
        argon.insert("p", "c", {"_id": f"f{i}"}, request_id=f"filler-{i}", since=argon_since(first, i))
    with pytest.raises(grpc.RpcError) as error:
        argon.insert("p", "c", {"_id": "first"}, request_id="old", since=since)
    assert error.value.code() == grpc.StatusCode.OUT_OF_RANGE
    assert "unknown" in error.value.details()
    assert not not_applied(error.value)


def argon_since(first, i):
    return first.lsn + i


def test_generated_ids_are_the_same_in_every_answer(cluster, argon):
    since = prepare(argon)
    values = [{"n": i} for i in range(50)]
    other = cluster.client(cluster.start_branch())
    first = argon.insert_many("p", "many", values, request_id="m", since=since)
    again = other.insert_many("p", "many", values, request_id="m", since=since)
    assert first == again
    assert len({bson.decode(d.bson)["_id"] for d in first.inserted_ids}) == 50
    assert argon.count("p", "many") == 50
