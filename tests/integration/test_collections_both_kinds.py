"""The collection wrapper on both kinds of branch: the same calls must have the same answers, status codes included."""

import datetime
import uuid

import bson
import grpc
import pymongo
import pytest

from argon.branch.v1 import branch_pb2
from harness import Cluster, not_applied

WAL, TRADITIONAL = branch_pb2.BRANCH_KIND_WAL, branch_pb2.BRANCH_KIND_TRADITIONAL
KINDS = {"WAL": WAL, "Traditional": TRADITIONAL}
FAIL, SKIP, REPLACE, REPORT = range(4)
INVALID, NOT_FOUND, EXISTS, PRECONDITION = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class Branch:
    """One branch's RPCs, with answers that can be compared."""

    def __init__(self, client, name):
        self.client = client
        self.name = name

    def target(self, collection="c"):
        return self.client.target("p", collection, self.name)

    @staticmethod
    def document(value):
        if isinstance(value, branch_pb2.Document) or value is None:
            return value
        return branch_pb2.Document(bson=value if isinstance(value, bytes) else bson.encode(value))

    def insert(self, value, collection="c"):
        answer = self.client.rpc.InsertOne(target=self.target(collection), document=self.document(value))
        return bson.decode(answer.inserted_id.bson)["_id"]

    def insert_many(self, values, on_duplicate=FAIL, skip_invalid=False, collection="c"):
        answer = self.client.rpc.InsertMany(
            target=self.target(collection),
            documents=[self.document(value) for value in values],
            on_duplicate=on_duplicate,
            skip_invalid=skip_invalid,
        )
        return {
            "ids": [bson.decode(document.bson)["_id"] for document in answer.inserted_ids],
            "counts": (answer.inserted, answer.replaced, answer.skipped),
            "errors": [(error.index, error.code) for error in answer.errors],
        }

    def raw(self, filter=None, collection="c", skip=0, limit=0):
        messages = self.client.rpc.Find(target=self.target(collection), filter=self.document(filter), skip=skip, limit=limit)
        return [document.bson for message in messages for document in message.documents]

    def find(self, filter=None, collection="c", skip=0, limit=0):
        return [bson.decode(document) for document in self.raw(filter, collection, skip, limit)]

    def find_one(self, filter=None, skip=0):
        answer = self.client.rpc.FindOne(target=self.target(), filter=self.document(filter), skip=skip)
        return bson.decode(answer.document.bson) if answer.HasField("document") else None

    def count(self, filter=None, skip=0, limit=0, collection="c"):
        return self.client.rpc.Count(target=self.target(collection), filter=self.document(filter), skip=skip, limit=limit).count

    def update(self, filter, update, many=False):
        call = self.client.rpc.UpdateMany if many else self.client.rpc.UpdateOne
        answer = call(target=self.target(), filter=self.document(filter), update=self.document(update))
        return answer.matched, answer.modified

    def replace(self, filter, replacement):
        answer = self.client.rpc.ReplaceOne(target=self.target(), filter=self.document(filter), replacement=self.document(replacement))
        return answer.matched, answer.modified

    def delete(self, filter, many=False):
        call = self.client.rpc.DeleteMany if many else self.client.rpc.DeleteOne
        return call(target=self.target(), filter=self.document(filter)).deleted

    def collections(self):
        return self.client.collections("p", self.name)

    def create(self, name):
        return self.client.rpc.CreateCollection(target=self.target(name)).collection.name

    def rename(self, name, new_name):
        self.client.rpc.RenameCollection(target=self.target(name), new_name=new_name)

    def drop(self, name):
        self.client.rpc.DropCollection(target=self.target(name))

    def set_indexes(self, definitions, collection="c"):
        self.client.rpc.SetIndexes(target=self.target(collection), indexes=[self.document(definition) for definition in definitions])

    def indexes(self):
        """Of each collection, without the version that MongoDB adds."""
        listed = self.client.rpc.ListCollections(project="p", branch=self.name).collections
        definitions = {item.name: [bson.decode(document.bson) for document in item.indexes] for item in listed}
        return {
            name: sorted(([(key, value) for key, value in index.items() if key != "v"] for index in found), key=str)
            for name, found in definitions.items()
        }


def outcome(call):
    """What a caller sees: the answer, or the status."""
    try:
        return call()
    except grpc.RpcError as error:
        return error.code()


@pytest.fixture(scope="module")
def service(tmp_path_factory, mongodb_uri):
    cluster = Cluster(tmp_path_factory.mktemp("both"))
    cluster.start_wal()
    cluster.start_branch("--mongodb", mongodb_uri.replace("/?", "/both_kinds?"), "--enable-wal-branches")
    client = cluster.client()
    client.create_project("p")
    yield client
    cluster.close()


def make(client, kind):
    name = f"b{uuid.uuid4().hex[:12]}"
    client.rpc.CreateBranch(project="p", name=name, kind=kind)
    return Branch(client, name)


@pytest.fixture
def both(service):
    """A WAL branch and a traditional one, both empty."""
    return make(service, WAL), make(service, TRADITIONAL)


def same(both, script):
    """Runs a script of calls on both; the one answer."""
    wal, traditional = (script(branch) for branch in both)
    assert traditional == wal
    return wal


# ---- documents ---------------------------------------------------------------------------------------

VALUES = {
    "double": 1.5,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "negative zero": -0.0,
    "string": "text",
    "empty string": "",
    "unicode": "ä€😀",
    "string with a zero": "a\0b",
    "document": {"a": {"b": {}}},
    "array": [1, [2, [3, []]], {"x": []}],
    "binary": bson.Binary(b"\x00\xff", 0),
    "old binary": bson.Binary(b"\x01", 2),
    "user binary": bson.Binary(b"\x02", 0x80),
    "uuid": bson.Binary(bytes(16), 4),
    "object id": bson.ObjectId("0123456789abcdef01234567"),
    "true": True,
    "date": datetime.datetime(2024, 5, 6, 7, 8, 9, 123000),
    "date before 1970": datetime.datetime(1901, 1, 1),
    "null": None,
    "regex": bson.Regex("^a.*b$", "im"),
    "javascript": bson.Code("return 1"),
    "javascript with scope": bson.Code("return x", {"x": 1}),
    "int32": 7,
    "int64": bson.Int64(7),
    "large int64": bson.Int64(2**63 - 1),
    "timestamp": bson.Timestamp(1234567890, 5),
    "decimal": bson.Decimal128("1.500"),
    "decimal nan": bson.Decimal128("NaN"),
    "min key": bson.MinKey(),
    "max key": bson.MaxKey(),
}


def test_every_type_comes_back_byte_for_byte(both):
    document = bson.encode({"_id": 1, **VALUES})

    def script(branch):
        branch.insert(document)
        return branch.raw()

    assert same(both, script) == [document]


IDS = [name for name in VALUES if name not in ("array", "regex")]


@pytest.mark.parametrize("name", IDS)
def test_every_type_is_an_id(both, name):
    document = bson.encode({"_id": VALUES[name], "v": 1})

    def script(branch):
        branch.insert(document)
        again = outcome(lambda: branch.insert(document))
        found = branch.raw({"_id": VALUES[name]})
        # (the test server takes a NaN that it has read for another one)
        changed = (1, 1) if "nan" in name else branch.update({"_id": VALUES[name]}, {"$set": {"v": 2}})
        return again, found, changed, branch.delete({"_id": VALUES[name]}), branch.count()

    assert same(both, script) == (EXISTS, [document], (1, 1), 1, 0)


def test_ids_of_equal_numbers_are_one(both):
    def script(branch):
        branch.insert({"_id": 1})
        return [outcome(lambda value=value: branch.insert({"_id": value})) for value in (1.0, bson.Int64(1), bson.Decimal128("1.0"))]

    assert same(both, script) == [EXISTS] * 3


def test_find_is_in_id_order(both):
    # equal ones out; and the test server does not count the inner length of the old binary, as MongoDB and a WAL branch do
    ids = [name for name in IDS if name not in ("old binary", "nan", "decimal nan", "negative zero", "decimal", "int32", "javascript with scope")]

    def script(branch):
        branch.insert_many([bson.encode({"_id": VALUES[name], "name": name}) for name in reversed(ids)])
        return [document["name"] for document in branch.find()]

    assert len(same(both, script)) == len(ids)


def test_a_missing_id_is_made_and_put_first(both):
    def script(branch):
        made = branch.insert({"b": 1, "a": 2})
        found = branch.find()
        return isinstance(made, bson.ObjectId), found[0]["_id"] == made, list(found[0])

    assert same(both, script) == (True, True, ["_id", "b", "a"])


def test_an_id_is_moved_to_the_front(both):
    def script(branch):
        branch.insert({"b": 1, "_id": 5, "a": 2})
        return [list(document.items()) for document in branch.find()]

    assert same(both, script) == [[("_id", 5), ("b", 1), ("a", 2)]]


LARGEST = 16 * 1024 * 1024


def filled(size):
    empty = len(bson.encode({"_id": 1, "s": ""}))
    return bson.encode({"_id": 1, "s": "x" * (size - empty)})


INSERTS = {
    "empty": ({}, None),
    "largest": (filled(LARGEST), 1),
    "too large": (filled(LARGEST + 1), INVALID),
    "array id": ({"_id": [1]}, INVALID),
    "regex id": ({"_id": bson.Regex("a")}, INVALID),
    "dollar field": ({"_id": 1, "$a": 1}, 1),
    "dollar field inside": ({"_id": 1, "a": {"$b": 1}}, 1),
    "dotted field": ({"_id": 1, "a.b": 1}, 1),
    "empty field": ({"_id": 1, "": 1}, 1),
    "dollar field in the id": ({"_id": {"$a": 1}}, INVALID),
    "cut off": (b"\x05\x00\x00\x00\x01", INVALID),
    "not utf-8": (b"\x16\x00\x00\x00\x02a\x00\x02\x00\x00\x00\xff\x00\x10_\x00\x01\x00\x00\x00\x00", INVALID),
}


@pytest.mark.parametrize("name", INSERTS)
def test_insert_one(both, name):
    document, expected = INSERTS[name]

    def script(branch):
        answer = outcome(lambda: branch.insert(document))
        return ("made" if isinstance(answer, bson.ObjectId) else answer), branch.count()

    answer, count = same(both, script)
    assert answer == (expected or "made")
    assert count == (0 if expected == INVALID else 1)


BULK = {
    "fail": ([{"_id": 5}, {"_id": 1, "v": "new"}, {"_id": 6}], FAIL, EXISTS),
    "fail with nothing in the way": ([{"_id": 5}, {"_id": 6}], FAIL, ([5, 6], (2, 0, 0), [])),
    "fail within the request": ([{"_id": 5}, {"_id": 5}], FAIL, EXISTS),
    "skip": ([{"_id": 5}, {"_id": 1, "v": "new"}, {"_id": 5, "again": 1}], SKIP, ([5], (1, 0, 2), [])),
    "skip all": ([{"_id": 1}, {"_id": 2}], SKIP, ([], (0, 0, 2), [])),
    "replace": ([{"_id": 1, "v": "new"}, {"_id": 2, "v": "same"}, {"_id": 3}], REPLACE, ([3], (1, 1, 1), [])),
    "replace in order": (
        [{"_id": 1, "v": 1}, {"_id": 7, "v": 1}, {"_id": 1, "v": 2}, {"_id": 7, "v": 2}, {"_id": 7, "v": 2}],
        REPLACE,
        ([7], (1, 3, 1), []),
    ),
    "report": ([{"_id": 5}, {"_id": 1, "v": "new"}, {"_id": 6}, {"_id": 5}], REPORT, ([5, 6], (2, 0, 0), [(1, 6), (3, 6)])),
    "none": ([], FAIL, INVALID),
    "one bad": ([{"_id": 5}, {"_id": [1]}], FAIL, INVALID),
    "unknown on_duplicate": ([{"_id": 5}], 9, INVALID),
}


@pytest.mark.parametrize("name", BULK)
def test_insert_many(both, name):
    documents, on_duplicate, expected = BULK[name]

    def script(branch):
        branch.insert_many([{"_id": 1, "v": "old"}, {"_id": 2, "v": "same"}])
        answer = outcome(lambda: branch.insert_many(documents, on_duplicate))
        return (tuple(answer.values()) if isinstance(answer, dict) else answer), branch.find()

    answer, _ = same(both, script)
    assert answer == expected


@pytest.mark.parametrize("on_duplicate", [FAIL, SKIP, REPLACE, REPORT])
def test_invalid_documents_are_passed_over(both, on_duplicate):
    bad = [branch_pb2.Document(bson=b"\x05\x00\x00\x00\x01"), branch_pb2.Document(json="{"), branch_pb2.Document(), {"_id": [1]}]

    def script(branch):
        documents = [{"_id": 1}, bad[0], {"_id": 2}, *bad[1:], {"_id": 3}]
        return branch.insert_many(documents, on_duplicate, skip_invalid=True), branch.count()

    answer, count = same(both, script)
    assert answer["errors"] == [(1, 3), (3, 3), (4, 3), (5, 3)]
    assert count == 3


def test_many_documents_of_a_thousand_and_one(both):
    def script(branch):
        answer = branch.insert_many([{"_id": n, "v": n % 7} for n in range(1001)])
        return answer["counts"], branch.count(), branch.count({"v": 3}), [d["_id"] for d in branch.find(skip=995)]

    assert same(both, script) == ((1001, 0, 0), 1001, 143, [995, 996, 997, 998, 999, 1000])


FILL = [
    {"_id": 3, "a": 1, "n": {"x": 1}, "l": [1, 2]},
    {"_id": 1, "a": 2, "n": {"x": 2}, "l": [{"k": 5}, {"k": 6}]},
    {"_id": 2, "a": 1, "s": "text", "n": None},
    {"_id": "z", "a": 1.0, "n": {"x": 1, "y": 2}},
]

FILTERS = {
    "none": (None, [1, 2, 3, "z"]),
    "empty": ({}, [1, 2, 3, "z"]),
    "equality": ({"a": 1}, [2, 3, "z"]),
    "$eq": ({"a": {"$eq": 2}}, [1]),
    "two fields": ({"a": 1, "s": "text"}, [2]),
    "dotted path": ({"n.x": 1}, [3, "z"]),
    "dotted path into an array": ({"l.k": 6}, [1]),
    "place in an array": ({"l.1": 2}, [3]),
    "whole document": ({"n": {"x": 1}}, [3]),
    "element of an array": ({"l": 2}, [3]),
    "whole array": ({"l": [1, 2]}, [3]),
    "null is missing, too": ({"s": None}, [1, 3, "z"]),
    "id": ({"_id": 2}, [2]),
    "id and more": ({"_id": 2, "a": 2}, []),
    "unknown field": ({"q": 1}, []),
    "unknown operator": ({"a": {"$foo": 1}}, INVALID),
    "unknown operator at the top": ({"$foo": 1}, INVALID),
    "broken": (b"\x05\x00\x00\x00\x01", INVALID),
}


@pytest.fixture
def filled_both(both):
    for branch in both:
        branch.insert_many(FILL)
    return both


@pytest.mark.parametrize("name", FILTERS)
def test_filters(filled_both, name):
    filter, expected = FILTERS[name]

    def script(branch):
        found = outcome(lambda: [document["_id"] for document in branch.find(filter)])
        one = outcome(lambda: branch.find_one(filter))
        return found, one, outcome(lambda: branch.count(filter)), outcome(lambda: branch.delete(filter)), outcome(lambda: branch.count())

    found, _, count, _, _ = same(filled_both, script)
    assert found == expected
    assert count == (expected if expected is INVALID else len(expected))


@pytest.mark.parametrize("skip,limit", [(0, 0), (1, 0), (0, 2), (1, 2), (3, 5), (4, 0), (100, 1), (2**63, 0), (0, 2**64 - 1)])
def test_skip_and_limit(filled_both, skip, limit):
    def script(branch):
        found = [document["_id"] for document in branch.find(None, skip=skip, limit=limit)]
        return found, branch.count(None, skip, limit), branch.find_one(None, skip=skip)

    found, count, _ = same(filled_both, script)
    assert found == [1, 2, 3, "z"][skip:][: limit or None]
    assert count == len(found)


UPDATES = {
    "$set": ({"a": 1}, {"$set": {"a": 9}}),
    "$set the same": ({"a": 1}, {"$set": {"a": 1}}),
    "$set dotted": ({}, {"$set": {"n.x": 5}}),
    "$set below a number": ({"_id": 1}, {"$set": {"a.b": 5}}),
    "$set in an array": ({"_id": 3}, {"$set": {"l.0": 7, "l.5": 8}}),
    "$unset": ({"_id": "z"}, {"$unset": {"n.x": "", "q": ""}}),
    "$inc": ({"_id": 2}, {"$inc": {"a": 2, "new": 5}}),
    "$inc by a double": ({"_id": 2}, {"$inc": {"a": 0.5}}),
    "$inc over int32": ({"_id": 1}, {"$inc": {"a": 2**31 - 1}}),
    "$inc of a string": ({"_id": 2}, {"$inc": {"s": 1}}),
    "$inc by a string": ({"_id": 2}, {"$inc": {"a": "x"}}),
    "three operators": ({"_id": 3}, {"$set": {"s": 1}, "$unset": {"l": 1}, "$inc": {"a": 1}}),
    "conflicting paths": ({"_id": 3}, {"$set": {"n": 1, "n.x": 2}}),
    "unknown operator": ({"_id": 3}, {"$foo": {"a": 1}}),
    "operators and fields": ({"_id": 3}, {"$set": {"a": 1}, "b": 1}),
    "fields and operators": ({"_id": 3}, {"b": 1, "$set": {"a": 1}}),
    "id": ({"_id": 3}, {"$set": {"_id": 4}}),
    "the same id": ({"_id": 3}, {"$set": {"_id": 3}}),
    "unset the id": ({"_id": 3}, {"$unset": {"_id": 1}}),
    "replacement": ({"_id": 3}, {"whole": "new"}),
    "replacement with its id": ({"_id": 3}, {"_id": 3, "whole": "new"}),
    "replacement with another id": ({"_id": 3}, {"_id": 4, "whole": "new"}),
    "empty": ({"_id": 3}, {}),
    "empty operator": ({"_id": 3}, {"$set": {}}),
    "no match": ({"_id": 99}, {"$set": {"a": 1}}),
    "broken": ({"_id": 3}, b"\x05\x00\x00\x00\x01"),
    "broken filter": (b"\x05\x00\x00\x00\x01", {"$set": {"a": 1}}),
    "too large": ({"_id": 3}, {"$set": {"big": "x" * (LARGEST - 50)}}),
}


@pytest.mark.parametrize("verb", ["one", "many", "replace"])
@pytest.mark.parametrize("name", UPDATES)
def test_updates(filled_both, name, verb):
    filter, update = UPDATES[name]

    if (name, verb) == ("$set dotted", "many"):
        # the second document is in the way: MongoDB keeps what came before it, a step of a WAL branch has no effect
        assert [outcome(lambda branch=branch: branch.update(filter, update, many=True)) for branch in filled_both] == [INVALID] * 2
        return

    def script(branch):
        if verb == "replace":
            answer = outcome(lambda: branch.replace(filter, update))
        else:
            answer = outcome(lambda: branch.update(filter, update, many=verb == "many"))
        return answer, [list(document.items()) for document in branch.find()]

    answer, _ = same(filled_both, script)
    assert answer == INVALID or answer[0] <= 4


@pytest.mark.parametrize("filter", [{}, {"a": 1}, {"_id": 2}, {"_id": 2, "a": 7}, {"q": 1}])
@pytest.mark.parametrize("many", [False, True])
def test_deletes(filled_both, filter, many):
    same(filled_both, lambda branch: (branch.delete(filter, many), [document["_id"] for document in branch.find()]))


def test_one_is_the_first_in_id_order(both):
    def script(branch):
        branch.insert_many([{"_id": n, "a": 1} for n in (9, 4, 7)])
        branch.update({"a": 1}, {"$set": {"seen": True}})
        after = branch.find({"seen": True})
        branch.delete({"a": 1})
        return after, [document["_id"] for document in branch.find()]

    assert same(both, script) == ([{"_id": 4, "a": 1, "seen": True}], [7, 9])


# ---- collections -------------------------------------------------------------------------------------


def test_collections(both):
    def script(branch):
        seen = [branch.collections(), branch.create("b"), outcome(lambda: branch.create("b"))]
        branch.insert({"_id": 1}, collection="a")
        seen += [branch.collections(), outcome(lambda: branch.rename("b", "a")), outcome(lambda: branch.rename("q", "r"))]
        branch.rename("a", "c")
        seen += [branch.collections(), branch.find(), branch.find(collection="a"), outcome(lambda: branch.rename("c", "c"))]
        branch.drop("c")
        seen += [branch.collections(), branch.find(), outcome(lambda: branch.drop("c")), branch.delete({}, many=True)]
        branch.insert({"_id": 2})
        return [*seen, branch.find(), branch.update({"q": 1}, {"$set": {"a": 1}}), branch.count(collection="never")]

    assert same(both, script) == [
        [], "b", EXISTS, ["a", "b"], EXISTS, NOT_FOUND, ["b", "c"], [{"_id": 1}], [], EXISTS, ["b"], [], NOT_FOUND, 0, [{"_id": 2}], (0, 0), 0,
    ]  # fmt: skip


def test_ids_of_collections(both, mongodb_uri):
    def listed(branch):
        answer = branch.client.rpc.ListCollections(project="p", branch=branch.name)
        return {collection.name: collection.id for collection in answer.collections}

    def script(branch):
        branch.create("a")
        before = listed(branch)["a"]
        branch.drop("a")
        branch.create("a")
        return bool(before), listed(branch)["a"] == before

    assert same(both, script) == (True, False)
    wal, traditional = both
    id = listed(wal)["a"]
    wal.rename("a", "b")
    assert listed(wal)["b"] == id
    # of a traditional branch it is MongoDB's, which survives a rename where MongoDB says so
    prefix = traditional.client.rpc.GetBranch(project="p", name=traditional.name).branch.prefix
    listing = pymongo.MongoClient(mongodb_uri)["both_kinds"].list_collections(filter={"name": prefix + "a"})
    assert [bytes(info["info"]["uuid"].bytes).hex() for info in listing] == [listed(traditional)["a"]]


def test_lists_page(both):
    def script(branch):
        for n in range(5):
            branch.create(f"c{n}")
        pages, token = [], ""
        while True:
            page = branch.client.rpc.ListCollections(project="p", branch=branch.name, page_size=2, page_token=token)
            pages.append([collection.name for collection in page.collections])
            token = page.next_page_token
            if not token:
                return pages

    assert same(both, script) == [["c0", "c1"], ["c2", "c3"], ["c4"]]


OF_ID = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
BY_NAME = {"key": {"name": 1}, "name": "by name"}
BY_AGE = {"key": {"age": -1, "name": 1}, "name": "by age", "sparse": True}


def listed(*definitions):
    return sorted((list(definition.items()) for definition in definitions), key=str)


@pytest.mark.parametrize(
    "definitions",
    [
        [],
        [OF_ID],
        [BY_NAME],
        [BY_AGE, BY_NAME],
        [BY_NAME, BY_AGE, {"key": {"x": 1}, "name": "x"}],
        [{**BY_NAME, "unique": True}, BY_AGE],
        [{**BY_NAME, "key": {"name": -1}}, BY_AGE],
        [{**BY_NAME, "name": "another name"}, BY_AGE],
        [{**BY_NAME, "key": BY_AGE["key"]}, {**BY_AGE, "key": BY_NAME["key"]}],
    ],
    ids=["none", "that of _id", "one dropped", "the same", "one more", "unique", "another key", "another name", "keys exchanged"],
)
def test_indexes_are_those_that_were_set(both, definitions):
    def script(branch):
        branch.set_indexes([BY_NAME, BY_AGE])
        made = branch.indexes()
        branch.insert_many([{"_id": n, "name": f"n{n}", "age": n, "x": n} for n in range(10)])
        branch.insert({"_id": 1}, collection="other")
        branch.set_indexes(definitions)
        return made, branch.indexes(), branch.count()

    expected = listed(*(definition for definition in definitions if definition is not OF_ID))
    assert same(both, script) == ({"c": listed(BY_NAME, BY_AGE)}, {"c": expected, "other": []}, 10)


def test_indexes_go_along_with_a_rename_and_away_with_a_drop(both):
    def script(branch):
        branch.set_indexes([BY_NAME], collection="a")
        branch.rename("a", "b")
        seen = [branch.indexes()]
        branch.drop("b")
        branch.create("b")
        return [*seen, branch.indexes()]

    assert same(both, script) == [{"b": listed(BY_NAME)}, {"b": []}]


@pytest.mark.parametrize("definition", [{"key": {"a": 1}}, {"name": "x"}, {"name": "x", "key": {}}])
def test_what_is_no_index_definition(both, definition):
    def script(branch):
        return outcome(lambda: branch.set_indexes([definition])), branch.collections()

    assert same(both, script) == (INVALID, [])


def test_a_unique_index_of_a_traditional_branch_is_one(service):
    branch = make(service, TRADITIONAL)
    branch.set_indexes([BY_AGE])
    branch.insert_many([{"_id": 1, "name": "same"}, {"_id": 2, "name": "same"}])
    with pytest.raises(grpc.RpcError) as caught:
        branch.set_indexes([{**BY_NAME, "unique": True}, BY_AGE])
    assert caught.value.code() == PRECONDITION
    assert caught.value.details().startswith("collection 'c': ")
    branch.delete({"_id": 2})
    branch.set_indexes([{**BY_NAME, "unique": True}, BY_AGE])
    assert outcome(lambda: branch.insert({"_id": 3, "name": "same"})) == EXISTS


def test_pages_of_lists_have_the_indexes_of_their_collections(both):
    def script(branch):
        for n in range(3):
            branch.set_indexes([{"key": {f"f{n}": 1}, "name": f"i{n}"}], collection=f"c{n}")
        page = branch.client.rpc.ListCollections(project="p", branch=branch.name, page_size=1, page_token="c0")
        return [(item.name, [bson.decode(index.bson)["name"] for index in item.indexes]) for item in page.collections], page.next_page_token

    assert same(both, script) == ([("c1", ["i1"])], "c1")


@pytest.mark.parametrize("name", ["", "$a", "a$b", "system.x", ".a", "_collections", "_requests", "a\nb", "x" * 129])
def test_names_that_no_collection_has(both, name):
    def script(branch):
        calls = [
            lambda: branch.create(name),
            lambda: branch.insert({"_id": 1}, collection=name),
            lambda: branch.find(collection=name),
            lambda: branch.count(collection=name),
            lambda: branch.drop(name),
            lambda: branch.rename("a", name),
            lambda: branch.set_indexes([BY_NAME], collection=name),
        ]
        return [outcome(call) for call in calls]

    assert same(both, script) == [INVALID] * 7


@pytest.mark.parametrize("name", ["a.b", "ä", "with space", "x" * 128, "a/b", "-"])
def test_names_that_collections_have(both, name):
    def script(branch):
        branch.insert({"_id": 1}, collection=name)
        return branch.collections(), branch.find(collection=name)

    assert same(both, script) == ([name], [{"_id": 1}])


# ---- what a traditional branch does not have ---------------------------------------------------------


@pytest.mark.parametrize("option", [{"as_of_lsn": 1}, {"as_of_time": 1}, {"min_lsn": 1}, {"stale_ok": True}])
def test_reads_of_a_traditional_branch_refuse_what_needs_the_log(service, option):
    branch = make(service, TRADITIONAL)
    branch.insert({"_id": 1})
    read = branch_pb2.ReadOptions(**option)
    name = next(iter(option))
    for call in [
        lambda: service.rpc.Find(target=branch.target(), read=read),
        lambda: service.rpc.FindOne(target=branch.target(), read=read),
        lambda: service.rpc.FindOne(target=branch.target(), read=read, filter=branch.document({"_id": 1})),
        lambda: service.rpc.Count(target=branch.target(), read=read),
        lambda: service.rpc.ListCollections(project="p", branch=branch.name, read=read),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == PRECONDITION
        assert name in caught.value.details()


WRITES = {
    "InsertOne": lambda b: {"document": b.document({"_id": 2})},
    "InsertMany": lambda b: {"documents": [b.document({"_id": 2})]},
    "UpdateOne": lambda b: {"filter": b.document({}), "update": b.document({"$set": {"a": 1}})},
    "UpdateMany": lambda b: {"filter": b.document({}), "update": b.document({"$set": {"a": 1}})},
    "ReplaceOne": lambda b: {"filter": b.document({}), "replacement": b.document({"a": 1})},
    "DeleteOne": lambda b: {"filter": b.document({})},
    "DeleteMany": lambda b: {"filter": b.document({})},
    "CreateCollection": lambda b: {},
    "DropCollection": lambda b: {},
    "RenameCollection": lambda b: {"new_name": "d"},
    "SetIndexes": lambda b: {"indexes": [b.document(BY_NAME)]},
}


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("option", ["request_id", "since_lsn"])
def test_writes_to_a_traditional_branch_refuse_what_needs_the_log(service, method, option):
    branch = make(service, TRADITIONAL)
    branch.insert({"_id": 1})
    write = branch_pb2.WriteOptions(request_id=uuid.uuid4().hex if option == "request_id" else "", since_lsn=service.head("p"))
    call = getattr(service.rpc, method)
    for _ in range(2):  # and so it stays
        with pytest.raises(grpc.RpcError) as caught:
            call(target=branch.target(), write=write, **WRITES[method](branch))
        assert caught.value.code() == PRECONDITION
        assert option in caught.value.details()
        assert not_applied(caught.value)
    assert branch.find() == [{"_id": 1}]
    assert branch.collections() == ["c"]
    call(target=branch.target("new" if method == "CreateCollection" else "c"), **WRITES[method](branch))


@pytest.mark.parametrize("method", ["UpdateMany", "DeleteMany"])
def test_atomic_is_refused(service, method):
    branch = make(service, TRADITIONAL)
    branch.insert({"_id": 1})
    with pytest.raises(grpc.RpcError) as caught:
        getattr(service.rpc, method)(target=branch.target(), atomic=True, **WRITES[method](branch))
    assert caught.value.code() == PRECONDITION
    assert "atomic" in caught.value.details()
    assert not_applied(caught.value)
    assert branch.find() == [{"_id": 1}]


def test_watch_and_materialize_are_refused(service):
    branch = make(service, TRADITIONAL)
    for call in [
        lambda: service.rpc.Watch(project="p", branch=branch.name, stop_at_head=True),
        lambda: service.rpc.Materialize(project="p", branch=branch.name),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == PRECONDITION
        assert "traditional" in caught.value.details()


def test_answers_have_no_lsn(service):
    branch = make(service, TRADITIONAL)
    assert service.rpc.InsertOne(target=branch.target(), document=branch.document({"_id": 1})).lsn == 0
    assert service.rpc.UpdateOne(target=branch.target(), filter=branch.document({}), update=branch.document({"$set": {"a": 1}})).lsn == 0
    assert service.rpc.Find(target=branch.target())[0].lsn == 0
    assert service.rpc.Count(target=branch.target()).lsn == 0


def test_what_only_mongodb_understands_goes_there_as_it_is(service):
    branch = make(service, TRADITIONAL)
    branch.insert_many([{"_id": n, "v": n, "l": [n]} for n in range(5)])
    assert [document["_id"] for document in branch.find({"v": {"$gt": 1, "$lt": 4}})] == [2, 3]
    assert branch.update({"v": {"$gte": 3}}, {"$push": {"l": 9}}, many=True) == (2, 2)
    assert branch.update({"v": {"$gte": 3}}, {"$mul": {"v": 10}}) == (1, 1)
    assert branch.delete({"v": {"$in": [0, 30]}}, many=True) == 2
    assert branch.find({"_id": 4}) == [{"_id": 4, "v": 4, "l": [4, 9]}]


# ---- the seed's scenario -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_scenario(service, kind):
    branch = make(service, KINDS[kind])
    found = service.rpc.GetBranch(project="p", name=branch.name).branch
    assert (found.kind, found.use_wal) == (KINDS[kind], kind == "WAL")
    made = branch.insert({"name": "test", "value": 123})
    assert branch.find({"name": "test"}) == [{"_id": made, "name": "test", "value": 123}]
    assert branch.update({"name": "test"}, {"$set": {"value": 456}}) == (1, 1)
    assert branch.find({"name": "test"}) == [{"_id": made, "name": "test", "value": 456}]
