"""Upserts, array filters, pipelines, sorted changes, find-and-modify and bulk writes on both kinds of branch: equal answers."""

import uuid

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import Cluster

WAL, TRADITIONAL = branch_pb2.BRANCH_KIND_WAL, branch_pb2.BRANCH_KIND_TRADITIONAL
BEFORE, AFTER = 0, 1
STOP = 4
INVALID, EXISTS = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS


def document(value):
    if isinstance(value, str):  # where the order of fields matters: bson.encode puts _id in front
        return branch_pb2.Document(json=value)
    return branch_pb2.Document(bson=bson.encode(value)) if value is not None else None


def value_of(message, field):
    return bson.decode(getattr(message, field).bson) if message.HasField(field) else None


def options(let=None, **rest):
    return branch_pb2.QueryOptions(let=document(let), **{k: document(v) if isinstance(v, dict) else v for k, v in rest.items()})


class Branch:
    def __init__(self, client, name):
        self.rpc, self.name, self.client = client.rpc, name, client
        self.target = client.target("p", "c", name)

    def put(self, *values):
        self.rpc.InsertMany(target=self.target, documents=[document(v) for v in values])

    def all(self):
        return self.client.find("p", "c", branch=self.name)

    def fields(self, **fields):
        lists = ("pipeline", "array_filters")
        kept = ("upsert", "return_document", "options", "atomic", "unordered")
        return {k: [document(x) for x in v] if k in lists else v if k in kept else document(v) for k, v in fields.items()}

    def update(self, many=False, **fields):
        call = self.rpc.UpdateMany if many else self.rpc.UpdateOne
        answer = call(target=self.target, **self.fields(**fields))
        return answer.matched, answer.modified, value_of(answer, "upserted_id")

    def replace(self, **fields):
        answer = self.rpc.ReplaceOne(target=self.target, **self.fields(**fields))
        return answer.matched, answer.modified, value_of(answer, "upserted_id")

    def find_and(self, verb, **fields):
        answer = getattr(self.rpc, f"FindOneAnd{verb}")(target=self.target, **self.fields(**fields))
        return value_of(answer, "document"), answer.matched, value_of(answer, "upserted_id")

    def insert_stop(self, *values, skip_invalid=True):
        answer = self.rpc.InsertMany(
            target=self.target, documents=[document(v) for v in values], on_duplicate=STOP, skip_invalid=skip_invalid
        )
        return answer.inserted, [(e.index, e.code, e.mongodb_code) for e in answer.errors]

    def bulk(self, *operations, unordered=False, atomic=False, **rest):
        answer = self.rpc.BulkWrite(
            target=self.target, operations=[operation(*o) for o in operations], unordered=unordered, atomic=atomic, **rest
        )
        return {
            "counts": (answer.inserted, answer.matched, answer.modified, answer.deleted, answer.upserted),
            "inserted": [(i.index, bson.decode(i.id.bson)) for i in answer.inserted_ids],
            "upserted": [(i.index, bson.decode(i.id.bson)) for i in answer.upserted_ids],
            "errors": [(e.index, e.code, e.mongodb_code) for e in answer.errors],
        }


def operation(kind, *arguments, **more):
    """("insert", doc), ("update", filter, update, {fields}), ("update_many", ...), ("replace", ...), ("delete", filter), ..."""
    fields = arguments[-1] if len(arguments) == 3 else {}
    extra = {k: [document(x) for x in v] if isinstance(v, list) else document(v) if isinstance(v, dict) else v for k, v in fields.items()}
    if kind == "insert":
        return branch_pb2.BulkOperation(insert_one=branch_pb2.BulkInsert(document=document(arguments[0])))
    if kind.startswith("delete"):
        name = "delete_many" if kind == "delete_many" else "delete_one"
        return branch_pb2.BulkOperation(**{name: branch_pb2.BulkDelete(filter=document(arguments[0]))})
    if kind == "replace":
        made = branch_pb2.BulkReplace(filter=document(arguments[0]), replacement=document(arguments[1]), **extra)
        return branch_pb2.BulkOperation(replace_one=made)
    name = "update_many" if kind == "update_many" else "update_one"
    made = branch_pb2.BulkUpdate(filter=document(arguments[0]), **extra)
    if isinstance(arguments[1], list):
        made.pipeline.extend(document(stage) for stage in arguments[1])
    else:
        made.update.CopyFrom(document(arguments[1]))
    return branch_pb2.BulkOperation(**{name: made})


@pytest.fixture(scope="module")
def service(tmp_path_factory, mongodb_uri):
    cluster = Cluster(tmp_path_factory.mktemp("writes"))
    cluster.start_wal()
    cluster.start_branch("--mongodb", mongodb_uri.replace("/?", "/both_kinds_writes?"), "--enable-wal-branches")
    client = cluster.client()
    client.create_project("p")
    yield client
    cluster.close()


@pytest.fixture
def both(service):
    """Runs a call on both kinds; the answers must be equal, and so must the documents be afterwards."""
    branches = []
    for kind in (WAL, TRADITIONAL):
        name = f"b{uuid.uuid4().hex[:12]}"
        service.rpc.CreateBranch(project="p", name=name, kind=kind, write=service.write())
        branches.append(Branch(service, name))

    def run(call):
        answers = []
        for branch in branches:
            try:
                answers.append(call(branch))
            except grpc.RpcError as error:
                answers.append(error.code())
        assert answers[0] == answers[1]
        assert branches[0].all() == branches[1].all()
        return answers[0]

    run.all = lambda: branches[0].all()
    return run


def test_upsert(both):
    assert both(lambda b: b.update(filter={"_id": 1, "a": 2}, update={"$set": {"b": 3}, "$setOnInsert": {"c": 4}}, upsert=True)) == (
        0,
        0,
        {"_id": 1},
    )
    assert both.all() == [{"_id": 1, "a": 2, "b": 3, "c": 4}]
    assert both(lambda b: b.update(filter={"_id": 1}, update={"$set": {"b": 5}, "$setOnInsert": {"c": 9}}, upsert=True)) == (1, 1, None)
    assert both(lambda b: b.update(filter={"_id": 1}, update={"$set": {"b": 5}}, upsert=True)) == (1, 0, None)
    assert both(lambda b: b.replace(filter={"_id": "r", "a": 1}, replacement={"n": 1}, upsert=True)) == (0, 0, {"_id": "r"})
    assert both(lambda b: b.replace(filter={"_id": "r"}, replacement={"n": 2}, upsert=True)) == (1, 1, None)
    assert both(lambda b: b.update(many=True, filter={"_id": "m"}, update={"$inc": {"n": 1}}, upsert=True)) == (0, 0, {"_id": "m"})
    assert both(lambda b: b.update(many=True, filter={}, update={"$inc": {"n": 1}}, upsert=True)) == (3, 3, None)
    # another document has the _id that the upsert would insert
    assert both(lambda b: b.update(filter={"_id": 1, "a": 99}, update={"$set": {"b": 1}}, upsert=True)) is EXISTS


def test_array_filters(both):
    both(lambda b: b.put({"_id": 1, "g": [{"k": 1, "v": 1}, {"k": 2, "v": 1}]}, {"_id": 2, "g": [{"k": 2, "v": 5}]}))
    update = {"$set": {"g.$[x].v": 9}}
    assert both(lambda b: b.update(many=True, filter={}, update=update, array_filters=[{"x.k": 2}])) == (2, 2, None)
    assert both.all() == [{"_id": 1, "g": [{"k": 1, "v": 1}, {"k": 2, "v": 9}]}, {"_id": 2, "g": [{"k": 2, "v": 9}]}]
    assert both(lambda b: b.update(filter={}, update=update)) is INVALID
    assert both(lambda b: b.update(filter={}, update=update, array_filters=[{"x.k": 2}, {"y": 1}])) is INVALID


def test_pipelines_and_let(both):
    both(lambda b: b.put({"_id": 1, "a": 2}, {"_id": 2, "a": 5}))
    pipeline = [{"$set": {"b": {"$multiply": ["$a", "$$by"]}}}, {"$unset": "a"}]
    assert both(lambda b: b.update(filter={"a": {"$gt": 3}}, pipeline=pipeline, options=options(let={"by": 10}))) == (1, 1, None)
    assert both.all()[1] == {"_id": 2, "b": 50}
    both(lambda b: b.update(filter={"_id": 7}, pipeline=[{"$set": {"made": True}}], upsert=True))
    assert both.all()[2] == {"_id": 7, "made": True}
    matches = {"$expr": {"$eq": ["$a", "$$wanted"]}}
    assert both(lambda b: b.update(filter=matches, update={"$set": {"hit": 1}}, options=options(let={"wanted": 2}))) == (1, 1, None)
    assert both(lambda b: b.update(filter={}, pipeline=[{"$group": {"_id": 1}}])) is INVALID
    both_set = {"update": {"$set": {"a": 1}}, "pipeline": [{"$set": {"a": 1}}]}
    assert both(lambda b: b.update(filter={}, **both_set)) is INVALID


def test_first_in_sort_order(both):
    both(lambda b: b.put({"_id": 1, "n": 5}, {"_id": 2, "n": 9}, {"_id": 3, "n": 9}, {"_id": 4}))
    both(lambda b: b.update(filter={}, update={"$set": {"hit": 1}}, sort={"n": -1}))
    assert both.all()[1] == {"_id": 2, "n": 9, "hit": 1}  # of those that come first alike, the first in _id order
    both(lambda b: b.replace(filter={}, replacement={"new": 1}, sort={"n": 1}))
    assert both.all()[3] == {"_id": 4, "new": 1}
    assert both(lambda b: b.find_and("Delete", filter={}, sort='{"n": -1, "_id": -1}')) == ({"_id": 3, "n": 9}, 1, None)


def test_find_one_and(both):
    both(lambda b: b.put({"_id": 1, "n": 1, "x": "x"}, {"_id": 2, "n": 2}))
    inc = {"$inc": {"n": 10}}
    assert both(lambda b: b.find_and("Update", filter={"_id": 1}, update=inc)) == ({"_id": 1, "n": 1, "x": "x"}, 1, None)
    assert both(lambda b: b.find_and("Update", filter={"_id": 1}, update=inc, return_document=AFTER, projection={"n": 1})) == (
        {"_id": 1, "n": 21},
        1,
        None,
    )
    assert both(lambda b: b.find_and("Update", filter={"_id": 1}, update={"$set": {"n": 21}}, return_document=AFTER)) == (
        {"_id": 1, "n": 21, "x": "x"},
        1,
        None,
    )
    assert both(lambda b: b.find_and("Update", filter={"_id": "no"}, update=inc)) == (None, 0, None)
    assert both(lambda b: b.find_and("Update", filter={"_id": "up"}, update=inc, upsert=True)) == (None, 0, {"_id": "up"})
    assert both(lambda b: b.find_and("Update", filter={"_id": "up2"}, update=inc, upsert=True, return_document=AFTER)) == (
        {"_id": "up2", "n": 10},
        0,
        {"_id": "up2"},
    )
    assert both(lambda b: b.find_and("Replace", filter={"n": 2}, replacement={"z": 1}, return_document=AFTER)) == ({"_id": 2, "z": 1}, 1, None)
    assert both(lambda b: b.find_and("Replace", filter={}, replacement={"z": 2}, projection={"z": 1, "_id": 0}, sort={"z": -1})) == (
        {"z": 1},
        1,
        None,
    )
    assert both(lambda b: b.find_and("Delete", filter={"_id": 1}, projection={"x": 1})) == ({"_id": 1, "x": "x"}, 1, None)
    assert both(lambda b: b.find_and("Delete", filter={"_id": 1})) == (None, 0, None)
    assert both(lambda b: b.find_and("Replace", filter={}, replacement={"$set": {"a": 1}})) is INVALID


def test_find_one_and_with_array_filters_and_pipeline(both):
    both(lambda b: b.put({"_id": 1, "g": [1, 5, 9]}))
    assert both(
        lambda b: b.find_and(
            "Update", filter={}, update={"$inc": {"g.$[x]": 1}}, array_filters=[{"x": {"$gte": 5}}], return_document=AFTER
        )
    ) == ({"_id": 1, "g": [1, 6, 10]}, 1, None)
    assert both(
        lambda b: b.find_and(
            "Update", filter={}, pipeline=[{"$set": {"n": {"$size": "$g"}, "k": "$$v"}}], options=options(let={"v": 7}), return_document=AFTER
        )
    ) == ({"_id": 1, "g": [1, 6, 10], "n": 3, "k": 7}, 1, None)


def test_ordered_insert_many(both):
    both(lambda b: b.put({"_id": 2}))
    assert both(lambda b: b.insert_stop({"_id": 1}, {"_id": 2}, {"_id": 3})) == (1, [(1, 6, 11000)])
    assert both(lambda b: b.insert_stop({"_id": 4}, {"_id": [1]}, {"_id": 5})) == (1, [(1, 3, 53)])
    assert both(lambda b: b.insert_stop({"_id": 6}, {"_id": 6})) == (1, [(1, 6, 11000)])
    assert both(lambda b: b.insert_stop({"_id": 1})) == (0, [(0, 6, 11000)])
    assert both(lambda b: b.insert_stop({"_id": 8}, {"_id": 9})) == (2, [])
    assert [d["_id"] for d in both.all()] == [1, 2, 4, 6, 8, 9]


def test_bulk_write(both):
    answer = both(
        lambda b: b.bulk(
            ("insert", {"_id": 1, "n": 1}),
            ("insert", {"_id": 2, "n": 2}),
            ("update", {"_id": 1}, {"$inc": {"n": 10}}),  # sees the insert
            ("update_many", {"n": {"$gte": 2}}, {"$set": {"big": True}}),
            ("replace", {"_id": 3}, {"n": 3}, {"upsert": True}),
            ("update", {"_id": 3}, [{"$set": {"m": "$n"}}]),
            ("delete", {"_id": 2}),
            ("update", {"_id": 4}, {"$set": {"g": [1, 2]}}, {"upsert": True}),
            ("update", {"_id": 4}, {"$set": {"g.$[x]": 0}}, {"array_filters": [{"x": 2}]}),
            ("insert", {"_id": 2, "again": True}),
            ("delete_many", {"n": 3}),
        )
    )
    assert answer == {
        "counts": (3, 5, 5, 2, 2),
        "inserted": [(0, {"_id": 1}), (1, {"_id": 2}), (9, {"_id": 2})],
        "upserted": [(4, {"_id": 3}), (7, {"_id": 4})],
        "errors": [],
    }
    assert both.all() == [{"_id": 1, "n": 11, "big": True}, {"_id": 2, "again": True}, {"_id": 4, "g": [1, 0]}]


def test_bulk_write_stops_or_goes_on_at_an_error(both):
    operations = [
        ("insert", {"_id": 1}),
        ("insert", {"_id": 1}),
        ("update", {"_id": 1}, {"$nope": {"a": 1}}),
        ("update", {"_id": 1}, {"$set": {"a": "text"}}),
        ("update_many", {}, {"$inc": {"a": 1}}),
        ("insert", {"_id": 2}),
    ]
    first = both(lambda b: b.bulk(*operations))
    assert (first["counts"], first["errors"]) == ((1, 0, 0, 0, 0), [(1, 6, 11000)])
    second = both(lambda b: b.bulk(*operations, unordered=True))
    assert second["counts"] == (1, 1, 1, 0, 0)
    assert second["errors"] == [(0, 6, 11000), (1, 6, 11000), (2, 3, 9), (4, 3, 14)]
    assert second["inserted"] == [(5, {"_id": 2})]
    assert both(lambda b: b.bulk()) is INVALID
    assert both(lambda b: b.rpc.BulkWrite(target=b.target, operations=[branch_pb2.BulkOperation()])) is INVALID


def test_an_update_of_many_that_fails_in_the_middle_says_that_it_may_have_changed_some(service):
    """MongoDB's answer counts none of them."""
    name = f"t{uuid.uuid4().hex[:12]}"
    service.rpc.CreateBranch(project="p", name=name, kind=TRADITIONAL, write=service.write())
    branch = Branch(service, name)
    for n, a in enumerate([1, "text", 1]):
        branch.put({"_id": n, "a": a})
    answer = branch.rpc.BulkWrite(target=branch.target, operations=[operation("update_many", {}, {"$inc": {"a": 1}})])
    assert (answer.matched, answer.modified) == (0, 0)
    assert "documents may be changed, how many MongoDB does not say: " in answer.errors[0].message
    assert branch.all() == [{"_id": 0, "a": 2}, {"_id": 1, "a": "text"}, {"_id": 2, "a": 1}]


def test_what_only_a_wal_branch_has(service):
    """Also that each kind says which option it lacks."""
    name = f"t{uuid.uuid4().hex[:12]}"
    service.rpc.CreateBranch(project="p", name=name, kind=TRADITIONAL, write=service.write())
    branch = Branch(service, name)
    with pytest.raises(grpc.RpcError) as refused:
        branch.bulk(("insert", {"_id": 1}), atomic=True)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION and "atomic" in refused.value.details()
    with pytest.raises(grpc.RpcError) as refused:
        branch.rpc.FindOneAndDelete(target=branch.target, filter=document({}), write=service.write("r"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION and "request_id" in refused.value.details()
