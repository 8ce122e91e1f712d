"""The command line as people and scripts use it."""

import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from gate import Gate
from harness import BIN, wait_until


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_the_main_job_by_hand(cluster, argon):
    cluster.argon("projects", "create", "shop")
    cluster.argon("docs", "insert", "-p", "shop", "-b", "main", "items", '{"_id":"tea","price":3}', '{"_id":"cup","price":5}')
    cluster.argon("branches", "create", "sale", "-p", "shop")
    cluster.argon("docs", "update", "-p", "shop", "-b", "sale", "items", '{"_id":"tea"}', '{"$inc":{"price":-1}}')
    sale = lines(cluster.argon("docs", "find", "-p", "shop", "-b", "sale", "items", "-o", "ndjson").stdout)
    assert sale == [{"_id": "cup", "price": 5}, {"_id": "tea", "price": 2}]
    main = json.loads(cluster.argon("docs", "find", "-p", "shop", "items", '{"_id":"tea"}', "-o", "json").stdout)
    assert main == [{"_id": "tea", "price": 3}]
    lsn = json.loads(cluster.argon("docs", "delete", "-p", "shop", "items", "{}", "--many", "-o", "json").stdout)["lsn"]
    assert json.loads(cluster.argon("docs", "count", "-p", "shop", "items", "-o", "json").stdout)["count"] == 0
    past = cluster.argon("docs", "count", "-p", "shop", "items", "--at-lsn", str(lsn - 2), "-o", "json")
    assert json.loads(past.stdout)["count"] == 2


def test_branches_get_shows_what_scripts_rely_on(cluster, argon):
    cluster.argon("branches", "create", "dev", "-p", "p")
    branch = json.loads(cluster.argon("branches", "get", "dev", "-p", "p", "-o", "json").stdout)
    assert {"id", "name", "parent", "base_lsn", "head_lsn", "use_wal", "created_at"} <= set(branch)
    assert (branch["name"], branch["parent"], branch["use_wal"]) == ("dev", "main", True)
    assert "[WAL]" in cluster.argon("branches", "list", "-p", "p", "--show-type").stdout


@pytest.mark.parametrize(
    "arguments, status",
    [
        (["projects", "create", "p"], 4),
        (["branches", "get", "nope", "-p", "p"], 3),
        (["docs", "find", "-p", "nope", "c"], 3),
        (["docs", "find", "-p", "p", "c", "--bogus"], 2),
        (["docs", "find", "-p", "p", "c", "{not json"], 2),
        (["docs", "find", "-p", "p", "c", "--at-lsn", "999999"], 2),
        (["branches", "delete", "main", "-p", "p", "--yes"], 5),
        (["nope"], 2),
        ([], 2),
    ],
)
def test_exit_codes(cluster, argon, arguments, status):
    result = cluster.argon(*arguments, check=False)
    assert result.returncode == status, result.stderr
    assert result.stderr.strip()


def test_an_endpoint_where_nobody_listens(cluster, argon):
    result = cluster.argon("projects", "list", "--timeout", "1s", check=False, endpoint="127.0.0.1:1")
    assert result.returncode == 6
    assert "127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    "command",
    [["docs", "find", "c"], ["docs", "count", "c"], ["export", "-c", "c"], ["collections", "list"], ["branches", "create", "early"]],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_state_before_all_writes_is_not_the_present(cluster, argon, command):
    argon.insert_many("p", "c", [{"_id": 1}])
    result = cluster.argon(*command, "-p", "p", "--at-lsn", "0", check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--at-lsn: 0 is outside 1.." in result.stderr


LOG_USERS = [
    ["docs", "find", "c"], ["docs", "count", "c"], ["docs", "insert", "c", "{}"], ["projects", "list"], ["collections", "list"], ["log"], ["watch"],
]  # fmt: skip


@pytest.mark.parametrize("command", LOG_USERS, ids=" ".join)
def test_a_log_that_is_away_is_named(cluster, argon, command):
    argon.insert_many("p", "c", [{"_id": 1}])
    cluster.wal.kill()
    result = cluster.argon(*command, "-p", "p", "--timeout", "1s", check=False)
    assert result.returncode == 6
    assert "WAL service: " in result.stderr and cluster.wal.address in result.stderr, result.stderr


@pytest.mark.parametrize(
    "command",
    [["docs", "find", "c"], ["docs", "aggregate", "c", "[]"], ["docs", "count", "c"], ["export", "-c", "c"], ["materialize"]],
    ids=lambda command: " ".join(command[:2]),
)
def test_stale_reads_need_no_log(cluster, argon, command):
    argon.insert_many("p", "c", [{"_id": 1}])
    assert json.loads(cluster.argon("docs", "count", "c", "-p", "p", "-o", "json").stdout)["count"] == 1
    cluster.wal.kill()
    read = cluster.argon(*command, "-p", "p", "--stale-ok", "--timeout", "5s", check=False)
    assert read.returncode == 0, read.stderr
    assert "1" in read.stdout
    gone = cluster.argon(*command, "-p", "p", "-b", "nope", "--stale-ok", "--timeout", "5s", check=False)
    assert gone.returncode == 3 and "branch 'nope' does not exist" in gone.stderr


@pytest.mark.parametrize(
    "command", [["docs", "find", "c"], ["docs", "count", "c"], ["export", "-c", "c"], ["materialize"], ["log"]], ids=lambda command: " ".join(command[:2])
)
def test_an_lsn_that_does_not_come_is_waited_for_no_longer_than_said(cluster, argon, command):
    argon.insert_many("p", "c", [{"_id": 1}])
    began = time.monotonic()
    read = cluster.argon(*command, "-p", "p", "--min-lsn", "1000", "--timeout", "1s", check=False)
    assert read.returncode == 6 and "min_lsn 1000 is not visible yet: the project is at 2" in read.stderr
    assert time.monotonic() - began < 20


def test_an_lsn_that_does_not_come_is_waited_for_30_seconds(cluster, argon):
    argon.insert_many("p", "c", [{"_id": 1}])
    read = cluster.argon("docs", "find", "c", "-p", "p", "--min-lsn", "1000", check=False, timeout=60)
    assert read.returncode == 6 and "min_lsn 1000 is not visible yet: the project is at 2" in read.stderr


def test_the_newest_changes_are_those_of_the_lsn_that_was_waited_for(cluster, argon):
    argon.insert_many("p", "c", [{"_id": 1}])
    head = argon.head("p")
    process = subprocess.Popen(
        [str(BIN / "argon"), "log", "-n", "1", "-p", "p", "--min-lsn", str(head + 1), "-o", "ndjson"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address},
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    argon.insert_many("p", "c", [{"_id": 2}])
    output, _ = process.communicate(timeout=30)
    assert [change["lsn"] for change in lines(output)] == [head + 1]


def test_a_time_that_has_not_come_is_refused(cluster, argon):
    argon.insert_many("p", "c", [{"_id": 1}])
    for command in (["docs", "find", "c", "--at-time"], ["branches", "create", "b", "--at-time"], ["log", "--since"]):
        early = cluster.argon(*command, "2099-01-01", "-p", "p", check=False)
        assert early.returncode == 2 and "the time 2099-01-01T00:00:00Z has not come: the clock is at 20" in early.stderr


@pytest.mark.parametrize(
    "command, code, says",
    [
        (["import", "FOLDER", "-c", "c"], 2, "INVALID_ARGUMENT: 'FOLDER' is a directory"),
        (["import", "FILE/in", "-c", "c"], 3, "NOT_FOUND: cannot open 'FILE/in': Not a directory"),
        (["import", "FOLDER/none", "-c", "c"], 3, "NOT_FOUND: cannot open 'FOLDER/none': No such file or directory"),
        (["import", "mongodump", "FILE/in"], 3, "NOT_FOUND: cannot open 'FILE/in': Not a directory"),
        (["docs", "bulk-write", "c", "FOLDER"], 2, "INVALID_ARGUMENT: 'FOLDER' is a directory"),
        (["export", "FOLDER", "-c", "c"], 2, "INVALID_ARGUMENT: cannot write 'FOLDER': Is a directory"),
        (["export", "FILE/out", "-c", "c"], 3, "NOT_FOUND: cannot write 'FILE/out': Not a directory"),
        (["export", "mongodump", "FOLDER", "--archive"], 2, "INVALID_ARGUMENT: cannot write 'FOLDER': Is a directory"),
        (["export", "mongodump", "FILE/out"], 3, "NOT_FOUND: cannot make 'FILE/out': Not a directory"),
        (["rollout", "plan", "-f", "FILE/in"], 3, "NOT_FOUND: FILE/in: Not a directory"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_file_that_is_named_wrong_is_no_internal_error(cluster, argon, tmp_path, command, code, says):
    argon.insert_many("p", "c", [{"_id": 1}])
    (tmp_path / "file").write_text("")

    def place(text):
        return text.replace("FOLDER", str(tmp_path)).replace("FILE", str(tmp_path / "file"))

    result = cluster.argon(*map(place, command), "-p", "p", check=False)
    assert (result.returncode, result.stderr) == (code, f"argon: {place(says)}\n")


def test_a_file_that_may_not_be_read_is_the_users_to_mend(cluster, argon, tmp_path):
    (tmp_path / "in").write_text('{"_id":1}')
    refuse = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(tmp_path / "in"), "-e", "trace=openat", "-e", "inject=openat:error=EACCES"]
    result = subprocess.run(
        [*refuse, str(BIN / "argon"), "import", str(tmp_path / "in"), "-c", "c", "-p", "p"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    assert (result.returncode, result.stderr) == (2, f"argon: PERMISSION_DENIED: cannot open '{tmp_path}/in': Permission denied\n")


@pytest.mark.parametrize("endpoint", ["", "nowhere", "127.0.0.1:99999", "http://127.0.0.1:7800", "127.0.0.1:7800,"])
def test_an_endpoint_that_is_no_address(cluster, argon, endpoint):
    result = cluster.argon("projects", "list", "--endpoint", endpoint, check=False)
    assert result.returncode == 2
    assert f"endpoint {endpoint}: " in result.stderr and "is not HOST:PORT" in result.stderr


def test_a_repetition_that_nobody_answered_stays_unknown(cluster, argon):
    """The first copy may have been applied: that the second was never sent says nothing of it."""
    cluster.wal.kill()
    arguments = ["docs", "insert", "-p", "p", "c", '{"_id":1}', "--timeout", "1s"]
    fresh = cluster.argon(*arguments, check=False)
    assert fresh.returncode == 6 and "unknown" not in fresh.stderr
    repeated = cluster.argon(*arguments, "--request-id", "mine", check=False, endpoint="127.0.0.1:1")
    assert repeated.returncode == 6 and "--request-id mine" in repeated.stderr
    cluster.wal.start()


def test_help_has_an_example_everywhere(cluster, argon):
    assert "exit" in cluster.argon("--help").stdout.lower()
    for command in ("projects create", "branches create", "collections rename", "docs find", "import", "export", "status"):
        assert "xample" in cluster.argon(*command.split(), "--help").stdout


def test_import_and_export_round_trip(cluster, argon, tmp_path):
    documents = [{"_id": i, "big": {"$numberLong": str(i)}, "half": i + 0.5, "when": {"$date": "2020-01-01T00:00:00Z"}} for i in range(2500)]
    source = tmp_path / "in.json"
    source.write_text(json.dumps(documents, indent=1))
    out = cluster.argon("import", str(source), "-p", "p", "-c", "c")
    assert "2500" in out.stdout + out.stderr
    target = tmp_path / "out.ndjson"
    cluster.argon("export", "-p", "p", "-c", "c", str(target), "--canonical")
    assert len(target.read_text().splitlines()) == 2500
    again = cluster.argon("import", "-", "-p", "p", "-c", "copy", input=target.read_text())
    assert again.returncode == 0
    first = cluster.argon("export", "-p", "p", "-c", "c", "-", "--canonical").stdout
    second = cluster.argon("export", "-p", "p", "-c", "copy", "-", "--canonical").stdout
    assert first == second == target.read_text()


def test_import_says_how_far_it_got(cluster, argon, tmp_path):
    source = tmp_path / "in.ndjson"
    source.write_text('{"_id":1}\n{"_id":2}\n{"_id":1}\n')
    failed = cluster.argon("import", str(source), "-p", "p", "-c", "c", check=False)
    assert failed.returncode == 4
    skipped = cluster.argon("import", str(source), "-p", "p", "-c", "c", "--on-duplicate", "skip")
    assert "1" in skipped.stdout + skipped.stderr
    assert json.loads(cluster.argon("docs", "count", "-p", "p", "c", "-o", "json").stdout)["count"] == 2
    source.write_text('{"_id":10}\n{"_id":11}\n{"_id": broken}\n')
    broken = cluster.argon("import", str(source), "-p", "p", "-c", "c", check=False)
    assert broken.returncode == 2
    assert "3" in broken.stderr


def test_export_to_a_full_disk_is_a_failure(cluster, argon):
    argon.insert_many("p", "c", [{"_id": i, "x": "y" * 1000} for i in range(100)])
    result = subprocess.run(
        [str(BIN / "argon"), "export", "-p", "p", "-c", "c", "-"], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address}, timeout=60,
    )
    assert result.returncode != 0 and result.stderr


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1"])
def test_export_into_a_pipe(cluster, argon, path):
    """As bash's >(gzip > x.gz) is one."""
    argon.insert_many("p", "c", [{"_id": 1}])
    assert cluster.argon("export", "-p", "p", "-c", "c", path).stdout.startswith('{"_id":1}\n')


@pytest.mark.parametrize("command", [["export", "-c", "c"], ["export", "mongodump"], ["export", "mongodump", "--archive"]], ids=" ".join)
def test_an_interrupted_export_leaves_nothing(cluster, argon, tmp_path, command):
    folder = tmp_path / "exported"
    folder.mkdir()
    argon.insert_many("p", "c", [{"_id": i, "x": "y" * 1000} for i in range(5000)])
    gate = Gate(cluster.branches[0].address)
    gate.shut(after=1 << 20)
    process = subprocess.Popen(
        [str(BIN / "argon"), *command, "-p", "p", str(folder / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ARGON_ENDPOINT": gate.address},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it for what it runs in the background
    )
    wait_until(gate.is_held, "the export to be in the middle")
    wait_until(lambda: any(path.is_file() for path in folder.rglob("*")), "its file")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    gate.close()
    assert process.returncode == 130 and errors == "argon: interrupted; nothing was exported\n"
    assert [path for path in folder.rglob("*") if path.is_file() or path.name.startswith(".")] == []


def test_deleting_asks_on_a_terminal(cluster, argon):
    def answer(text):
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            [str(BIN / "argon"), "projects", "delete", "p"], stdin=terminal, stdout=terminal, stderr=terminal,
            env={**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address},
        )
        os.close(terminal)
        seen = b""
        while b"?" not in seen:
            assert select.select([controller], [], [], 30)[0], "it did not ask"
            seen += os.read(controller, 1024)
        os.write(controller, text)
        process.wait(30)
        os.close(controller)
        return process.returncode

    assert answer(b"n\n") != 0
    assert argon.rpc.GetProject(name="p").project.name == "p"
    assert answer(b"y\n") == 0
    assert "p" not in [project.name for project in argon.rpc.ListProjects().projects]


@pytest.mark.parametrize(
    "command",
    [["projects", "delete", "p"], ["branches", "delete", "b"], ["collections", "drop", "c"], ["branches", "delete-base", "x"], ["migrate", "confirm"]],
    ids=" ".join,
)
def test_without_a_terminal_nothing_is_deleted_that_nobody_said_yes_to(cluster, argon, command):
    argon.insert_many("p", "c", [{"_id": 1}])
    argon.create_branch("p", "b")
    result = cluster.argon(*command, "-p", "p", input="y\n", check=False)
    assert result.returncode == 2 and "say --yes" in result.stderr
    assert [branch.name for branch in argon.rpc.ListBranches(project="p").branches] == ["b", "main"]
    assert argon.collections("p") == ["c"]


def test_status_shows_both_services(cluster, argon):
    status = json.loads(cluster.argon("status", "-o", "json").stdout)
    assert str(cluster.data) in json.dumps(status)


def test_writes_outlive_a_restart_of_the_wal_service(cluster, argon):
    cluster.wal.kill()
    process = subprocess.Popen(
        [str(BIN / "argon"), "docs", "insert", "-p", "p", "c", '{"_id":1}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address},
    )
    cluster.wal.start()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert argon.count("p", "c") == 1
