"""Traditional branches: made by copying, adopted, deleted; and what becomes of them when something fails."""

import json
import os
import signal
import threading
import uuid

import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import MongoServer, in_parallel, not_applied, wait_until

WAL, TRADITIONAL = branch_pb2.BRANCH_KIND_WAL, branch_pb2.BRANCH_KIND_TRADITIONAL
CREATING, DELETING = branch_pb2.BRANCH_STATE_CREATING, branch_pb2.BRANCH_STATE_DELETING
DATABASE = "app"


def uri(server):
    return server.uri.replace("/?", f"/{DATABASE}?authSource=admin&")


def fail(server, commands, times=1_000_000, **data):
    """The server's own fail point: blockConnection with blockTimeMS holds these commands up."""
    server.fail_next(commands, times, **data)


def heal(server):
    with server.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
def mongodb(mongo_server):
    return mongo_server()


def start(cluster, server):
    cluster.start_wal()
    cluster.start_branch("--mongodb", uri(server))
    client = cluster.client()
    client.create_project("p")
    return client


@pytest.fixture
def argon(cluster, mongodb):
    return start(cluster, mongodb)


def create(client, name, start="main", kind=TRADITIONAL, timeout=30, **options):
    fields = {"from": start}
    for option in ("at_lsn", "at_time"):
        if option in options:
            fields[option] = options.pop(option)
    return client.rpc.CreateBranch(project="p", name=name, kind=kind, write=client.write(**options), timeout=timeout, **fields)


def branch_of(client, name):
    return client.rpc.GetBranch(project="p", name=name).branch


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def collections_of(server, database=DATABASE):
    return sorted(server.client()[database].list_collection_names())


# ---- making, renaming, deleting ----------------------------------------------------------------------


def test_a_copy_of_a_wal_parent(argon, mongodb):
    argon.insert_many("p", "items", [{"_id": n, "v": n} for n in range(2500)])
    argon.rpc.CreateCollection(target=argon.target("p", "empty"))
    made = create(argon, "old").branch
    assert (made.kind, made.use_wal, made.state, made.database) == (TRADITIONAL, False, branch_pb2.BRANCH_STATE_READY, DATABASE)
    assert made.prefix == f"b_{made.id}_1_"
    argon.insert("p", "items", {"_id": "later"})
    assert argon.collections("p", "old") == ["empty", "items"]
    assert argon.count("p", "items", branch="old") == 2500
    argon.delete("p", "items", {}, branch="old", many=True)
    assert argon.count("p", "items") == 2501
    assert collections_of(mongodb) == [made.prefix + "empty", made.prefix + "items"]


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
    assert code_of(lambda: create(argon, "two", "one", kind=WAL)) == grpc.StatusCode.FAILED_PRECONDITION


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
    other = cluster.client(cluster.start_branch("--mongodb", uri(mongodb), "--max-follows", "0"))
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
    other = cluster.client(cluster.start_branch("--mongodb", uri(mongodb)))
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


# ---- MongoDB away, slow, or not ours -----------------------------------------------------------------


def test_mongodb_away_and_back(argon, cluster, mongodb):
    create(argon, "old")
    argon.insert("p", "items", {"_id": 1}, branch="old")
    mongodb.kill()
    for call in [
        lambda: argon.find("p", "items", branch="old", timeout=20),
        lambda: argon.insert("p", "items", {"_id": 2}, branch="old", timeout=20),
        lambda: argon.collections("p", "old"),
    ]:
        assert code_of(call) == grpc.StatusCode.UNAVAILABLE
    status = argon.rpc.GetStatus()
    assert (status.mongodb_configured, status.mongodb_reachable) == (True, False)
    assert status.mongodb_error
    # the others go on
    argon.insert("p", "items", {"_id": "wal"})
    assert argon.find("p", "items") == [{"_id": "wal"}]
    create(argon, "dev", kind=WAL)
    mongodb.start()
    wait_until(lambda: code_of(lambda: argon.find("p", "items", branch="old")) == grpc.StatusCode.OK, "MongoDB to be found again", 60)
    argon.insert("p", "items", {"_id": 3}, branch="old")
    assert {"_id": 1} in argon.find("p", "items", branch="old")
    status = argon.rpc.GetStatus()
    assert status.mongodb_reachable and status.mongodb_version


def test_a_service_starts_without_mongodb(cluster, tmp_path):
    server = MongoServer(tmp_path)
    client = start(cluster, server)
    client.insert("p", "items", {"_id": 1})
    assert code_of(lambda: create(client, "early", timeout=20)) == grpc.StatusCode.UNAVAILABLE
    server.start()
    try:
        wait_until(lambda: code_of(lambda: create(client, f"b{uuid.uuid4().hex}")) == grpc.StatusCode.OK, "MongoDB to be found", 60)
    finally:
        server.close()


def test_slow_mongodb(argon, mongodb):
    create(argon, "old")
    argon.insert("p", "items", {"_id": 1}, branch="old")
    fail(mongodb, ["find", "insert"], blockConnection=True, blockTimeMS=20000)
    assert code_of(lambda: argon.find("p", "items", branch="old", timeout=1)) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert code_of(lambda: argon.insert("p", "items", {"_id": 2}, branch="old", timeout=1)) == grpc.StatusCode.DEADLINE_EXCEEDED
    argon.insert("p", "items", {"_id": "wal"}, timeout=5)
    heal(mongodb)
    wait_until(lambda: code_of(lambda: argon.insert("p", "items", {"_id": 3}, branch="old")) == grpc.StatusCode.OK, "inserts to go on", 60)


def test_a_late_answer_holds_when_the_record_is_what_it_was(argon, mongodb):
    create(argon, "old")
    fail(mongodb, ["insert"], 1, blockConnection=True, blockTimeMS=11000)
    argon.insert("p", "items", {"_id": 1}, branch="old", timeout=40)
    assert argon.find("p", "items", branch="old") == [{"_id": 1}]


def test_a_late_answer_of_a_branch_that_is_gone_is_unknown(argon, mongodb):
    create(argon, "old")
    argon.insert("p", "items", {"_id": 1}, branch="old")
    fail(mongodb, ["insert"], 1, blockConnection=True, blockTimeMS=11000)
    caught, begun = [], argon.rpc.GetStatus().head_checks

    def late():
        try:
            argon.insert("p", "items", {"_id": 2}, branch="old", timeout=40)
        except grpc.RpcError as error:
            caught.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    wait_until(lambda: argon.rpc.GetStatus().head_checks > begun, "the insert to have met the record")
    argon.rpc.DeleteBranch(project="p", name="old")
    thread.join()
    assert caught[0].code() == grpc.StatusCode.UNAVAILABLE
    assert "outcome unknown" in caught[0].details()
    assert not not_applied(caught[0])


def test_wrong_password(cluster, mongo_server):
    server = mongo_server(auth=True)
    cluster.start_wal()
    cluster.start_branch("--mongodb", uri(server).replace("right-password", "secret-word"))
    client = cluster.client()
    client.create_project("p")
    client.insert("p", "items", {"_id": 1})
    with pytest.raises(grpc.RpcError) as caught:
        create(client, "old", timeout=20)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "password of the configured URI" in caught.value.details()
    status = client.rpc.GetStatus()
    assert status.mongodb_configured and not status.mongodb_reachable
    assert "password" in status.mongodb_error
    told = caught.value.details() + str(status) + cluster.branches[0].text() + cluster.argon("status").stdout
    assert "secret-word" not in told
    # the right one
    right = cluster.client(cluster.start_branch("--mongodb", uri(server)))
    create(right, "new")
    assert right.count("p", "items", branch="new") == 1


def test_killed_in_the_middle_of_a_load(argon, cluster, mongodb):
    """Nothing that was acknowledged is lost, and nothing that was refused is there."""
    create(argon, "old")
    acknowledged, refused, stop = set(), {}, threading.Event()

    def write(worker):
        client = cluster.client()
        n = 0
        while not stop.is_set():
            id = f"{worker}-{n}"
            n += 1
            try:
                client.insert("p", "items", {"_id": id}, branch="old", timeout=10)
                acknowledged.add(id)
            except grpc.RpcError as error:
                if not_applied(error):
                    refused[id] = f"{error.code()} {error.details()}"

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for round_ in range(2):
        before = len(acknowledged)
        wait_until(lambda before=before: len(acknowledged) > before + 50, "writes to be acknowledged", 60)
        mongodb.kill()
        argon.insert("p", "items", {"_id": f"wal-{round_}"}, timeout=5)
        mongodb.start()
    before = len(acknowledged)
    wait_until(lambda: len(acknowledged) > before + 50, "writes to go on", 60)
    stop.set()
    for thread in threads:
        thread.join()
    there = [document["_id"] for document in argon.find("p", "items", branch="old")]
    assert len(there) == len(set(there))
    assert acknowledged <= set(there)
    assert not {id: why for id, why in refused.items() if id in there}


# ---- unfinished creations and deletions --------------------------------------------------------------


def kill_while_blocked(cluster, server, commands, call, seen):
    """Runs a call that MongoDB holds up, kills its branch service when `seen`, and starts it again."""
    fail(server, commands, blockConnection=True, blockTimeMS=60000)
    thread = threading.Thread(target=lambda: code_of(call))
    thread.start()
    wait_until(seen, "the call to be held up")
    cluster.branches[0].kill()
    thread.join()
    heal(server)
    server.kill()  # what is held up there ends, too
    server.start()
    cluster.branches[0].start()


@pytest.mark.parametrize("parent,command", [("main", "create"), ("main", "insert"), ("one", "listCollections"), ("one", "aggregate")])
def test_a_creation_that_was_killed_goes_on(argon, cluster, mongodb, parent, command):
    argon.insert_many("p", "items", [{"_id": n} for n in range(1500)])
    create(argon, "one")
    since = argon.head("p")

    def call(client=argon):
        return create(client, "two", parent, request_id="make-two", since=since)

    watcher = cluster.client(cluster.start_branch("--mongodb", uri(mongodb)))

    def held_up():
        return code_of(lambda: branch_of(watcher, "two")) == grpc.StatusCode.OK and branch_of(watcher, "two").prefix.endswith("_1_")

    kill_while_blocked(cluster, mongodb, [command], call, held_up)
    client = cluster.client()
    assert branch_of(client, "two").state == CREATING
    assert code_of(lambda: client.find("p", "items", branch="two")) == grpc.StatusCode.FAILED_PRECONDITION
    assert code_of(lambda: client.insert("p", "items", {"_id": 1}, branch="two")) == grpc.StatusCode.FAILED_PRECONDITION
    assert code_of(lambda: create(client, "three", "two")) == grpc.StatusCode.FAILED_PRECONDITION
    assert code_of(lambda: create(client, "two", parent)) == grpc.StatusCode.ALREADY_EXISTS
    if parent == "main":  # the cut stays
        client.insert("p", "items", {"_id": "later"})
    made = call(client)
    assert made.branch.prefix == f"b_{made.branch.id}_2_"
    assert client.count("p", "items", branch="two") == 1500
    assert call(client) == made
    assert [name for name in collections_of(mongodb) if made.branch.id in name] == [made.branch.prefix + "items"]


def test_a_creation_that_was_killed_before_its_finish_goes_on(argon, cluster, mongodb):
    argon.insert_many("p", "items", [{"_id": n} for n in range(100)])
    since = argon.head("p")
    fail(mongodb, ["insert"], 1, blockConnection=True, blockTimeMS=2000)
    thread = threading.Thread(target=lambda: code_of(lambda: create(argon, "two", request_id="make", since=since)))
    thread.start()
    wait_until(lambda: any(name.endswith("_items") for name in collections_of(mongodb)), "the copy to begin")
    os.kill(cluster.wal.process.pid, signal.SIGSTOP)
    try:
        name = next(name for name in collections_of(mongodb) if name.endswith("_items"))
        wait_until(lambda: mongodb.client()[DATABASE][name].count_documents({}) == 100, "the copy to be complete")
        cluster.branches[0].kill()
    finally:
        os.kill(cluster.wal.process.pid, signal.SIGCONT)
    thread.join()
    cluster.branches[0].start()
    client = cluster.client()
    assert branch_of(client, "two").state == CREATING
    made = create(client, "two", request_id="make", since=since).branch
    assert client.count("p", "items", branch="two") == 100
    assert collections_of(mongodb) == [made.prefix + "items"]


def test_two_replicas_make_the_same_branch(argon, cluster, mongodb):
    argon.insert_many("p", "items", [{"_id": n} for n in range(1200)])
    other = cluster.client(cluster.start_branch("--mongodb", uri(mongodb)))
    for round_ in range(5):
        since = argon.head("p")
        name = f"same{round_}"
        answers = in_parallel(
            *[lambda client=client: create(client, name, request_id=name, since=since) for client in (argon, other)]
        )
        assert answers[0] == answers[1]
        made = answers[0].branch
        assert argon.count("p", "items", branch=name) == 1200
        assert [found for found in collections_of(mongodb) if made.id in found] == [made.prefix + "items"]


def test_a_parent_that_is_deleted_while_it_is_copied(argon, cluster, mongodb):
    argon.insert_many("p", "items", [{"_id": n} for n in range(10)])
    create(argon, "one")
    fail(mongodb, ["aggregate"], 1, blockConnection=True, blockTimeMS=1500)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(code_of(lambda: create(argon, "two", "one"))))
    thread.start()
    wait_until(lambda: code_of(lambda: branch_of(argon, "two")) == grpc.StatusCode.OK and branch_of(argon, "two").prefix.endswith("_1_"), "the claim")
    argon.rpc.DeleteBranch(project="p", name="one")
    thread.join()
    assert codes[0] != grpc.StatusCode.OK
    assert branch_of(argon, "two").state == CREATING
    argon.rpc.DeleteBranch(project="p", name="two")
    assert collections_of(mongodb) == []


def test_an_unfinished_creation_can_be_deleted(argon, cluster, mongodb):
    argon.insert_many("p", "items", [{"_id": n} for n in range(10)])
    watcher = cluster.client(cluster.start_branch("--mongodb", uri(mongodb)))
    kill_while_blocked(
        cluster, mongodb, ["insert"], lambda: create(argon, "two"), lambda: any(name.endswith("_items") for name in collections_of(mongodb))
    )
    watcher.rpc.DeleteBranch(project="p", name="two")
    assert collections_of(mongodb) == []
    create(watcher, "two")
    assert watcher.count("p", "items", branch="two") == 10


def test_a_deletion_that_was_killed_goes_on(argon, cluster, mongodb):
    argon.insert_many("p", "items", [{"_id": n} for n in range(10)])
    create(argon, "two")
    since = argon.head("p")
    watcher = cluster.client(cluster.start_branch("--mongodb", uri(mongodb)))

    def call(client=argon):
        return client.rpc.DeleteBranch(project="p", name="two", write=client.write("delete-two", since))

    kill_while_blocked(cluster, mongodb, ["drop"], call, lambda: branch_of(watcher, "two").state == DELETING)
    client = cluster.client()
    assert code_of(lambda: client.find("p", "items", branch="two")) == grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: create(client, "three", "two")) == grpc.StatusCode.NOT_FOUND
    assert code_of(lambda: create(client, "two")) == grpc.StatusCode.ALREADY_EXISTS
    first = call(client)
    assert collections_of(mongodb) == []
    assert call(client) == first
    create(client, "two")
