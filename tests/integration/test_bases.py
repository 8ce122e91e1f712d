"""Bases: copies of traditional branches on the log, one point in time where the server keeps one, and what becomes of them."""

import json
import os
import pty
import subprocess
import threading

import grpc
import pytest

from harness import BIN, wait_until
from snapshots import Snapshots
from traditional import DATABASE, WAL, branch_of, code_of, collections_of, create, start
from test_migration import everything, fill

CHECK = "_argon_snapshot_check_"


@pytest.fixture
def mongodb(mongo_server):
    return mongo_server(hasty=True)


@pytest.fixture
def argon(cluster, mongodb):
    return start(cluster, mongodb)


@pytest.fixture
def snapshots(mongodb):
    proxy = Snapshots(mongodb.port)
    yield proxy
    proxy.close()


@pytest.fixture
def isolated(cluster, snapshots):
    """A client of a branch service on a server that keeps snapshots."""
    return start(cluster, snapshots)


def copy(client, **fields):
    return client.rpc.CopyBase(project="p", branch="x", **fields)[-1]


def bases(client):
    return [(base.id, base.complete) for base in client.rpc.ListBases(project="p").bases]


def change_everything(mongodb, prefix):
    with mongodb.client() as client:
        database = client[DATABASE]
        for name in database.list_collection_names():
            if name.startswith(prefix):
                database[name].delete_one({})
                database[name].insert_one({"_id": "later"})


# ---- one point in time -------------------------------------------------------------------------------


def test_a_copy_is_of_one_point_in_time_where_the_server_keeps_one(isolated, mongodb, snapshots):
    before = fill(isolated)
    prefix = branch_of(isolated, "x").prefix

    def change_once(collection):
        if collection.startswith(prefix):
            snapshots.before_read = lambda collection: None
            change_everything(mongodb, prefix)

    snapshots.before_read = change_once
    last = copy(isolated)
    assert (last.isolated, last.why_not_isolated) == (True, "")
    assert {name[len(prefix) :] for name in snapshots.reads if name.startswith(prefix)} == {"items", "people", "empty"}
    branch = isolated.rpc.CreateBranch(project="p", name="fork", kind=WAL, base_id=last.base_id, **{"from": "x"}).branch
    assert branch.base_isolated
    assert everything(isolated, "fork") == before
    assert isolated.find("p", "empty", branch="x") == [{"_id": "later"}]
    assert [name for name in collections_of(mongodb) if name.startswith(CHECK)] == []


def test_isolation_is_tried_and_not_believed(argon, mongodb):
    fill(argon, n=10)
    last = copy(argon)
    assert not last.isolated
    assert last.why_not_isolated == "the server accepts snapshots, and a write of another session is seen in them"
    assert [name for name in collections_of(mongodb) if name.startswith(CHECK)] == []
    assert not create(argon, "fork", "x", kind=WAL).branch.base_isolated


def test_a_snapshot_that_is_lost_on_the_way_is_done_without(isolated, snapshots):
    before = fill(isolated)
    prefix = branch_of(isolated, "x").prefix
    names = []

    def forget_at_the_second(collection):
        names.append(collection)
        if len([name for name in names if name.startswith(prefix)]) == 2:
            snapshots.forget()

    snapshots.before_read = forget_at_the_second
    last = copy(isolated)
    assert (last.isolated, last.why_not_isolated) == (False, "the server did not keep the snapshot until the end")
    assert bases(isolated) == [(last.base_id, True)]  # the one that was begun before is no more
    isolated.rpc.CreateBranch(project="p", name="fork", kind=WAL, base_id=last.base_id, **{"from": "x"})
    assert everything(isolated, "fork") == before


def test_an_import_is_of_one_point_in_time_where_the_server_keeps_one(cluster, isolated, mongodb, snapshots):
    with mongodb.client() as client:
        for name in ("one", "two"):
            client.source[name].insert_many({"_id": i} for i in range(2500))

    def change_once(collection):
        if not collection.startswith(CHECK):
            snapshots.before_read = lambda collection: None
            with mongodb.client() as client:
                for name in ("one", "two"):
                    client.source[name].delete_one({"_id": 2400})
                    client.source[name].insert_one({"_id": "later"})

    snapshots.before_read = change_once
    arguments = ("import", "mongodb", snapshots.uri, "--database", "source", "-p", "p", "-o", "json")
    result = json.loads(cluster.argon(*arguments).stdout)
    assert (result["one_point_in_time"], result["imported"]) == (True, 5000)
    for name in ("one", "two"):
        assert [document["_id"] for document in isolated.find("p", name)] == list(range(2500))


# ---- what is left of a copy that failed --------------------------------------------------------------


class Held:
    """Holds a copy before it reads its second collection."""

    def __init__(self, client, snapshots):
        prefix, names = branch_of(client, "x").prefix, []
        self.reached, self.go_on = threading.Event(), threading.Event()

        def hold(collection):
            names.append(collection)
            if len([name for name in names if name.startswith(prefix)]) == 2:
                self.reached.set()
                assert self.go_on.wait(60)

        snapshots.before_read = hold
        self.stream = client.rpc.stream("CopyBase", project="p", branch="x")
        self.base = next(iter(self.stream)).base_id
        assert self.reached.wait(60)

    def end(self):
        self.go_on.set()
        with pytest.raises(grpc.RpcError) as failed:
            list(self.stream)
        return failed.value


def test_a_copy_that_nobody_waits_for_leaves_no_base(isolated, snapshots):
    fill(isolated)
    held = Held(isolated, snapshots)
    assert bases(isolated) == [(held.base, False)]
    held.stream.cancel()
    held.go_on.set()
    wait_until(lambda: bases(isolated) == [], "the base to be deleted")


def test_a_copy_that_fails_leaves_no_base(isolated, mongodb, snapshots):
    fill(isolated)
    held = Held(isolated, snapshots)
    mongodb.kill()
    assert held.end().code() == grpc.StatusCode.UNAVAILABLE
    assert bases(isolated) == []


def test_a_copy_ends_when_its_base_is_deleted(isolated, snapshots):
    fill(isolated)
    held = Held(isolated, snapshots)
    isolated.rpc.DeleteBase(project="p", base_id=held.base)
    failed = held.end()
    assert failed.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "was deleted while it was copied" in failed.details()
    assert bases(isolated) == []


def test_what_a_killed_service_leaves_is_shown_and_can_be_deleted(cluster, isolated, snapshots):
    before = fill(isolated)
    held = Held(isolated, snapshots)
    cluster.branches[0].kill()
    held.end()
    cluster.branches[0].start()
    client = cluster.client()
    wait_until(lambda: code_of(lambda: bases(client)) == grpc.StatusCode.OK, "the service")
    assert bases(client) == [(held.base, False)]

    def fork():
        client.rpc.CreateBranch(project="p", name="fork", kind=WAL, base_id=held.base, **{"from": "x"})

    assert code_of(fork) == grpc.StatusCode.FAILED_PRECONDITION
    listed = json.loads(cluster.argon("branches", "bases", "-p", "p", "-o", "json").stdout)
    assert [(base["base_id"], base["complete"]) for base in listed] == [(held.base, False)]
    deleted = json.loads(cluster.argon("branches", "delete-base", held.base, "-p", "p", "--yes", "-o", "json").stdout)
    assert (deleted["base_id"], deleted["deleted"]) == (held.base, True)
    assert bases(client) == []
    assert code_of(fork) == grpc.StatusCode.NOT_FOUND
    again = cluster.argon("branches", "delete-base", held.base, "-p", "p", "--yes", check=False)
    assert again.returncode != 0 and "does not exist" in again.stderr
    create(client, "fork", "x", kind=WAL)
    assert everything(client, "fork") == before


# ---- deleting ----------------------------------------------------------------------------------------


def test_branches_outlive_their_base(argon):
    before = fill(argon, n=20)
    base = copy(argon).base_id

    def fork(name):
        argon.rpc.CreateBranch(project="p", name=name, kind=WAL, base_id=base, **{"from": "x"})

    fork("one")
    first = argon.rpc.DeleteBase(project="p", base_id=base, write=argon.write("delete"))
    assert argon.rpc.DeleteBase(project="p", base_id=base, write=argon.write("delete")) == first
    assert code_of(lambda: argon.rpc.DeleteBase(project="p", base_id=base)) == grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: fork("two")) == grpc.StatusCode.NOT_FOUND
    argon.insert("p", "items", {"_id": "new"}, branch="one")
    argon.delete("p", "items", {"_id": "new"}, branch="one")
    assert everything(argon, "one") == before
    assert branch_of(argon, "one").base_id == base
    argon.create_branch("p", "grandchild", start="one")
    assert everything(argon, "grandchild") == before


def test_the_base_of_a_migration_stays(argon):
    before = fill(argon, n=20)
    argon.rpc.StartMigration(project="p", branch="x", timeout=60)
    base = argon.rpc.GetMigration(project="p", branch="x").base_id
    with pytest.raises(grpc.RpcError) as refused:
        argon.rpc.DeleteBase(project="p", base_id=base)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION and "migration of branch 'x'" in refused.value.details()
    argon.rpc.RollbackMigration(project="p", branch="x", timeout=60)
    assert everything(argon) == before


def test_bases_that_are_none(argon):
    fill(argon, n=1)
    for base_id in ("main", branch_of(argon, "x").id, "0" * 24):
        assert code_of(lambda: argon.rpc.DeleteBase(project="p", base_id=base_id)) == grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: argon.rpc.DeleteBase(project="p", base_id="")) == grpc.StatusCode.INVALID_ARGUMENT
    assert code_of(lambda: argon.rpc.DeleteBase(project="none", base_id="0" * 24)) == grpc.StatusCode.NOT_FOUND


# ---- by the command line -----------------------------------------------------------------------------


def test_create_shows_how_far_the_copy_is(cluster, argon):
    before = fill(argon)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [str(BIN / "argon"), "branches", "create", "fork", "--from", "x", "--use-wal", "-p", "p", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address},
    )
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # its end
            break
        shown += part
    assert process.returncode == 0, shown
    assert b"items: 1500 documents" in shown
    made = json.loads(out)
    assert (made["base_id"], made["base_isolated"]) == (bases(argon)[0][0], False)
    assert len(bases(argon)) == 1
    assert everything(argon, "fork") == before


def test_create_says_whether_the_copy_is_of_one_point_in_time(cluster, isolated):
    fill(isolated, n=10)
    said = cluster.argon("branches", "create", "fork", "--from", "x", "--use-wal", "-p", "p").stdout
    assert "as it was at one point in time." in said
    again = cluster.argon("branches", "create", "two", "--from", "x", "--use-wal", "--base", bases(isolated)[0][0], "-p", "p").stdout
    assert "as it was at one point in time." in again
    assert len(bases(isolated)) == 1


def test_create_says_why_the_copy_is_not_of_one_point_in_time(cluster, argon):
    fill(argon, n=10)
    said = cluster.argon("branches", "create", "fork", "--from", "x", "--use-wal", "-p", "p").stdout
    assert "; it is not one point in time" in said and "a write of another session is seen" in said
    said = cluster.argon("branches", "copy-base", "x", "-p", "p").stdout
    assert "; it is not one point in time" in said and "a write of another session is seen" in said


def test_create_repeated_with_its_request_id_makes_one_branch_and_one_base(cluster, argon):
    fill(argon, n=10)
    since = str(argon.head("p"))
    command = ("branches", "create", "fork", "--from", "x", "--use-wal", "-p", "p", "--request-id", "r", "--since-lsn", since, "-o", "json")
    first = json.loads(cluster.argon(*command).stdout)
    assert json.loads(cluster.argon(*command).stdout) == first
    assert [base for base, _ in bases(argon)] == [first["base_id"]]


def test_create_that_is_refused_leaves_no_base(cluster, argon):
    fill(argon, n=10)
    cluster.argon("config", "set", "wal.enabled", "false")
    refused = cluster.argon("branches", "create", "fork", "--from", "x", "--use-wal", "-p", "p", check=False)
    assert refused.returncode != 0 and "wal.enabled" in refused.stderr
    assert bases(argon) == []
    taken = cluster.argon("branches", "create", "x", "--from", "x", "--use-wal", "-p", "p", check=False)
    assert taken.returncode != 0 and "ALREADY_EXISTS" in taken.stderr
    assert bases(argon) == []
