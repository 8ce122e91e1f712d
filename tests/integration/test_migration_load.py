"""Migrations under writers and kills, forward and back: one of 10,000 or 100,000 documents, and a small one with a server that loses nothing."""

import random
import signal
import threading
import time

import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import in_parallel, wait_until
from migration_load import AWAY, Writer, check, goes_on, load, shares
from traditional import DATABASE, branch_of, create, options, start

State = branch_pb2.MigrationState
KILLS = 12
COLLECTIONS = [f"c{i}" for i in range(5)]
BEFORE_THE_START = (State.MIGRATION_STATE_PREPARING, State.MIGRATION_STATE_FROZEN, State.MIGRATION_STATE_RENAMED)
ON_THE_WAY_BACK = (State.MIGRATION_STATE_ROLLING_BACK, State.MIGRATION_STATE_HANDING_BACK)


def everything(client, branch="x"):
    """Through the outages."""
    names = goes_on(lambda: client.collections("p", branch))
    return {name: {document["_id"]: document for document in goes_on(lambda: client.find("p", name, branch=branch))} for name in names}


class Killer(threading.Thread):
    """Kills one process after the other until it has done so often enough, and starts each again."""

    def __init__(self, victims, kills, pause):
        super().__init__()
        self.victims, self.kills, self.pause, self.failure, self.done = victims, kills, pause, None, 0
        self.start()

    def run(self):
        turns = random.Random(7)
        try:
            while self.done < self.kills:
                time.sleep(turns.uniform(*self.pause))
                victim = self.victims[self.done % len(self.victims)]
                victim.kill()
                victim.start()
                self.done += 1
        except BaseException as error:
            self.failure = error


def state_of(client):
    return goes_on(lambda: client.rpc.GetMigration(project="p", branch="x")).state


def persist(clients, method):
    """As a person would: again and again, on whichever replica is there, until it is done."""
    for turn in range(200):
        client = clients[turn % len(clients)]
        try:
            return getattr(client.rpc, method)(project="p", branch="x", timeout=600)
        except grpc.RpcError as error:
            # somebody else has taken it over: the call before, which its replica has not given up yet
            if error.code() not in (*AWAY, grpc.StatusCode.FAILED_PRECONDITION):
                raise
            state = state_of(clients[(turn + 1) % len(clients)])
            if (method, state) in (("StartMigration", State.MIGRATION_STATE_VERIFIED), ("RollbackMigration", State.MIGRATION_STATE_NONE)):
                return None
            time.sleep(0.1)
    raise AssertionError(f"{method} never came to an end")


# the many need the speed of a release build
@pytest.mark.parametrize("size", [10_000, pytest.param(100_000, marks=pytest.mark.scale)])
def test_documents_under_writers_and_kills(cluster, mongo_server, size):
    mongodb = mongo_server(hasty=True)
    argon = start(cluster, mongodb)
    paused = cluster.start_branch(*options(mongodb))
    other = cluster.client(paused)
    create(argon, "x")
    keys = load(argon, "x", COLLECTIONS, size)
    writers = [Writer((argon, other)[i % 2], "x", f"w{i}", COLLECTIONS, share, timeout=20, pause=0.01) for i, share in enumerate(shares(keys, 4))]
    wait_until(lambda: all(len(writer.inserted) > 5 for writer in writers), "writes before the start")

    # the start, which one of the two replicas sleeps through
    starting = threading.Thread(target=lambda: persist([argon], "StartMigration"))
    starting.start()
    wait_until(lambda: argon.rpc.GetMigration(project="p", branch="x").state == State.MIGRATION_STATE_PREPARING, "the beginning")
    paused.process.send_signal(signal.SIGSTOP)

    wait_until(lambda: state_of(argon) not in BEFORE_THE_START, "the start", 120)
    paused.process.send_signal(signal.SIGCONT)

    # from here on it is only read
    mongodb.stop()
    mongodb.start()
    killer = Killer([cluster.branches[0], cluster.wal, paused, mongodb], KILLS, (0.3, 1.0))
    starting.join()
    persist([argon, other], "StartMigration")
    killer.join()
    assert killer.failure is None, killer.failure
    assert killer.done == KILLS
    before = [len(writer.inserted) for writer in writers]
    wait_until(lambda: all(len(writer.inserted) > n for writer, n in zip(writers, before)), "writes on the new side", 60)
    persist([argon, other], "StartMigration")
    assert argon.rpc.GetMigration(project="p", branch="x").state == State.MIGRATION_STATE_VERIFIED

    # back, while they go on writing
    persist([argon, other], "RollbackMigration")
    after = branch_of(argon, "x")
    assert (after.use_wal, after.state) == (False, branch_pb2.BRANCH_STATE_READY)
    for writer in writers:
        writer.stop()
    states = in_parallel(lambda: everything(argon), lambda: everything(other))
    assert states[0] == states[1]
    counts = check(states[0], keys, writers)
    assert min(counts) > 10, counts
    print(f"{size} documents, {KILLS} kills: {counts[0]} inserts, {counts[1]} deletes, {counts[2]} changes acknowledged")
    with mongodb.client() as client:
        assert {name: client[DATABASE][after.prefix + name].count_documents({}) for name in COLLECTIONS} == {
            name: len(documents) for name, documents in states[0].items()
        }


def test_kills_before_the_start_and_on_the_way_back(cluster, mongo_server):
    """Also of MongoDB, where all is that there is then: this one syncs what it acknowledges."""
    mongodb = mongo_server()
    argon = start(cluster, mongodb)
    other = cluster.client(cluster.start_branch(*options(mongodb)))
    create(argon, "x")
    keys = load(argon, "x", COLLECTIONS[:2], 200)
    writers = [Writer((argon, other)[i % 2], "x", f"w{i}", COLLECTIONS[:2], share, timeout=20, pause=0.02) for i, share in enumerate(shares(keys, 4))]
    wait_until(lambda: all(len(writer.inserted) > 5 for writer in writers), "writes before the start")
    fallen = []

    def under_kills(method, phases):
        calling = threading.Thread(target=lambda: persist([argon], method))
        calling.start()
        for states, victims in phases:
            for name, victim in victims.items():
                wait_until(lambda: (state := state_of(other)) in states or not calling.is_alive() or state > states[-1], State.Name(states[0]), 60)
                state = state_of(other)
                if state in states:
                    victim.kill()
                    victim.start()
                    fallen.append((name, state))
        calling.join()
        persist([argon, other], method)

    # the one that carries it out dies first, and the others before it has come further
    victims = {"branch": cluster.branches[0], "wal": cluster.wal, "mongodb": mongodb}
    preparing, frozen = BEFORE_THE_START[:1], BEFORE_THE_START[1:]
    under_kills("StartMigration", [(preparing, victims), (frozen, victims)])
    assert state_of(argon) == State.MIGRATION_STATE_VERIFIED
    assert {name for name, state in fallen if state in preparing} == set(victims)
    assert "branch" in {name for name, state in fallen if state in frozen}
    before = [len(writer.inserted) for writer in writers]
    wait_until(lambda: all(len(writer.inserted) > n for writer, n in zip(writers, before)), "writes on the new side", 60)
    under_kills("RollbackMigration", [(ON_THE_WAY_BACK, {**victims, "the other branch": cluster.branches[1]})])
    assert {name for name, state in fallen if state in ON_THE_WAY_BACK} >= {"branch", "wal"}
    before = [len(writer.inserted) for writer in writers]
    wait_until(lambda: all(len(writer.inserted) > n for writer, n in zip(writers, before)), "writes on what it was", 60)
    for writer in writers:
        writer.stop()
    states = in_parallel(lambda: everything(argon), lambda: everything(other))
    assert states[0] == states[1]
    counts = check(states[0], keys, writers)
    assert min(counts) > 10, counts
    print([(name, State.Name(state)) for name, state in fallen], counts, f"longest write {max(writer.longest for writer in writers):.1f} s")
