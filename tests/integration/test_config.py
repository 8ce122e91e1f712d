"""The flags of new branches, and options from files, with real processes."""

import json
import os
import subprocess

import grpc
import pytest
from argon.branch.v1 import branch_pb2

from harness import BIN, Process, in_parallel, not_applied, wait_until

SOURCES = {value: name.removeprefix("CONFIG_SOURCE_").lower() for name, value in branch_pb2.ConfigSource.items()}

# key -> option, variable, default, and a value for each source, of which no two neighbours in precedence are the same
FLAGS = {
    "wal.enabled": ("enable-wal-branches", "ENABLE_WAL_BRANCHES", "true", {"file": "false", "environment": "true", "flag": "false", "catalog": "true"}),
    "wal.new_branches_only": (
        "wal-new-branches-only", "WAL_NEW_BRANCHES_ONLY", "true", {"file": "false", "environment": "true", "flag": "false", "catalog": "true"}),
    "wal.cutoff": (
        "wal-cutoff", "WAL_CUTOFF", "none",
        {"file": "2001-01-01T00:00:00Z", "environment": "2002-01-01T00:00:00Z", "flag": "2003-01-01T00:00:00Z", "catalog": "2004-01-01T00:00:00Z"}),
    "wal.rollout_percent": ("wal-rollout-percent", "WAL_ROLLOUT_PERCENT", "100", {"file": "1", "environment": "2", "flag": "3", "catalog": "4"}),
}
IN_ORDER = ["default", "file", "environment", "flag", "catalog"]


def config(client):
    return {value.key: (value.value, SOURCES[value.source]) for value in client.rpc.ListConfig().values}


def set_config(client, **options):
    values = options.pop("values")
    settings = [branch_pb2.ConfigSetting(key=key, value=value) for key, value in values.items()]
    return client.rpc.SetConfig(settings=settings, write=client.write(**options)).lsn


def config_again(client):
    """The config, once the services that were away are back."""

    def ask():
        try:
            return config(client)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
            return None

    return wait_until(ask, "the config again")


def start_with(cluster, monkeypatch, sources, directory):
    """A replica that gets all flags from each of the sources."""
    arguments = []
    if "file" in sources:
        path = directory / "branch.yaml"
        path.write_text("".join(f"{option}: {values['file']}\n" for option, _, _, values in FLAGS.values()))
        arguments += ["--config", str(path)]
    for option, variable, _, values in FLAGS.values():
        if "environment" in sources:
            monkeypatch.setenv(variable, values["environment"])
        else:
            monkeypatch.delenv(variable, raising=False)
        if "flag" in sources:
            arguments.append(f"--{option}={values['flag']}")
    return cluster.start_branch(*arguments)


@pytest.mark.parametrize("highest", range(len(IN_ORDER)), ids=IN_ORDER)
def test_each_source_wins_over_those_below(cluster, monkeypatch, tmp_path, highest):
    cluster.start_wal()
    sources = IN_ORDER[1 : highest + 1]
    client = cluster.client(start_with(cluster, monkeypatch, sources, tmp_path))
    if "catalog" in sources:
        set_config(client, values={key: values["catalog"] for key, (_, _, _, values) in FLAGS.items()})
    expected = {key: (values.get(IN_ORDER[highest], default), IN_ORDER[highest]) for key, (_, _, default, values) in FLAGS.items()}
    assert config(client) == {**expected, "rollout.stage": ("", "default")}
    if "catalog" in sources:  # what lies below comes up again, key by key
        client.rpc.UnsetConfig(keys=["wal.cutoff"])
        assert config(client)["wal.cutoff"] == ("2003-01-01T00:00:00Z", "flag")
        assert config(client)["wal.enabled"] == ("true", "catalog")


def test_the_catalog_is_for_all_replicas_and_survives(cluster, argon):
    set_config(argon, values={"wal.rollout_percent": "7", "wal.cutoff": "2027-01-01"})
    other = cluster.client(cluster.start_branch("--wal-rollout-percent", "50"))
    for client in (argon, other):
        assert config(client)["wal.rollout_percent"] == ("7", "catalog")
        assert client.rpc.GetConfig(key="wal.cutoff").value.value == "2027-01-01T00:00:00Z"
    cluster.wal.kill()
    cluster.wal.start()
    cluster.branches[1].kill()
    cluster.branches[1].start()
    assert config_again(other)["wal.rollout_percent"] == ("7", "catalog")
    other.rpc.UnsetConfig(keys=["wal.rollout_percent"])
    assert config(argon)["wal.rollout_percent"] == ("100", "default")
    assert config(other)["wal.rollout_percent"] == ("50", "flag")


WRONG = {
    "unknown key": ({"wal.enable": "true"}, "there is no key 'wal.enable'; there are wal.enabled, wal.new_branches_only, wal.cutoff"),
    "no truth": ({"wal.enabled": "yes"}, "wal.enabled: 'yes' is neither true nor false"),
    "over 100": ({"wal.rollout_percent": "101"}, "wal.rollout_percent: '101' is not a whole number from 0 to 100"),
    "no time": ({"wal.cutoff": "soon"}, "wal.cutoff: 'soon' is not a time"),
    "one wrong among right ones": ({"wal.enabled": "false", "wal.rollout_percent": "x"}, "wal.rollout_percent"),
    "nothing": ({}, "no key is given"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_change_nothing(argon, case):
    values, message = WRONG[case]
    before = config(argon)
    with pytest.raises(grpc.RpcError) as error:
        set_config(argon, values=values, request_id="r")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.value.details()
    assert not_applied(error.value)
    assert config(argon) == before


def test_a_key_twice_and_an_unknown_key_elsewhere(argon):
    twice = [branch_pb2.ConfigSetting(key="wal.enabled", value=value) for value in ("true", "false")]
    for call in (
        lambda: argon.rpc.SetConfig(settings=twice),
        lambda: argon.rpc.UnsetConfig(keys=["wal.enabled", "wal.enabled"]),
        lambda: argon.rpc.UnsetConfig(keys=["nope"]),
        lambda: argon.rpc.UnsetConfig(),
        lambda: argon.rpc.GetConfig(key="nope"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_setting_is_made_once(cluster, argon):
    other = cluster.client(cluster.start_branch())
    lsn = set_config(argon, values={"wal.rollout_percent": "10"}, request_id="ten")
    set_config(argon, values={"wal.rollout_percent": "20"})
    assert set_config(other, values={"wal.rollout_percent": "10"}, request_id="ten") == lsn
    assert config(argon)["wal.rollout_percent"] == ("20", "catalog")
    with pytest.raises(grpc.RpcError) as error:
        set_config(other, values={"wal.rollout_percent": "30"}, request_id="ten")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    same = set_config(argon, values={"wal.rollout_percent": "20"})  # so already: nothing is written
    assert set_config(other, values={"wal.rollout_percent": "20"}) == same


def test_requests_beside_each_other_leave_no_mixture(cluster, argon):
    other = cluster.client(cluster.start_branch())
    stages = [{"wal.enabled": "true", "wal.rollout_percent": "25"}, {"wal.enabled": "false", "wal.rollout_percent": "0"}]
    allowed = [{key: (value, "catalog") for key, value in stage.items()} for stage in stages]
    for start in ({"wal.enabled": "true", "wal.rollout_percent": "0"}, {"wal.enabled": "false", "wal.rollout_percent": "25"}):
        for _ in range(20):
            set_config(argon, values=start)
            in_parallel(lambda: set_config(argon, values=stages[0]), lambda: set_config(other, values=stages[1]))
            now = config(argon)
            assert {key: now[key] for key in start} in allowed


def test_without_the_log_nothing_is_said_of_the_config(cluster, argon):
    cluster.wal.kill()
    with pytest.raises(grpc.RpcError) as error:
        argon.rpc.ListConfig(timeout=2)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(grpc.RpcError) as error:
        argon.create_branch("p", "b", timeout=2)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    cluster.wal.start()
    assert config_again(argon)["wal.enabled"] == ("true", "default")


# ---- files of options --------------------------------------------------------------------------------------


def test_a_service_starts_from_a_file_alone(tmp_path):
    wal_file, branch_file = tmp_path / "wal.yaml", tmp_path / "branch.yaml"
    wal_file.write_text(f"data: {tmp_path / 'data'}\nmax-calls: 100\n")
    wal = Process(tmp_path, "wal", ["--config", str(wal_file)]).start()
    try:
        branch_file.write_text(f"wal: {wal.address}\nmemory: 64M\nmax-follows: 3\n")
        branch = Process(tmp_path, "branch", ["--config", str(branch_file)]).start()
        try:
            assert branch.events("branch.started")[0]["memory_bytes"] == 64 * 1024 * 1024
            status = json.loads(
                subprocess.run(
                    [str(BIN / "argon"), "status", "-o", "json", "--endpoint", branch.address],
                    capture_output=True, text=True, check=True, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
                ).stdout
            )
            assert status["wal_reachable"] and status["memory_budget_bytes"] == 64 * 1024 * 1024
        finally:
            branch.stop()
    finally:
        wal.stop()


BAD_FILES = {
    "unknown key": ("branch-service", "memory: 64M\nmemroy: 1G\n", ":2: there is no option 'memroy'"),
    "an option of the other service": ("wal-service", "memory: 512M\nwal-cutoff: 2027-01-01\n", ":2: there is no option 'wal-cutoff'"),
    "bad value": ("branch-service", "workers: many\n", ":1: workers: 'many' is not a whole number"),
    "bad cutoff": ("branch-service", "workers: 4\n\nwal-cutoff: soon\n", ":3: wal-cutoff: 'soon' is not a time"),
    "out of range": ("branch-service", "wal-rollout-percent: 101\n", ":1: wal-rollout-percent: 101 is outside 0..100"),
    "no YAML": ("branch-service", "listen: 'unfinished\n", ":2: found unexpected end of stream"),
    "no YAML for the log": ("wal-service", "a: b: c\n", ":1: mapping values are not allowed in this context"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_ends_the_start_with_file_line_and_key(tmp_path, case):
    program, content, message = BAD_FILES[case]
    path = tmp_path / "options.yaml"
    path.write_text(content)
    result = subprocess.run([str(BIN / program), "--config", str(path)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert f"{path}{message}" in result.stderr


@pytest.mark.parametrize(
    "arguments, environment, message",
    [
        (["--wal-rollout-percent", "101"], {}, "option --wal-rollout-percent: 101 is outside 0..100"),
        (["--wal-cutoff", "soon"], {}, "option --wal-cutoff: 'soon' is not a time"),
        (["--enable-wal-branches=maybe"], {}, "option --enable-wal-branches: 'maybe' is neither true nor false"),
        ([], {"WAL_ROLLOUT_PERCENT": "-1"}, "environment variable WAL_ROLLOUT_PERCENT: '-1' is not a whole number"),
        ([], {"WAL_CUTOFF": "2027-02-30"}, "environment variable WAL_CUTOFF: '2027-02-30' is not a time"),
        ([], {"ENABLE_WAL_BRANCHES": "1"}, "environment variable ENABLE_WAL_BRANCHES: '1' is neither true nor false"),
        (["--config", "/nowhere.yaml"], {}, "/nowhere.yaml: No such file"),
    ],
)
def test_bad_flags_end_the_start(arguments, environment, message):
    result = subprocess.run(
        [str(BIN / "branch-service"), *arguments], capture_output=True, text=True, timeout=30, env={**os.environ, **environment}
    )
    assert result.returncode == 2
    assert message in result.stderr


# ---- the command line --------------------------------------------------------------------------------------


def test_config_by_hand(cluster, argon):
    cluster.start_branch("--wal-rollout-percent", "50", "--no-enable-wal-branches")
    assert "within a second" in cluster.argon("config", "set", "wal.new_branches_only", "false").stdout
    shown = json.loads(cluster.argon("config", "get", "wal.new_branches_only", "-o", "json").stdout)
    assert shown == {"key": "wal.new_branches_only", "value": "false", "source": "catalog"}
    endpoints = [process.address for process in cluster.branches]
    rows = json.loads(cluster.argon("config", "list", "-o", "json", endpoint=",".join(endpoints)).stdout)
    seen = {(row["replica"], row["key"]): (row["value"], row["source"]) for row in rows}
    assert len(rows) == len(seen) == 10
    assert seen[endpoints[0], "wal.rollout_percent"] == ("100", "default")
    assert seen[endpoints[1], "wal.rollout_percent"] == ("50", "flag")
    assert seen[endpoints[1], "wal.enabled"] == ("false", "flag")
    for endpoint in endpoints:
        assert seen[endpoint, "wal.new_branches_only"] == ("false", "catalog")
    assert json.loads(cluster.argon("config", "unset", "wal.new_branches_only", "-o", "json").stdout)["unset"]
    assert json.loads(cluster.argon("config", "get", "wal.new_branches_only", "-o", "json").stdout)["source"] == "default"
    for arguments in (["set", "wal.nope", "1"], ["set", "wal.enabled", "maybe"], ["set", "wal.enabled"], ["get", "nope"], ["unset", "nope"]):
        assert cluster.argon("config", *arguments, check=False).returncode == 2
