"""The WAL service against a hostile disk: full, killed at chosen system calls, failing, garbled, cut short."""

import os
import pathlib
import resource
import struct
import subprocess
import threading
import time

import bson
import grpc
import pytest

from harness import BIN, Process, not_applied, wait_until, wal_client
from watching import ADDRESS, Metrics, ready

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
DATA_LOSS = grpc.StatusCode.DATA_LOSS.value[0]
ENTRIES = 3
PADDING = b"x" * 6000


def batch_of(name, padding=PADDING):
    document = bson.encode({"batch": name, "padding": padding})
    entries = [{"operation": 1, "document_id": f"{name}/{i}".encode(), "document": document} for i in range(ENTRIES)]
    return {
        "runs": [{"branch_id": "main", "collection": "c", "entries": entries}],
        "unconditional": True,
        "request": {"request_id": name.encode(), "request_hash": b"h", "last": True},
    }


def append(client, project, name, timeout=20, padding=PADDING):
    return client.Append(project_id=project, batches=[batch_of(name, padding)], timeout=timeout).results[0]


def batches_in(client, project):
    """Every batch of the project, by its LSNs; fails when the log has gaps, halves or duplicates."""
    found, next_lsn = {}, 1
    for message in client.Read(project_id=project, timeout=60):
        for run in message.runs:
            assert run.first_lsn == next_lsn, f"{project}: LSN {run.first_lsn} follows {next_lsn - 1}"
            names = {entry.document_id.rsplit(b"/", 1)[0].decode() for entry in run.entries}
            assert len(names) == 1 and len(run.entries) == ENTRIES, f"half a batch: {names}, {len(run.entries)}"
            name = names.pop()
            assert name not in found, f"{name} is there twice"
            found[name] = (run.first_lsn, run.first_lsn + ENTRIES - 1, run.timestamp)
            next_lsn += ENTRIES
        complete = message.complete_through
    assert complete == next_lsn - 1
    times = [stamp for _, _, stamp in found.values()]
    assert times == sorted(times)
    return found


class Load:
    """Writers to some projects that remember what they were told, until the service is gone."""

    count = 0

    def __init__(self, address, writers=4):
        self.clients = [wal_client(address) for _ in range(writers)]
        self.acknowledged, self.refused, self.unknown, self.errors = {}, set(), set(), []
        self.stop = threading.Event()
        Load.count += 1
        self.threads = [threading.Thread(target=self.run, args=(i, Load.count)) for i in range(writers)]
        for thread in self.threads:
            thread.start()

    def run(self, index, load):
        project, number = f"p{index % 2}", 0
        while not self.stop.is_set():
            number += 1
            key = (project, f"l{load}-w{index}-{number}")
            try:
                result = append(self.clients[index], *key)
            except grpc.RpcError as error:
                (self.refused if not_applied(error) else self.unknown).add(key)
                self.errors.append(f"{error.code().name}: {error.details()}")
                return
            if result.code == 0:
                self.acknowledged[key] = (result.first_lsn, result.last_lsn, result.timestamp)
            else:
                (self.refused if result.not_applied else self.unknown).add(key)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        for client in self.clients:
            client.close()


def check_loads(client, loads):
    found = {project: batches_in(client, project) for project in ("p0", "p1")}
    for load in loads:
        for (project, name), place in load.acknowledged.items():
            assert found[project].get(name) == place, f"{name} was acknowledged at {place}, is at {found[project].get(name)}"
        for project, name in load.refused:
            assert name not in found[project], f"{name} was said to be not applied"
    return found


def settle(client, loads):
    """Repeats what is unknown: it has one effect, the first if there was one."""
    before = check_loads(client, loads)
    for load in loads:
        for project, name in sorted(load.unknown):
            result = append(client, project, name)
            assert result.code == 0, result
            place = (result.first_lsn, result.last_lsn, result.timestamp)
            assert before[project].get(name, place) == place
            assert result.HasField("earlier") == (name in before[project])
            load.acknowledged[project, name] = place
        load.unknown.clear()
    check_loads(client, loads)


def threads_of(cluster):
    """Where each thread of the service stands, for a failure's message."""
    found = []
    for program in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        arguments = program.read_bytes() if program.exists() else b""
        if str(cluster.data).encode() in arguments and not arguments.startswith(b"strace"):
            for task in (program.parent / "task").iterdir():
                found.append(f"{(task / 'comm').read_text().strip()} {(task / 'syscall').read_text().strip()}")
    return "\n".join(found)


def injected(syscall, what, when):
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", f"inject={syscall}:{what}:when={when}"]


# ---- killed, failing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("syscall", ["pwrite64", "fdatasync", "fsync", "renameat", "fallocate"])
def test_killed_at_a_system_call_under_load(cluster, syscall):
    loads, killed = [], 0
    for when in (1, 2, 3, 5, 9, 16, 40):
        try:
            cluster.start_wal("--segment-bytes", "1M", wrapper=injected(syscall, "signal=SIGKILL", when))
        except AssertionError:
            killed += 1  # while it started
        else:
            load = Load(cluster.wal.address)
            loads.append(load)
            end = time.monotonic() + 3
            while cluster.wal.process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            if cluster.wal.process.poll() is None:
                cluster.wal.kill()
            else:
                killed += 1
            load.finish()
        cluster.start_wal("--segment-bytes", "1M")
        settle(cluster.wal_client(), loads)
        cluster.wal.kill()
    assert killed >= 3, "the call was hardly ever met"
    assert loads and sum(len(load.acknowledged) for load in loads) > 20
    cluster.start_wal("--segment-bytes", "1M")
    check_loads(cluster.wal_client(), loads)


@pytest.mark.parametrize(
    "syscall, when", [("pwrite64", 30), ("pwrite64", 3), ("fdatasync", 20), ("fsync", 2), ("renameat", 2), ("fsync", 3)]
)
def test_a_failed_call_ends_the_service_and_loses_nothing(cluster, syscall, when):
    try:
        cluster.start_wal("--segment-bytes", "1M", wrapper=injected(syscall, "error=EIO", f"{when}+"))
    except AssertionError:
        loads = []  # it did not even start
    else:
        loads = [Load(cluster.wal.address)]
        try:
            status = cluster.wal.exited(20)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {len(loads[0].acknowledged)} batches: {loads[0].errors}\n{threads_of(cluster)}")
        finally:
            loads[0].finish()
        assert status not in (0, None)
        assert cluster.wal.events("wal.failed")
        assert not cluster.wal.events("wal.stopped")
    cluster.start_wal("--segment-bytes", "1M")
    settle(cluster.wal_client(), loads)


def test_no_descriptors_left_is_overload_and_passes(cluster):
    cluster.start_wal("--segment-bytes", "1M")
    client = cluster.wal_client()
    assert append(client, "p0", "first").code == 0
    pid = cluster.wal.process.pid
    time.sleep(0.5)  # the next segment is prepared
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    acknowledged, refused = ["first"], []
    for i in range(300):
        result = append(client, "p0", f"b{i}")
        if result.code == 0:
            acknowledged.append(f"b{i}")
        else:
            assert result.code == EXHAUSTED and result.not_applied, result
            refused.append(f"b{i}")
        if len(refused) == 3:
            break
    assert len(refused) == 3
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    for name in refused:
        result = append(client, "p0", name)
        assert result.code == 0 and not result.HasField("earlier"), result
    assert sorted(batches_in(client, "p0")) == sorted(acknowledged + refused)


# ---- a full disk --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(cluster):
    path = cluster.directory / "disk"
    path.mkdir()
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "mount", "-t", "tmpfs", "-o", f"size=6m,uid={os.getuid()}", "tmpfs", str(path)], check=True)
    cluster.data = path / "data"
    yield path
    if cluster.wal:
        cluster.wal.stop()
    subprocess.run([*as_root, "umount", "-l", str(path)], check=True)


def fill(path, leave=0):
    status = os.statvfs(path)
    with open(path / "filler", "wb") as filler:
        left = status.f_bavail * status.f_frsize - leave
        while left > 0:
            left -= os.write(filler.fileno(), bytes(min(left, 65536)))


def test_a_full_disk_refuses_writes_and_passes_without_a_restart(cluster, small_disk):
    (small_disk / "filler").write_bytes(bytes(3 << 20))
    cluster.start_wal("--segment-bytes", "1M", *ADDRESS)
    client = cluster.wal_client()
    acknowledged, refused = [], []
    for i in range(2000):
        result = append(client, "p0", f"b{i}")
        (refused if result.code else acknowledged).append(f"b{i}")
        if result.code:
            assert result.code == EXHAUSTED and result.not_applied, result
            if len(refused) == 20:
                break
    assert len(refused) == 20 and len(acknowledged) > 20
    assert client.GetStatus().disk_full
    metrics = Metrics(cluster.wal)
    assert metrics["argon_wal_disk_full"] == 1 and metrics["argon_wal_disk_refused_total"] >= 1
    assert ready(cluster.wal)  # it can be read
    assert sorted(batches_in(client, "p0")) == sorted(acknowledged)
    head = client.GetHead(project_id="p0", request_id=refused[0].encode(), request_hash=b"h")
    assert head.commit_lsn == ENTRIES * len(acknowledged)
    assert not head.HasField("request") and not head.request_outcome_unknown
    assert len(cluster.wal.events("wal.append_refused")) >= 1

    (small_disk / "filler").unlink()
    for name in refused:
        result = append(client, "p0", name)
        assert result.code == 0 and not result.HasField("earlier"), result
    assert not client.GetStatus().disk_full and Metrics(cluster.wal)["argon_wal_disk_full"] == 0
    assert sorted(batches_in(client, "p0")) == sorted(acknowledged + refused)
    cluster.wal.kill()
    cluster.start_wal("--segment-bytes", "1M")
    assert sorted(batches_in(cluster.wal_client(), "p0")) == sorted(acknowledged + refused)


def test_a_log_on_a_full_disk_starts_for_reading(cluster, small_disk):
    cluster.start_wal("--segment-bytes", "1M")
    client = cluster.wal_client()
    names = [f"b{i}" for i in range(100)]
    for name in names:
        assert append(client, "p0", name).code == 0
    cluster.wal.kill()
    for leftover in cluster.data.glob("prepared-*"):
        leftover.unlink()

    fill(small_disk)
    process = Process(cluster.directory, "wal", ["--data", str(cluster.data), "--segment-bytes", "1M"])
    with pytest.raises(AssertionError, match="exited with 1"):
        process.start()
    (small_disk / "filler").unlink()
    fill(small_disk, 128 << 10)
    cluster.start_wal("--segment-bytes", "1M")
    client = cluster.wal_client()
    assert sorted(batches_in(client, "p0")) == sorted(names)
    assert client.GetStatus().disk_full
    refused = 0
    for i in range(20):
        result = append(client, "p0", f"more{i}")
        assert result.code in (0, EXHAUSTED)
        if result.code:
            assert result.not_applied
            refused += 1
        else:
            names.append(f"more{i}")
    assert refused
    (small_disk / "filler").unlink()
    assert append(client, "p0", "after").code == 0
    assert sorted(batches_in(client, "p0")) == sorted(names + ["after"])


# ---- garbled, cut short -------------------------------------------------------------------------------


def groups_of(path):
    """(offset, payload length) of every group of a segment."""
    data = path.read_bytes()
    salt, groups, at = data[32:40], [], 4096
    while data[at : at + 4] == b"AGRP" and data[at + 8 : at + 16] == salt:
        (length,) = struct.unpack_from("<I", data, at + 32)
        groups.append((at, length))
        at += 48 + length
    return groups


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def refused_start(cluster):
    result = subprocess.run(
        [str(BIN / "wal-service"), "--listen", "127.0.0.1:0", "--data", str(cluster.data), "--segment-bytes", "1M"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1, f"exit {result.returncode}\n{result.stderr}"
    return result.stderr


def killed_before_it_vouched(cluster, n=12):
    """A service killed right after its last answer; its last segment, and what was acknowledged."""
    names = []
    cluster.start_wal("--segment-bytes", "1M")
    while True:
        client = wal_client(cluster.wal.address)
        for _ in range(n):
            name = f"b{len(names)}"
            assert append(client, "p0", name).code == 0
            names.append(name)
        cluster.wal.kill()
        client.close()
        last = max(cluster.data.glob("segment-*.log"))
        if groups_of(last)[-1][1] > 0:
            return last, names
        cluster.start_wal("--segment-bytes", "1M")


@pytest.mark.parametrize("place", ["magic", "sequence", "payload start", "payload end"])
def test_a_garbled_last_group_is_dropped_and_the_log_says_so(cluster, place):
    last, names = killed_before_it_vouched(cluster)
    offset, length = groups_of(last)[-1]
    flip(last, offset + {"magic": 0, "sequence": 24, "payload start": 48, "payload end": 48 + length - 9}[place])
    cluster.start_wal("--segment-bytes", "1M")
    started = wait_until(lambda: cluster.wal.events("wal.started"), "the line in the log")[0]
    (dropped,) = cluster.wal.events("wal.torn_tail_dropped")
    assert dropped["file"] == last.name
    assert 0 < dropped["dropped_bytes"] <= length + 48
    assert started["dropped_bytes"] == dropped["dropped_bytes"]
    client = cluster.wal_client()
    assert sorted(batches_in(client, "p0")) == sorted(names[:-1])
    assert append(client, "p0", "next").first_lsn == ENTRIES * (len(names) - 1) + 1
    cluster.wal.kill()
    cluster.start_wal("--segment-bytes", "1M")
    assert sorted(batches_in(cluster.wal_client(), "p0")) == sorted([*names[:-1], "next"])


def test_a_garbled_group_that_something_vouches_for_is_data_loss(cluster):
    last, names = killed_before_it_vouched(cluster)
    groups = groups_of(last)
    for offset, length in (groups[-2], groups[0], groups[len(groups) // 2]):
        for at in (offset, offset + 33, offset + 44, offset + 48, offset + 47 + length):
            flip(last, at)
            message = refused_start(cluster)
            assert last.name in message and f"byte {offset}" in message, message
            flip(last, at)
    cluster.start_wal("--segment-bytes", "1M")
    assert sorted(batches_in(cluster.wal_client(), "p0")) == sorted(names)
    # what is carried over now is vouched for by its segment's header
    cluster.wal.kill()
    carried = max(cluster.data.glob("segment-*.log"))
    flip(carried, 4096 + 60)
    message = refused_start(cluster)
    assert carried.name in message and "byte 4096" in message
    flip(carried, 4096 + 60)
    cluster.start_wal("--segment-bytes", "1M")


def test_an_idle_log_vouches_for_its_last_group(cluster):
    cluster.start_wal("--segment-bytes", "1M")
    client = cluster.wal_client()
    assert append(client, "p0", "only").code == 0
    (last,) = cluster.data.glob("segment-*.log")
    wait_until(lambda: groups_of(last)[-1][1] == 0, "the empty group")
    cluster.wal.kill()
    flip(last, groups_of(last)[0][0] + 100)
    message = refused_start(cluster)
    assert last.name in message and "byte 4096" in message


def test_a_segment_cut_short_or_missing_is_data_loss(cluster):
    cluster.start_wal("--segment-bytes", "1M")
    client = cluster.wal_client()
    names = [f"b{i}" for i in range(150)]
    for name in names:
        assert append(client, "p0", name).code == 0
    cluster.wal.kill()
    segments = sorted(cluster.data.glob("segment-*.log"))
    assert len(segments) >= 3
    for segment in (segments[0], segments[1], segments[-1]):
        whole = segment.read_bytes()
        for length in (len(whole) - 1, len(whole) - 4096, 5000, 4096, 100, 0):
            os.truncate(segment, length)
            assert segment.name in refused_start(cluster)
            segment.write_bytes(whole)
    for segment in segments[:-1]:
        away = segment.rename(cluster.directory / "away")
        message = refused_start(cluster)
        assert "segment-" in message and "missing" in message, message
        away.rename(segment)
    cluster.start_wal("--segment-bytes", "1M")
    assert sorted(batches_in(cluster.wal_client(), "p0")) == sorted(names)


def test_a_byte_that_rots_under_a_running_service_is_never_a_shorter_answer(cluster):
    cluster.start_wal("--segment-bytes", "1M")
    client = cluster.wal_client()
    for i in range(10):
        assert append(client, "p0", f"b{i}").code == 0
    (segment,) = cluster.data.glob("segment-*.log")
    offset, _ = groups_of(segment)[6]
    flip(segment, offset + 48 + 3000)
    with pytest.raises(grpc.RpcError) as error:
        client.Read(project_id="p0")
    assert error.value.code() == grpc.StatusCode.DATA_LOSS
    assert segment.name in error.value.details() and f"byte {offset + 48}" in error.value.details()
    through = ENTRIES * 6
    assert client.Read(project_id="p0", through_lsn=through)[-1].complete_through == through
    assert client.Read(project_id="p0", after_lsn=through + ENTRIES)[-1].complete_through == ENTRIES * 10
    with pytest.raises(grpc.RpcError) as error:
        client.GetHead(project_id="p0", request_id=b"b6", request_hash=b"h")
    assert error.value.code() == grpc.StatusCode.DATA_LOSS
    result = append(client, "p0", "b6")
    assert result.code == DATA_LOSS and not result.not_applied
    assert append(client, "p0", "b7").HasField("earlier")
    assert append(client, "p0", "new").first_lsn == ENTRIES * 10 + 1


# ---- odd requests -------------------------------------------------------------------------------------


def test_a_batch_behind_others_does_not_make_a_message_over_the_limit(cluster):
    cluster.start_wal()
    client = cluster.wal_client()
    for i in range(50):
        assert append(client, "p0", f"b{i}").code == 0
    # the largest that is let in: long ids around 48 MiB of documents
    document = bson.encode({"x": bytes(6000)})
    size = len(document) + 2048 + 12
    entries = [
        {"operation": 1, "document_id": i.to_bytes(4, "big") * 512, "document": document} for i in range(((64 << 20) - 8192) // size)
    ]
    run = {"branch_id": "main", "collection": "large", "entries": entries}
    result = client.Append(project_id="p0", batches=[{"runs": [run], "unconditional": True}], timeout=120).results[0]
    assert result.code == 0, result
    messages = client.Read(project_id="p0", timeout=120)
    assert max(message.ByteSize() for message in messages) <= 64 << 20
    assert sum(len(run.entries) for message in messages for run in message.runs) == 50 * ENTRIES + len(entries)


def test_groups_are_bounded_whatever_their_batches_are_made_of(cluster):
    cluster.start_wal()
    client = cluster.wal_client()
    batches = []
    for i in range(5000):
        batch = batch_of(f"b{i}", b"")
        batch["request"].update(answer=bytes(4096), last_document_id=bytes(2048), step=0)
        batches.append(batch)
    answer = client.Append(project_id="p0", batches=batches, timeout=60)
    assert all(result.code == 0 for result in answer.results)
    assert client.GetStatus().groups >= 4  # 8 MiB at most
    assert len(batches_in(client, "p0")) == 5000


def test_an_actor_that_is_no_text_is_refused(cluster):
    cluster.start_wal()
    raw = wal_client(cluster.wal.address)
    from argon.wal.v1 import wal_pb2

    batch = batch_of("b0", b"")
    batch["runs"][0]["actor"] = "actor-XX"
    request = wal_pb2.AppendRequest(project_id="p0", batches=[batch]).SerializeToString()
    send = raw.channel.unary_unary(
        "/argon.wal.v1.Wal/Append", request_serializer=lambda data: data, response_deserializer=wal_pb2.AppendResponse.FromString
    )
    with pytest.raises(grpc.RpcError) as error:
        send(request.replace(b"actor-XX", b"actor-\xff\xfe"), timeout=10)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not_applied(error.value)
    assert raw.GetHead(project_id="p0").commit_lsn == 0
    raw.close()
