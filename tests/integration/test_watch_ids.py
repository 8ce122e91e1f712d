"""The _id in a change is the one that the document had, of any type that can be an _id."""

import datetime
import uuid

import bson
from argon.branch.v1 import branch_pb2
from bson.decimal128 import Decimal128


def document(tag, value):
    """{_id: value}, byte by byte: bson would choose a type of its own."""
    body = bytes([tag]) + b"_id\0" + value
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def text(value):
    return (len(value) + 1).to_bytes(4, "little") + value + b"\0"




def scoped(code, scope):
    body = text(code) + scope
    return (len(body) + 4).to_bytes(4, "little") + body


# every type of BSON that can be an _id; with numbers that are equal to those of another type
IDS = {
    "double": bson.encode({"_id": 1.0}),
    "double -0": bson.encode({"_id": -0.0}),
    "double, a fraction": bson.encode({"_id": 0.1}),
    "NaN": bson.encode({"_id": float("nan")}),
    "a NaN of other bits": document(0x01, bytes.fromhex("010000000000f8ff")),
    "infinity": bson.encode({"_id": float("inf")}),
    "string": bson.encode({"_id": "a\0b"}),
    "document": bson.encode({"_id": {"b": 1.5, "a": {"c": bson.Int64(7)}}}),
    "document with an array": bson.encode({"_id": {"a": [1.0, "x", None, [True]]}}),
    "document with a regular expression": bson.encode({"_id": {"r": bson.Regex("^a.*", "im"), "n": 1}}),
    "document with undefined": document(0x03, b"\x08\0\0\0\x06u\0\0"),
    "document with a DBPointer": document(0x03, (25).to_bytes(4, "little") + b"\x0cp\0" + text(b"") + bytes(12) + b"\0"),
    "document with an array of odd names": document(0x03, b"\x13\0\0\0\x04a\0\x0b\0\0\0\x0az\0\x0ay\0\0\0"),
    "binary": bson.encode({"_id": bson.Binary(b"\0\1", 0)}),
    "UUID": bson.encode({"_id": bson.Binary.from_uuid(uuid.UUID(int=7))}),
    "old binary": document(0x05, b"\x06\0\0\0\x02\x02\0\0\0ab"),
    "ObjectId": bson.encode({"_id": bson.ObjectId(b"x" * 12)}),
    "bool": bson.encode({"_id": False}),
    "date": bson.encode({"_id": datetime.datetime(1901, 2, 3)}),
    "null": bson.encode({"_id": None}),
    "DBPointer": document(0x0C, text(b"db.c") + b"y" * 12),
    "code": bson.encode({"_id": bson.Code("f()")}),
    "symbol": document(0x0E, text(b"symbol")),
    "code with scope": document(0x0F, scoped(b"f(\0x)", bson.encode({"x": 1.0, "y": {"r": bson.Regex("z")}}))),
    "int": bson.encode({"_id": 2}),
    "timestamp": bson.encode({"_id": bson.Timestamp(4000000000, 3000000000)}),
    "long": bson.encode({"_id": bson.Int64(3)}),
    "large long": bson.encode({"_id": bson.Int64(2**62 + 1)}),
    "decimal": bson.encode({"_id": Decimal128("4.000")}),
    "large decimal": bson.encode({"_id": Decimal128("9.99E+6144")}),
    "minKey": bson.encode({"_id": bson.MinKey()}),
    "maxKey": bson.encode({"_id": bson.MaxKey()}),
}


def changes(client, **fields):
    return [change for message in client.rpc.Watch(project="p", stop_at_head=True, **fields) for change in message.changes]


def ids(shown, kind):
    return [change.document_id.bson for change in shown if change.kind == kind]


def test_every_type_comes_back_as_it_was(argon):
    target = argon.target("p", "c")
    for name, id in IDS.items():
        answer = argon.rpc.InsertOne(target=target, document={"bson": id})
        assert answer.inserted_id.bson == id, name
        argon.rpc.UpdateOne(target=target, filter={"bson": id}, update=argon.document({"$set": {"v": 1}}))
        assert argon.rpc.DeleteOne(target=target, filter={"bson": id}).deleted == 1, name
    for fields in [{}, {"omit_documents": True}]:
        shown = changes(argon, **fields)
        for kind in [branch_pb2.CHANGE_INSERT, branch_pb2.CHANGE_UPDATE, branch_pb2.CHANGE_DELETE]:
            assert dict(zip(IDS, ids(shown, kind))) == IDS
        assert all(not change.document.bson for change in shown if change.kind == branch_pb2.CHANGE_DELETE or fields)
    canonical = changes(argon, format=branch_pb2.FORMAT_CANONICAL_JSON)
    decimal = [change.document_id.json for change in canonical if "4.000" in change.document_id.json]
    assert len(decimal) == 3, "of the insert, the update and the delete"


def test_deletes_of_many_and_of_documents_that_a_parent_made(argon):
    documents = [id for name, id in IDS.items() if "NaN" not in name or name == "NaN"]
    argon.rpc.InsertMany(target=argon.target("p", "c"), documents=[{"bson": id} for id in documents])
    argon.create_branch("p", "dev")
    base = argon.head("p")
    assert argon.delete("p", "c", {}, branch="dev", many=True).deleted == len(documents)
    assert sorted(ids(changes(argon, branch="dev", after_lsn=base), branch_pb2.CHANGE_DELETE)) == sorted(documents)
    assert argon.count("p", "c") == len(documents)


def test_a_log_in_which_deletes_name_the_key_alone_shows_an_equal_id(cluster, argon):
    for id in IDS.values():
        argon.rpc.InsertOne(target=argon.target("p", "c"), document={"bson": id})
        argon.rpc.DeleteOne(target=argon.target("p", "c"), filter={"bson": id})
    wal, project = cluster.wal_client(), argon.rpc.GetProject(name="p").project
    runs = [run for message in wal.Read(project_id=project.id, branch_id="main") for run in message.runs]
    for run in runs:
        for entry in run.entries:
            if entry.operation == 1 and run.collection != "_collections":
                delete = {"operation": 3, "document_id": entry.document_id}
                append = {"runs": [{"branch_id": "main", "collection": run.collection, "entries": [delete]}], "unconditional": True}
                assert wal.Append(project_id=project.id, batches=[append]).results[0].code == 0
    shown = ids(changes(argon, after_lsn=project.head_lsn), branch_pb2.CHANGE_DELETE)
    for (name, id), found in zip(IDS.items(), shown, strict=True):
        argon.rpc.InsertOne(target=argon.target("p", name[:20]), document={"bson": id})
        assert argon.rpc.FindOne(target=argon.target("p", name[:20]), filter={"bson": found}).document.bson == id, name
    equal = {"double", "double -0", "long", "decimal", "symbol", "a NaN of other bits", "document with an array of odd names"}
    others = {name for (name, id), found in zip(IDS.items(), shown) if id != found}
    assert equal <= others <= equal | {"NaN", "infinity", "document", "document with an array", "code with scope", "large decimal"}
