"""Server reflection: what generic clients learn of the services, in both versions of the protocol."""

import threading

import grpc
import pytest
import reflection_pb2
from google.protobuf import descriptor_pb2, descriptor_pool

from harness import CHANNEL_OPTIONS

VERSIONS = ["v1", "v1alpha"]
COMMON = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
BRANCH = {f"argon.branch.v1.{name}" for name in ("Projects", "Branches", "Collections", "Documents", "Migrations", "Admin")}
WAL_FILE, BRANCH_FILE = "argon/wal/v1/wal.proto", "argon/branch/v1/branch.proto"
Request = reflection_pb2.ServerReflectionRequest


class Reflection:
    def __init__(self, address, version="v1"):
        self.channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        self.stream = self.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=Request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )

    def ask(self, *requests):
        """All on one stream, each answered in its turn."""
        answers = list(self.stream(iter(requests), timeout=30))
        assert [answer.original_request for answer in answers] == list(requests)
        return answers

    def services(self):
        (answer,) = self.ask(Request(list_services="*"))
        return [service.name for service in answer.list_services_response.service]

    def files(self, **request):
        (answer,) = self.ask(Request(**request))
        assert answer.WhichOneof("message_response") == "file_descriptor_response", answer
        return [descriptor_pb2.FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]

    def names(self, **request):
        return [file.name for file in self.files(**request)]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def connect(cluster, argon):
    opened = []

    def connect(process, version="v1"):
        opened.append(Reflection(process.address, version))
        return opened[-1]

    yield connect
    for reflection in opened:
        reflection.channel.close()


def is_error(answer, code=grpc.StatusCode.NOT_FOUND):
    return answer.error_response.error_code == code.value[0] and answer.error_response.error_message != ""


def test_each_service_lists_what_it_serves_and_nothing_else(cluster, connect, version):
    for process, own in (cluster.wal, {"argon.wal.v1.Wal"}), (cluster.branches[0], BRANCH):
        listed = connect(process, version).services()
        assert len(listed) == len(set(listed))
        assert set(listed) == own | COMMON


def test_every_kind_of_symbol_names_its_file(cluster, connect, version):
    reflection = connect(cluster.wal, version)
    symbols = {
        "argon.wal.v1.Wal": WAL_FILE,
        "argon.wal.v1.Wal.Append": WAL_FILE,
        "argon.wal.v1.AppendRequest": WAL_FILE,
        "argon.wal.v1.AppendRequest.batches": WAL_FILE,
        "grpc.health.v1.HealthCheckResponse.ServingStatus": "grpc/health/v1/health.proto",
        "grpc.health.v1.HealthCheckResponse.NOT_SERVING": "grpc/health/v1/health.proto",
        "grpc.reflection.v1.ServerReflectionRequest.message_request": "grpc/reflection/v1/reflection.proto",
        "grpc.reflection.v1alpha.ErrorResponse": "grpc/reflection/v1alpha/reflection.proto",
    }
    for symbol, file in symbols.items():
        assert reflection.names(file_containing_symbol=symbol)[0] == file, symbol


def declared(file):
    """The full names of all that a file declares, as Python's own reader sees it."""
    def message(scope, m):
        name = f"{scope}.{m.name}"
        yield name
        for part in (*m.field, *m.oneof_decl):
            yield f"{name}.{part.name}"
        for nested in m.nested_type:
            yield from message(name, nested)
        for e in m.enum_type:
            yield from enum(name, e)

    def enum(scope, e):
        yield f"{scope}.{e.name}"
        for value in e.value:
            yield f"{scope}.{value.name}"

    for m in file.message_type:
        yield from message(file.package, m)
    for e in file.enum_type:
        yield from enum(file.package, e)
    for s in file.service:
        yield f"{file.package}.{s.name}"
        for method in s.method:
            yield f"{file.package}.{s.name}.{method.name}"


@pytest.mark.parametrize("name", [WAL_FILE, BRANCH_FILE])
def test_every_declared_symbol_is_found_on_one_stream(cluster, connect, version, name):
    reflection = connect(cluster.branches[0], version)
    symbols = list(declared(reflection.files(file_by_filename=name)[0]))
    assert len(symbols) > 100
    for symbol, answer in zip(symbols, reflection.ask(*[Request(file_containing_symbol=symbol) for symbol in symbols])):
        encoded = answer.file_descriptor_response.file_descriptor_proto
        assert encoded and descriptor_pb2.FileDescriptorProto.FromString(encoded[0]).name == name, symbol


@pytest.mark.parametrize("name", [WAL_FILE, BRANCH_FILE])
def test_a_file_comes_with_all_that_it_depends_on(cluster, connect, version, name):
    files = connect(cluster.branches[0], version).files(file_by_filename=name)
    names = [file.name for file in files]
    assert names[0] == name
    assert len(names) == len(set(names))
    assert {dependency for file in files for dependency in file.dependency} <= set(names)


def test_what_is_unknown_is_not_found_and_the_stream_goes_on(cluster, connect, version):
    unknown = [
        Request(file_by_filename="no/such.proto"),
        Request(file_by_filename=""),
        Request(file_containing_symbol="argon.wal.v1.Nothing"),
        Request(file_containing_symbol="argon.wal.v1"),
        Request(file_containing_symbol="argon.wal.v1.Wal."),
        Request(file_containing_symbol=".argon.wal.v1.Wal"),
        Request(file_containing_symbol="argon.wal.v1.Wal.Nothing"),
        Request(file_containing_symbol=""),
        Request(file_containing_extension={"containing_type": "argon.wal.v1.AppendRequest", "extension_number": 5}),
        Request(all_extension_numbers_of_type="argon.wal.v1.AppendRequest"),
    ]
    *answers, empty, last = connect(cluster.wal, version).ask(*unknown, Request(), Request(host="h", file_by_filename=WAL_FILE))
    for request, answer in zip(unknown, answers, strict=True):
        assert is_error(answer), request
    assert is_error(empty, grpc.StatusCode.INVALID_ARGUMENT)
    assert last.valid_host == "h"
    assert last.file_descriptor_response.file_descriptor_proto


def test_the_answers_make_a_pool_in_which_every_service_is_found(cluster, connect, version):
    pool, added = descriptor_pool.DescriptorPool(), {}

    def add(name):
        file = added.pop(name, None)
        if file is not None:
            for dependency in file.dependency:
                add(dependency)
            pool.AddSerializedFile(file.SerializeToString())

    services = set()
    for process in cluster.wal, cluster.branches[0]:
        reflection = connect(process, version)
        services |= set(reflection.services())
        for service in reflection.services():
            added.update({file.name: file for file in reflection.files(file_containing_symbol=service)})
    for name in list(added):
        add(name)
    assert BRANCH | COMMON | {"argon.wal.v1.Wal"} == services
    for service in services:
        methods = pool.FindServiceByName(service).methods
        assert methods and all(method.input_type.full_name and method.output_type.full_name for method in methods)


class Idle:
    """A stream that has asked once and then stays open."""

    def __init__(self, reflection):
        self.hold = threading.Event()
        self.call = reflection.stream(self.requests(), timeout=60)

    def requests(self):
        yield Request(list_services="")
        self.hold.wait()

    def code(self):
        try:
            next(self.call)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    def close(self):
        self.hold.set()


def test_streams_that_wait_are_few_and_leave_room_for_calls(cluster, connect):
    reflection = connect(cluster.branches[0])
    open_streams = [Idle(reflection) for _ in range(16)]
    try:
        assert {stream.code() for stream in open_streams} == {grpc.StatusCode.OK}
        refused = Idle(reflection)
        assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        refused.close()
        client = cluster.client()
        client.insert("p", "c", {"_id": 1})
        assert client.count("p", "c") == 1
    finally:
        for stream in open_streams:
            stream.close()
    for stream in open_streams:
        assert list(stream.call) == []
    assert "argon.branch.v1.Documents" in reflection.services()


def test_an_open_stream_does_not_hold_up_the_end_of_a_service(cluster, connect):
    stream = Idle(connect(cluster.branches[0]))
    assert stream.code() == grpc.StatusCode.OK
    process = cluster.branches[0].process
    process.terminate()
    assert stream.code() == grpc.StatusCode.UNAVAILABLE
    stream.close()
    assert process.wait(timeout=9) == 0  # below the 10 s that calls get
