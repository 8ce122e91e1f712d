"""Index definitions are recorded with a collection, come back as they went in, and change nothing else."""

import json

import bson
import grpc
import pytest
from argon.branch.v1 import branch_pb2

BY_NAME = {"v": 2, "key": {"name": 1, "age": -1}, "name": "name_1_age_-1", "unique": True, "partialFilterExpression": {"age": {"$gt": 3}}}
TEXT = {"v": 2, "key": {"_fts": "text", "_ftsx": 1}, "name": "text", "weights": {"a": 1}, "default_language": "english"}
OF_ID = {"v": 2, "key": {"_id": 1}, "name": "_id_"}


def set_indexes(argon, collection, definitions, branch="main", **options):
    documents = [argon.document(definition) for definition in definitions]
    return argon.rpc.SetIndexes(target=argon.target("p", collection, branch), indexes=documents, write=argon.write(**options))


def indexes(argon, collection, branch="main", at=0):
    answer = argon.rpc.ListCollections(project="p", branch=branch, read=branch_pb2.ReadOptions(as_of_lsn=at))
    found = [item for item in answer.collections if item.name == collection]
    return [document.bson for document in found[0].indexes] if found else None


def test_definitions_are_kept_byte_for_byte(argon):
    lsn = set_indexes(argon, "c", [OF_ID, BY_NAME, TEXT]).lsn
    assert argon.collections("p") == ["c"]  # made by it
    assert indexes(argon, "c") == [bson.encode(BY_NAME), bson.encode(TEXT)]
    argon.insert_many("p", "c", [{"_id": 1, "name": "same", "age": 9}, {"_id": 2, "name": "same", "age": 9}])  # nothing is enforced
    argon.create_branch("p", "dev")
    set_indexes(argon, "c", [TEXT], branch="dev")
    argon.rpc.RenameCollection(target=argon.target("p", "c", "dev"), new_name="d")
    assert indexes(argon, "d", "dev") == [bson.encode(TEXT)]
    assert argon.count("p", "d", branch="dev") == 2
    assert len(indexes(argon, "c")) == 2
    set_indexes(argon, "c", [])
    assert indexes(argon, "c") == []
    assert len(indexes(argon, "c", at=lsn)) == 2
    assert argon.count("p", "c") == 2


def test_a_repeated_request_has_one_effect(argon):
    since = argon.head("p")
    first = set_indexes(argon, "c", [BY_NAME], request_id="once", since=since)
    set_indexes(argon, "c", [TEXT])
    assert set_indexes(argon, "c", [BY_NAME], request_id="once", since=since).lsn == first.lsn
    assert indexes(argon, "c") == [bson.encode(TEXT)]


@pytest.mark.parametrize(
    "definitions, message",
    [
        ([{"key": {"a": 1}}], "index definition 0 has no name"),
        ([BY_NAME, {"name": "x"}], "index definition 1 ('x') has no key"),
        ([{"name": "x", "key": {}}], "has no key"),
        ([{"name": "x", "key": {"a": 1}}, {"name": "x", "key": {"b": 1}}], "two index definitions have the name 'x'"),
        ([{"name": f"n{i}", "key": {f"a{i}": 1}} for i in range(65)], "at most 64"),
        ([{"name": "x", "key": {"a": 1}, "weights": "y" * 1100000}], "1048576 bytes"),
    ],
)
def test_what_is_no_definition_is_refused(argon, definitions, message):
    with pytest.raises(grpc.RpcError) as failure:
        set_indexes(argon, "c", definitions)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in failure.value.details()
    assert argon.collections("p") == []


def test_large_definitions_come_in_several_pages(argon):
    for i in range(6):
        set_indexes(argon, f"c{i}", [{"name": "x", "key": {"a": 1}, "weights": "y" * 700000}])
    names, token = [], ""
    while True:
        page = argon.rpc.ListCollections(project="p", branch="main", page_size=1000, page_token=token)
        assert 1 <= len(page.collections) <= 3
        names += [item.name for item in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"c{i}" for i in range(6)]


def test_a_watch_does_not_take_them_for_a_new_collection(argon):
    argon.insert("p", "c", {"_id": 1})
    set_indexes(argon, "c", [BY_NAME])
    argon.insert("p", "c", {"_id": 2})
    messages = argon.rpc.stream("Watch", timeout=30, project="p", branch="main", stop_at_head=True)
    kinds = [change.kind for message in messages for change in message.changes]
    assert kinds == [branch_pb2.CHANGE_CREATE_COLLECTION, branch_pb2.CHANGE_INSERT, branch_pb2.CHANGE_INSERT]


def test_the_command_prints_them(cluster, argon):
    set_indexes(argon, "c", [BY_NAME, TEXT])
    printed = cluster.argon("collections", "indexes", "c", "-p", "p", "-o", "ndjson").stdout.splitlines()
    assert [json.loads(line)["name"] for line in printed] == ["name_1_age_-1", "text"]
    missing = cluster.argon("collections", "indexes", "nothing", "-p", "p", check=False)
    assert missing.returncode == 3 and "collection 'nothing' does not exist" in missing.stderr
