"""What floods of large requests and slow readers cost in memory. Only a release build's figures mean anything."""

import concurrent.futures
import json
import threading

import bson
import grpc
import pytest
from argon.branch.v1 import branch_pb2
from argon.wal.v1 import wal_pb2

from harness import CHANNEL_OPTIONS, Argon, in_parallel, not_applied

MIB = 1024 * 1024
BUDGET = 512
REQUESTS, REQUEST_MIB = 64, 46
ALLOWED = 680  # the budget, what is not counted, and what the allocator keeps

pytestmark = pytest.mark.scale


def peak(process):
    """The most memory that the process ever had, in MiB."""
    with open(f"/proc/{process.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024


def documents():
    blob = bytes(REQUEST_MIB * MIB // 8 - 100)
    return [bson.encode({"_id": n, "b": blob}) for n in range(8)]


def batch(*documents):
    entries = [wal_pb2.Entry(operation=1, document_id=b"%d" % n, document=document) for n, document in enumerate(documents)]
    return wal_pb2.Batch(unconditional=True, runs=[wal_pb2.Run(branch_id="main", collection="c", entries=entries)])


def flood(address, path, request, response):
    """Each from a connection of its own, as the clients in C send them; the statuses by which they end."""

    def one(n):
        channel = grpc.insecure_channel(address, options=[*CHANNEL_OPTIONS, ("grpc.min_reconnect_backoff_ms", 60000)])
        # encoded once: 64 encoders would compete for one interpreter
        call = channel.unary_unary(path, request_serializer=request, response_deserializer=response.FromString)
        try:
            call(n, timeout=90, metadata=[("argon-large", "1")])
            return "OK"
        except grpc.RpcError as error:
            definite = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and not_applied(error)
            return "refused" if definite else f"{error.code()}: {error.details()}"
        finally:
            channel.close()

    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        return [future.result() for future in [pool.submit(one, n) for n in range(REQUESTS)]]


class Beside:
    """Small calls, one after the other, while the flood goes on."""

    def __init__(self, call):
        self.call, self.answered, self.failure, self.stop = call, 0, None, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.stop.wait(0.02):
                self.call(self.answered)
                self.answered += 1
        except grpc.RpcError as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def check(ends, beside, process):
    print(f"peak {peak(process)} MiB, {ends.count('OK')} of {REQUESTS} OK, {beside.answered} small calls beside")
    assert set(ends) <= {"OK", "refused"}, ends
    assert ends.count("OK") >= REQUESTS // 2, ends
    assert beside.failure is None, beside.failure
    assert beside.answered >= 5
    assert peak(process) < ALLOWED


def test_large_appends_stay_within_the_memory_of_the_wal_service(cluster):
    wal = cluster.start_wal("--memory", f"{BUDGET}M")
    client = cluster.wal_client()
    small = bson.encode({"_id": 1})
    request = wal_pb2.AppendRequest(project_id="large", batches=[batch(*documents())]).SerializeToString()
    with Beside(lambda _: client.Append(timeout=80, project_id="small", batches=[batch(small)])) as beside:
        ends = flood(wal.address, "/argon.wal.v1.Wal/Append", lambda _: request, wal_pb2.AppendResponse)
    check(ends, beside, wal)


def test_large_inserts_stay_within_the_memory_of_the_branch_service(cluster):
    cluster.start_wal()
    branch = cluster.start_branch("--request-memory", f"{BUDGET}M")
    argon = cluster.client()
    argon.create_project("p")
    argon.insert("p", "counted", {"_id": 1, "n": 0})
    inserted = branch_pb2.InsertManyRequest(documents=[branch_pb2.Document(bson=document) for document in documents()]).SerializeToString()

    def request(n):  # a collection each: no view of it is asked for; protobuf messages merge when their bytes are joined
        return branch_pb2.InsertManyRequest(target=argon.target("p", f"large{n}")).SerializeToString() + inserted

    with Beside(lambda _: argon.update("p", "counted", {"_id": 1}, {"$inc": {"n": 1}}, timeout=80)) as beside:
        ends = flood(branch.address, "/argon.branch.v1.Documents/InsertMany", request, branch_pb2.InsertManyResponse)
    check(ends, beside, branch)
    assert argon.find_one("p", "counted")["n"] == beside.answered


READERS, READ_MIB = 16, 96


def slow_readers_cost(process, path, request, response):
    """Peak memory that streams add whose readers take one message and then nothing."""
    before = peak(process)
    channels = [grpc.insecure_channel(process.address, options=[*CHANNEL_OPTIONS, ("grpc.http2.bdp_probe", 0)]) for _ in range(READERS)]
    reads = [
        channel.unary_stream(path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString)
        for channel in channels
    ]
    streams = [read(request) for read in reads]
    firsts = [next(stream).ByteSize() for stream in streams]
    assert max(firsts) < 4 * MIB
    # the first one reads on, and gets everything, while the others stand still
    assert firsts[0] + sum(message.ByteSize() for message in streams[0]) >= READ_MIB * MIB
    cost = peak(process) - before
    print(f"{READERS} readers of {READ_MIB} MiB: {cost} MiB")
    for channel in channels:
        channel.close()
    return cost


def test_slow_readers_of_a_range_cost_a_message_each(cluster):
    wal = cluster.start_wal()
    client = cluster.wal_client()
    value = bson.encode({"_id": 1, "b": bytes(MIB)})
    for _ in range(READ_MIB // 16):
        client.Append(timeout=60, project_id="p", batches=[batch(value) for _ in range(16)])
    cost = slow_readers_cost(wal, "/argon.wal.v1.Wal/Read", wal_pb2.ReadRequest(project_id="p"), wal_pb2.ReadResponse)
    assert cost < 5 * READERS


def test_slow_readers_of_many_documents_cost_a_message_each(cluster, argon):
    for _ in range(READ_MIB // 16):
        argon.insert_many("p", "large", [{"b": bytes(MIB)} for _ in range(16)])
    assert len(argon.find("p", "large")) == READ_MIB  # the view is there
    request = branch_pb2.FindRequest(target=argon.target("p", "large"))
    cost = slow_readers_cost(cluster.branches[0], "/argon.branch.v1.Documents/Find", request, branch_pb2.FindResponse)
    assert cost < 5 * READERS


QUERIES, QUERY_BUDGET = 32, 128
# some 40 MiB of elements, and an array of them
BUILT = {"$size": {"$range": [0, {"$add": [400_000, "$_id"]}]}}


def spec(value):
    return branch_pb2.Document(json=json.dumps(value))


BUILD = {
    "projections": ("Find", dict(projection=spec({"n": BUILT, "m": BUILT}))),
    "filters": ("Find", dict(filter=spec({"$expr": {"$lt": [BUILT, 0]}}))),
    "variables": ("Find", dict(options=branch_pb2.QueryOptions(let=spec({"v": {"$size": {"$range": [0, 400_000]}}})))),
    "stages": ("Aggregate", dict(pipeline=[spec({"$addFields": {"n": BUILT}})])),
    "groups": ("Aggregate", dict(pipeline=[spec({"$group": {"_id": BUILT}})])),
    "updates": ("UpdateMany", dict(filter=spec({}), pipeline=[spec({"$set": {"n": BUILT}})])),
}


@pytest.mark.parametrize("name", BUILD)
def test_what_queries_make_of_a_document_stays_within_the_memory_of_the_branch_service(cluster, name):
    cluster.start_wal()
    branch = cluster.start_branch("--memory", f"{QUERY_BUDGET}M")
    argon = cluster.client()
    argon.create_project("p")
    documents = [{"_id": 1}]
    argon.insert_many("p", "c", documents)
    assert argon.find("p", "c") == documents
    used = lambda: argon.rpc.GetStatus().memory_used_bytes
    before = used()
    call, fields = BUILD[name]

    def query():
        client = Argon(branch.address)
        try:
            getattr(client.rpc, call)(target=argon.target("p", "c"), timeout=120, **fields)
            return "OK"
        except grpc.RpcError as error:
            refused = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "more memory than there is" in error.details()
            return "refused" if refused else f"{error.code()}: {error.details()}"
        finally:
            client.close()

    ends = in_parallel(*[query] * QUERIES)
    print(f"{name}: peak {peak(branch)} MiB, {ends.count('OK')} of {QUERIES} OK")
    assert set(ends) <= {"OK", "refused"}, ends
    assert "OK" in ends
    assert peak(branch) < QUERY_BUDGET + 192  # what is not counted: a mebibyte a query, and what the allocator keeps
    assert used() <= before + 4096 * len(documents)
    assert query() == "OK"  # alone
