"""What a branch service says when the log goes away, or becomes another one, between two of its calls."""

import concurrent.futures
import shutil

import grpc
import pytest

from argon.wal.v1 import wal_pb2
from harness import Process, not_applied

STREAMS = "/argon.wal.v1.Wal/Read"


class Gate(grpc.GenericRpcHandler):
    """Stands before the WAL service and refuses calls as a service does that drains."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.refuses = lambda method, request: False
        self.passed = []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), handlers=[self])
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
    with pytest.raises(grpc.RpcError) as error:
        REPEATED[call](gated)
    assert not not_applied(error.value), error.value
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
