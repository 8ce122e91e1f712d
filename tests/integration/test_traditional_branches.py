"""Traditional branches: made by copying, renamed, deleted, adopted; by RPC and by the command line."""

import json
import os
import subprocess

import bson
import grpc
import pymongo
import pytest

from argon.branch.v1 import branch_pb2
from harness import BIN, in_parallel, not_applied
from test_indexes import indexes, set_indexes
from traditional import DATABASE, TRADITIONAL, WAL, branch_of, code_of, collections_of, create, options, start


class Shared:
    """A server that other tests use, too, with the databases of this one empty."""

    def __init__(self, uri):
        self.uri = uri
        with self.client() as client:
            for database in (DATABASE, "elsewhere"):
                client.drop_database(database)

    def client(self):
        return pymongo.MongoClient(self.uri)


@pytest.fixture
def mongodb(mongodb_uri):
    return Shared(mongodb_uri)


@pytest.fixture
def argon(cluster, mongodb):
    return start(cluster, mongodb)


# ---- making, renaming, deleting ----------------------------------------------------------------------


def test_a_copy_of_a_wal_parent(argon, mongodb):
    argon.insert_many("p", "items", [{"_id": n, "v": n} for n in range(2500)])
    argon.rpc.CreateCollection(target=argon.target("p", "empty"))
    set_indexes(argon, "items", [{"v": 2, "key": {"v": -1}, "name": "by_v", "unique": True}])
    made = create(argon, "old").branch
    assert (made.kind, made.use_wal, made.state, made.database) == (TRADITIONAL, False, branch_pb2.BRANCH_STATE_READY, DATABASE)
    assert made.prefix == f"b_{made.id}_1_"
    argon.insert("p", "items", {"_id": "later"})
    assert argon.collections("p", "old") == ["empty", "items"]
    assert argon.count("p", "items", branch="old") == 2500
    assert [bson.decode(index)["name"] for index in indexes(argon, "items", "old")] == ["by_v"]
    assert mongodb.client()[DATABASE][made.prefix + "items"].index_information()["by_v"]["unique"]
    argon.delete("p", "items", {}, branch="old", many=True)
    assert argon.count("p", "items") == 2501
    assert collections_of(mongodb) == [made.prefix + "empty", made.prefix + "items"]


def test_a_copy_whose_documents_break_a_recorded_index(argon, mongodb):
    argon.insert_many("p", "items", [{"_id": 1, "v": 1}, {"_id": 2, "v": 1}])
    set_indexes(argon, "items", [{"v": 2, "key": {"v": -1}, "name": "by_v", "unique": True}])
    with pytest.raises(grpc.RpcError) as caught:
        create(argon, "old")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "collection 'items': its indexes: " in caught.value.details()
    argon.rpc.DeleteBranch(project="p", name="old")
    set_indexes(argon, "items", [])
    create(argon, "old")
    assert argon.count("p", "items", branch="old") == 2


def test_a_copy_of_the_past_of_a_wal_parent(argon):
    lsn = argon.insert("p", "items", {"_id": 1}).lsn
    argon.insert("p", "items", {"_id": 2})
    create(argon, "old", at_lsn=lsn)
    assert argon.find("p", "items", branch="old") == [{"_id": 1}]
    create(argon, "nothing", at_time=1)
    assert argon.collections("p", "nothing") == []


def test_a_copy_of_a_traditional_parent(argon, mongodb):
    create(argon, "one")
    argon.insert_many("p", "items", [{"_id": n, "v": n} for n in range(1500)], branch="one")
    prefix = branch_of(argon, "one").prefix
    mongodb.client()[DATABASE][prefix + "items"].create_index([("v", -1)], unique=True, name="by_v")
    made = create(argon, "two", "one", kind=branch_pb2.BRANCH_KIND_DEFAULT).branch  # it stays what its parent is
    assert made.kind == TRADITIONAL
    assert made.parent == "one"
    assert argon.count("p", "items", branch="two") == 1500
    assert [bson.decode(index)["name"] for index in indexes(argon, "items", "two")] == ["by_v"]
    assert "by_v" in mongodb.client()[DATABASE][made.prefix + "items"].index_information()
    argon.update("p", "items", {"_id": 1}, {"$set": {"v": -1}}, branch="two")
    assert argon.find_one("p", "items", {"_id": 1}, branch="one") == {"_id": 1, "v": 1}
    # the other index's duplicates are no duplicates of an _id
    with pytest.raises(grpc.RpcError) as caught:
        argon.insert_many("p", "items", [{"_id": 9000, "v": -1}], branch="two", skip=True)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert argon.count("p", "items", branch="two") == 1500


@pytest.mark.parametrize("option", ["at_lsn", "at_time"])
def test_a_traditional_parent_has_no_past(argon, option):
    create(argon, "one")
    with pytest.raises(grpc.RpcError) as caught:
        create(argon, "two", "one", **{option: 1})
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert option in caught.value.details()
    assert not_applied(caught.value)
    assert code_of(lambda: create(argon, "two", "one", kind=WAL, **{option: 1})) == grpc.StatusCode.FAILED_PRECONDITION


def test_rename_changes_the_record_alone(argon, mongodb):
    create(argon, "old")
    argon.insert("p", "items", {"_id": 1}, branch="old")
    before = collections_of(mongodb)
    renamed = argon.rpc.RenameBranch(project="p", name="old", new_name="new").branch
    assert renamed.kind == TRADITIONAL
    assert collections_of(mongodb) == before
    assert argon.find("p", "items", branch="new") == [{"_id": 1}]
    assert code_of(lambda: argon.find("p", "items", branch="old")) == grpc.StatusCode.NOT_FOUND


def test_delete_drops_the_collections(argon, mongodb):
    create(argon, "old")
    argon.insert("p", "items", {"_id": 1}, branch="old")
    create(argon, "child", "old")
    prefix = branch_of(argon, "child").prefix
    head = argon.head("p")
    for _ in range(2):  # the second time it is the answer of the first
        argon.rpc.DeleteBranch(project="p", name="old", write=argon.write("delete-it", head))
    assert code_of(lambda: argon.find("p", "items", branch="old")) == grpc.StatusCode.NOT_FOUND
    assert collections_of(mongodb) == [prefix + "items"]
    assert argon.find("p", "items", branch="child") == [{"_id": 1}]
    # the name is free, for a branch of the other kind too; a late copy of the request does nothing to it
    create(argon, "old", "main", kind=WAL)
    argon.rpc.DeleteBranch(project="p", name="old", write=argon.write("delete-it", head))
    argon.insert("p", "items", {"_id": 2}, branch="old")
    assert argon.find("p", "items", branch="old") == [{"_id": 2}]


def test_a_name_that_comes_to_mean_the_other_kind(argon, cluster, mongodb):
    """On a replica that has not heard of it."""
    other = cluster.client(cluster.start_branch(*options(mongodb), "--max-follows", "0"))
    for turn, kind in enumerate([WAL, TRADITIONAL, WAL, TRADITIONAL]):
        create(argon, "x", kind=kind)
        other.insert("p", "items", {"_id": turn}, branch="x")
        assert other.find("p", "items", branch="x") == [{"_id": turn}]
        assert argon.find("p", "items", branch="x") == [{"_id": turn}]
        argon.rpc.DeleteBranch(project="p", name="x")


def test_a_request_id_that_was_applied_is_answered_whatever_the_name_means_now(argon):
    create(argon, "x", kind=WAL)
    since = argon.head("p")
    first = argon.insert("p", "items", {"_id": 1}, branch="x", request_id="once", since=since)
    argon.rpc.DeleteBranch(project="p", name="x")
    create(argon, "x")
    assert argon.insert("p", "items", {"_id": 1}, branch="x", request_id="once", since=since) == first
    assert argon.find("p", "items", branch="x") == []


def test_without_mongodb(cluster):
    cluster.start_wal()
    client = cluster.client(cluster.start_branch())
    client.create_project("p")
    with pytest.raises(grpc.RpcError) as caught:
        create(client, "old")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "--mongodb" in caught.value.details()
    assert not_applied(caught.value)
    assert code_of(lambda: client.rpc.AdoptBranch(project="p", name="x", prefix="old_")) == grpc.StatusCode.FAILED_PRECONDITION
    status = client.rpc.GetStatus()
    assert (status.mongodb_configured, status.mongodb_reachable) == (False, False)


# ---- adopting ----------------------------------------------------------------------------------------


@pytest.fixture
def adoptable(argon, mongodb):
    database = mongodb.client()[DATABASE]
    database["staging_items"].insert_many([{"_id": n, "v": n} for n in range(3)])
    database["staging_users"].insert_one({"_id": "u"})
    database["stagingless"].insert_one({"_id": 1})
    mongodb.client()["elsewhere"]["a_items"].insert_one({"_id": 5})
    return argon


def test_adopt(adoptable, mongodb):
    before = collections_of(mongodb)
    made = adoptable.rpc.AdoptBranch(project="p", name="staging", prefix="staging_").branch
    assert (made.kind, made.prefix, made.database, made.parent) == (TRADITIONAL, "staging_", DATABASE, "")
    assert collections_of(mongodb) == before
    assert adoptable.collections("p", "staging") == ["items", "users"]
    assert adoptable.find("p", "items", branch="staging") == [{"_id": n, "v": n} for n in range(3)]
    adoptable.insert("p", "items", {"_id": 9}, branch="staging")
    assert mongodb.client()[DATABASE]["staging_items"].count_documents({}) == 4
    # a branch like any other: it has children, whose collections are their own
    child = create(adoptable, "child", "staging").branch
    assert child.prefix.startswith(f"b_{child.id}_")
    assert adoptable.count("p", "items", branch="child") == 4


def test_adopt_from_another_database(adoptable):
    adoptable.rpc.AdoptBranch(project="p", name="x", prefix="a_", database="elsewhere")
    assert adoptable.find("p", "items", branch="x") == [{"_id": 5}]
    child = create(adoptable, "child", "x").branch
    assert child.database == "elsewhere"
    assert adoptable.find("p", "items", branch="child") == [{"_id": 5}]


ADOPTIONS = {
    "no such prefix": ({"prefix": "q_"}, grpc.StatusCode.NOT_FOUND),
    "no such database": ({"prefix": "staging_", "database": "nowhere"}, grpc.StatusCode.NOT_FOUND),
    "no prefix": ({"prefix": ""}, grpc.StatusCode.INVALID_ARGUMENT),
    "long prefix": ({"prefix": "x" * 64}, grpc.StatusCode.INVALID_ARGUMENT),
    "dollar": ({"prefix": "a$"}, grpc.StatusCode.INVALID_ARGUMENT),
    "ours": ({"prefix": "b_"}, grpc.StatusCode.INVALID_ARGUMENT),
    "half of ours": ({"prefix": "b_0123456789ab"}, grpc.StatusCode.INVALID_ARGUMENT),
    "one of ours": ({"prefix": "b_0123456789abcdef01234567_1_x"}, grpc.StatusCode.INVALID_ARGUMENT),
    "bad database": ({"prefix": "a_", "database": "a.b"}, grpc.StatusCode.INVALID_ARGUMENT),
    "bad name": ({"prefix": "staging_", "name": "_x"}, grpc.StatusCode.INVALID_ARGUMENT),
    "taken name": ({"prefix": "staging_", "name": "main"}, grpc.StatusCode.ALREADY_EXISTS),
    "longer than another's": ({"prefix": "staging_i"}, grpc.StatusCode.ALREADY_EXISTS),
    "shorter than another's": ({"prefix": "stag"}, grpc.StatusCode.ALREADY_EXISTS),
    "another's": ({"prefix": "staging_"}, grpc.StatusCode.ALREADY_EXISTS),
}


@pytest.mark.parametrize("name", ADOPTIONS)
def test_what_cannot_be_adopted(adoptable, name):
    fields, code = ADOPTIONS[name]
    if code == grpc.StatusCode.ALREADY_EXISTS:
        adoptable.rpc.AdoptBranch(project="p", name="first", prefix="staging_")
    with pytest.raises(grpc.RpcError) as caught:
        adoptable.rpc.AdoptBranch(project="p", **{"name": "x", **fields})
    assert caught.value.code() == code
    assert not_applied(caught.value)


def test_one_of_two_adoptions_of_overlapping_prefixes(adoptable, cluster, mongodb):
    other = cluster.client(cluster.start_branch(*options(mongodb)))
    codes = in_parallel(
        lambda: code_of(lambda: adoptable.rpc.AdoptBranch(project="p", name="one", prefix="staging_")),
        lambda: code_of(lambda: other.rpc.AdoptBranch(project="p", name="two", prefix="staging_it")),
    )
    assert sorted(code.name for code in codes) == ["ALREADY_EXISTS", "OK"]


# ---- the command line --------------------------------------------------------------------------------


@pytest.mark.parametrize("flag,shown", [("--use-wal", "[WAL]"), ("--traditional", "[Traditional]")])
def test_scenario_by_the_command_line(argon, cluster, flag, shown):
    cluster.argon("branches", "create", "dev", "-p", "p", flag)
    listed = {row["name"]: row for row in json.loads(cluster.argon("branches", "list", "-p", "p", "--show-type", "-o", "json").stdout)}
    assert listed["dev"]["type"] == shown
    assert shown in cluster.argon("branches", "list", "-p", "p", "--show-type").stdout
    where = ["-p", "p", "-b", "dev"]
    cluster.argon("docs", "insert", *where, "users", '{"name": "test", "value": 123}')
    assert json.loads(cluster.argon("docs", "find", *where, "users", '{"name": "test"}', "-o", "json").stdout)[0]["value"] == 123
    cluster.argon("docs", "update", *where, "users", '{"name": "test"}', '{"$set": {"value": 456}}')
    assert json.loads(cluster.argon("docs", "find", *where, "users", '{"name": "test"}', "-o", "json").stdout)[0]["value"] == 456
    given = cluster.argon("docs", "delete", *where, "users", "{}", "--request-id", "mine", "--since-lsn", "1", check=False)
    assert (given.returncode == 0) == (flag == "--use-wal")
    if flag == "--traditional":
        assert "NEEDS_WAL_BRANCH" in given.stderr
        assert argon.count("p", "users", branch="dev") == 1


def test_mongodb_goes_by_the_hint_of_the_command_line(argon, cluster, tmp_path):
    """It refuses one at an index that is not there."""
    create(argon, "dev", kind=TRADITIONAL)
    argon.insert("p", "c", {"_id": 1, "n": 1}, branch="dev")
    change = ["{}", '{"$set": {"n": 1}}']
    commands = [["find"], ["count"], ["aggregate", '[{"$match": {}}]'], ["update", *change], ["update", *change, "--many"]]
    commands += [["replace", "{}", '{"n": 1}'], ["find-one-and-update", *change], ["find-one-and-replace", "{}", '{"n": 1}']]
    commands += [["find-one-and-delete", '{"_id": 2}'], ["delete", '{"_id": 2}'], ["delete", '{"_id": 2}', "--many"]]
    operations = tmp_path / "operations"
    operations.write_text('{"updateMany": {"filter": {}, "update": {"$set": {"n": 1}}}}\n{"deleteOne": {"filter": {"_id": 2}}}\n')
    commands += [["bulk-write", str(operations)], ["distinct", "n"]]
    version = tuple(int(number) for number in argon.rpc.GetStatus().mongodb_version.split(".")[:2])
    for name, *arguments in commands:
        good = 2 if name == "distinct" and version < (7, 1) else 0  # which does not know it there
        for hint, status in [("by_n", 2), ('{"n": 1}', 2), ("_id_", good), ('{"_id": 1}', good)]:
            result = cluster.argon("docs", name, "-p", "p", "-b", "dev", "c", *arguments, "--hint", hint, check=False)
            assert result.returncode == status, (name, hint, result.stderr)
    counted = cluster.argon("docs", "count", "-p", "p", "-b", "dev", "c", "--estimated")
    assert counted.stdout == "1\n"


@pytest.mark.parametrize("kind", [WAL, TRADITIONAL])
def test_the_c_client_writes_to_both_kinds(argon, cluster, kind):
    create(argon, "dev", kind=kind)
    program = BIN.parent / "tests" / "client_writes"
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address}
    result = subprocess.run([program, "p", "dev"], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert argon.find("p", "items", branch="dev") == [{"_id": 1, "n": 2}]


def test_import_and_export_by_the_command_line(argon, cluster):
    cluster.argon("branches", "create", "dev", "-p", "p", "--traditional")
    lines = "".join(json.dumps({"_id": n}) + "\n" for n in range(2500))
    cluster.argon("import", "-", "-p", "p", "-b", "dev", "-c", "users", input=lines)
    assert argon.count("p", "users", branch="dev") == 2500
    exported = cluster.argon("export", "-p", "p", "-b", "dev", "-c", "users").stdout
    assert [json.loads(line)["_id"] for line in exported.splitlines()] == list(range(2500))


def test_adopt_and_status_by_the_command_line(adoptable, cluster, mongodb):
    cluster.argon("branches", "adopt", "staging", "-p", "p", "--prefix", "staging_")
    assert adoptable.collections("p", "staging") == ["items", "users"]
    status = json.loads(cluster.argon("status", "-o", "json").stdout)
    assert status["mongodb_reachable"] is True
    assert status["mongodb_version"]
    both = cluster.argon("branches", "create", "x", "-p", "p", "--use-wal", "--traditional", check=False)
    assert both.returncode != 0


def test_sentences_about_a_traditional_branch_name_no_lsn(argon, cluster):
    create(argon, "old")

    def said(*arguments):
        return cluster.argon(*arguments, "-p", "p", "-b", "old", "--yes").stdout

    assert said("collections", "create", "things") == "Created collection things.\n"
    assert said("docs", "insert", "things", '{"_id": 1}') == 'Inserted 1 document.\n{"_id":1}\n'
    assert said("docs", "update", "things", "{}", '{"$set": {"v": 1}}') == "Matched 1, modified 1.\n"
    assert said("docs", "replace", "things", "{}", '{"v": 2}') == "Matched 1, replaced 1.\n"
    assert said("docs", "delete", "things", "{}") == "Deleted 1 document.\n"
    assert said("collections", "rename", "things", "items") == "Renamed collection things to items.\n"
    assert said("collections", "drop", "items") == "Dropped collection items.\n"
    assert cluster.argon("docs", "insert", "things", '{"_id": 1}', "-p", "p").stdout.startswith("Inserted 1 document at LSN ")
