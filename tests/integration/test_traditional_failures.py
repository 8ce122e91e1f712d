"""Traditional branches when something fails: MongoDB away, slow or not ours; services killed in the middle."""

import json
import os
import signal
import threading
import uuid

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from gate import Gate
from harness import MongoServer, in_parallel, not_applied, wait_until
from test_indexes import indexes, set_indexes
from traditional import CREATING, DATABASE, DELETING, WAL, branch_of, code_of, collections_of, create, options, start, uri


def fail(server, commands, times=1_000_000, **data):
    """The server's own fail point: blockConnection with blockTimeMS holds these commands up."""
    server.fail_next(commands, times, **data)


def heal(server):
    with server.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
def mongodb(mongo_server):
    return mongo_server()


@pytest.fixture
def argon(cluster, mongodb):
    return start(cluster, mongodb)


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


def test_a_mongodb_without_explain(argon, mongodb):
    create(argon, "old")
    fail(mongodb, ["explain"], errorCode=59)
    find = branch_pb2.FindRequest(target=argon.target("p", "items", "old"))
    with pytest.raises(grpc.RpcError) as caught:
        argon.rpc.Explain(find=find)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "explain it on a WAL branch" in caught.value.details()
    heal(mongodb)
    assert argon.rpc.Explain(find=find).access == branch_pb2.ACCESS_SCAN


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


def test_indexes_that_are_there_are_left_alone(argon, mongodb):
    create(argon, "old")
    wanted = [{"v": 2, "key": {"a": 1}, "name": "a", "unique": True}, {"key": {"b": 1, "c": -1}, "name": "bc"}]
    set_indexes(argon, "c", wanted, branch="old")
    fail(mongodb, ["dropIndexes", "createIndexes"], errorCode=13)
    set_indexes(argon, "c", [wanted[1], wanted[0]], branch="old")
    with pytest.raises(grpc.RpcError) as caught:
        set_indexes(argon, "c", wanted[:1], branch="old")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert len(indexes(argon, "c", "old")) == 2
    # dropped and not made: the same call goes on
    heal(mongodb)
    fail(mongodb, ["createIndexes"], errorCode=13)
    with pytest.raises(grpc.RpcError) as caught:
        set_indexes(argon, "c", [{"key": {"a": -1}, "name": "a"}, wanted[1]], branch="old")
    assert not not_applied(caught.value)
    heal(mongodb)
    set_indexes(argon, "c", [{"key": {"a": -1}, "name": "a"}, wanted[1]], branch="old")
    assert sorted(bson.decode(index)["name"] for index in indexes(argon, "c", "old")) == ["a", "bc"]


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
    right = cluster.client(cluster.start_branch(*options(server)))
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

    watcher = cluster.client(cluster.start_branch(*options(mongodb)))

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
    other = cluster.client(cluster.start_branch(*options(mongodb)))
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
    watcher = cluster.client(cluster.start_branch(*options(mongodb)))
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
    watcher = cluster.client(cluster.start_branch(*options(mongodb)))

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


# ---- an insert of many -------------------------------------------------------------------------------

UNIQUE = [{"v": 2, "key": {"u": 1}, "name": "by_u", "unique": True}]


def insert_that_breaks_an_index(client, n):
    """The last document is in the way of the first; no _id is."""
    with pytest.raises(grpc.RpcError) as failed:
        client.insert_many("p", "items", [*({"_id": i, "u": i} for i in range(n)), {"_id": "last", "u": 0}], branch="old")
    assert failed.value.code() == grpc.StatusCode.ALREADY_EXISTS
    return failed.value


@pytest.mark.parametrize("n", [2, 2500])
def test_an_insert_of_many_that_fails_writes_nothing(argon, n):
    create(argon, "old")
    set_indexes(argon, "items", UNIQUE, branch="old")
    error = insert_that_breaks_an_index(argon, n)
    assert not_applied(error) and "stopped after" not in error.details()
    assert argon.count("p", "items", branch="old") == 0
    argon.insert_many("p", "new", [{"_id": i} for i in range(n)], branch="old")  # makes its collection
    assert argon.count("p", "new", branch="old") == n


def test_without_transactions_it_says_how_much_it_has_written(cluster, mongo_server):
    argon = start(cluster, mongo_server(standalone=True))
    create(argon, "old")
    set_indexes(argon, "items", UNIQUE, branch="old")
    error = insert_that_breaks_an_index(argon, 2500)
    assert not not_applied(error) and "stopped after 2500 documents: " in error.details()
    assert argon.count("p", "items", branch="old") == 2500


def test_of_inserts_that_race_one_is_there_as_a_whole(argon, cluster):
    create(argon, "old")
    clients = [cluster.client() for _ in range(4)]
    order = [range(60), range(59, -1, -1), [*range(30, 60), *range(30)], [*range(0, 60, 2), *range(1, 60, 2)]]

    def insert(n):
        try:
            clients[n].insert_many("p", "items", [{"_id": i, "by": n} for i in order[n]], branch="old")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ALREADY_EXISTS and not_applied(error), error
            return False
        return True

    won = in_parallel(*[lambda n=n: insert(n) for n in range(4)])
    assert won.count(True) == 1
    assert {document["by"] for document in argon.find("p", "items", branch="old")} == {won.index(True)}
    assert argon.count("p", "items", branch="old") == 60


def test_what_is_lost_before_the_commit_is_not_applied(argon, mongodb):
    create(argon, "old")
    documents = [{"_id": i} for i in range(10)]
    fail(mongodb, ["insert"], times=1, closeConnection=True)
    with pytest.raises(grpc.RpcError) as failed:
        argon.insert_many("p", "items", documents, branch="old")
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE and not_applied(failed.value)
    assert argon.count("p", "items", branch="old") == 0
    fail(mongodb, ["commitTransaction"], times=1, closeConnection=True)
    argon.insert_many("p", "items", documents, branch="old")  # the driver asks again what became of it
    assert argon.count("p", "items", branch="old") == 10
    fail(mongodb, ["commitTransaction"], closeConnection=True)
    with pytest.raises(grpc.RpcError) as failed:
        argon.insert_many("p", "items", [{"_id": "a"}, {"_id": "b"}], branch="old")
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE and not not_applied(failed.value)
    heal(mongodb)


def test_a_commit_of_which_the_server_knows_nothing_any_more(cluster, mongodb):
    """The first commit and the transaction went with the server; the driver's second one meets neither. Nobody was in the way."""
    gate = Gate(f"127.0.0.1:{mongodb.port}")
    cluster.start_wal()
    cluster.start_branch("--mongodb", uri(mongodb).replace(f"127.0.0.1:{mongodb.port}", gate.address), "--enable-wal-branches")
    argon = cluster.client()
    argon.create_project("p")
    create(argon, "old")
    gate.shut(requests=True, part=b"commitTransaction")
    failures = []

    def insert():
        with pytest.raises(grpc.RpcError) as failed:
            argon.insert_many("p", "items", [{"_id": "a"}, {"_id": "b"}], branch="old", timeout=60)
        failures.append(failed.value)

    writer = threading.Thread(target=insert)
    writer.start()
    wait_until(lambda: gate.is_held(b"commitTransaction"), "the commit on its way")
    mongodb.kill()
    mongodb.start()
    gate.open()
    writer.join()
    assert failures[0].code() == grpc.StatusCode.UNAVAILABLE, failures[0]
    assert "in the middle of a commit" in failures[0].details() and not not_applied(failures[0])
    assert argon.count("p", "items", branch="old") == 0
    gate.close()


def test_a_bulk_write_ends_before_its_next_operation_when_its_client_goes(argon, cluster, mongodb):
    create(argon, "old")
    process = cluster.start_branch(*options(mongodb))
    client = cluster.client(process)
    client.insert("p", "items", {"_id": 0}, branch="old")
    call, request, _ = client.rpc.methods["BulkWrite"]
    operations = [branch_pb2.BulkOperation(insert_one=branch_pb2.BulkInsert(document=client.document({"_id": n}))) for n in (1, 2)]
    fail(mongodb, ["insert"], 1, blockConnection=True, blockTimeMS=2000)
    begun = client.rpc.GetStatus().head_checks
    answer = call.future(request(target=client.target("p", "items", "old"), operations=operations))
    wait_until(lambda: client.rpc.GetStatus().head_checks >= begun + 2, "the first operation to have met the record")
    answer.cancel()
    process.stop()  # when the call has ended there
    assert {"_id": 2} not in argon.find("p", "items", branch="old")


ONE, ALL = {"filter": {"_id": 1}}, {"filter": {}}
INC = {"$inc": {"n": 1}}


def bulk_update(many):
    update = branch_pb2.BulkUpdate(filter=branch_pb2.Document(json="{}"), update=branch_pb2.Document(json=json.dumps(INC)))
    return branch_pb2.BulkOperation(**{"update_many" if many else "update_one": update})


def bulk(*operations):
    return "update", "BulkWrite", {"operations": operations}


def asked(argon, branch, rpc, fields):
    documents = {name: argon.document(value) if isinstance(value, dict) else value for name, value in fields.items()}
    return getattr(argon.rpc, rpc)(target=argon.target("p", "items", branch), timeout=30, **documents)


# The command that MongoDB gets, the call, and whether the driver may send it again: MongoDB knows it then.
FAULTY = {
    "find one and update": ("findAndModify", "FindOneAndUpdate", {**ONE, "update": INC}, True),
    "find one and delete": ("findAndModify", "FindOneAndDelete", ONE, True),
    "update of one": ("update", "UpdateOne", {**ONE, "update": INC}, True),
    "update of many": ("update", "UpdateMany", {**ALL, "update": INC}, False),
    "delete of many": ("delete", "DeleteMany", ALL, False),
    "bulk of one and one": (*bulk(bulk_update(False), bulk_update(False)), True),
    "bulk of many": (*bulk(bulk_update(True)), False),
}


def effects(argon, branch):
    """How often each document was changed; a deletion counts once."""
    left = {document["_id"]: document["n"] for document in argon.find("p", "items", branch=branch)}
    return [left.get(id, 1) for id in (1, 2)]


def lose_answer(gate, command, call):
    """MongoDB does it, and nobody hears."""
    gate.shut(part={"update": b"nModified", "findAndModify": b"lastErrorObject"}.get(command, b"ok"))
    caller = threading.Thread(target=call)
    caller.start()
    wait_until(gate.is_held, "the answer to come")
    gate.cut()
    caller.join()


@pytest.mark.parametrize("fault", ["the command is lost", "its answer is lost", "it is lost for good"])
def test_what_is_lost_on_the_way_has_one_effect_or_is_unknown(cluster, mongodb, fault):
    gate = Gate(f"127.0.0.1:{mongodb.port}")
    reader = start(cluster, mongodb)
    gated = cluster.start_branch("--mongodb", uri(mongodb).replace(f"127.0.0.1:{mongodb.port}", gate.address), "--enable-wal-branches")
    argon = cluster.client(gated)
    for number, (name, (command, rpc, fields, again)) in enumerate(FAULTY.items()):
        branch, outcome = f"b{number}", []
        create(argon, branch)
        argon.insert_many("p", "items", [{"_id": 1, "n": 0}, {"_id": 2, "n": 0}], branch=branch)
        whole = [1, 1] if not again else [2, 0] if rpc == "BulkWrite" else [1, 0]

        def call():
            try:
                asked(argon, branch, rpc, fields)
                outcome.append(None)
            except grpc.RpcError as error:
                outcome.append(error)

        if fault == "its answer is lost":
            lose_answer(gate, command, call)
        else:
            fail(mongodb, [command], 1 if fault == "the command is lost" else 1_000_000, closeConnection=True)
            call()
            heal(mongodb)
        if again and fault != "it is lost for good":
            assert outcome == [None] and effects(reader, branch) == whole, name
        else:
            assert outcome[0].code() == grpc.StatusCode.UNAVAILABLE and not not_applied(outcome[0]), name
            assert effects(reader, branch) == (whole if fault == "its answer is lost" else [0, 0]), name
    gate.close()


# ---- by the command line -----------------------------------------------------------------------------


def test_the_command_line_does_not_suspect_the_endpoint_when_mongodb_is_away(cluster, mongodb):
    cluster.start_wal()
    cluster.start_branch("--mongodb", f"{uri(mongodb)}&serverSelectionTimeoutMS=300", "--enable-wal-branches")
    argon = cluster.client()
    argon.create_project("p")
    create(argon, "x")
    count = ("docs", "count", "items", "-p", "p", "-b", "x", "--timeout", "2s")
    mongodb.kill()
    away = cluster.argon(*count, check=False)
    assert away.returncode != 0 and "suitable servers" in away.stderr
    assert "endpoint" not in away.stderr
    cluster.branches[0].kill()
    nobody = cluster.argon(*count, check=False)
    assert nobody.returncode != 0 and "endpoint '" in nobody.stderr
    cluster.branches[0].start()
