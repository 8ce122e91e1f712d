#!/usr/bin/python3
"""Runs the cases of tests/corpus against a MongoDB server and lists where it answers otherwise.

    second_opinion.py [--uri mongodb://...] [FILE.jsonl ...]

Without --uri it starts the server of scripts/mongodb-for-tests.sh. That one agrees with MongoDB in most hard cases, not
in all: a difference is looked up in MongoDB's documentation and tests, and where the case is right, its "differs" says
why. Fails when there is a difference without such a reason.

Cases are sent as the BSON they mean, so that no driver's idea of a type comes between; see tests/support/corpus.h for
their form.
"""

import argparse
import base64
import datetime
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

import bson
import pymongo
import pymongo.errors
from bson import json_util
from bson.raw_bson import RawBSONDocument

HERE = pathlib.Path(__file__).parent
SERVER = HERE.parents[1] / "scripts" / "mongodb-for-tests.sh"
NOT_SUPPORTED = 115  # how we refuse what MongoDB has
MANY = 10000


# --- Extended JSON v2, strictly: {"$regex": "a", "$options": "i"} is a document, whatever other readers think.
# A document is a list of (name, value), so that field order and names that come twice stay.


class Document(list):
    pass


def text(value):
    return struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0"


def regex(value):
    parts = dict(value)
    return (parts["pattern"] + "\0" + parts["options"] + "\0").encode()


def binary(value):
    parts = dict(value)
    data = base64.b64decode(parts["base64"])
    return struct.pack("<iB", len(data), int(parts["subType"], 16)) + data


def pointer(value):
    parts = dict(value)
    return text(parts["$ref"]) + bytes.fromhex(dict(parts["$id"])["$oid"])


def scoped(code, scope):
    body = text(code) + document(scope)
    return struct.pack("<i", len(body) + 4) + body


def milliseconds(value):
    """{"$numberLong": "..."}, or ISO 8601 with Z"""
    if isinstance(value, Document):
        return int(dict(value)["$numberLong"])
    return (datetime.datetime.fromisoformat(value) - datetime.datetime.fromisoformat("1970-01-01T00:00Z")) // datetime.timedelta(milliseconds=1)


EXTENDED = {
    ("$numberInt",): lambda v: (0x10, struct.pack("<i", int(v))),
    ("$numberLong",): lambda v: (0x12, struct.pack("<q", int(v))),
    ("$numberDouble",): lambda v: (0x01, struct.pack("<d", float(v))),
    ("$numberDecimal",): lambda v: (0x13, bson.Decimal128(v).bid),
    ("$oid",): lambda v: (0x07, bytes.fromhex(v)),
    ("$date",): lambda v: (0x09, struct.pack("<q", milliseconds(v))),
    ("$timestamp",): lambda v: (0x11, struct.pack("<II", dict(v)["i"], dict(v)["t"])),
    ("$binary",): lambda v: (0x05, binary(v)),
    ("$regularExpression",): lambda v: (0x0B, regex(v)),
    ("$minKey",): lambda v: (0xFF, b""),
    ("$maxKey",): lambda v: (0x7F, b""),
    ("$undefined",): lambda v: (0x06, b""),
    ("$symbol",): lambda v: (0x0E, text(v)),
    ("$code",): lambda v: (0x0D, text(v)),
    ("$code", "$scope"): lambda v, scope: (0x0F, scoped(v, scope)),
    ("$dbPointer",): lambda v: (0x0C, pointer(v)),
}


def element(value):
    """(type, bytes) of a value"""
    if isinstance(value, Document):
        extended = EXTENDED.get(tuple(name for name, _ in value))
        return extended(*(inner for _, inner in value)) if extended else (0x03, document(value))
    if isinstance(value, list):
        return 0x04, document([(str(i), inner) for i, inner in enumerate(value)])
    if isinstance(value, str):
        return 0x02, text(value)
    if isinstance(value, bool):
        return 0x08, bytes([value])
    if value is None:
        return 0x0A, b""
    if isinstance(value, float):
        return 0x01, struct.pack("<d", value)
    return (0x10, struct.pack("<i", value)) if -(2**31) <= value < 2**31 else (0x12, struct.pack("<q", value))


def document(fields):
    body = b""
    for name, value in fields:
        kind, data = element(value)
        body += bytes([kind]) + name.encode() + b"\0" + data
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def raw(fields):
    return RawBSONDocument(document(fields))


def parts(data):
    """[(type, name, value)] of a document's bytes; a value is bytes, or parts again"""
    found, at = [], 4
    fixed = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
    while data[at]:
        kind, end = data[at], data.index(0, at + 1)
        name, at = data[at + 1 : end].decode(), end + 1
        if kind in fixed:
            size = fixed[kind]
        elif kind == 0x0B:
            size = data.index(0, data.index(0, at) + 1) + 1 - at
        else:
            size = struct.unpack_from("<i", data, at)[0] + {0x02: 4, 0x0D: 4, 0x0E: 4, 0x05: 5, 0x0C: 16}.get(kind, 0)
        value = data[at : at + size]
        found.append((kind, name, parts(value) if kind in (0x03, 0x04) else value))
        at += size
    return found


TYPES = {"objectId": 0x07, "date": 0x09, "timestamp": 0x11}


def same(got, expected):
    """Whether parts are equal; {"$$type": ...} stands for any value of the type."""
    if len(got) != len(expected):
        return False
    for (kind, name, value), (kind2, name2, value2) in zip(got, expected):
        if name != name2:
            return False
        if kind2 == 0x03 and len(value2) == 1 and value2[0][1] == "$$type":
            if kind != TYPES[value2[0][2][4:-1].decode()]:
                return False
        elif kind == kind2 == 0x01 and struct.unpack("<d", value2)[0] != struct.unpack("<d", value2)[0]:
            if struct.unpack("<d", value)[0] == struct.unpack("<d", value)[0]:  # any NaN is as good
                return False
        elif kind != kind2 or (not same(value, value2) if kind in (0x03, 0x04) else value != value2):
            return False
    return True


# --- The kinds. Each gives (answer, is it as expected).


def shown(data):
    return json_util.dumps(bson.decode(data), json_options=json_util.CANONICAL_JSON_OPTIONS)


def options(case):
    return dict(case.get("options", []))


def documents_of(database, command, **fields):
    """The bytes of what a command with a cursor answers, all in its first batch. The cursors of the driver would read
    projections and sorts, and send {} as {"_id": 1}."""
    answer = database.command(command, "corpus", codec_options=bson.CodecOptions(document_class=RawBSONDocument), **fields)
    return [document_.raw for document_ in answer["cursor"]["firstBatch"]]


def find(database, case):
    specs = {name: raw(case[name]) for name in ("filter", "projection", "sort") if name in case}
    return documents_of(database, "find", batchSize=MANY, **specs, **options(case))


def aggregate(database, case, pipeline):
    let = {"let": raw(case["let"])} if "let" in case else {}
    stages = [raw(stage) if isinstance(stage, Document) else stage for stage in pipeline]
    return documents_of(database, "aggregate", pipeline=stages, cursor={"batchSize": MANY}, **let)


def ids(case):
    return [document([("_id", i)]) for i in case.get("expect", [])]


def id_of(data):
    kind, name, value = next(part for part in parts(data) if part[1] == "_id")
    return kind, value


def number(identity):
    kind, value = identity
    form = {0x01: "<d", 0x10: "<i", 0x12: "<q"}.get(kind)
    return ("number", struct.unpack(form, value)[0]) if form else (kind, str(value))


def run_filter(database, case):
    got = [number(id_of(data)) for data in find(database, case)]
    return [identity[1] for identity in got], sorted(got, key=str) == sorted((number(id_of(data)) for data in ids(case)), key=str)


def run_sort(database, case):
    got = [number(id_of(data)) for data in find(database, case)]
    return [identity[1] for identity in got], got == [number(id_of(data)) for data in ids(case)]


def equal_documents(got, expected):
    return len(got) == len(expected) and all(same(parts(a), parts(document(b))) for a, b in zip(got, expected))


def run_projection(database, case):
    got = find(database, case)
    return [shown(data) for data in got], equal_documents(got, case.get("expect", []))


def run_aggregate(database, case):
    got = aggregate(database, case, case["pipeline"])
    return [shown(data) for data in got], equal_documents(got, case.get("expect", []))


MISSING = Document([("$$type", "missing")])


def run_expression(database, case):
    """As field "v" of each document. The _id that a document does not have but gets here is not seen."""
    hide = [] if any(name == "_id" for fields in case["docs"] for name, _ in fields) else [Document([("$unset", "_id")])]
    got = aggregate(database, case, hide + [Document([("$replaceWith", Document([("v", case["expression"])]))])])
    expect = [Document([] if value == MISSING else [("v", value)]) for value in case.get("expect", [])]
    return [shown(data) for data in got], equal_documents(got, expect)


def run_update(database, case):
    how = options(case)
    update = case["update"]
    statement = {
        "q": raw(case.get("filter", [])),
        "u": raw(update) if isinstance(update, Document) else [raw(stage) if isinstance(stage, Document) else stage for stage in update],
        "multi": how.get("multi", False),
        "upsert": how.get("upsert", False),
    }
    if "arrayFilters" in how:
        statement["arrayFilters"] = [raw(f) if isinstance(f, Document) else f for f in how["arrayFilters"]]
    answer = database.command("update", "corpus", updates=[statement])
    if answer.get("writeErrors"):
        error = answer["writeErrors"][0]
        raise pymongo.errors.OperationFailure(error["errmsg"], error["code"])
    got = find(database, {})
    expect = dict(case.get("expect", []))
    right = equal_documents(got, expect.get("docs", [])) and all(
        answer[name] == expect[name] for name in ("n", "nModified") if name in expect
    )
    return [shown(data) for data in got] + [{name: answer[name] for name in ("n", "nModified")}], right


KINDS = {
    "filter": run_filter,
    "sort": run_sort,
    "projection": run_projection,
    "aggregate": run_aggregate,
    "expression": run_expression,
    "update": run_update,
}


def ask(database, case):
    """What the server says, and whether the case says it, too."""
    try:
        for name, documents in [("corpus", case["docs"]), *case.get("collections", [])]:
            database.drop_collection(name)
            if documents:
                database.get_collection(name).insert_many([raw(fields) for fields in documents])
        answer, right = KINDS[case["kind"]](database, case)
    except pymongo.errors.OperationFailure as error:
        return f"error {error.code}: {str(error)[:120]}", case.get("error") and case.get("code", error.code) in (error.code, NOT_SUPPORTED)
    return answer, right and not case.get("error")


def compare(database, files):
    n, known, unknown = 0, [], []
    for file in files:
        for line in file.read_text().splitlines():
            case = dict(json.loads(line, object_pairs_hook=Document))
            if "memory" in case:  # a limit of ours, which no server takes
                continue
            n += 1
            answer, right = ask(database, case)
            if right:
                continue
            (known if "differs" in case else unknown).append(case["id"])
            if "differs" not in case:
                print(f"{case['id']}: {line}\n  the server says: {answer if isinstance(answer, str) else ', '.join(map(str, answer))}")
    print(f"{n} cases, {len(known)} with a known difference, {len(unknown)} that differ")
    return not unknown


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--uri")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    files = arguments.files or sorted(HERE.glob("*/*.jsonl"))
    if arguments.uri:
        with pymongo.MongoClient(arguments.uri) as client:
            return compare(client.argon_corpus, files)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = subprocess.Popen([SERVER, "exec", str(port), folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            subprocess.run([SERVER, "ready", str(port)], check=True)
            with pymongo.MongoClient("127.0.0.1", port, directConnection=True) as client:
                return compare(client.argon_corpus, files)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
