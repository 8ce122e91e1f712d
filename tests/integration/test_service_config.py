"""Options of the services: printed, checked, read again, and the page that lists them."""

import os
import pathlib
import signal
import subprocess

import pytest

from harness import BIN, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = {"wal-service": ["--data", "nowhere"], "branch-service": []}


def run(program, *arguments, **environment):
    return subprocess.run([str(BIN / program), *arguments], capture_output=True, text=True, timeout=30, env={**os.environ, **environment})


def settings(printed):
    """name -> (value, source)"""
    lines = [line.split(" # ") for line in printed.splitlines()]
    return {text.split(": ", 1)[0]: (text.split(": ", 1)[1], source) for text, source in lines}


@pytest.mark.parametrize("page", ["configuration", "metrics"])
def test_the_page_is_what_the_tables_say(page):
    printed = subprocess.run(
        [str(ROOT / "scripts/write-docs.sh"), "--print", page], capture_output=True, text=True, check=True, env={**os.environ, "ARGON_BIN": str(BIN)}
    )
    assert printed.stdout == (ROOT / f"docs/{page}.md").read_text(), "run scripts/write-docs.sh"


@pytest.mark.parametrize("program", DATA)
def test_what_is_printed_is_a_file_of_options_and_says_where_each_comes_from(program, tmp_path):
    prefix = "ARGON_WAL_" if program == "wal-service" else "ARGON_BRANCH_"
    path = tmp_path / "a.yaml"
    path.write_text("max-calls: 99\nkeepalive: 90s\n")
    arguments = [*DATA[program], "--config", str(path), "--grace", "1500ms", "--port-file", "it's: here"]
    printed = run(program, *arguments, "--print-config", **{prefix + "WORKERS": "7", prefix + "KEEPALIVE": "2m"})
    assert printed.returncode == 0, printed.stderr
    found = settings(printed.stdout)
    assert found["max-calls"] == ("99", f"{path}:1")
    assert found["keepalive"] == ("2m", prefix + "KEEPALIVE")
    assert found["workers"] == ("7", prefix + "WORKERS")
    assert found["grace"] == ("1500ms", "--grace")
    assert found["connection-age"] == ("5m", "default")
    assert not {"config", "version", "print-config", "verify"} & set(found)
    again = tmp_path / "again.yaml"
    again.write_text(printed.stdout)
    values = {name: value for name, (value, _) in found.items()}
    reprinted = settings(run(program, "--config", str(again), "--print-config").stdout)
    assert {name: value for name, (value, _) in reprinted.items()} == values
    assert all(source.startswith(str(again)) for _, source in reprinted.values())


@pytest.mark.parametrize("program", DATA)
def test_every_option_has_a_variable(program):
    """Set to what no option takes, each is named as wrong: numbers, durations and truths by themselves, texts in what they are for."""
    reference = run(program, "--print-reference", "configuration").stdout.split("For the command line only")[0]
    rows = [[cell.strip(" `") for cell in line.split(" | ")] for line in reference.splitlines() if line.startswith("| `")]
    assert len(rows) > 15
    for option, variable, kind, *_ in rows:
        option = option.lstrip("| `")
        if kind in ("text", "URI") and option not in ("listen", "metrics-address", "log-level", "wal-cutoff", "mongodb", "wal"):
            printed = settings(run(program, *DATA[program], "--print-config", **{variable: "thisone"}).stdout)
            assert printed[option][1] == variable or DATA[program][:1] == [f"--{option}"], option
            continue
        wrong = run(program, *DATA[program], "--check-config", **{variable: "this-one"})
        assert wrong.returncode == 2, option
        assert variable in wrong.stderr or f"--{option}" in wrong.stderr, wrong.stderr


WRONG = {
    "not loopback": (["--listen", "0.0.0.0:1"], "--listen: listen address '0.0.0.0:1' is not loopback"),
    "no such level": (["--log-level", "loud"], "--log-level: 'loud' is none of debug, info, warn, error"),
    "no address": (["--metrics-address", "here"], "--metrics-address: listen address 'here' is not HOST:PORT"),
    "no number": (["--max-calls", "many"], "option --max-calls: 'many' is not a whole number"),
    "out of range": (["--grace", "2h"], "option --grace: 2h is outside"),
    "unknown": (["--max-call", "1"], "unknown option '--max-call'"),
}


@pytest.mark.parametrize("program", DATA)
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_refused_with_what_is_wrong(program, case):
    arguments, message = WRONG[case]
    checked = run(program, *DATA[program], *arguments, "--check-config")
    assert checked.returncode == 2
    assert message in checked.stderr


def test_what_is_wrong_is_named_where_it_stands(tmp_path):
    path = tmp_path / "a.yaml"
    for line, message in (
        ("log-level: loud", "log-level: 'loud' is none of"),
        ("listen: nowhere", "listen: listen address 'nowhere' is not HOST:PORT"),
        ("wal: nowhere", "wal: 'nowhere' is not HOST:PORT"),
        ("mongodb: http://x", "mongodb: "),
        ("mongodb: mongodb://h/bad.name", "mongodb: "),
        ("grace: soon", "grace: 'soon' is not a duration"),
    ):
        path.write_text(f"workers: 4\n{line}\n")
        wrong = run("branch-service", "--config", str(path), "--check-config")
        assert wrong.returncode == 2 and f"{path}:2: {message}" in wrong.stderr, wrong.stderr
    wrong = run("branch-service", "--check-config", ARGON_BRANCH_METRICS_ADDRESS="x")
    assert "environment variable ARGON_BRANCH_METRICS_ADDRESS: " in wrong.stderr


def test_a_right_configuration_starts_nothing(tmp_path):
    data = tmp_path / "data"
    assert run("wal-service", "--data", str(data), "--check-config").returncode == 0
    assert run("branch-service", "--check-config", "--mongodb", "mongodb://127.0.0.1:1/db").returncode == 0
    assert not data.exists()
    assert "--data DIR is required" in run("wal-service", "--check-config").stderr
    assert "--mongodb" in run("branch-service", "--check-config", "--mongodb", "http://x").stderr


def test_what_is_for_the_command_line_is_refused_in_a_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("workers: 4\nversion: true\n")
    refused = run("branch-service", "--config", str(path), "--check-config")
    assert refused.returncode == 2
    assert f"{path}:2: 'version' is for the command line only" in refused.stderr


@pytest.mark.parametrize(
    "uri", ["mongodb://argon:hunter2@h:1/db", "mongodb://argon:hunter2@h/?x=1", "mongodb://h:1/db?tlsCertificateKeyFilePassword=hunter2"]
)
def test_passwords_are_not_printed(uri):
    printed = run("branch-service", "--print-config", ARGON_MONGODB=uri)
    assert printed.returncode == 0
    assert "hunter2" not in printed.stdout + printed.stderr
    assert settings(printed.stdout)["mongodb"][0].startswith("'mongodb://")


def test_the_log_level_is_read_again(cluster, tmp_path):
    path = tmp_path / "branch.yaml"
    path.write_text("log-level: error\n")
    cluster.start_wal()
    branch = cluster.start_branch("--config", str(path))
    assert not branch.events("branch.started")  # below the level

    def reload(text, event):
        path.write_text(text)
        seen = len(branch.events(event))
        branch.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(branch.events(event)) > seen, event)
        return branch.events(event)[-1]

    assert reload("log-level: info\nslow-request: 20ms\n", "config.reloaded")["slow_request_ms"] == 20
    failed = reload("log-level: loud\n", "config.reload_failed")
    assert "'loud'" in failed["error"]
    cluster.client().rpc.ListProjects()  # it goes on as before
    assert reload("log-level: debug\n", "config.reloaded")["log_level"] == "debug"
    branch.stop()
    assert branch.events("branch.stopped")
