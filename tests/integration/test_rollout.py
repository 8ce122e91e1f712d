"""A rollout in stages, forth and back, with the file that the documentation shows."""

import json
import pathlib

import grpc
import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "rollout.yaml"
STAGES = {
    "traditional": {"wal.enabled": "false", "wal.rollout_percent": "100", "wal.new_branches_only": "true", "wal.cutoff": "none"},
    "canary": {"wal.enabled": "true", "wal.rollout_percent": "10", "wal.new_branches_only": "true", "wal.cutoff": "none"},
    "half": {"wal.enabled": "true", "wal.rollout_percent": "50", "wal.new_branches_only": "true", "wal.cutoff": "none"},
    "new-branches": {"wal.enabled": "true", "wal.rollout_percent": "100", "wal.new_branches_only": "true", "wal.cutoff": "none"},
    "everything": {"wal.enabled": "true", "wal.rollout_percent": "100", "wal.new_branches_only": "false", "wal.cutoff": "none"},
}


@pytest.fixture
def rollout(cluster, argon):
    def run(*arguments, file=EXAMPLE, status=0):
        result = cluster.argon("rollout", *arguments, "-f", str(file), "-o", "json", check=False)
        assert result.returncode == status, f"{arguments}: {result.returncode}\n{result.stderr}"
        return json.loads(result.stdout) if status == 0 else result.stderr

    return run


def flags(argon):
    return {value.key: value.value for value in argon.rpc.ListConfig().values if value.key.startswith("wal.")}


def creates(argon, names):
    """Which of the branches are created as WAL branches; without a MongoDB the others are refused."""
    created = []
    for name in names:
        try:
            argon.create_branch("p", name)
            created.append(name)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and "traditional branch" in error.details()
    return created


def check_branches(argon, stage, run):
    names = [f"{stage}-{run}-{i}" for i in range(40)]
    created = creates(argon, names)
    if stage == "traditional":
        assert created == []
    elif stage in ("canary", "half"):
        assert len(created) < 40  # the share itself: test_new_branches.py
    else:
        assert created == names


def test_every_stage_and_back(argon, rollout):
    assert rollout("status") == {"stage": None, "in_file": False, "number": 0, "stages": 5, "next": "traditional", "drift": None}
    assert "no stage has been applied" in rollout("rollback", status=5)
    names = list(STAGES)
    for number, name in enumerate(names, 1):
        planned = rollout("plan")
        before = flags(argon)
        assert {row["stage"] for row in planned} == {name}
        assert {row["key"]: row["now"] for row in planned} == before
        assert {row["key"]: row["then"] for row in planned} == STAGES[name]
        assert all(row["changes"] == (row["now"] != row["then"]) for row in planned)
        assert flags(argon) == before  # a plan changes nothing
        applied = rollout("apply", name)
        assert (applied["stage"], applied["previous"]) == (name, names[number - 2] if number > 1 else None)
        assert flags(argon) == STAGES[name]
        check_branches(argon, name, "forth")
        following = names[number] if number < len(names) else None
        assert rollout("status") == {"stage": name, "in_file": True, "number": number, "stages": 5, "next": following, "drift": None}
    assert "'everything' is the last stage" in rollout("plan", status=5)
    for name in reversed(names[:-1]):
        assert rollout("rollback")["stage"] == name
        assert flags(argon) == STAGES[name]
        check_branches(argon, name, "back")
        assert rollout("status")["stage"] == name
    assert "'traditional' is the first stage" in rollout("rollback", status=5)


def test_stages_come_in_order_unless_forced(argon, rollout):
    assert "the next one is 'traditional'" in rollout("apply", "half", status=5)
    rollout("apply", "traditional")
    assert "the next one is 'canary'" in rollout("apply", "half", status=5)
    assert flags(argon) == STAGES["traditional"]
    rollout("apply", "half", "--force")
    assert flags(argon) == STAGES["half"]
    assert "the next one is 'new-branches'" in rollout("apply", "canary", status=5)
    assert "no stage 'nope'" in rollout("apply", "nope", status=3)


def test_what_was_changed_by_hand_is_shown_and_put_right(cluster, argon, rollout):
    rollout("apply", "traditional")
    rollout("apply", "canary")
    cluster.argon("config", "set", "wal.rollout_percent", "50")
    cluster.argon("config", "unset", "wal.cutoff")
    status = rollout("status")
    assert (status["stage"], status["drift"]) == ("canary", "wal.rollout_percent is 50, not 10 (catalog)")
    rollout("apply", "canary")
    assert rollout("status")["drift"] is None


def test_a_stage_of_another_file(argon, rollout, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("stages:\n  - name: mine\n    enabled: true\n    cutoff: 2027-01-01\n")
    rollout("apply", "mine", file=other)
    assert flags(argon)["wal.cutoff"] == "2027-01-01T00:00:00Z"
    assert rollout("status", file=other)["drift"] is None
    status = rollout("status")
    assert (status["stage"], status["in_file"], status["next"]) == ("mine", False, None)
    for arguments in (["plan"], ["rollback"], ["apply", "canary"]):
        assert "'mine'" in rollout(*arguments, status=5)
    rollout("apply", "canary", "--force")


WRONG_FILES = {
    "no stages": ("name: x\n", ":1: stages: expected a list of stages"),
    "empty": ("", ":1: stages: expected a list of stages"),
    "unknown key": ("stages:\n  - name: a\n    enabled: true\n    percentage: 3\n", ":4: percentage: expected name, enabled, percent"),
    "beside stages": ("stages:\n  - name: a\n    enabled: true\nother: 1\n", ":4: other: expected nothing beside stages"),
    "no name": ("stages:\n  - enabled: true\n", ":2: a stage has no name"),
    "not enabled": ("stages:\n  - name: a\n", ":2: stage 'a' does not say enabled"),
    "bad truth": ("stages:\n  - name: a\n    enabled: yes\n", ":3: enabled: expected true or false"),
    "bad percent": ("stages:\n  - name: a\n    enabled: true\n    percent: 101\n", ":4: percent: expected a whole number from 0 to 100"),
    "bad cutoff": ("stages:\n  - name: a\n    enabled: true\n    cutoff: 10m ago\n", ":4: cutoff: expected a time such as"),
    "twice": ("stages:\n  - name: a\n    enabled: true\n  - name: a\n    enabled: false\n", ":4: there is a stage 'a' already"),
    "no YAML": ("stages: [\n", ":2: "),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_named_with_line_and_key(argon, rollout, tmp_path, case):
    content, message = WRONG_FILES[case]
    path = tmp_path / "rollout.yaml"
    path.write_text(content)
    before = flags(argon)
    for arguments in (["status"], ["plan"], ["apply", "a"], ["rollback"]):
        assert f"{path}{message}" in rollout(*arguments, file=path, status=2)
    assert flags(argon) == before


def test_the_file_must_be_named_and_be_there(cluster, argon, rollout):
    assert "Say -f FILE" in cluster.argon("rollout", "status", check=False).stderr
    assert "/nowhere.yaml" in rollout("status", file="/nowhere.yaml", status=3)
