"""How a watch ends or goes on when its branch, its project, or the log behind it changes under it."""

import shutil

import grpc
import pytest
from argon.branch.v1 import branch_pb2
from gate import Gate
from harness import Process, wait_until
from watch_model import LogModel, as_tuple

FOLLOWS = pytest.mark.parametrize("follows", ["256", "0"])


def start(client, branch="main", project="p", **fields):
    """A watch that has begun: names mean what they mean now."""
    stream = client.rpc.stream("Watch", 25, project=project, branch=branch, **fields)
    next(stream)
    return stream


def until(stream, through):
    """The changes up to there."""
    shown = []
    for message in stream:
        shown += message.changes
        if message.through_lsn >= through:
            return shown
    raise AssertionError("the watch has ended")


def rest(stream):
    """The remaining changes, and how it ended."""
    messages = list(stream)
    return [change for message in messages for change in message.changes], messages[-1]


@FOLLOWS
def test_of_a_deleted_branch_everything_is_shown_and_then_its_end(cluster, argon, follows):
    client = cluster.client(cluster.start_branch("--max-follows", follows))
    argon.create_branch("p", "dev")
    behind = [start(client, "dev") for _ in range(5)]  # with all of it to show
    for i in range(20):
        argon.insert_many("p", "c", [{"_id": 100 * i + j, "v": "x" * 500} for j in range(100)], branch="dev")
    ahead = start(client, "dev", from_head=True)
    deleted = argon.rpc.DeleteBranch(project="p", name="dev").lsn
    argon.create_branch("p", "dev")  # another one, which nobody of them watches
    argon.insert("p", "c", {"_id": "other"}, branch="dev")
    for stream in behind:
        changes, last = rest(stream)
        assert (len(changes), last.end) == (2001, branch_pb2.WATCH_END_BRANCH_DELETED)
        assert last.through_lsn >= deleted
    changes, last = rest(ahead)
    assert (changes, last.end) == ([], branch_pb2.WATCH_END_BRANCH_DELETED)
    assert [change.document_id for change in until(start(client, "dev"), argon.head("p"))][-1:] == [argon.document({"_id": "other"})]


@FOLLOWS
def test_of_a_deleted_project_everything_is_shown_and_then_its_end(cluster, argon, follows):
    client = cluster.client(cluster.start_branch("--max-follows", follows))
    argon.insert("p", "c", {"_id": 1})
    argon.create_branch("p", "dev")
    streams = [start(client, branch) for branch in ("main", "dev")]
    argon.insert("p", "c", {"_id": 2})
    argon.delete_project("p")
    argon.create_project("p")
    argon.insert("p", "c", {"_id": "other"})
    for stream, expected in zip(streams, (3, 2)):
        changes, last = rest(stream)
        assert (len(changes), last.end) == (expected, branch_pb2.WATCH_END_PROJECT_DELETED)
    assert len(until(start(client), argon.head("p"))) == 2


@FOLLOWS
def test_the_log_comes_back(cluster, argon, follows):
    client = cluster.client(cluster.start_branch("--max-follows", follows))
    argon.create_branch("p", "dev")
    streams = [start(client, branch) for branch in ["main", "dev"] * 10]
    shown = [[] for _ in streams]
    for round in range(4):
        for i in range(10):
            last = argon.insert("p", "c", {"_id": 10 * round + i}, branch=["main", "dev"][i % 2]).lsn
        cluster.wal.kill()
        cluster.wal.start()
        if round % 2:
            for stream, changes in zip(streams, shown):
                changes += until(stream, last)
    last = argon.insert("p", "c", {"_id": "last"}).lsn
    model = LogModel(cluster.wal_client(), argon.rpc.GetProject(name="p").project.id)
    for number, (stream, changes) in enumerate(zip(streams, shown)):
        changes += until(stream, last)
        assert [*map(as_tuple, changes)] == model.changes(model.names[["main", "dev"][number % 2]])


@FOLLOWS
def test_a_branch_that_is_deleted_while_the_log_is_away(cluster, argon, follows):
    """Each hears of it, whether before the log went or after it came back."""
    client = cluster.client(cluster.start_branch("--max-follows", follows))
    for round in range(5):
        argon.create_branch("p", "dev")
        streams = [start(client, "dev") for _ in range(10)]
        argon.rpc.DeleteBranch(project="p", name="dev")
        cluster.wal.kill()
        cluster.wal.start()
        for stream in streams:
            assert rest(stream)[1].end == branch_pb2.WATCH_END_BRANCH_DELETED


@FOLLOWS
def test_a_deletion_that_could_not_be_looked_at_is_told_later(cluster, argon, follows):
    """The news comes through, what the catalog says does not, and nothing happens afterwards."""
    gate = Gate(cluster.wal.address)
    process = Process(cluster.directory, "branch", ["--wal", gate.address, "--workers", "2", "--max-follows", follows]).start()
    cluster.branches.append(process)
    client = cluster.client(process)
    for after in (0, 200, 400, 800):
        argon.create_branch("p", "dev")
        streams = [start(client, "dev") for _ in range(10)]
        for stream in streams:
            until(stream, argon.head("p"))
        gate.shut(after=after)
        argon.rpc.DeleteBranch(project="p", name="dev")
        wait_until(gate.is_held, "the news to be held up")
        gate.open()
        for stream in streams:
            assert rest(stream)[1].end == branch_pb2.WATCH_END_BRANCH_DELETED
    gate.close()


@FOLLOWS
def test_an_older_log(cluster, argon, follows):
    client = cluster.client(cluster.start_branch("--max-follows", follows))
    argon.create_branch("p", "dev")
    argon.insert_many("p", "c", [{"_id": i} for i in range(5)])
    cluster.wal.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data, copy)
    cluster.wal.start()
    argon.insert_many("p", "c", [{"_id": f"lost{i}"} for i in range(5)])
    lost = argon.insert("p", "c", {"_id": "lost"}, branch="dev").lsn
    branches = ["main", "dev"] * 5
    streams = [start(client, branch) for branch in branches]
    for stream in streams:
        until(stream, lost)
    for grown in (False, True):
        cluster.wal.kill()
        shutil.rmtree(cluster.data)
        shutil.copytree(copy, cluster.data)
        cluster.wal.start()
        if grown:  # beyond what was shown, before the watches look
            argon.insert_many("p", "c", [{"_id": f"new{i}"} for i in range(20)])
        for stream in streams:
            changes, last = rest(stream)
            assert (last.end, last.restart_lsn) == (branch_pb2.WATCH_END_LOG_REPLACED, 0), "the copy knows nothing of the run of the log"
            assert not changes
        last = argon.insert("p", "c", {"_id": "again"}, branch="dev").lsn
        model = LogModel(cluster.wal_client(), argon.rpc.GetProject(name="p").project.id)
        streams = [start(client, branch) for branch in branches]
        for branch, stream in zip(branches, streams):
            assert [*map(as_tuple, until(stream, last))] == model.changes(model.names[branch])


def test_a_watch_that_stops_at_the_head_says_when_the_log_was_replaced(cluster, argon):
    argon.insert("p", "c", {"_id": 0})
    cluster.wal.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data, copy)
    cluster.wal.start()
    kept = argon.head("p")
    for i in range(30):
        head = argon.insert_many("p", "c", [{"_id": 100 * i + j + 1, "v": "x" * 10000} for j in range(100)]).lsn
    gate = Gate(cluster.wal.address)
    cluster.branches.append(Process(cluster.directory, "branch", ["--wal", gate.address]).start())
    client = cluster.client(cluster.branches[-1])
    client.rpc.ListCollections(project="p", branch="main")
    gate.shut(after=8_000_000)
    stream = start(client, stop_at_head=True)
    seen = list(next(stream).changes)
    wait_until(gate.is_held, "the log to be held up")
    cluster.wal.kill()
    shutil.rmtree(cluster.data)
    copy.rename(cluster.data)
    cluster.wal.start()
    gate.open()
    changes, last = rest(stream)
    assert kept < (seen + changes)[-1].lsn < head
    assert (last.end, last.restart_lsn) == (branch_pb2.WATCH_END_LOG_REPLACED, 0)
    gate.close()


def test_a_branch_that_was_renamed_goes_on_and_its_old_name_is_free(cluster, argon):
    argon.create_branch("p", "dev")
    argon.insert("p", "c", {"_id": 1}, branch="dev")
    stream = start(argon, "dev")
    until(stream, argon.head("p"))
    argon.rpc.RenameBranch(project="p", name="dev", new_name="moved")
    argon.create_branch("p", "dev")
    argon.insert("p", "c", {"_id": "other"}, branch="dev")
    last = argon.insert("p", "c", {"_id": 2}, branch="moved").lsn
    assert [change.document_id for change in until(stream, last)] == [argon.document({"_id": 2})]
    stream.cancel()
    with pytest.raises(grpc.RpcError) as error:
        list(start(argon, "gone"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
