"""Bulk writes: steps, resumption, conflicts, atomicity; upserts and find-and-modify that race."""

import threading

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import Process, in_parallel, not_applied
from test_outcomes_under_attack import Gate, gate, gated  # noqa: F401 (fixtures)
from test_steps import before_append, steps

N = 3500


def insert(value):
    return branch_pb2.BulkOperation(insert_one=branch_pb2.BulkInsert(document=branch_pb2.Document(bson=bson.encode(value))))


def update(filter, change, many=False, upsert=False):
    made = branch_pb2.BulkUpdate(
        filter=branch_pb2.Document(bson=bson.encode(filter)), update=branch_pb2.Document(bson=bson.encode(change)), upsert=upsert
    )
    return branch_pb2.BulkOperation(update_many=made) if many else branch_pb2.BulkOperation(update_one=made)


def delete(filter):
    return branch_pb2.BulkOperation(delete_many=branch_pb2.BulkDelete(filter=branch_pb2.Document(bson=bson.encode(filter))))


def send(client, operations, rid=None, since=0, timeout=60, branch="main", **fields):
    write = client.write(rid, since)
    return client.rpc.BulkWrite(target=client.target("p", "c", branch), operations=operations, write=write, timeout=timeout, **fields)


def ids(items):
    return [(item.index, bson.decode(item.id.bson)["_id"]) for item in items]


def mixed():
    """Every tenth is a duplicate, every tenth an upsert, each of which makes an _id or has one."""
    operations = []
    for i in range(N):
        if i % 10 == 3:
            operations.append(insert({"_id": i - 1}))
        elif i % 10 == 5:
            operations.append(update({"key": i}, {"$set": {"n": 1}}, upsert=True))
        elif i % 10 == 7:
            operations.append(insert({"n": 1}))
        else:
            operations.append(insert({"_id": i, "n": 1}))
    return operations


def check_mixed(answer):
    assert (answer.inserted, answer.upserted) == (N - N // 10 * 2, N // 10)
    assert [(e.index, e.code, e.mongodb_code) for e in answer.errors] == [(i, 6, 11000) for i in range(3, N, 10)]
    assert [index for index, _ in ids(answer.inserted_ids)] == [i for i in range(N) if i % 10 not in (3, 5)]
    assert [index for index, _ in ids(answer.upserted_ids)] == list(range(5, N, 10))


def check_documents(client, answer):
    held = {document["_id"] for document in client.find("p", "c")}
    assert held == {id_ for _, id_ in ids(answer.inserted_ids) + ids(answer.upserted_ids)}
    assert client.count("p", "c", {"n": 1}) == N - N // 10


def test_steps_have_a_thousand_operations(argon, gate, gated):
    answer = send(gated, mixed(), "r", unordered=True)
    check_mixed(answer)
    check_documents(argon, answer)
    # documents, the record of what failed and what was made up, and with the first the collection
    assert steps(gate) == [(0, False, 902), (1, False, 901), (2, False, 901), (3, True, 451)]


def test_goes_on_where_it_stopped_on_another_replica(argon, gate, gated):
    argon.insert("p", "other", {})
    since = argon.head("p")
    gate.refuse_after(2)
    with pytest.raises(grpc.RpcError) as error:
        send(gated, mixed(), "r", since, timeout=3, unordered=True)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert "1800 documents are done" in error.value.details()
    assert not not_applied(error.value)
    first = send(argon, mixed(), "r", since, unordered=True)
    check_mixed(first)
    check_documents(argon, first)
    gate.open()
    assert send(gated, mixed(), "r", since, unordered=True) == first
    check_documents(argon, first)


@pytest.mark.parametrize("who", ["replica", "WAL service"])
def test_killed_in_the_middle(cluster, argon, gate, gated, who):
    argon.insert("p", "other", {})
    since = argon.head("p")
    if who == "replica":
        before_append(gate, 3, cluster.branches.pop().kill)
        with pytest.raises(grpc.RpcError) as error:
            send(gated, mixed(), "r", since, unordered=True)
        assert not not_applied(error.value)
        first = send(argon, mixed(), "r", since, unordered=True)
    else:
        before_append(gate, 3, lambda: (cluster.wal.kill(), cluster.wal.start()))
        first = send(gated, mixed(), "r", since, unordered=True)
    check_mixed(first)
    check_documents(argon, first)
    third = cluster.client(cluster.start_branch())
    assert send(third, mixed(), "r", since, unordered=True) == first


def test_two_copies_at_the_same_time(cluster, argon):
    argon.insert("p", "other", {})
    since = argon.head("p")
    other = cluster.client(cluster.start_branch())
    other.head("p")
    one, two = in_parallel(*[lambda c=c: send(c, mixed(), "r", since, unordered=True) for c in (argon, other)])
    assert one == two
    check_mixed(one)
    check_documents(argon, one)


def test_the_first_step_was_that_of_a_copy(cluster, argon, gate, gated):
    """It made the collection after this replica had looked at the branch, and before it asked what became of the request."""
    argon.insert("p", "other", {})
    since = argon.head("p")
    stopping = Gate(cluster.wal.address)
    process = Process(cluster.directory, "branch", ["--wal", stopping.address]).start()
    cluster.branches.append(process)
    copy = cluster.client(process)
    copy.head("p")
    gated.head("p")
    asked = []

    def look(name, request):
        if name == "GetHead" and request.request_id and not asked:
            asked.append(request.request_id)
            stopping.refuse_after(1)
            with pytest.raises(grpc.RpcError) as error:
                send(copy, mixed(), "r", since, timeout=2, unordered=True)
            assert "900 documents are done" in error.value.details()
        return False

    gate.refuses = look
    answer = send(gated, mixed(), "r", since, unordered=True)
    stopping.close()
    assert asked == [b"r"]
    check_mixed(answer)
    check_documents(argon, answer)


def test_an_update_of_many_is_cut_where_the_step_is_full(argon, gate, gated):
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(1800)])
    operations = [insert({"_id": -1, "n": 0}), update({}, {"$inc": {"n": 1}}, many=True), delete({"n": {"$lt": 1}}), insert({"_id": "end"})]
    answer = send(gated, operations)
    assert (answer.inserted, answer.matched, answer.modified, answer.deleted) == (2, 1801, 1801, 0)
    # the new document and the first of the update are one entry
    assert steps(gate) == [(0, False, 1000), (1, True, 802)]
    assert argon.count("p", "c", {"n": 1}) == 1801


def test_an_operation_that_fails_leaves_nothing_of_itself(argon):
    argon.insert_many("p", "c", [{"_id": 1, "n": 1}, {"_id": 2, "n": "text"}])
    answer = send(argon, [update({}, {"$inc": {"n": 1}}, many=True), insert({"_id": 3})], unordered=True)
    assert [(e.index, e.mongodb_code) for e in answer.errors] == [(0, 14)]
    assert (answer.matched, answer.modified, answer.inserted) == (0, 0, 1)
    assert argon.find("p", "c") == [{"_id": 1, "n": 1}, {"_id": 2, "n": "text"}, {"_id": 3}]


ONE_ID = {
    "range": {"_id": {"$gte": 5, "$lte": 5}},
    "twice in a list": {"_id": {"$in": [5, 5]}},
    "either": {"$or": [{"_id": 5}, {"_id": 5.0}]},
}


@pytest.mark.parametrize("bulk", [False, True], ids=["update", "bulk"])
@pytest.mark.parametrize("filter", ONE_ID)
def test_an_upsert_that_makes_another_id_sees_what_was_acknowledged(argon, gated, filter, bulk):
    """The replica lags behind; the document that it makes would be in nobody's way."""
    argon.insert("p", "c", {"_id": 0})
    gated.find("p", "c")
    argon.insert("p", "c", {"_id": 5})
    if bulk:
        answer = send(gated, [update(ONE_ID[filter], {"$set": {"n": 1}}, upsert=True)])
    else:
        answer = gated.rpc.UpdateOne(
            target=gated.target("p", "c"), filter=gated.document(ONE_ID[filter]), update=gated.document({"$set": {"n": 1}}), upsert=True
        )
    assert answer.matched == 1
    assert argon.find("p", "c") == [{"_id": 0}, {"_id": 5, "n": 1}]


def test_what_comes_to_nothing_beside_other_writes_is_not_lost(argon, gated):
    argon.insert("p", "c", {"_id": 1, "n": 0})
    gated.find("p", "c")
    argon.update("p", "c", {"_id": 1}, {"$set": {"n": 9}})
    send(gated, [update({"_id": 1}, {"$set": {"n": 1}}), update({"_id": 1}, {"$set": {"n": 0}}), insert({"_id": 2})])
    assert argon.find("p", "c") == [{"_id": 1, "n": 0}, {"_id": 2}]


def test_a_hostile_pattern_is_bounded_and_the_rest_goes_on(argon):
    argon.insert("p", "c", {"_id": 1, "t": "a" * 5000 + "!"})
    answer = send(argon, [update({"t": {"$regex": "^(a+)+$"}}, {"$set": {"n": 1}}), insert({"_id": 2})], timeout=20, unordered=True)
    assert [(e.index, e.code) for e in answer.errors] == [(0, 3)] and "$regex" in answer.errors[0].message
    assert answer.inserted == 1


def test_what_comes_to_nothing_writes_nothing(argon):
    argon.insert("p", "c", {"_id": 1, "n": 1})
    head = argon.head("p")
    answer = send(argon, [update({"_id": 1}, {"$inc": {"n": 1}}), update({"_id": 1}, {"$inc": {"n": -1}}), insert({"_id": 2}), delete({"_id": 2})])
    assert (answer.inserted, answer.matched, answer.modified, answer.deleted) == (1, 2, 2, 1)
    assert argon.head("p") == head
    assert argon.find("p", "c") == [{"_id": 1, "n": 1}]


def test_atomic_is_one_batch_or_nothing(argon, gate, gated):
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(1500)])
    operations = [update({}, {"$inc": {"n": 1}}, many=True), insert({"_id": 2000}), delete({"_id": 3})]
    answer = send(gated, operations, atomic=True)
    assert (answer.inserted, answer.modified, answer.deleted) == (1, 1500, 1)
    assert steps(gate) == [(0, True, 1501)]
    before, head = argon.find("p", "c"), argon.head("p")
    with pytest.raises(grpc.RpcError) as error:
        send(argon, [update({}, {"$inc": {"n": 1}}, many=True), insert({"_id": 2000})], atomic=True)
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS and "operation 1" in error.value.details()
    assert not_applied(error.value)
    assert (argon.find("p", "c"), argon.head("p")) == (before, head)


def test_atomic_that_does_not_fit_one_batch(argon):
    pad = "x" * (1024 * 1024)
    for start in (0, 25):
        argon.insert_many("p", "c", [{"_id": i, "pad": pad} for i in range(start, start + 25)])
    with pytest.raises(grpc.RpcError) as error:
        send(argon, [update({}, {"$set": {"n": 1}}, many=True)], atomic=True)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT and "without atomic" in error.value.details()
    assert not_applied(error.value)
    assert send(argon, [update({}, {"$set": {"n": 1}}, many=True)]).modified == 50


def test_the_collection_goes_away_in_the_middle(argon, gate, gated):
    argon.insert("p", "other", {})
    since = argon.head("p")
    operations = [insert({"_id": i}) for i in range(2500)]
    before_append(gate, 2, lambda: argon.rpc.DropCollection(target=argon.target("p", "c")))
    errors = []
    for client in (gated, argon):
        with pytest.raises(grpc.RpcError) as error:
            send(client, operations, "r", since)
        errors.append((error.value.code(), error.value.details(), not_applied(error.value)))
    assert errors[0] == errors[1]
    assert errors[0][0] is grpc.StatusCode.NOT_FOUND and "1000 documents" in errors[0][1] and not errors[0][2]
    assert argon.count("p", "c") == 0


# ---- races -----------------------------------------------------------------------------------------------


def test_upserts_of_one_id_race(cluster, argon):
    """On two replicas at once: one inserts, every other one updates."""
    other = cluster.client(cluster.start_branch())
    clients = [argon, other] * 3

    def upsert(client, key):
        return client.rpc.UpdateOne(
            target=client.target("p", "c"), filter=client.document({"_id": key}), update=client.document({"$inc": {"n": 1}}), upsert=True
        )

    for key in range(30):
        answers = in_parallel(*[lambda c=c: upsert(c, key) for c in clients])
        assert sum(answer.HasField("upserted_id") for answer in answers) == 1
        assert sum(answer.matched for answer in answers) == len(clients) - 1
        assert argon.find("p", "c", {"_id": key}) == [{"_id": key, "n": len(clients)}]


def test_every_find_and_update_sees_a_state_of_its_own(cluster, argon):
    """A counter in many hands gives each number once."""
    other = cluster.client(cluster.start_branch())
    argon.insert("p", "c", {"_id": "counter", "n": 0})
    seen, lock = [], threading.Lock()

    def count(client):
        for _ in range(40):
            answer = client.rpc.FindOneAndUpdate(
                target=client.target("p", "c"),
                filter=client.document({"_id": "counter"}),
                update=client.document({"$inc": {"n": 1}}),
                return_document=1,
            )
            with lock:
                seen.append(bson.decode(answer.document.bson)["n"])

    in_parallel(*[lambda c=c: count(c) for c in (argon, other, argon, other)])
    assert sorted(seen) == list(range(1, 161))


def test_a_queue_in_many_hands_gives_each_entry_once(cluster, argon):
    other = cluster.client(cluster.start_branch())
    argon.insert_many("p", "c", [{"_id": i, "p": i % 7} for i in range(60)])
    taken, lock = [], threading.Lock()

    def take(client):
        while True:
            answer = client.rpc.FindOneAndDelete(target=client.target("p", "c"), sort=client.document({"p": -1}))
            if not answer.HasField("document"):
                return
            with lock:
                taken.append(bson.decode(answer.document.bson)["_id"])

    in_parallel(*[lambda c=c: take(c) for c in (argon, other, argon)])
    assert sorted(taken) == list(range(60))
    assert argon.count("p", "c") == 0


def test_the_record_of_a_step_is_part_of_no_branch(cluster, argon):
    """It ends the batch, in a hidden collection: watches, forks and reads of the past go on around it."""
    answer = send(argon, [insert({"_id": 1}), insert({"_id": 1}), insert({"_id": 2})], unordered=True)
    argon.insert("p", "c", {"_id": 3})
    messages = argon.rpc.Watch(project="p", branch="main", collection="c", stop_at_head=True)
    changes = [bson.decode(change.document.bson)["_id"] for message in messages for change in message.changes if change.document.bson]
    assert changes == [1, 2, 3]
    assert [d["_id"] for d in argon.find("p", "c", at=answer.lsn)] == [1, 2]
    assert argon.create_branch("p", "dev", at=answer.lsn).cut_lsn == answer.lsn
    assert [d["_id"] for d in argon.find("p", "c", branch="dev")] == [1, 2]
    other = cluster.client(cluster.start_branch())
    assert other.collections("p") == ["c"] and other.count("p", "c") == 3


def test_the_time_in_an_answer_is_that_of_the_write(cluster, argon):
    """Also where it comes by a variable, and in what a repetition is answered."""
    other = cluster.client(cluster.start_branch())
    argon.insert("p", "c", {"_id": 1})
    fields = dict(
        target=argon.target("p", "c"),
        update=argon.document({"$inc": {"n": 1}}),
        projection=argon.document({"at": "$$NOW", "let": "$$at"}),
        options=branch_pb2.QueryOptions(let=argon.document({"at": "$$NOW"})),
        write=argon.write("r", argon.head("p")),
    )
    first = argon.rpc.FindOneAndUpdate(**fields)
    document = bson.decode(first.document.bson)
    assert document["at"] == document["let"]
    assert other.rpc.FindOneAndUpdate(**fields) == argon.rpc.FindOneAndUpdate(**fields) == first


@pytest.mark.parametrize("name", ["projection", "variable"])
def test_chance_is_not_answered_with(argon, name):
    argon.insert("p", "c", {"_id": 1})
    chance = {"$add": [1, {"$rand": {}}]}
    with pytest.raises(grpc.RpcError) as error:
        argon.rpc.FindOneAndDelete(
            target=argon.target("p", "c"),
            projection=argon.document({"a.b": chance if name == "projection" else "$$v"}),
            options=branch_pb2.QueryOptions(let=argon.document({"v": chance}) if name == "variable" else None),
        )
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT and not_applied(error.value)
    assert argon.count("p", "c") == 1
