"""Migrations whose executors are killed, stopped, or two at a time: nothing acknowledged is missing, and what was deleted stays so."""

import contextlib
import signal
import threading
import time

import grpc
import pytest

from argon.branch.v1 import branch_pb2
from gate import Gate
from harness import BIN, Process, in_parallel, wait_until
from migration_load import Writer, check, goes_on, load, shares
from test_indexes import BY_NAME, set_indexes
from traditional import DATABASE, branch_of, code_of, collections_of, create, options, start, uri

State = branch_pb2.MigrationState
COLLECTIONS = ["items", "people"]
# The test server comes to a standstill when many rename, and above all copy, collections at once: so many migrations, and rollbacks.
AT_A_TIME, COPYING = 6, threading.Semaphore(2)


@pytest.fixture
def mongodb(mongo_server):
    return mongo_server(hasty=True)


@pytest.fixture
def argon(cluster, mongodb):
    return start(cluster, mongodb)


def everything(client, branch):
    return {name: {document["_id"]: document for document in client.find("p", name, branch=branch)} for name in client.collections("p", branch)}


class Doomed:
    """A branch service that ends itself at a step of a migration."""

    def __init__(self, cluster, mongodb, point, action="kill"):
        assert b"ARGON_TEST_MIGRATION" in (BIN / "branch-service").read_bytes(), "this needs a build with ARGON_TEST_POINTS: preset asan or dev"
        wrapper = ["env", f"ARGON_TEST_MIGRATION={action}:{point}"]
        self.process = Process(cluster.directory, "branch", ["--wal", cluster.wal.address, *options(mongodb)], wrapper).start()
        cluster.branches.append(self.process)  # which stops it, if it has not ended
        self.client = cluster.client(self.process)

    def dies_at(self, method, branch):
        with pytest.raises(grpc.RpcError):
            getattr(self.client.rpc, method)(project="p", branch=branch, timeout=120)
        assert self.process.exited() == -signal.SIGKILL


def begin(client, branch, n=100):
    """Many at a time: their writers are not in a hurry."""
    create(client, branch, timeout=120)
    keys = load(client, branch, COLLECTIONS, n)
    return keys, [Writer(client, branch, f"{branch}-{i}", COLLECTIONS, share, pause=0.05) for i, share in enumerate(shares(keys, 2))]


def end(client, branch, keys, writers):
    """Everything is there that was answered OK, before and after."""
    before = [len(writer.inserted) for writer in writers]
    sharing = [writer for writer in writers if writer.share]

    def have_written():
        return any(writer.failure for writer in writers) or (
            all(len(writer.inserted) > n for writer, n in zip(writers, before)) and all(writer.deleted and writer.changed for writer in sharing)
        )

    wait_until(have_written, "writes on what it is now")
    for writer in writers:
        writer.stop()
    check(everything(client, branch), keys, writers)


def documents_of(mongodb, prefixes=("",)):
    with mongodb.client() as client:
        names = [name for name in client[DATABASE].list_collection_names() if not name.startswith(tuple(prefixes))]
        return {name: n for name in names if (n := client[DATABASE][name].count_documents({}))}


def left_of(mongodb, client, branch):
    """The collections that the branch still has in MongoDB, under whichever name."""
    traditional = client.rpc.GetMigration(project="p", branch=branch).traditional_id
    return [name for name in collections_of(mongodb) if f"_{traditional}_" in name]


def branches_of(client):
    return [branch.name for branch in client.rpc.ListBranches(project="p", page_size=1000).branches]


def few_at_a_time(functions):
    return [result for i in range(0, len(functions), AT_A_TIME) for result in in_parallel(*functions[i : i + AT_A_TIME])]


FORWARD = ["claimed", "before-frozen", "frozen", "moved", "renamed", "before-started", "started", "copying", "before-copied", "copied", "verified"]


def test_killed_at_every_step_and_going_on(cluster, mongodb, argon):
    def one(point):
        branch = f"x-{point}"
        keys, writers = begin(argon, branch)
        Doomed(cluster, mongodb, point).dies_at("StartMigration", branch)
        goes_on(lambda: argon.rpc.StartMigration(project="p", branch=branch, timeout=120))
        assert branch_of(argon, branch).use_wal
        end(argon, branch, keys, writers)
        goes_on(lambda: argon.rpc.ConfirmMigration(project="p", branch=branch, timeout=120))
        check(everything(argon, branch), keys, writers)

    few_at_a_time([lambda point=point: one(point) for point in FORWARD])
    assert collections_of(mongodb) == []


def test_killed_at_every_step_and_going_back(cluster, mongodb, argon):
    def one(point):
        branch = f"x-{point}"
        keys, writers = begin(argon, branch)
        Doomed(cluster, mongodb, point).dies_at("StartMigration", branch)
        goes_on(lambda: argon.rpc.RollbackMigration(project="p", branch=branch, timeout=120))
        after = branch_of(argon, branch)
        assert (after.use_wal, after.state) == (False, branch_pb2.BRANCH_STATE_READY)
        end(argon, branch, keys, writers)
        return after.prefix

    prefixes = few_at_a_time([lambda point=point: one(point) for point in FORWARD])
    assert documents_of(mongodb, prefixes) == {}


BACK = ["claimed", "before-rolling_back", "rolling_back", "before-handing_back", "handing_back", "before-ready", "ready"]
END = ["claimed", "confirming", "before-confirmed", "confirmed"]


def test_killed_at_every_step_on_the_way_back_and_at_the_end(cluster, mongodb, argon):
    def back(point):
        branch = f"back-{point}"
        keys, writers = begin(argon, branch)
        argon.rpc.StartMigration(project="p", branch=branch, timeout=120)
        with COPYING:
            Doomed(cluster, mongodb, point).dies_at("RollbackMigration", branch)
            if point != "ready":
                goes_on(lambda: argon.rpc.RollbackMigration(project="p", branch=branch, timeout=120))
        assert not branch_of(argon, branch).use_wal
        end(argon, branch, keys, writers)
        # what the killed one left behind hurts nobody, and goes in the end
        argon.rpc.StartMigration(project="p", branch=branch, timeout=120)
        check(everything(argon, branch), keys, writers)
        argon.rpc.ConfirmMigration(project="p", branch=branch, timeout=120)
        assert left_of(mongodb, argon, branch) == []

    def to_the_end(point):
        branch = f"end-{point}"
        keys, writers = begin(argon, branch)
        argon.rpc.StartMigration(project="p", branch=branch, timeout=120)
        Doomed(cluster, mongodb, point).dies_at("ConfirmMigration", branch)
        if point != "confirmed":
            assert code_of(lambda: argon.rpc.RollbackMigration(project="p", branch=branch)) == grpc.StatusCode.FAILED_PRECONDITION
            goes_on(lambda: argon.rpc.ConfirmMigration(project="p", branch=branch, timeout=120))
        assert argon.rpc.GetMigration(project="p", branch=branch).state == State.MIGRATION_STATE_CONFIRMED
        end(argon, branch, keys, writers)
        assert left_of(mongodb, argon, branch) == []

    few_at_a_time([lambda point=point: back(point) for point in BACK] + [lambda point=point: to_the_end(point) for point in END])


# ---- stragglers --------------------------------------------------------------------------------------


class Straggler:
    """A call whose executor stops at a step, until it is let go on."""

    def __init__(self, cluster, mongodb, point, method, branch):
        self.doomed = Doomed(cluster, mongodb, point, "stop")
        self.code = None
        self.thread = threading.Thread(target=self.call, args=(method, branch))
        self.thread.start()
        wait_until(self.is_stopped, "the stop", 60)

    def call(self, method, branch):
        self.code = code_of(lambda: getattr(self.doomed.client.rpc, method)(project="p", branch=branch, timeout=120))

    def is_stopped(self):
        return "T" in open(f"/proc/{self.doomed.process.process.pid}/stat").read().rsplit(")", 1)[1].split()[0]

    def goes_on_in_vain(self):
        self.doomed.process.process.send_signal(signal.SIGCONT)
        self.thread.join()
        assert self.code == grpc.StatusCode.FAILED_PRECONDITION
        self.doomed.process.kill()


def test_an_executor_that_was_stopped_hurts_nobody_when_it_goes_on(cluster, mongodb, argon):
    """Somebody else has finished meanwhile, or has rolled back and even begun anew."""

    def one(method, point, then):
        branch = f"{then[-1][:4]}-{method[:4]}-{point}"
        keys, writers = begin(argon, branch)
        if method == "RollbackMigration":
            argon.rpc.StartMigration(project="p", branch=branch, timeout=120)
        with COPYING if method == "RollbackMigration" else contextlib.nullcontext():
            straggler = Straggler(cluster, mongodb, point, method, branch)
            for call in then:
                goes_on(lambda: getattr(argon.rpc, call)(project="p", branch=branch, timeout=120))
            straggler.goes_on_in_vain()
        end(argon, branch, keys, writers)

    start, confirm, rollback = "StartMigration", "ConfirmMigration", "RollbackMigration"
    points = ["before-frozen", "moving", "moved", "renamed", "copying"]
    forward = [(start, point, then) for point in points for then in ([rollback], [start, confirm])]
    forward += [(start, point, [start]) for point in ("moving", "moved")]
    back = [(rollback, point, then) for point, then in (("rolling_back", [rollback, start, confirm]), ("handing_back", [rollback]), ("before-ready", [rollback]))]
    few_at_a_time([lambda case=case: one(*case) for case in forward + back])
    # of a branch that was confirmed nothing is left in MongoDB, and nothing comes back
    confirmed = [branch for branch in branches_of(argon) if branch.startswith("Conf")]
    assert len(confirmed) == 6
    assert {branch: left_of(mongodb, argon, branch) for branch in confirmed} == dict.fromkeys(confirmed, [])


def state_of(client, branch):
    return client.rpc.GetMigration(project="p", branch=branch).state


def test_who_waits_is_released_when_nobody_goes_on(cluster, mongodb, mongo_server, argon):
    """Ten seconds after the executor showed itself last; one that is there and slow is waited for."""
    other_mongodb = mongo_server(hasty=True)
    other = cluster.client(cluster.start_branch(*options(other_mongodb)))

    def frozen(point, action="kill"):
        branch = f"x-{point}"
        keys, writers = begin(argon, branch)
        if action == "kill":
            Doomed(cluster, mongodb, point).dies_at("StartMigration", branch)
        else:
            straggler = Straggler(cluster, mongodb, point, "StartMigration", branch)
        wait_until(lambda: state_of(argon, branch) == State.MIGRATION_STATE_NONE, "the release", 60)
        if action == "stop":
            straggler.goes_on_in_vain()
        end(argon, branch, keys, writers)
        after = branch_of(argon, branch)
        assert (after.use_wal, after.state) == (False, branch_pb2.BRANCH_STATE_READY)
        return after.prefix

    def handed_back():
        keys, writers = begin(argon, "back")
        argon.rpc.StartMigration(project="p", branch="back", timeout=120)
        Doomed(cluster, mongodb, "handing_back").dies_at("RollbackMigration", "back")
        end(argon, "back", keys, writers)
        assert (branch_of(argon, "back").use_wal, state_of(argon, "back")) == (True, State.MIGRATION_STATE_ROLLING_BACK)
        argon.rpc.RollbackMigration(project="p", branch="back", timeout=120)
        check(everything(argon, "back"), keys, writers)
        return branch_of(argon, "back").prefix

    def slow():
        keys, writers = begin(other, "slow")
        # one command takes longer than anybody would wait for an executor that is silent
        other_mongodb.fail_next(["renameCollection"], blockConnection=True, blockTimeMS=14_000)
        heard = {}
        for message in other.rpc.stream("StartMigration", project="p", branch="slow", timeout=120):
            heard.setdefault(message.state, time.monotonic())
        assert heard[State.MIGRATION_STATE_STARTED] - heard[State.MIGRATION_STATE_FROZEN] > 12
        assert state_of(other, "slow") == State.MIGRATION_STATE_VERIFIED
        end(other, "slow", keys, writers)

    def slow_index():
        """One that was wanted too late to be made before writers wait: they wait half a minute at most, and the next call makes it."""
        keys, writers = begin(argon, "index")
        argon.rpc.StartMigration(project="p", branch="index", timeout=120)
        straggler = Straggler(cluster, mongodb, "before-handing_back", "RollbackMigration", "index")
        set_indexes(argon, "items", [{**BY_NAME, "unique": False}], branch="index")
        mongodb.fail_next(["createIndexes"], blockConnection=True, blockTimeMS=60_000)
        begun = time.monotonic()
        straggler.doomed.process.process.send_signal(signal.SIGCONT)
        straggler.thread.join()
        assert straggler.code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert 29 < time.monotonic() - begun < 50
        assert (branch_of(argon, "index").use_wal, state_of(argon, "index")) == (True, State.MIGRATION_STATE_ROLLING_BACK)
        end(argon, "index", keys, writers)
        argon.rpc.RollbackMigration(project="p", branch="index", timeout=120)
        check(everything(argon, "index"), keys, writers)
        return branch_of(argon, "index").prefix

    ways = [lambda: frozen("frozen"), lambda: frozen("moving", "stop"), lambda: frozen("renamed"), handed_back, slow_index, slow]
    *prefixes, _ = in_parallel(*ways)
    assert documents_of(mongodb, prefixes) == {}
    released = cluster.branches[0].events("migration.released")
    assert sorted((event["branch"], event["state"]) for event in released) == [
        ("back", "handing_back"),
        ("x-frozen", "frozen"),
        ("x-moving", "frozen"),
        ("x-renamed", "renamed"),
    ]
    assert cluster.branches[1].events("migration.released") == []


def test_two_executors_at_a_time(cluster, mongodb, argon):
    other = cluster.client(cluster.start_branch(*options(mongodb)))
    keys, writers = begin(argon, "x")
    calls = [
        lambda client=client: goes_on(lambda: code_of(lambda: client.rpc.StartMigration(project="p", branch="x", timeout=120))) for client in (argon, other)
    ]
    codes = in_parallel(*calls)
    assert grpc.StatusCode.OK in codes
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION}
    # and one who wants the one end, and one who wants the other
    goes_on(lambda: argon.rpc.StartMigration(project="p", branch="x", timeout=120))
    calls = [
        lambda: code_of(lambda: argon.rpc.ConfirmMigration(project="p", branch="x", timeout=120)),
        lambda: code_of(lambda: other.rpc.RollbackMigration(project="p", branch="x", timeout=120)),
    ]
    codes = in_parallel(*calls)
    assert sorted(codes, key=str) == [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OK], codes
    assert branch_of(argon, "x").use_wal == (codes[0] == grpc.StatusCode.OK)
    end(argon, "x", keys, writers)


def test_a_replica_that_missed_the_start_does_not_say_ok_for_what_the_new_side_lacks(cluster, mongodb, argon):
    missed = cluster.start_branch(*options(mongodb))
    client = cluster.client(missed)
    keys, writers = begin(argon, "x")
    late = [Writer(client, "x", f"late-{i}", COLLECTIONS, [], timeout=60) for i in range(4)]
    wait_until(lambda: all(writer.inserted for writer in late), "writes on the replica")
    missed.process.send_signal(signal.SIGSTOP)
    argon.rpc.StartMigration(project="p", branch="x", timeout=120)
    missed.process.send_signal(signal.SIGCONT)
    before = [len(writer.inserted) for writer in late]
    wait_until(lambda: all(len(writer.inserted) > n for writer, n in zip(late, before)), "writes on the new side")
    end(argon, "x", keys, [*writers, *late])
    assert argon.count("p", "items", branch="x") == client.count("p", "items", branch="x")


def write_late(cluster, mongodb, argon, *calls):
    """What a replica hears that has sent an insert which arrives in MongoDB after these calls, and the replica."""
    gate = Gate(f"127.0.0.1:{mongodb.port}")
    through_gate = uri(mongodb).replace(f"127.0.0.1:{mongodb.port}", gate.address)
    late = cluster.client(cluster.start_branch("--mongodb", through_gate, "--enable-wal-branches"))
    create(argon, "x")
    argon.insert("p", "items", {"_id": 1}, branch="x")
    assert late.count("p", "items", branch="x") == 1
    gate.shut(requests=True)
    outcome = []

    def write():
        with pytest.raises(grpc.RpcError) as failure:
            late.insert("p", "items", {"_id": "too-late"}, branch="x", timeout=60)
        outcome.append((failure.value.code(), failure.value.details()))

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: gate.is_held(b"too-late"), "the write on its way")
    for call in calls:
        getattr(argon.rpc, call)(project="p", branch="x", timeout=120)
    gate.open()
    writer.join()
    gate.close()
    return outcome[0], late


def test_a_write_that_arrives_at_what_stands_in_for_its_collection(cluster, mongodb, argon):
    """What stands in there refuses every document, which says nothing about the document."""
    outcome, late = write_late(cluster, mongodb, argon, "StartMigration")
    assert outcome == (grpc.StatusCode.UNAVAILABLE, "not done: MongoDB answered late, and branch 'x' has changed meanwhile")
    late.insert("p", "items", {"_id": "too-late"}, branch="x")
    assert late.count("p", "items", branch="x") == 2


def test_a_write_that_arrives_when_all_has_been_dropped(cluster, mongodb, argon):
    """MongoDB makes a collection of it, which is nobody's: it was never answered OK, and the branch has no part in it."""
    outcome, late = write_late(cluster, mongodb, argon, "StartMigration", "ConfirmMigration")
    assert outcome == (grpc.StatusCode.UNAVAILABLE, "outcome unknown: MongoDB answered late, and branch 'x' has changed meanwhile")
    assert late.find("p", "items", branch="x") == [{"_id": 1}]
    late.insert("p", "items", {"_id": "too-late"}, branch="x")
    assert late.count("p", "items", branch="x") == 2
    assert list(documents_of(mongodb, ["nothing"]).values()) == [1]
