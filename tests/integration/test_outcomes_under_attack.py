"""What a branch service says when the log goes away, or becomes another one, between two of its calls."""

import concurrent.futures
import shutil

import grpc
import pytest

from argon.wal.v1 import wal_pb2
from harness import CHANNEL_OPTIONS, Process, in_parallel, not_applied

STREAMS = "/argon.wal.v1.Wal/Read"


class Gate(grpc.GenericRpcHandler):
    """Stands before the WAL service and refuses calls as a service does that drains."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.refuses = lambda method, request: False
        self.passed = []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), handlers=[self], options=CHANNEL_OPTIONS)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        make = grpc.unary_stream_rpc_method_handler if details.method == STREAMS else grpc.unary_unary_rpc_method_handler
        return make(lambda request, context: self.forward(details.method, request, context))

    def forward(self, method, request, context):
        name = method.rsplit("/", 1)[1]
        parsed = getattr(wal_pb2, f"{name}Request").FromString(request)
        if self.refuses(name, parsed):
            context.set_trailing_metadata([("argon-outcome", "not-applied")])
            context.abort(grpc.StatusCode.UNAVAILABLE, "the service is stopping")
        self.passed.append((name, parsed))
        make = self.channel.unary_stream if method == STREAMS else self.channel.unary_unary
        try:
            answer = make(method)(request, timeout=context.time_remaining())
            return iter(list(answer)) if method == STREAMS else answer
        except grpc.RpcError as error:
            context.set_trailing_metadata([item for item in error.trailing_metadata() if item[0] == "argon-outcome"])
            context.abort(error.code(), error.details())

    def refuse_after(self, appends):
        """Everything, once so many appends have passed from now."""
        passed = len(self.passed)
        self.refuses = lambda *_: sum(name == "Append" for name, _ in self.passed[passed:]) >= appends

    def open(self):
        self.refuses = lambda *_: False

    def close(self):
        self.server.stop(0).wait()
        self.channel.close()


@pytest.fixture
def gate(cluster, argon):
    gate = Gate(cluster.wal.address)
    yield gate
    gate.close()


@pytest.fixture
def gated(cluster, gate):
    """A client of a replica behind the gate."""
    process = Process(cluster.directory, "branch", ["--wal", gate.address]).start()
    cluster.branches.append(process)
    client = cluster.client(process)
    client.head("p")
    return client


AFTER_ONE_APPEND = {
    "RenameBranch": lambda a: a.rpc.RenameBranch(project="p", name="old", new_name="new", timeout=2),
    "CreateProject": lambda a: a.rpc.CreateProject(name="new", timeout=2),
    "DeleteProject": lambda a: a.rpc.DeleteProject(name="p", timeout=2),
}


@pytest.mark.parametrize("call", AFTER_ONE_APPEND)
def test_what_was_committed_is_not_called_not_applied(argon, gate, gated, call):
    argon.create_branch("p", "old")
    gate.refuse_after(1)
    with pytest.raises(grpc.RpcError) as error:
        AFTER_ONE_APPEND[call](gated)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert not not_applied(error.value), error.value
    projects = [project.name for project in argon.rpc.ListProjects().projects]
    if call == "CreateProject":
        assert projects == ["new", "p"]
    elif call == "DeleteProject":
        with pytest.raises(grpc.RpcError):
            argon.head("p")
    else:
        assert "new" in [branch.name for branch in argon.rpc.ListBranches(project="p").branches]


def test_a_branch_needs_nothing_of_the_log_behind_its_append(gate, gated):
    gate.refuse_after(1)
    branch = gated.create_branch("p", "new", timeout=2)
    assert branch.head_lsn == branch.base_lsn == branch.cut_lsn > 0


REPEATED = {
    "insert": lambda a: a.insert("p", "c", {"_id": 1}, request_id="r", timeout=2),
    "update": lambda a: a.update("p", "c", {"_id": 0}, {"$inc": {"n": 1}}, request_id="r", timeout=2),
    "collection": lambda a: a.rpc.CreateCollection(target=a.target("p", "new"), write=a.write("r"), timeout=2),
    "branch": lambda a: a.create_branch("p", "new", request_id="r", timeout=2),
    "project": lambda a: a.rpc.CreateProject(name="new", write=a.write("r"), timeout=2),
    "delete project": lambda a: a.rpc.DeleteProject(name="p", write=a.write("r"), timeout=2),
}


@pytest.mark.parametrize("call", REPEATED)
@pytest.mark.parametrize("refused", ["everything", "heads"])
def test_a_repetition_that_cannot_look_does_not_say_not_applied(argon, gate, gated, call, refused):
    argon.insert("p", "c", {"_id": 0, "n": 0})
    first = REPEATED[call](argon)
    gate.refuses = lambda name, _: refused == "everything" or name == "GetHead"
    try:
        # what the replica has may let it try without looking, and then the log tells it at the append
        answer = REPEATED[call](gated)
    except grpc.RpcError as error:
        assert not not_applied(error), error
    else:
        assert refused == "heads" and answer == first
    gate.open()
    again = REPEATED[call](gated)
    if "project" not in call:  # whose answer has the head of now
        assert again == first


@pytest.mark.parametrize("met", [False, True])
def test_a_deletion_that_stopped_half_way_is_answered_when_it_is_repeated(cluster, argon, gate, gated, met):
    gate.refuse_after(1)
    with pytest.raises(grpc.RpcError) as error:
        gated.rpc.DeleteProject(name="p", write=gated.write("r"), timeout=2)
    assert not not_applied(error.value)
    assert [project.name for project in argon.rpc.ListProjects().projects] == ["p"]
    cluster.branches[-1].kill()
    cluster.branches.pop()
    if met:
        with pytest.raises(grpc.RpcError) as error:
            argon.head("p")
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        argon.create_project("p")
        argon.insert("p", "c", {"_id": 1})
    argon.delete_project("p", request_id="r")
    argon.delete_project("p", request_id="r")
    assert [project.name for project in argon.rpc.ListProjects().projects] == (["p"] if met else [])
    with pytest.raises(grpc.RpcError) as error:
        argon.delete_project("p" if not met else "q", request_id="other")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert not_applied(error.value)


def test_a_repetition_does_not_reach_the_next_project_of_that_name(argon):
    argon.insert_many("p", "c", [{"_id": i} for i in range(5)])
    since = argon.head("p")
    argon.insert("p", "c", {"_id": "once"}, request_id="r", since=since)
    argon.delete_project("p")
    with pytest.raises(grpc.RpcError) as error:
        argon.insert("p", "c", {"_id": "once"}, request_id="r", since=since)
    assert not not_applied(error.value), error.value
    argon.create_project("p")
    with pytest.raises(grpc.RpcError) as error:
        argon.insert("p", "c", {"_id": "once"}, request_id="r", since=since)
    assert error.value.code() == grpc.StatusCode.OUT_OF_RANGE
    assert not not_applied(error.value)
    assert argon.count("p", "c") == 0


def test_a_project_of_a_replaced_log_is_not_written_to(cluster, argon):
    other = cluster.client(cluster.start_branch())
    cluster.wal.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data, copy)
    cluster.wal.start()
    for name in ("gone", "again"):
        argon.create_project(name)
        argon.insert(name, "c", {"_id": "lost"})
        assert other.count(name, "c") == 1
    cluster.wal.kill()
    shutil.rmtree(cluster.data)
    copy.rename(cluster.data)
    cluster.wal.start()

    argon.create_project("again")
    with pytest.raises(grpc.RpcError) as error:
        other.insert("gone", "c", {"_id": "new"})
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    other.insert("again", "c", {"_id": "new"})
    assert argon.find("again", "c") == [{"_id": "new"}]


WITH_NUL = {
    "name to create": lambda a: a.create_project("p\0q"),
    "name to delete": lambda a: a.delete_project("p\0q"),
    "nested name": lambda a: a.insert("p", "c\0d", {"_id": 1}),
    "request id": lambda a: a.insert("p", "c", {"_id": 1}, request_id="r\0s"),
    "json": lambda a: a.rpc.InsertMany(target=a.target("p", "c"), documents=[{"json": '{"_id": 1}\0'}]),
}


@pytest.mark.parametrize("case", WITH_NUL)
def test_a_string_with_a_nul_is_not_taken_for_its_beginning(argon, case):
    with pytest.raises(grpc.RpcError) as error:
        WITH_NUL[case](argon)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "NUL" in error.value.details()
    assert not_applied(error.value)
    assert argon.head("p") == 0


def test_a_conflict_that_lasts_until_the_deadline_is_aborted(argon, gate, gated):
    argon.insert("p", "c", {"_id": 1, "n": 0})
    rivals = 0

    def be_faster(name, request):
        nonlocal rivals
        if name == "Append":
            argon.update("p", "c", {"_id": 1}, {"$inc": {"n": 1}})
            rivals += 1
        return False

    gate.refuses = be_faster
    with pytest.raises(grpc.RpcError) as error:
        gated.update("p", "c", {"_id": 1}, {"$inc": {"mine": 1}}, timeout=1)
    assert error.value.code() == grpc.StatusCode.ABORTED
    assert not_applied(error.value)
    assert rivals > 1
    assert argon.find_one("p", "c", {"_id": 1}) == {"_id": 1, "n": rivals}


def calls_of(gate, function):
    """What a call of a client made the replica behind the gate ask the log."""
    before = len(gate.passed)
    function()
    return [name for name, _ in gate.passed[before:] if name in ("Append", "GetHead", "GetHeads")]


ONE_CALL = {
    "insert": lambda a, i: a.insert("p", "c", {"_id": f"new {i}"}, request_id=f"i{i}"),
    "insert many": lambda a, i: a.insert_many("p", "c", [{"_id": f"many {i} {k}"} for k in range(10)], request_id=f"m{i}"),
    "update": lambda a, i: a.update("p", "c", {"_id": 0}, {"$inc": {"n": 1}}, request_id=f"u{i}"),
    "branch": lambda a, i: a.create_branch("p", f"b{i}", request_id=f"b{i}"),
    "collection": lambda a, i: a.rpc.CreateCollection(target=a.target("p", f"c{i}"), write=a.write(f"c{i}")),
}


@pytest.mark.parametrize("call", ONE_CALL)
def test_a_write_that_the_conflict_check_guards_is_one_append(argon, gate, gated, call):
    argon.insert("p", "c", {"_id": 0, "n": 0})
    assert gated.count("p", "c") == 1
    for i in range(3):
        assert calls_of(gate, lambda i=i: ONE_CALL[call](gated, i)) == ["Append"]


def test_what_a_replica_had_is_not_believed_without_the_log(cluster, argon, gate, gated):
    """Each of these would be answered wrongly from the state that the replica behind the gate still has."""
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(5)])
    assert gated.count("p", "c") == 5
    argon.delete("p", "c", {"_id": 0})
    argon.update("p", "c", {"_id": 1}, {"$set": {"n": 7}})
    argon.insert("p", "c", {"_id": 9})
    assert gated.insert("p", "c", {"_id": 0, "again": True}).lsn
    assert gated.update("p", "c", {"_id": 1}, {"$inc": {"n": 1}}).modified == 1
    assert gated.update("p", "c", {"_id": 9}, {"$set": {"n": 1}}).matched == 1
    assert argon.find_one("p", "c", {"_id": 1})["n"] == 8
    with pytest.raises(grpc.RpcError) as error:
        argon.insert("p", "c", {"_id": 0})
    assert error.value.code() == grpc.StatusCode.ALREADY_EXISTS
    argon.create_branch("p", "dev")
    assert gated.insert("p", "c", {"_id": 1000}, branch="dev").lsn
    argon.rpc.DeleteBranch(project="p", name="dev")
    with pytest.raises(grpc.RpcError) as error:
        gated.insert("p", "c", {"_id": 1001}, branch="dev")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    argon.delete_project("p")
    argon.create_project("p")
    assert gated.insert("p", "c", {"_id": 1}).lsn <= 2
    assert argon.find("p", "c") == [{"_id": 1}]


def test_the_same_write_on_two_replicas_at_the_same_time(cluster, argon):
    other = cluster.client(cluster.start_branch())
    argon.insert_many("p", "c", [{"_id": i, "n": 0} for i in range(20)])
    assert other.count("p", "c") == 20
    for i in range(20):
        send = lambda client: client.update("p", "c", {"_id": i}, {"$inc": {"n": 1}}, request_id=f"r{i}")
        one, two = in_parallel(lambda: send(argon), lambda: send(other))
        assert one == two and one.modified == 1
    assert argon.count("p", "c", {"n": 1}) == 20
