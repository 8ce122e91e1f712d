"""Reads that follow the log: against writers, kills, slow readers and crowds."""

import threading
import time

import bson
import grpc
import pytest
from argon.wal.v1 import wal_pb2

from harness import CHANNEL_OPTIONS, Cluster, wait_until, wal_client

PATIENCE = 60


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


class Follow:
    """A stream that is read in a thread; what came, in order."""

    def __init__(self, address, project, after=0, branch="", collection=""):
        # a channel of its own: flow control is shared within one
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        read = self.channel.unary_stream(
            "/argon.wal.v1.Wal/Read",
            request_serializer=wal_pb2.ReadRequest.SerializeToString,
            response_deserializer=wal_pb2.ReadResponse.FromString,
        )
        request = wal_pb2.ReadRequest(project_id=project, after_lsn=after, branch_id=branch, collection=collection, follow=True)
        self.stream = read(request)
        self.lsns, self.complete, self.messages, self.progress_only = [], after, 0, 0
        self.error = None
        self.thread = threading.Thread(target=self.run)

    def start(self):
        self.thread.start()
        return self

    def take(self, message):
        assert message.complete_through >= self.complete, "progress never falls"
        assert len(message.incarnation) == 16
        for run in message.runs:
            for place, entry in enumerate(run.entries):
                self.lsns.append((run.first_lsn + place, run.branch_id, run.collection, entry.document_id, entry.document))
            assert run.first_lsn + len(run.entries) - 1 <= message.complete_through, "only whole batches"
        self.messages += 1
        self.progress_only += not message.runs
        self.complete = message.complete_through

    def run(self):
        try:
            for message in self.stream:
                self.take(message)
            self.error = "the stream ended with OK"
        except grpc.RpcError as error:
            self.error = error.code()

    def reaches(self, lsn):
        wait_until(lambda: self.complete >= lsn or self.error, f"the follow to reach {lsn}, it is at {self.complete}", PATIENCE)
        assert self.complete >= lsn, f"{self.error} at {self.complete}"

    def close(self):
        self.stream.cancel()
        if self.thread.ident:
            self.thread.join()
        self.channel.close()


def append(client, project, name, entries=3, branch="main", collection="c", size=100):
    document = bson.encode({"batch": name, "padding": b"x" * size})
    run = {
        "branch_id": branch,
        "collection": collection,
        "entries": [{"operation": 1, "document_id": f"{name}/{i}".encode(), "document": document} for i in range(entries)],
    }
    result = client.Append(project_id=project, batches=[{"runs": [run], "unconditional": True}]).results[0]
    assert result.code == 0, result.message
    return result.last_lsn


def everything(client, project, branch="", collection=""):
    """What Read shows."""
    found = []
    for message in client.Read(project_id=project, branch_id=branch, collection=collection):
        for run in message.runs:
            for place, entry in enumerate(run.entries):
                found.append((run.first_lsn + place, run.branch_id, run.collection, entry.document_id, entry.document))
    return found


def follow_streams(client):
    return client.GetStatus().follow_streams


class Writers:
    def __init__(self, address, project, n=3, pause=0.0):
        self.project, self.pause, self.stop = project, pause, threading.Event()
        self.clients = [wal_client(address) for _ in range(n)]
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(n)]
        for thread in self.threads:
            thread.start()

    def run(self, index):
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                append(
                    self.clients[index],
                    self.project,
                    f"{id(self)}-{index}-{number}",
                    entries=1 + number % 5,
                    branch=f"b{index % 2}",
                    collection=f"c{number % 2}",
                )
            except grpc.RpcError:
                return
            self.stop.wait(self.pause)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        for client in self.clients:
            client.close()


def head(client, project):
    return client.GetHead(project_id=project).commit_lsn


def test_follow_shows_what_read_shows_while_writers_write(cluster):
    wal = cluster.start_wal()
    client = cluster.wal_client()
    early = Follow(wal.address, "p").start()  # before there is anything
    filters = [("", ""), ("b0", ""), ("b1", "c0"), ("", "c1")]
    writers = Writers(wal.address, "p")
    wait_until(lambda: head(client, "p") > 300, "some entries")
    late = [Follow(wal.address, "p", branch=branch, collection=collection).start() for branch, collection in filters]
    wait_until(lambda: head(client, "p") > 1500, "more entries", PATIENCE)
    writers.finish()
    last = append(client, "p", "last", branch="b9", collection="c9")
    for follow in [early, *late]:
        follow.reaches(last)
    whole = everything(client, "p")
    assert [lsn for lsn, *_ in whole] == list(range(1, last + 1))
    assert early.lsns == whole
    for follow, (branch, collection) in zip(late, filters):
        assert follow.lsns == everything(client, "p", branch, collection), f"{branch} {collection}"
    for follow in [early, *late]:
        follow.close()
    wait_until(lambda: follow_streams(client) == 0, "the streams to be gone")


def test_follow_begins_behind_its_lsn_and_rounds_as_read_does(cluster):
    wal = cluster.start_wal()
    client = cluster.wal_client()
    append(client, "p", "a", entries=3)
    append(client, "p", "b", entries=3)
    follow = Follow(wal.address, "p", after=4).start()  # inside the second batch: it ends behind 4
    follow.reaches(6)
    append(client, "p", "c", entries=2)
    follow.reaches(8)
    assert [lsn for lsn, *_ in follow.lsns] == [4, 5, 6, 7, 8]
    follow.close()


def test_what_cannot_be_followed_is_refused(cluster):
    cluster.start_wal("--max-follows", "1")
    client = cluster.wal_client()
    append(client, "p", "a")
    for fields, code in [
        ({"after_lsn": 4}, grpc.StatusCode.OUT_OF_RANGE),
        ({"through_lsn": 3}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"incarnation": b"another incarnat"}, grpc.StatusCode.ABORTED),
    ]:
        with pytest.raises(grpc.RpcError) as refused:
            client.Read(project_id="p", follow=True, **fields)
        assert refused.value.code() == code
    follow = Follow(cluster.wal.address, "p").start()
    follow.reaches(3)
    with pytest.raises(grpc.RpcError) as refused:
        client.Read(project_id="p", follow=True)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert follow_streams(client) == 1
    follow.close()
    wait_until(lambda: follow_streams(client) == 0, "the stream to be gone")
    again = Follow(cluster.wal.address, "p").start()
    again.reaches(3)
    again.close()


def test_progress_is_told_also_when_nothing_matches_and_not_for_every_batch(cluster):
    wal = cluster.start_wal()
    client = cluster.wal_client()
    follow = Follow(wal.address, "p", branch="nowhere").start()
    batches, begin = 400, time.monotonic()
    for number in range(batches):
        last = append(client, "p", f"{number}", entries=1)
    follow.reaches(last)
    took = time.monotonic() - begin
    assert follow.lsns == []
    assert follow.messages == follow.progress_only <= 3 + took / 0.045, "coalesced: a message a tick"
    assert follow.messages < batches
    follow.close()


def test_follow_goes_on_after_kill_from_the_last_complete_through(cluster):
    wal = cluster.start_wal()
    seen, complete = [], 0
    for _ in range(4):
        follow = Follow(wal.address, "p", after=complete).start()
        writers = Writers(wal.address, "p")
        follow.reaches(complete + 200)
        wal.kill()
        writers.finish()
        follow.thread.join()
        assert follow.error == grpc.StatusCode.UNAVAILABLE
        follow.close()
        seen, complete = seen + follow.lsns, follow.complete
        wal.start()
    client = cluster.wal_client()
    final = Follow(wal.address, "p", after=complete).start()
    last = append(client, "p", "last")
    final.reaches(last)
    assert seen + final.lsns == everything(client, "p"), "no gap, no repeat, nothing that is not in the log"
    final.close()


def memory_of(process):
    with open(f"/proc/{process.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) // 1024


@pytest.mark.scale  # memory is measured as released: the sanitizer keeps what was freed
def test_slow_reader_costs_one_message_and_gets_everything(cluster):
    wal = cluster.start_wal("--workers", "2")
    client = cluster.wal_client()
    append(client, "p", "first", entries=1)
    slow = [Follow(wal.address, "p") for _ in range(8)]  # more than there are workers; none reads
    wait_until(lambda: follow_streams(client) == 8, "the streams")
    append(client, "p", "warm", entries=50, size=20000)
    before = memory_of(wal)
    for number in range(150):
        last = append(client, "p", f"{number}", entries=50, size=20000)  # 150 MB in all
    grown = memory_of(wal) - before
    # 8 streams with a message each, what the transport takes, and the groups of the writer
    assert grown < 110, f"{grown} MiB more"
    whole = [lsn for lsn, *_ in everything(client, "p", "main")]  # a reader finds a worker meanwhile
    for follow in slow[:2]:
        follow.start()
    for follow in slow[:2]:
        follow.reaches(last)
        assert [lsn for lsn, *_ in follow.lsns] == whole == list(range(1, last + 1))
    for follow in slow:
        follow.close()
    wait_until(lambda: follow_streams(client) == 0, "the streams to be gone")


def test_a_crowd_of_idle_follows_costs_little_and_hears_of_its_project(cluster):
    wal = cluster.start_wal()
    client = cluster.wal_client()
    channel = grpc.insecure_channel(wal.address, options=CHANNEL_OPTIONS)
    read = channel.unary_stream(
        "/argon.wal.v1.Wal/Read",
        request_serializer=wal_pb2.ReadRequest.SerializeToString,
        response_deserializer=wal_pb2.ReadResponse.FromString,
    )
    before = memory_of(wal)
    streams = [read(wal_pb2.ReadRequest(project_id=f"p{i % 10}", follow=True)) for i in range(500)]
    for stream in streams:
        first = next(stream)
        assert first.complete_through == 0 and not first.runs
    assert follow_streams(client) == 500
    assert memory_of(wal) - before < 64
    last = append(client, "p3", "news")
    for index, stream in enumerate(streams):
        if index % 10 == 3:
            assert next(stream).complete_through == last
    for stream in streams:
        stream.cancel()
    wait_until(lambda: follow_streams(client) == 0, "the streams to be gone")
    channel.close()


def test_stopping_ends_follows_as_unavailable(cluster):
    wal = cluster.start_wal("--grace", "20s")
    client = cluster.wal_client()
    append(client, "p", "a")
    follows = [Follow(wal.address, "p").start() for _ in range(5)]
    for follow in follows:
        follow.reaches(3)
    begin = time.monotonic()
    wal.stop()
    assert time.monotonic() - begin < 10, "who waits for news does not use up the grace"
    for follow in follows:
        follow.thread.join()
        assert follow.error == grpc.StatusCode.UNAVAILABLE
        follow.close()


def test_heads_of_all_branches_come_in_pages_that_hold_together(cluster):
    wal = cluster.start_wal()
    client = cluster.wal_client()
    names = [f"b{number:03}" for number in range(25)]
    lasts = {name: append(client, "p", name, branch=name) for name in names}
    found, token = {}, ""
    while True:
        page = client.GetHeads(project_id="p", page_size=10, page_token=token)
        assert len(page.branch_ids) == len(page.last_lsns) <= 10
        found.update(zip(page.branch_ids, page.last_lsns))
        assert page.commit_lsn == lasts[names[-1]]
        token = page.next_page_token
        if not token:
            break
    assert list(found.items()) == sorted(lasts.items())
    named = client.GetHeads(project_id="p", branch_ids=["b003", "none", "b001", "b003"])
    assert list(named.last_lsns) == [lasts["b003"], 0, lasts["b001"], lasts["b003"]]
    for fields in [{"branch_ids": ["a"], "page_size": 1}, {"branch_ids": ["a"], "page_token": "a"}, {"page_size": 10001}]:
        with pytest.raises(grpc.RpcError) as refused:
            client.GetHeads(project_id="p", **fields)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    writers = Writers(wal.address, "p", n=3)
    try:
        for _ in range(200):
            answer = client.GetHeads(project_id="p")
            assert max(answer.last_lsns) == answer.commit_lsn, "the last batch is somebody's, and nobody is beyond it"
    finally:
        writers.finish()


def test_time_finds_the_last_batch_before_it(cluster):
    cluster.start_wal()
    client = cluster.wal_client()
    assert client.FindLsn(project_id="p", timestamp=1).lsn == 0
    batches = []
    for number in range(20):
        last = append(client, "p", f"{number}")
        batches.append((client.GetStatus(project_id="p").last_timestamp, last))
        answer = client.FindLsn(project_id="p", timestamp=batches[-1][0])
        assert (answer.timestamp, answer.lsn) == batches[-1] and len(answer.incarnation) == 16
    assert sorted({stamp for stamp, _ in batches}) == [stamp for stamp, _ in batches], "later than what was answered"
    assert client.FindLsn(project_id="p", timestamp=batches[0][0] - 1).lsn == 0
    for (stamp, lsn), (later, _) in zip(batches, batches[1:]):
        assert client.FindLsn(project_id="p", timestamp=later - 1).lsn == lsn
    beyond = int(time.time()) + 3600
    with pytest.raises(grpc.RpcError) as refused:
        client.FindLsn(project_id="p", timestamp=beyond * 10**6)
    assert refused.value.code() == grpc.StatusCode.OUT_OF_RANGE and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(beyond)) in refused.value.details()


def test_status_counts_conflicts_and_tells_of_a_project(cluster):
    cluster.start_wal()
    client = cluster.wal_client()
    last = append(client, "p", "a")
    entry = {"operation": 1, "document_id": b"a/0", "document": bson.encode({})}
    stale = {"runs": [{"branch_id": "main", "collection": "c", "entries": [entry]}], "read_lsn": 0}
    for _ in range(3):
        result = client.Append(project_id="p", batches=[stale]).results[0]
        assert result.code == grpc.StatusCode.ABORTED.value[0]
    status = client.GetStatus(project_id="p")
    assert (status.conflicts, status.commit_lsn, status.follow_streams) == (3, last, 0)
    assert abs(status.last_timestamp - time.time() * 1e6) < 3600 * 10**6
    assert client.GetStatus().commit_lsn == 0


def test_a_response_of_very_many_conflicts_fits_a_message(cluster):
    cluster.start_wal()
    client = cluster.wal_client()
    ids = [f"{number:02}".encode() + b"x" * 2000 for number in range(64)]
    entries = [{"operation": 1, "document_id": id, "document": bson.encode({})} for id in ids]
    run = {"branch_id": "main", "collection": "c", "entries": entries}
    assert client.Append(project_id="p", batches=[{"runs": [run]}]).results[0].code == 0
    answer = client.Append(project_id="p", batches=[{"runs": [run]}] * 300)
    assert answer.ByteSize() < 5 * 1024 * 1024
    assert all(result.code == grpc.StatusCode.ABORTED.value[0] and result.not_applied for result in answer.results)
    assert len(answer.results[0].conflicts) == 64
