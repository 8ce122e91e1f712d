"""Migration of traditional branches: forward, back, and WAL forks of traditional parents."""

import json
import threading
import time

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import wait_until
from test_indexes import indexes, set_indexes
from traditional import DATABASE, TRADITIONAL, WAL, branch_of, code_of, collections_of, create, start

State = branch_pb2.MigrationState


@pytest.fixture
def mongodb(mongo_server):
    return mongo_server(hasty=True)


@pytest.fixture
def argon(cluster, mongodb):
    return start(cluster, mongodb)


def state_of(client, branch="x"):
    return client.rpc.GetMigration(project="p", branch=branch).state


def start_migration(client, branch="x", timeout=120):
    return client.rpc.StartMigration(project="p", branch=branch, timeout=timeout)


def confirm(client, branch="x", timeout=120):
    return client.rpc.ConfirmMigration(project="p", branch=branch, timeout=timeout)


def roll_back(client, branch="x", timeout=120):
    return client.rpc.RollbackMigration(project="p", branch=branch, timeout=timeout)


def names_of_indexes(client, collection, branch="x"):
    return [bson.decode(definition)["name"] for definition in indexes(client, collection, branch)]


def everything(client, branch="x"):
    return {name: {document["_id"]: document for document in client.find("p", name, branch=branch)} for name in client.collections("p", branch)}


def fill(client, branch="x", n=1500):
    create(client, branch)
    client.insert_many("p", "items", [{"_id": i, "v": i, "g": i % 3, "text": "t" * (i % 50)} for i in range(n)], branch=branch)
    client.insert_many("p", "people", [{"_id": f"p{i}", "name": {"first": i, "last": [i, 1.5]}} for i in range(50)], branch=branch)
    client.rpc.CreateCollection(target=client.target("p", "empty", branch))
    return everything(client, branch)


# ---- forward -----------------------------------------------------------------------------------------


def test_a_traditional_branch_becomes_a_wal_branch_of_the_same_name(argon, mongodb):
    before = fill(argon)
    old = branch_of(argon, "x")
    told, heard = [], {}
    for message in argon.rpc.stream("StartMigration", project="p", branch="x", timeout=120):
        told.append(message)
        heard.setdefault(message.state, time.monotonic())
    assert [message.state for message in told][-1] == State.MIGRATION_STATE_VERIFIED
    # half a second and some commands for each collection: here is ten times as much and more
    assert heard[State.MIGRATION_STATE_STARTED] - heard[State.MIGRATION_STATE_FROZEN] < 5 + 2 * 3
    assert sorted({message.collection for message in told if message.message == "verified"}) == ["empty", "items", "people"]
    status = argon.rpc.GetMigration(project="p", branch="x")
    assert (status.state, status.traditional_id, status.collections, status.copied_collections) == (State.MIGRATION_STATE_VERIFIED, old.id, 3, 3)
    new = branch_of(argon, "x")
    assert (new.kind, new.id, new.base_id, new.parent) == (WAL, status.wal_id, status.base_id, old.id)
    assert everything(argon) == before
    # it is a branch like any other
    lsn = argon.update("p", "items", {"_id": 3}, {"$set": {"v": "new"}}, branch="x").lsn
    argon.delete("p", "items", {"_id": 4}, branch="x")
    argon.create_branch("p", "child", "x", at=lsn)
    assert argon.find_one("p", "items", {"_id": 4}, branch="child") == before["items"][4]
    assert argon.find_one("p", "items", {"_id": 3}, branch="child")["v"] == "new"
    assert argon.find_one("p", "items", {"_id": 3}, branch="x", at=new.base_lsn) == before["items"][3]
    # nobody writes to the old names, and what is under the others stands still
    with mongodb.client() as client:
        with pytest.raises(Exception, match="validation"):
            client[DATABASE][old.prefix + "items"].insert_one({"_id": "foreign"})
        assert client[DATABASE][status.prefix + "items"].count_documents({}) == 1500
    assert code_of(lambda: argon.rpc.DeleteBranch(project="p", name="x")) == grpc.StatusCode.FAILED_PRECONDITION
    confirm(argon)
    assert state_of(argon) == State.MIGRATION_STATE_CONFIRMED
    assert collections_of(mongodb) == []
    assert argon.count("p", "items", branch="x") == 1499
    assert argon.count("p", "items", branch="child") == 1500
    assert code_of(lambda: roll_back(argon)) == grpc.StatusCode.FAILED_PRECONDITION
    argon.rpc.DeleteBranch(project="p", name="x")
    assert argon.count("p", "items", branch="child") == 1500


def test_a_migrated_branch_has_no_states_before_it_was_one(argon):
    fill(argon)
    start_migration(argon)
    base = branch_of(argon, "x").base_lsn
    for call in (
        lambda: argon.find("p", "items", branch="x", at=base - 1),
        lambda: argon.create_branch("p", "child", "x", at=base - 1),
        lambda: list(argon.rpc.stream("Watch", project="p", branch="x", after_lsn=base - 1, stop_at_head=True)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.OUT_OF_RANGE
        assert str(base) in caught.value.details()
    lsn = argon.insert("p", "items", {"_id": "later"}, branch="x").lsn
    watched = list(argon.rpc.stream("Watch", project="p", branch="x", after_lsn=base, stop_at_head=True))
    assert [change.lsn for message in watched for change in message.changes] == [lsn]


def test_what_does_not_go_with_a_migration(argon):
    fill(argon, n=10)
    outcome = []
    starting = threading.Thread(target=lambda: outcome.append(code_of(lambda: start_migration(argon))))
    starting.start()
    wait_until(lambda: state_of(argon) == State.MIGRATION_STATE_PREPARING, "the beginning")
    assert branch_of(argon, "x").state == branch_pb2.BRANCH_STATE_MIGRATING
    argon.insert("p", "items", {"_id": "meanwhile"}, branch="x")
    for call in (
        lambda: create(argon, "child", "x"),
        lambda: create(argon, "child", "x", kind=WAL),
        lambda: argon.rpc.CopyBase(project="p", branch="x"),
        lambda: argon.rpc.RenameBranch(project="p", name="x", new_name="y"),
        lambda: argon.rpc.DeleteBranch(project="p", name="x"),
        lambda: confirm(argon),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    argon.delete_project("p")
    starting.join()
    assert outcome == [grpc.StatusCode.NOT_FOUND]


# ---- back --------------------------------------------------------------------------------------------


def test_rollback_brings_everything_back_that_was_written_since(argon, mongodb):
    fill(argon)
    prefix = branch_of(argon, "x").prefix
    with mongodb.client() as client:
        client[DATABASE][prefix + "items"].create_index([("v", 1)], unique=True, name="by_v")
        client[DATABASE][prefix + "people"].create_index([("name.first", -1)], name="by_first", sparse=True)
    listed = {name: indexes(argon, name, "x") for name in ("empty", "items", "people")}
    start_migration(argon)
    assert {name: indexes(argon, name, "x") for name in ("empty", "items", "people")} == listed
    argon.insert_many("p", "items", [{"_id": f"new{i}", "v": f"new{i}"} for i in range(2500)], branch="x")
    argon.update("p", "items", {"g": 0}, {"$set": {"text": "changed"}}, branch="x", many=True)
    argon.delete("p", "items", {"g": 1}, branch="x", many=True)
    argon.rpc.RenameCollection(target=argon.target("p", "people", "x"), new_name="items2")
    argon.insert("p", "people", {"_id": "again"}, branch="x")
    argon.rpc.DropCollection(target=argon.target("p", "empty", "x"))
    argon.create_branch("p", "child", "x")
    argon.rpc.RenameBranch(project="p", name="x", new_name="y")
    expected = everything(argon, "y")
    assert sorted(expected) == ["items", "items2", "people"]
    roll_back(argon, "y")
    after = branch_of(argon, "y")
    assert (after.kind, after.state) == (TRADITIONAL, branch_pb2.BRANCH_STATE_READY)
    assert everything(argon, "y") == expected
    assert everything(argon, "child") == expected
    assert collections_of(mongodb) == sorted(after.prefix + name for name in expected)
    with mongodb.client() as client:
        assert sorted(client[DATABASE][after.prefix + "items"].index_information()) == ["_id_", "by_v"]
        assert sorted(client[DATABASE][after.prefix + "items2"].index_information()) == ["_id_", "by_first"]
    argon.insert("p", "items", {"_id": "traditional again", "v": 1.5}, branch="y")
    assert code_of(lambda: roll_back(argon, "y")) == grpc.StatusCode.FAILED_PRECONDITION
    # and forward once more
    start_migration(argon, "y")
    confirm(argon, "y")
    expected["items"]["traditional again"] = {"_id": "traditional again", "v": 1.5}
    assert everything(argon, "y") == expected
    assert collections_of(mongodb) == []


def test_indexes_of_a_migrated_branch_go_with_it_and_come_back_as_they_are_then(argon, mongodb):
    fill(argon, n=20)
    prefix = branch_of(argon, "x").prefix
    with mongodb.client() as client:
        client[DATABASE][prefix + "items"].create_index([("v", 1)], unique=True, name="by_v")
        client[DATABASE][prefix + "items"].create_index([("g", 1)], name="by_g")
        client[DATABASE][prefix + "people"].create_index([("name.first", -1)], name="by_first", sparse=True)
    start_migration(argon)
    assert names_of_indexes(argon, "items") == ["by_g", "by_v"]
    # one that a new document does not keep to goes, one comes, one is changed, and one comes with its collection
    set_indexes(argon, "items", [{"v": 2, "key": {"g": 1}, "name": "by_g"}, {"v": 2, "key": {"t": 1}, "name": "by_t"}], branch="x")
    argon.insert("p", "items", {"_id": "twice", "v": 3, "t": 1}, branch="x")
    set_indexes(argon, "people", [{"v": 2, "key": {"name.first": 1}, "name": "by_first"}], branch="x")
    set_indexes(argon, "new", [{"v": 2, "key": {"a": 1}, "name": "by_a", "unique": True}], branch="x")
    argon.insert_many("p", "new", [{"_id": i, "a": 1} for i in range(2)], branch="x")
    with pytest.raises(grpc.RpcError, match="indexes of collection 'new'") as caught:
        roll_back(argon)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    argon.update("p", "new", {"_id": 1}, {"$set": {"a": 2}}, branch="x")
    expected = everything(argon)
    roll_back(argon)
    assert everything(argon) == expected
    prefix = branch_of(argon, "x").prefix
    with mongodb.client() as client:
        assert {name: client[DATABASE][prefix + name].index_information() for name in ("items", "people", "new", "empty")} == {
            "items": {"_id_": {"v": 2, "key": [("_id", 1)]}, "by_g": {"v": 2, "key": [("g", 1)]}, "by_t": {"v": 2, "key": [("t", 1)]}},
            "people": {"_id_": {"v": 2, "key": [("_id", 1)]}, "by_first": {"v": 2, "key": [("name.first", 1)]}},
            "new": {"_id_": {"v": 2, "key": [("_id", 1)]}, "by_a": {"v": 2, "key": [("a", 1)], "unique": True}},
            "empty": {"_id_": {"v": 2, "key": [("_id", 1)]}},
        }


def test_definitions_of_indexes_that_no_record_has_room_for(argon, mongodb):
    create(argon, "x")
    prefix = branch_of(argon, "x").prefix
    with mongodb.client() as client:
        for i in range(9):
            client[DATABASE][prefix + f"c{i}"].create_index("v", name="v", partialFilterExpression={"t": {"$eq": "t" * 1000000}})
    with pytest.raises(grpc.RpcError, match="definitions of all indexes") as caught:
        start_migration(argon)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    argon.insert("p", "c0", {"_id": 1}, branch="x")
    roll_back(argon)


# ---- WAL forks of traditional parents ----------------------------------------------------------------


def test_a_wal_fork_of_a_traditional_parent_begins_with_a_copy(argon, mongodb):
    before = fill(argon)
    with mongodb.client() as client:
        client[DATABASE][branch_of(argon, "x").prefix + "items"].create_index([("v", 1)], name="by_v")
    names = collections_of(mongodb)
    made = create(argon, "fork", "x", kind=WAL).branch
    assert indexes(argon, "items", "fork") == indexes(argon, "items", "x") != []
    assert (made.kind, made.parent, bool(made.base_id)) == (WAL, "x", True)
    assert everything(argon, "fork") == before
    argon.delete("p", "items", {"_id": 1}, branch="x")
    argon.insert("p", "items", {"_id": "fork"}, branch="fork")
    assert argon.count("p", "items", branch="fork") == 1501
    assert collections_of(mongodb) == names
    told = argon.rpc.CopyBase(project="p", branch="x")
    base = told[-1].base_id
    assert told[-1].done
    assert {message.collection for message in told[:-1]} == {"items", "people", "empty"}
    listed = argon.rpc.ListBases(project="p").bases
    assert sorted(item.id for item in listed) == sorted([base, made.base_id])
    assert all(item.complete and item.branch_id == branch_of(argon, "x").id for item in listed)
    for name in ("one", "two"):
        branch = argon.rpc.CreateBranch(project="p", name=name, kind=WAL, base_id=base, **{"from": "x"}).branch
        assert branch.base_id == base
        assert argon.count("p", "items", branch=name) == 1499
    argon.delete("p", "items", {}, branch="one", many=True)
    assert argon.count("p", "items", branch="two") == 1499
    assert argon.count("p", "items", branch="x") == 1499


def test_bases_that_do_not_fit(argon):
    fill(argon, n=10)
    create(argon, "other")
    base = argon.rpc.CopyBase(project="p", branch="x")[-1].base_id

    def fork(start, base_id, kind=WAL):
        return code_of(lambda: argon.rpc.CreateBranch(project="p", name="fork", kind=kind, base_id=base_id, **{"from": start}))

    assert fork("other", base) == grpc.StatusCode.FAILED_PRECONDITION
    assert fork("main", base) == grpc.StatusCode.FAILED_PRECONDITION
    assert fork("x", base, TRADITIONAL) == grpc.StatusCode.FAILED_PRECONDITION
    assert fork("x", "0" * 24) == grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: argon.rpc.CopyBase(project="p", branch="main")) == grpc.StatusCode.FAILED_PRECONDITION
    assert fork("x", base) == grpc.StatusCode.OK


# ---- by the command line -----------------------------------------------------------------------------


def test_by_the_command_line(argon, cluster):
    before = fill(argon, n=30)
    target = ("-p", "p", "-b", "x")

    def status():
        return json.loads(cluster.argon("migrate", "status", *target, "-o", "json").stdout)

    assert status()["state"] == "none"
    assert cluster.argon("migrate", "confirm", *target, "--yes", check=False).returncode != 0
    messages = [json.loads(line) for line in cluster.argon("migrate", "start", *target, "-o", "ndjson").stdout.splitlines()]
    assert [messages[0]["state"], messages[-1]["state"]] == ["preparing", "verified"]
    assert {message["collection"] for message in messages if message["message"] == "verified"} == {"items", "people", "empty"}
    assert (status()["state"], status()["collections"], status()["copied_collections"]) == ("verified", 3, 3)
    refused = cluster.argon("migrate", "confirm", *target, check=False)
    assert refused.returncode != 0 and "--yes" in refused.stderr
    assert "[WAL]" in cluster.argon("branches", "list", "-p", "p", "--show-type").stdout.split("x ", 1)[1]
    assert "traditional again" in cluster.argon("migrate", "rollback", *target).stdout
    assert everything(argon) == before
    copied = json.loads(cluster.argon("branches", "copy-base", "x", "-p", "p", "-o", "json").stdout)
    assert copied["isolated"] is False
    bases = json.loads(cluster.argon("branches", "bases", "-p", "p", "-o", "json").stdout)
    assert [base["complete"] for base in bases if base["base_id"] == copied["base_id"]] == [True]
    made = json.loads(
        cluster.argon("branches", "create", "fork", "--from", "x", "--use-wal", "--base", copied["base_id"], "-p", "p", "-o", "json").stdout
    )
    assert made["base_id"] == copied["base_id"]
    assert everything(argon, "fork") == before
