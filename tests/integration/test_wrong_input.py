"""Wrong input gets a precise error with the right status, and nothing is written."""

import bson
import grpc
import pytest

from harness import not_applied

INVALID, NOT_FOUND, EXISTS = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def raw(argon, data, collection="c"):
    return argon.rpc.InsertOne(target=argon.target("p", collection), document={"bson": data})


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def collection(argon, name):
    return argon.rpc.CreateCollection(target=argon.target("p", name))


DIVIDES_BY_ZERO = {"$expr": {"$divide": [1, {"$subtract": ["$n", 1]}]}}



def update(a, update=None, many=False, **fields):
    call = a.rpc.UpdateMany if many else a.rpc.UpdateOne
    return call(target=a.target("p", "c"), update=a.document(update), **fields)


def find_and_update(a, update, **fields):
    return a.rpc.FindOneAndUpdate(target=a.target("p", "c"), filter=a.document({"_id": 1}), update=a.document(update), **fields)


def bulk(a, *operations, **fields):
    return a.rpc.BulkWrite(target=a.target("p", "c"), operations=operations, **fields)


SET = {"$set": {"n": 5}}
ONE_INSERT = {"insert_one": {"document": {"json": '{"_id": 60}'}}}

WRONG_WRITES = {
    "update and pipeline": (INVALID, "both set", lambda a: update(a, SET, pipeline=[a.document({"$set": {"n": 5}})])),
    "neither update nor pipeline": (INVALID, "update", lambda a: update(a)),
    "stage that no update has": (INVALID, "$group", lambda a: update(a, pipeline=[a.document({"$group": {"_id": 1}})])),
    "array filter that nobody uses": (INVALID, "x", lambda a: update(a, SET, array_filters=[a.document({"x": 1})])),
    "name without array filter": (INVALID, "x", lambda a: update(a, {"$set": {"g.$[x]": 1}})),
    "array filters of a pipeline": (INVALID, "arrayFilters", lambda a: update(a, pipeline=[a.document(SET)], array_filters=[a.document({"x": 1})])),
    "sort that is none": (INVALID, "sort", lambda a: update(a, SET, sort=a.document({"n": "up"}))),
    "collation": (INVALID, "'de'", lambda a: update(a, SET, options={"collation": {"json": '{"locale": "de"}'}})),
    "two hints": (INVALID, "hint", lambda a: update(a, SET, options={"hint": "n_1", "hint_keys": {"json": '{"n": 1}'}})),
    "variable with a bad name": (INVALID, "let", lambda a: update(a, SET, options={"let": {"json": '{"1x": 1}'}})),
    "upsert with $expr": (INVALID, "$expr", lambda a: update(a, SET, upsert=True, filter=a.document({"_id": 9, "$expr": {"$eq": ["$n", 7]}}))),
    "upsert of an _id that is taken": (EXISTS, '"_id"', lambda a: update(a, SET, upsert=True, filter=a.document({"_id": 1, "n": 7}))),
    "upsert with contradicting paths": (INVALID, "matched", lambda a: update(a, SET, upsert=True, filter=a.document({"a": 1, "a.b": 2}))),
    "projection that is none": (INVALID, "projection", lambda a: find_and_update(a, SET, projection=a.document({"a": 1, "b": 0}))),
    "projection that fails": (INVALID, "by zero", lambda a: find_and_update(a, SET, projection=a.document({"q": {"$divide": [1, {"$subtract": ["$n", 1]}]}}))),
    "positional projection of the new document": (INVALID, "positional", lambda a: find_and_update(a, SET, projection=a.document({"g.$": 1}), return_document=1)),
    "unknown return_document": (INVALID, "return_document 7", lambda a: find_and_update(a, SET, return_document=7)),
    "unknown on_duplicate": (INVALID, "on_duplicate 9", lambda a: a.rpc.InsertMany(target=a.target("p", "c"), documents=[a.document({})], on_duplicate=9)),
    "bulk of nothing": (INVALID, "no operations", lambda a: bulk(a)),
    "bulk of no operation": (INVALID, "operation 1", lambda a: bulk(a, ONE_INSERT, {})),
    "bulk with JSON that is not": (INVALID, "operation 1", lambda a: bulk(a, ONE_INSERT, {"insert_one": {"document": {"json": "{"}}})),
    "atomic bulk with a duplicate": (EXISTS, "operation 1", lambda a: bulk(a, ONE_INSERT, ONE_INSERT, atomic=True)),
    "atomic bulk with a wrong update": (INVALID, "operation 1", lambda a: bulk(a, ONE_INSERT, {"update_one": {"update": {"json": '{"$nosuch": {"n": 1}}'}}}, atomic=True)),
    "bulk of too many": (INVALID, "100000", lambda a: bulk(a, *[{"delete_one": {}}] * 100_001)),
    "update of 10,000 levels": (INVALID, "", lambda a: a.rpc.UpdateOne(target=a.target("p", "c"), update={"json": '{"$set":{"a":' + '{"a":' * 10_000 + "1" + "}" * 10_002})),
    "upsert that nests with its filter": (INVALID, "100", lambda a: update(a, SET, upsert=True, filter=a.document({"_id": 9, ".".join("a" * 100): {"b": 1}}))),
    "pipeline of 10,000 levels": (INVALID, "", lambda a: update(a, pipeline=[{"json": '{"$set":{"a":' + '{"$not":' * 10_000 + "1" + "}" * 10_002}])),
    "unknown project": (NOT_FOUND, "project 'nope' does not exist", lambda a: a.insert("nope", "c", {})),
    "unknown branch": (NOT_FOUND, "branch 'nope' does not exist", lambda a: a.insert("p", "c", {}, branch="nope")),
    "unknown parent": (NOT_FOUND, "branch 'nope' does not exist", lambda a: a.create_branch("p", "b", start="nope")),
    "unknown collection to drop": (NOT_FOUND, "collection 'nope'", lambda a: a.rpc.DropCollection(target=a.target("p", "nope"))),
    "unknown collection to rename": (NOT_FOUND, "collection 'nope'", lambda a: a.rpc.RenameCollection(target=a.target("p", "nope"), new_name="x")),
    "unknown project to delete": (NOT_FOUND, "project 'nope' does not exist", lambda a: a.delete_project("nope")),
    "unknown branch to delete": (NOT_FOUND, "branch 'nope' does not exist", lambda a: a.rpc.DeleteBranch(project="p", name="nope")),
    "taken project": (EXISTS, "project 'p' exists", lambda a: a.create_project("p")),
    "taken branch": (EXISTS, "branch 'dev' exists", lambda a: a.create_branch("p", "dev")),
    "main again": (EXISTS, "branch 'main' exists", lambda a: a.create_branch("p", "main")),
    "taken collection": (EXISTS, "collection 'c' exists", lambda a: collection(a, "c")),
    "taken new name": (EXISTS, "branch 'dev' exists", lambda a: a.rpc.RenameBranch(project="p", name="other", new_name="dev")),
    "taken _id": (EXISTS, '"_id"', lambda a: a.insert("p", "c", {"_id": 1})),
    "taken _id of another number type": (EXISTS, '"_id"', lambda a: a.insert("p", "c", {"_id": 1.0})),
    "main cannot be deleted": (PRECONDITION, "main", lambda a: a.rpc.DeleteBranch(project="p", name="main")),
    "main cannot be renamed": (PRECONDITION, "main", lambda a: a.rpc.RenameBranch(project="p", name="main", new_name="x")),
    "empty project name": (INVALID, "empty", lambda a: a.create_project("")),
    "empty branch name": (INVALID, "empty", lambda a: a.create_branch("p", "")),
    "empty collection name": (INVALID, "empty", lambda a: a.insert("p", "", {})),
    "reserved project name": (INVALID, "reserved", lambda a: a.create_project("_system")),
    "reserved branch name": (INVALID, "reserved", lambda a: a.create_branch("p", "_catalog")),
    "reserved collection name": (INVALID, "reserved", lambda a: a.insert("p", "system.users", {})),
    "hidden collection": (INVALID, "reserved", lambda a: a.insert("p", "_collections", {})),
    "name with a space": (INVALID, "may hold", lambda a: a.create_branch("p", "a b")),
    "name with a newline": (INVALID, "control character", lambda a: collection(a, "a\nb")),
    "name with a dollar": (INVALID, "$", lambda a: a.insert("p", "a$b", {})),
    "name too long": (INVALID, "at most 128", lambda a: a.create_branch("p", "x" * 129)),
    "request_id too long": (INVALID, "at most 64", lambda a: a.insert("p", "c", {}, request_id="x" * 65)),
    "actor too long": (INVALID, "at most 128", lambda a: a.insert("p", "c", {}, actor="x" * 129)),
    "no document": (INVALID, "document", lambda a: a.rpc.InsertOne(target=a.target("p", "c"))),
    "no target": (INVALID, "target", lambda a: a.rpc.InsertOne(document={"bson": bson.encode({})})),
    "no documents": (INVALID, "no documents", lambda a: a.insert_many("p", "c", [])),
    "BSON cut short": (INVALID, "", lambda a: raw(a, bson.encode({"a": "text"})[:-3])),
    "BSON of random bytes": (INVALID, "", lambda a: raw(a, b"\x0c\0\0\0garbage\0")),
    "BSON with trailing bytes": (INVALID, "", lambda a: raw(a, bson.encode({"a": 1}) + b"x")),
    "text that is not UTF-8": (INVALID, "UTF-8", lambda a: raw(a, b"\x10\0\0\0\x02a\0\x04\0\0\0\xff\xfe\xfd\0\0")),
    "JSON that is not": (INVALID, "", lambda a: a.rpc.InsertOne(target=a.target("p", "c"), document={"json": '{"a": '})),
    "$-prefixed field in _id": (INVALID, "$x", lambda a: a.insert("p", "c", {"_id": {"$x": 1}})),
    "replacement with a $-prefixed field": (INVALID, "$x", lambda a: a.rpc.ReplaceOne(target=a.target("p", "c"), replacement=a.document({"a": 1, "$x": 1}))),
    "array as _id": (INVALID, "_id", lambda a: a.insert("p", "c", {"_id": [1]})),
    "regex as _id": (INVALID, "_id", lambda a: a.insert("p", "c", {"_id": bson.Regex("a")})),
    "_id too long": (INVALID, "2048", lambda a: a.insert("p", "c", {"_id": "x" * 2100})),
    "nesting over 100": (INVALID, "100", lambda a: a.insert("p", "c", nested(101))),
    "document over 16 MiB": (INVALID, "16777216", lambda a: a.insert("p", "c", {"a": "x" * (16 * 1024 * 1024)})),
    "batch over 48 MiB": (INVALID, "one batch", lambda a: a.insert_many("p", "c", [{"a": "x" * 11_000_000}] * 5)),
    "too many documents": (INVALID, "99999", lambda a: a.insert_many("p", "c", [{"_id": i} for i in range(100_000)])),
    "duplicate within the request": (EXISTS, '"_id"', lambda a: a.insert_many("p", "c", [{"_id": 50}, {"_id": 50}])),
    "one bad document of many": (INVALID, "document 1", lambda a: a.insert_many("p", "c", [{"_id": 51}, {"_id": [1]}])),
    "unknown filter operator": (INVALID, "$nosuch", lambda a: a.update("p", "c", {"n": {"$nosuch": 1}}, {"$set": {"n": 1}})),
    "filter that fails on a document": (INVALID, "by zero", lambda a: a.update("p", "c", DIVIDES_BY_ZERO, {"$set": {"n": 5}}, many=True)),
    "filter that fails on one document": (INVALID, "by zero", lambda a: a.update("p", "c", {"_id": 1, **DIVIDES_BY_ZERO}, {"$set": {"n": 5}})),
    "filter of a delete that fails": (INVALID, "by zero", lambda a: a.delete("p", "c", DIVIDES_BY_ZERO, many=True)),
    "unknown update operator": (INVALID, "$nosuch", lambda a: a.update("p", "c", {}, {"$nosuch": {"n": 1}})),
    "$inc of text": (INVALID, "", lambda a: a.update("p", "c", {"_id": 1}, {"$inc": {"text": 1}})),
    "changed _id": (INVALID, "_id", lambda a: a.update("p", "c", {"_id": 1}, {"$set": {"_id": 2}})),
    "replacement of many": (INVALID, "replacement", lambda a: a.update("p", "c", {}, {"n": 1}, many=True)),
    "branch beyond the head": (grpc.StatusCode.OUT_OF_RANGE, "0..", lambda a: a.create_branch("p", "far", at=10**9)),
}

def read(argon, method, **fields):
    for name in ("sort", "projection"):
        if name in fields:
            value = fields[name]
            fields[name] = {"bson": value} if isinstance(value, bytes) else argon.document(value)
    return getattr(argon.rpc, method)(target=argon.target("p", "c"), **fields)


WRONG_READS = {
    "unknown project": (NOT_FOUND, "nope", lambda a: a.find("nope", "c")),
    "unknown branch": (NOT_FOUND, "nope", lambda a: a.find("p", "c", branch="nope")),
    "beyond the head": (grpc.StatusCode.OUT_OF_RANGE, "0..", lambda a: a.find("p", "c", at=10**9)),
    "page too large": (INVALID, "1000", lambda a: a.rpc.ListBranches(project="p", page_size=1001)),
    "unknown operator": (INVALID, "$where", lambda a: a.find("p", "c", {"$where": "1"})),
    "filter that fails on a document": (INVALID, "by zero", lambda a: a.find("p", "c", DIVIDES_BY_ZERO)),
    "filter that fails on one document": (INVALID, "by zero", lambda a: a.rpc.FindOne(target=a.target("p", "c"), filter=a.document({"_id": 1, **DIVIDES_BY_ZERO}))),
    "filter that fails in a count": (INVALID, "by zero", lambda a: a.count("p", "c", DIVIDES_BY_ZERO)),
    "sort by a word": (INVALID, "sort: Illegal key in sort specification: 'n' (code 15974", lambda a: read(a, "Find", sort={"n": "up"})),
    "projection of both kinds": (INVALID, "projection: ", lambda a: read(a, "FindOne", projection={"n": 1, "text": 0})),
    "projection that fails on a document": (INVALID, "by zero", lambda a: read(a, "Find", projection={"x": {"$divide": [1, {"$subtract": ["$n", 1]}]}})),
    "broken projection": (INVALID, "projection: ", lambda a: read(a, "Find", projection=b"12345")),
    "collation": (INVALID, "locale 'de' is not supported", lambda a: read(a, "Count", options={"collation": a.document({"locale": "de"})})),
    "collation with strength": (INVALID, "collation 'strength'", lambda a: read(a, "Count", options={"collation": a.document({"strength": 1})})),
    "two hints": (INVALID, "hint and hint_keys", lambda a: read(a, "Find", options={"hint": "a", "hint_keys": a.document({"a": 1})})),
    "variable without a value": (INVALID, "let: ", lambda a: read(a, "Find", options={"let": a.document({"X": 1})})),
    "distinct of nothing": (INVALID, "field is missing (code 40414", lambda a: read(a, "Distinct")),
    "distinct with variables": (INVALID, "'let' is an unknown field (code 40415", lambda a: read(a, "Distinct", field="n", options={"let": a.document({"x": 1})})),
    "unknown stage": (INVALID, "pipeline: Unrecognized pipeline stage name: '$sing' (code 40324", lambda a: read(a, "Aggregate", pipeline=[a.document({"$sing": 1})])),
    "stage that writes": (INVALID, "pipeline: the stage $out is not supported (code 115", lambda a: read(a, "Aggregate", pipeline=[a.document({"$out": "c"})])),
    "broken stage": (INVALID, "stage 1: ", lambda a: read(a, "Aggregate", pipeline=[a.document({"$limit": 1}), {"bson": b"1"}])),
    "empty stage": (INVALID, "stage 0: neither", lambda a: read(a, "Aggregate", pipeline=[{}])),
    "pipeline that fails on a document": (INVALID, "by zero", lambda a: read(a, "Aggregate", pipeline=[a.document({"$match": DIVIDES_BY_ZERO})])),
    "format of an aggregation": (INVALID, "format 9", lambda a: read(a, "Aggregate", format=9)),
    "no target of an estimated count": (INVALID, "target", lambda a: a.rpc.EstimatedCount()),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    from harness import Cluster

    cluster = Cluster(tmp_path_factory.mktemp("wrong"))
    cluster.start_wal()
    cluster.start_branch()
    argon = cluster.client()
    argon.create_project("p")
    argon.insert("p", "c", {"_id": 1, "text": "t", "n": 1})
    argon.create_branch("p", "dev")
    argon.create_branch("p", "other")
    yield argon
    cluster.close()


@pytest.mark.parametrize("case", WRONG_WRITES)
def test_a_wrong_write_is_refused_and_writes_nothing(prepared, case):
    status, text, send = WRONG_WRITES[case]
    head = prepared.head("p")
    projects = [project.name for project in prepared.rpc.ListProjects().projects]
    with pytest.raises(grpc.RpcError) as error:
        send(prepared)
    assert (error.value.code(), error.value.details()) == (status, error.value.details())
    assert text in error.value.details()
    assert not_applied(error.value), error.value
    assert prepared.head("p") == head
    assert [project.name for project in prepared.rpc.ListProjects().projects] == projects


@pytest.mark.parametrize("case", WRONG_READS)
def test_a_wrong_read_is_refused(prepared, case):
    status, text, send = WRONG_READS[case]
    with pytest.raises(grpc.RpcError) as error:
        send(prepared)
    assert error.value.code() == status, error.value
    assert text in error.value.details()


def test_what_lies_at_the_limits_is_accepted(prepared):
    overhead = len(bson.encode({"_id": 1, "a": ""}))
    prepared.insert("p", "limits", {"_id": 1, "a": "x" * (16 * 1024 * 1024 - overhead)}, timeout=60)
    prepared.insert("p", "limits", {"_id": 2, **nested(100)})
    prepared.insert("p", "limits", {"_id": "x" * 2040})
    prepared.create_branch("p", "x" * 128)
    prepared.insert("p", "limits", {"_id": 3}, request_id="r" * 64, since=prepared.head("p"), actor="a" * 128)
    answer = prepared.insert_many("p", "many", [{"_id": i} for i in range(99_999)], timeout=120)
    assert answer.inserted == 99_999
    assert prepared.count("p", "many") == 99_999


def test_a_batch_of_48_mib_is_written_and_read_again(cluster, argon):
    values = [{"_id": i, "a": chr(97 + i) * 12_500_000} for i in range(4)]
    argon.insert_many("p", "large", values, timeout=120)
    cluster.wal.kill()
    cluster.wal.start()
    cold = cluster.client(cluster.start_branch())
    assert cold.find("p", "large", timeout=120) == values


def test_a_collection_that_does_not_fit_the_budget_says_so(cluster):
    cluster.start_wal()
    cluster.start_branch("--memory", "16M")
    argon = cluster.client()
    argon.create_project("p")
    argon.insert("p", "small", {"_id": 1})
    with pytest.raises(grpc.RpcError) as error:
        for start in range(30):
            argon.insert_many("p", "large", [{"_id": start * 100 + i, "a": "x" * 10_000} for i in range(100)])
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "'large'" in error.value.details() and "16777216" in error.value.details()
    assert not_applied(error.value)
    assert argon.find("p", "small") == [{"_id": 1}]


def test_unknown_methods_are_unimplemented_at_once(prepared):
    call = prepared.rpc.channel.unary_unary("/argon.branch.v1.Documents/Nope")
    with pytest.raises(grpc.RpcError) as error:
        call(b"", timeout=20)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
