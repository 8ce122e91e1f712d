"""What the flags mean for branches that are created, and that they mean nothing for those that are there."""

import datetime
import time

import grpc
import pytest
from argon.branch.v1 import branch_pb2

from harness import not_applied, wait_until

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def set_config(client, **values):
    settings = [branch_pb2.ConfigSetting(key="wal." + key, value=value) for key, value in values.items()]
    client.rpc.SetConfig(settings=settings)


def refusal(client, name, **options):
    """Why a branch is not created; None: it was."""
    try:
        client.create_branch("p", name, **options)
        return None
    except grpc.RpcError as error:
        assert error.code() == PRECONDITION, error
        assert not_applied(error)
        trailers = {item[0]: item[1] for item in error.trailing_metadata()}
        assert b"NEEDS_MONGODB" in trailers["grpc-status-details-bin"]  # for programs
        return error.details()


def test_a_flag_takes_effect_on_another_replica_within_a_second(cluster, argon):
    other = cluster.client(cluster.start_branch("--max-follows", "0"))  # it has to look by itself
    for round in range(4):
        enabled = round % 2 == 1
        wait_until(lambda: (refusal(other, f"before{round}-{time.monotonic_ns()}") is None) != enabled, "the state of the round before")
        set_config(argon, enabled="true" if enabled else "false")
        end = time.monotonic() + 1
        tries = 0
        while True:
            asked = time.monotonic()
            created = refusal(other, f"r{round}-{tries}") is None
            if created == enabled:
                break
            tries += 1
            assert asked < end, "the replica still goes by the old value after a second"
        assert (refusal(argon, f"here{round}") is None) == enabled  # who set it knows at once


def test_asking_costs_no_call_for_each_branch(cluster, argon):
    argon.create_branch("p", "first")
    before, start = argon.rpc.GetStatus().head_checks, time.monotonic()
    for i in range(300):
        argon.create_branch("p", f"b{i}")
    checks, elapsed = argon.rpc.GetStatus().head_checks - before, time.monotonic() - start
    assert checks <= elapsed / 0.5 + 2, f"{checks} head checks for 300 branches in {elapsed:.2f} s"


def test_a_wal_branch_lives_on_when_wal_branches_are_turned_off(cluster, argon, monkeypatch):
    argon.insert("p", "c", {"_id": 1, "v": 1})
    argon.create_branch("p", "dev")
    argon.insert("p", "c", {"_id": 2, "v": 2}, branch="dev")
    monkeypatch.setenv("ENABLE_WAL_BRANCHES", "false")
    cluster.branches[0].stop()
    cluster.branches[0].start()
    off = cluster.client()
    assert "wal.enabled is false" in refusal(off, "more")
    assert off.find("p", "c", branch="dev") == [{"_id": 1, "v": 1}, {"_id": 2, "v": 2}]
    off.update("p", "c", {"_id": 1}, {"$set": {"v": 10}}, branch="dev")
    off.insert("p", "c", {"_id": 3, "v": 3}, branch="dev")
    off.delete("p", "c", {"_id": 2}, branch="dev")
    assert off.find("p", "c", branch="dev") == [{"_id": 1, "v": 10}, {"_id": 3, "v": 3}]
    assert off.find("p", "c") == [{"_id": 1, "v": 1}]
    assert [branch.name for branch in off.rpc.ListBranches(project="p").branches] == ["dev", "main"]
    off.rpc.RenameBranch(project="p", name="dev", new_name="later")
    assert off.count("p", "c", branch="later") == 2


def test_a_repeated_creation_gets_its_answer_whatever_the_flags_say_now(cluster, argon):
    other = cluster.client(cluster.start_branch())
    created = argon.create_branch("p", "dev", request_id="create-dev")
    set_config(argon, enabled="false")
    assert refusal(argon, "more", request_id="create-more")
    assert other.create_branch("p", "dev", request_id="create-dev").id == created.id
    set_config(argon, enabled="true")
    assert "wal.enabled is false" in refusal(other, "more", request_id="create-more")  # that was the answer
    wait_until(lambda: refusal(other, "more") is None, "a new request to go by the new value", 5)


def test_the_share_of_the_branches(argon):
    set_config(argon, rollout_percent="30")
    reasons = [refusal(argon, f"b{i}") for i in range(300)]
    outside = [reason for reason in reasons if reason]
    assert all("wal.rollout_percent is 30 and the branch falls outside" in reason for reason in outside)
    assert 300 - len(outside) == pytest.approx(90, abs=48)  # six standard deviations; two throws for each would give 153
    set_config(argon, rollout_percent="0")
    assert refusal(argon, "none")
    set_config(argon, rollout_percent="100")
    assert refusal(argon, "all") is None


def test_a_cutoff_comes(argon):
    set_config(argon, cutoff="2099-01-01")
    assert "wal.cutoff is 2099-01-01T00:00:00Z, which is still to come" in refusal(argon, "early")
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    set_config(argon, cutoff=soon.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    assert refusal(argon, "before")
    wait_until(lambda: refusal(argon, "behind") is None, "the cut-off to pass", 10)
    assert datetime.datetime.now(datetime.timezone.utc) >= soon


def test_what_to_do_is_said(argon):
    set_config(argon, enabled="false")
    reason = refusal(argon, "b")
    assert "wal.enabled is false" in reason and "--mongodb" in reason
