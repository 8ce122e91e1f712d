"""What changes or deletes many documents goes in steps: each atomic, the whole exactly once, wherever it stops."""

import random
import signal
import threading

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import Process, in_parallel, not_applied
from test_outcomes_under_attack import Gate, gate, gated  # noqa: F401 (fixtures)

N = 10_500
KINDS = ("update", "delete")


@pytest.fixture
def filled(argon):
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(N)])
    return argon


def send(client, kind, rid=None, since=0, timeout=60, filter=None):
    filter = filter or {}
    if kind == "update":
        return client.update("p", "c", filter, {"$inc": {"n": 1}}, many=True, request_id=rid, since=since, timeout=timeout)
    return client.delete("p", "c", filter, many=True, request_id=rid, since=since, timeout=timeout)


def done(answer):
    return getattr(answer, "modified", 0) + getattr(answer, "deleted", 0)


def check_effect(client, kind, n=N):
    """Every document was met exactly once."""
    if kind == "delete":
        assert client.count("p", "c") == 0
    else:
        assert client.count("p", "c", {"n": 1}) == client.count("p", "c") == n


def steps(gate):
    """(step, last, documents) of each append that carried documents or an answer."""
    batches = [batch for name, request in gate.passed if name == "Append" for batch in request.batches]
    return [(b.request.step, b.request.last, sum(len(run.entries) for run in b.runs)) for b in batches]


def before_append(gate, n, do):
    """Runs `do` once, when the n-th append from now arrives."""
    appends = []

    def look(name, request):
        if name == "Append":
            appends.append(request)
            if len(appends) == n:
                do()
        return False

    gate.refuses = look


@pytest.mark.parametrize("kind", KINDS)
def test_steps_have_a_thousand_documents_and_the_last_one_is_known_to_be_it(argon, gate, gated, kind):
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(2000)])
    assert done(send(gated, kind, "r")) == 2000
    check_effect(argon, kind, 2000)
    assert steps(gate) == [(0, False, 1000), (1, True, 1000)]


def test_steps_have_sixteen_mebibytes_or_one_document(argon, gate, gated):
    pad = "x" * (7 * 1024 * 1024)
    for i in range(5):
        argon.insert("p", "c", {"_id": i, "n": 0, "pad": pad})
    argon.insert("p", "c", {"_id": 5, "n": 0, "pad": 2 * pad})
    argon.insert("p", "c", {"_id": 6, "n": 0})
    assert done(send(gated, "update")) == 7
    check_effect(argon, "update", 7)
    assert steps(gate) == [(0, False, 2), (1, False, 2), (2, False, 1), (3, True, 2)]


def test_documents_that_match_and_do_not_change_are_counted_once(argon, gate, gated):
    argon.insert_many("p", "c", [{"_id": i, "n": i % 2} for i in range(5000)])
    answer = gated.update("p", "c", {}, {"$set": {"n": 1}}, many=True)
    assert (answer.matched, answer.modified) == (5000, 2500)
    assert steps(gate) == [(0, False, 1000), (1, False, 1000), (2, True, 500)]


@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_where_it_stopped_on_another_replica(filled, gate, gated, kind):
    since = filled.head("p")
    gate.refuse_after(4)
    with pytest.raises(grpc.RpcError) as error:
        send(gated, kind, "r", since, timeout=2)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert "4000 documents are done" in error.value.details()
    assert not not_applied(error.value)
    done_so_far = N - filled.count("p", "c") if kind == "delete" else filled.count("p", "c", {"n": 1})
    assert done_so_far == 4000
    first = send(filled, kind, "r", since)
    assert done(first) == N
    check_effect(filled, kind)
    gate.open()
    assert send(gated, kind, "r", since) == first
    check_effect(filled, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_killed_in_the_middle(cluster, filled, gate, gated, kind):
    since = filled.head("p")
    doomed = cluster.branches.pop()
    before_append(gate, 5, doomed.kill)
    with pytest.raises(grpc.RpcError) as error:
        send(gated, kind, "r", since)
    assert not not_applied(error.value)
    first = send(filled, kind, "r", since)
    assert done(first) == N
    check_effect(filled, kind)
    third = cluster.client(cluster.start_branch())
    assert send(third, kind, "r", since) == first


@pytest.mark.parametrize("applied", [False, True], ids=["before the step", "behind the step"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_wal_service_killed_in_the_middle(cluster, filled, gate, gated, kind, applied):
    since = filled.head("p")

    def kill_and_start():
        if applied:  # the answer gets lost: a copy of the append goes ahead of it
            gate.channel.unary_unary("/argon.wal.v1.Wal/Append")(appends[4].SerializeToString())
        cluster.wal.kill()
        cluster.wal.start()

    appends = []

    def look(name, request):
        if name == "Append":
            appends.append(request)
            if len(appends) == 5:
                kill_and_start()
        return False

    gate.refuses = look
    first = send(gated, kind, "r", since)
    assert done(first) == N
    check_effect(filled, kind)
    assert send(filled, kind, "r", since) == first


@pytest.mark.parametrize("kind", ["update", "delete", "bulk"])
@pytest.mark.parametrize("leaves", ["the client", "the service"])
def test_stops_between_two_steps_when_nobody_waits_any_more(cluster, filled, gate, leaves, kind):
    """No deadline: the client cancels, or the service is told to go and its time of grace is over."""
    since = filled.head("p")
    process = Process(cluster.directory, "branch", ["--wal", gate.address, "--workers", "1", "--grace", "0s"]).start()
    cluster.branches.append(process)
    gated = cluster.client(process)
    fields = {"filter": gated.document({})} if kind == "delete" else {"filter": gated.document({}), "update": gated.document({"$inc": {"n": 1}})}
    if kind == "bulk":
        fields = {"operations": [branch_pb2.BulkOperation(update_many=branch_pb2.BulkUpdate(**fields))]}
    method = "BulkWrite" if kind == "bulk" else f"{kind.title()}Many"
    call, request, _ = gated.rpc.methods[method]
    message = request(target=gated.target("p", "c"), write=gated.write("r", since), **fields)

    def leave():
        if leaves == "the client":
            answer.cancel()
            # the service hears of it before it hears this
            gated.rpc.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        else:
            process.process.send_signal(signal.SIGTERM)
            answer.code()

    before_append(gate, 5, leave)
    answer = call.future(message)
    if leaves == "the client":
        assert answer.code() == grpc.StatusCode.CANCELLED
        gated.count("p", "c")  # when its one worker is free
    else:
        assert not not_applied(answer)
        assert process.exited() == 0
    done_so_far = N - filled.count("p", "c") if kind == "delete" else filled.count("p", "c", {"n": 1})
    assert 4000 <= done_so_far < N and done_so_far % 1000 == 0
    assert done(filled.rpc.methods[method][0](message, timeout=60)) == N
    check_effect(filled, "delete" if kind == "delete" else "update")


@pytest.mark.parametrize("kind", KINDS)
def test_two_copies_at_the_same_time(cluster, filled, kind):
    since = filled.head("p")
    other = cluster.client(cluster.start_branch())
    other.head("p")
    one, two = in_parallel(lambda: send(filled, kind, "r", since), lambda: send(other, kind, "r", since))
    assert one == two
    assert done(one) == N
    check_effect(filled, kind)
    # neither copy repeated a step of the other: every document was written once
    written = wal_entries(cluster, since)
    assert written == N


def wal_entries(cluster, after):
    """Entries behind an LSN, on main."""
    id_ = cluster.clients[0].rpc.GetProject(name="p").project.id
    messages = cluster.wal_client().Read(project_id=id_, after_lsn=after, branch_id="main")
    return sum(len(run.entries) for message in messages for run in message.runs)


def test_makes_progress_among_writers_of_single_documents(cluster, filled):
    other = cluster.client(cluster.start_branch())
    stop = threading.Event()
    added = [0, 0]

    def write(index):
        hot = [index * 3, 700 + index, N - 1 - index]
        chance = random.Random(index)
        while not stop.is_set():
            # two in three hit the same few documents
            key = chance.choice(hot) if chance.random() < 0.66 else chance.randrange(N)
            assert other.update("p", "c", {"_id": key}, {"$inc": {"m": 1}}).modified == 1
            added[index] += 1

    writers = [threading.Thread(target=write, args=(i,)) for i in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert done(send(filled, "update", "r", timeout=120)) == N
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    check_effect(filled, "update")
    assert sum(document.get("m", 0) for document in filled.find("p", "c")) == sum(added) > 0


def test_a_step_that_keeps_losing_is_split_down_to_the_document_in_the_way(argon, gate, gated):
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(1500)])
    rivals = 0

    def be_faster(name, request):
        """Changes document 700 before each append that has it among others."""
        nonlocal rivals
        entries = [e for batch in getattr(request, "batches", []) for run in batch.runs for e in run.entries]
        if name == "Append" and len(entries) > 1 and any(bson.decode(e.document)["_id"] == 700 for e in entries):
            argon.update("p", "c", {"_id": 700}, {"$inc": {"m": 1}})
            rivals += 1
        return False

    gate.refuses = be_faster
    assert done(send(gated, "update", "r")) == 1500
    check_effect(argon, "update", 1500)
    assert argon.find_one("p", "c", {"_id": 700})["m"] == rivals >= 5
    numbers = [step for step, _, _ in steps(gate)]
    assert numbers == sorted(numbers)


def test_documents_that_come_between_two_steps(filled, gate, gated):
    def change():
        filled.insert("p", "c", {"_id": -1, "n": 0})  # before what is done
        filled.insert("p", "c", {"_id": N, "n": 0})  # behind
        filled.delete("p", "c", {"_id": 5000})
        filled.update("p", "c", {"_id": 5001}, {"$set": {"skip": True}})

    before_append(gate, 3, change)
    assert done(gated.update("p", "c", {"skip": None}, {"$inc": {"n": 1}}, many=True)) == N - 1
    assert filled.find_one("p", "c", {"_id": -1})["n"] == 0
    assert filled.find_one("p", "c", {"_id": 5001})["n"] == 0
    assert filled.find_one("p", "c", {"_id": N})["n"] == 1


@pytest.mark.parametrize("what", ["collection", "branch"])
def test_what_is_written_to_goes_away_in_the_middle(filled, gate, gated, what):
    since = filled.head("p")
    filled.create_branch("p", "dev")

    def send_to_dev(client):
        return client.update("p", "c", {}, {"$inc": {"n": 1}}, branch="dev", many=True, request_id="r", since=since, timeout=10)

    def remove():
        if what == "collection":
            filled.rpc.DropCollection(target=filled.target("p", "c", "dev"))
        else:
            filled.rpc.DeleteBranch(project="p", name="dev")
            filled.create_branch("p", "dev")
        filled.insert("p", "c", {"_id": N, "n": 0}, branch="dev")

    before_append(gate, 4, remove)
    with pytest.raises(grpc.RpcError) as error:
        send_to_dev(gated)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "stopped after 3000 documents" in error.value.details()
    assert not not_applied(error.value)
    for client in (filled, gated):
        with pytest.raises(grpc.RpcError) as again:
            send_to_dev(client)
        assert (again.value.code(), again.value.details()) == (error.value.code(), error.value.details())
        assert not not_applied(again.value)
    assert filled.find_one("p", "c", {"_id": N}, branch="dev")["n"] == 0
    assert filled.count("p", "c", {"n": 0}) == N  # the parent


def test_the_project_is_deleted_in_the_middle(filled, gate, gated):
    since = filled.head("p")
    before_append(gate, 4, lambda: (filled.delete_project("p"), filled.create_project("p"), filled.insert("p", "c", {"_id": 1, "n": 0})))
    for client in (gated, filled):
        with pytest.raises(grpc.RpcError) as error:
            send(client, "update", "r", since, timeout=10)
        assert error.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE)
        assert not not_applied(error.value)
    assert filled.find("p", "c") == [{"_id": 1, "n": 0}]


def test_a_document_in_the_middle_that_cannot_be_changed(cluster, filled):
    since = filled.head("p")
    other = cluster.client(cluster.start_branch())
    filled.update("p", "c", {"_id": 1500}, {"$set": {"n": "text"}})
    errors = []
    for client in (filled, other):
        with pytest.raises(grpc.RpcError) as error:
            send(client, "update", "r", since)
        errors.append(error.value)
        filled.update("p", "c", {"_id": 1500}, {"$set": {"n": 0}})
    assert errors[0].code() == errors[1].code() == grpc.StatusCode.INVALID_ARGUMENT
    assert errors[0].details() == errors[1].details()
    assert "stopped after 1000 documents" in errors[0].details()
    assert not not_applied(errors[0]) and not not_applied(errors[1])
    assert [d["_id"] for d in filled.find("p", "c", {"n": 1})] == list(range(1000))


def test_a_step_that_fails_has_no_effect(filled):
    filled.update("p", "c", {"_id": 500}, {"$set": {"n": "text"}})
    with pytest.raises(grpc.RpcError) as error:
        send(filled, "update", "r")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not_applied(error.value)
    assert filled.count("p", "c", {"n": 1}) == 0


def test_a_request_without_an_id_says_which_one_goes_on(filled, gate, gated):
    gate.refuse_after(2)
    with pytest.raises(grpc.RpcError) as error:
        send(gated, "update", timeout=2)
    assert "2000 documents are done" in error.value.details()
    rid = error.value.details().split("request_id ")[1].split(":")[0]
    assert done(send(filled, "update", rid)) == N
    check_effect(filled, "update")


# ---- atomic ----------------------------------------------------------------------------------------------


def test_atomic_is_one_batch(argon, gate, gated):
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(2500)])
    answer = gated.rpc.UpdateMany(target=gated.target("p", "c"), update=gated.document({"$inc": {"n": 1}}), atomic=True)
    assert (answer.matched, answer.modified) == (2500, 2500)
    assert gated.rpc.DeleteMany(target=gated.target("p", "c"), filter=gated.document({"n": 1}), atomic=True).deleted == 2500
    assert steps(gate) == [(0, True, 2500), (0, True, 2500)]


def test_atomic_that_does_not_fit_one_batch_is_refused(argon):
    pad = "x" * (1024 * 1024)
    for start in range(0, 60, 20):
        argon.insert_many("p", "c", [{"_id": i, "pad": pad} for i in range(start, start + 20)])
    for many in ("in one batch", "in steps"):
        call = {"target": argon.target("p", "c"), "update": argon.document({"$set": {"n": 1}}), "atomic": many == "in one batch"}
        if many == "in steps":
            assert argon.rpc.UpdateMany(**call).modified == 60
            continue
        with pytest.raises(grpc.RpcError) as error:
            argon.rpc.UpdateMany(**call)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "60 documents with 629" in error.value.details() and "without atomic" in error.value.details()
        assert not_applied(error.value)
        assert argon.count("p", "c", {"n": 1}) == 0


def test_atomic_of_one_document_is_taken(argon):
    argon.insert("p", "c", {"_id": 1})
    assert argon.rpc.UpdateOne(target=argon.target("p", "c"), update=argon.document({"$set": {"n": 1}}), atomic=True).modified == 1
    assert argon.rpc.DeleteOne(target=argon.target("p", "c"), atomic=True).deleted == 1
