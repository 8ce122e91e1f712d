"""History, live changes and past states as people see them: log, watch, materialize, --at-time."""

import json
import os
import signal
import subprocess

from harness import BIN, wait_until


def lines(text):
    """The whole ones: the last may be on its way."""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Watch:
    """argon watch in the background; its lines go to a file."""

    def __init__(self, cluster, *arguments):
        self.out = cluster.directory / "watch.out"
        self.err = cluster.directory / "watch.err"
        environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "XDG_CONFIG_HOME": str(cluster.directory)}
        self.process = subprocess.Popen(
            [str(BIN / "argon"), "watch", "-p", "p", "-o", "ndjson", *arguments],
            stdout=open(self.out, "w"), stderr=open(self.err, "w"), env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it for what it runs in the background
        )

    def changes(self):
        return lines(self.out.read_text())

    def errors(self):
        return self.err.read_text()

    def wait_for(self, n):
        wait_until(lambda: len(self.changes()) >= n or self.process.poll() is not None, f"{n} changes", 60)
        assert len(self.changes()) >= n, self.errors()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 130
        return int(self.errors().split("--after-lsn ")[-1])


def log(cluster, *arguments):
    return lines(cluster.argon("log", "-p", "p", "-o", "ndjson", *arguments).stdout)


def test_a_log_is_newest_first_and_reaches_into_the_parent(cluster, argon):
    argon.insert("p", "c", {"_id": 1}, actor="ada")
    argon.create_branch("p", "dev")
    argon.insert("p", "c", {"_id": 99})  # behind the cut
    argon.update("p", "c", {"_id": 1}, {"$set": {"a": 1}}, branch="dev")
    argon.insert("p", "d", {"_id": "x"}, branch="dev")
    argon.delete("p", "c", {"_id": 1}, branch="dev")
    shown = log(cluster, "-b", "dev")
    documents = [(change["kind"], change["collection"], change["id"]) for change in shown if change["id"] is not None]
    assert documents == [("delete", "c", 1), ("insert", "d", "x"), ("update", "c", 1), ("insert", "c", 1)]
    assert [change["lsn"] for change in shown] == sorted({change["lsn"] for change in shown}, reverse=True)
    assert shown[-1]["actor"] == "ada" or shown[-2]["actor"] == "ada"
    assert log(cluster, "-b", "dev", "--reverse") == shown[::-1]
    assert log(cluster, "-b", "dev", "-n", "2") == shown[:2]
    assert log(cluster, "-b", "dev", "-n", "2", "--reverse") == shown[1::-1]
    # the insert into "d" made that collection in the same batch, and is not shown without it
    assert [change["kind"] for change in shown[:3]] == ["delete", "insert", "create-collection"]
    assert log(cluster, "-b", "dev", "--after-lsn", str(shown[2]["lsn"])) == shown[:3]
    assert log(cluster, "-b", "dev", "--after-lsn", str(shown[1]["lsn"])) == shown[:1]
    assert [change["kind"] for change in log(cluster, "-b", "dev", "--document-id", "1.0")] == ["delete", "update", "insert"]
    assert all(change["collection"] == "d" for change in log(cluster, "-b", "dev", "-c", "d"))
    updated = log(cluster, "-b", "dev", "--documents", "--document-id", "1")[1]
    assert updated["document"] == {"_id": 1, "a": 1}
    # strictly after the time of a change: it is the last batch at or before that time
    assert log(cluster, "-b", "dev", "--since", shown[1]["time"]) == shown[:1]


def test_a_log_finds_the_newest_of_many(cluster, argon):
    for first in range(0, 5000, 1000):
        argon.insert_many("p", "c", [{"_id": i} for i in range(first, first + 1000)])
    argon.insert("p", "rare", {"_id": 0})
    argon.insert_many("p", "c", [{"_id": i} for i in range(5000, 6000)])
    assert [change["id"] for change in log(cluster, "-n", "3")] == [5999, 5998, 5997]
    assert [change["id"] for change in log(cluster, "-c", "c", "--document-id", "5")] == [5]
    assert 0 in [change["id"] for change in log(cluster, "-c", "rare")]


def test_a_watch_survives_the_death_of_its_service(cluster, argon):
    watch = Watch(cluster, "-c", "c", "--after-lsn", "0")
    expected = 0
    for _ in range(3):
        for _ in range(20):
            argon.insert("p", "c", {"n": expected})
            expected += 1
        watch.wait_for(expected)
        cluster.branches[0].kill()
        wait_until(lambda: "going on behind LSN" in watch.errors(), "the loss to be told", 30)
        cluster.branches[0].start()
        argon = cluster.client()
    argon.insert("p", "c", {"n": expected})
    watch.wait_for(expected + 2)  # the making of the collection is a change too
    after = watch.interrupt()
    changes = [change for change in watch.changes() if change["kind"] == "insert"]
    assert [change["document"]["n"] for change in changes] == list(range(expected + 1))
    assert after >= changes[-1]["lsn"]
    assert "connected again" in watch.errors()

    argon.insert("p", "c", {"n": "later"})
    again = Watch(cluster, "-c", "c", "--after-lsn", str(after))
    again.wait_for(1)
    again.interrupt()
    assert [change["document"]["n"] for change in again.changes()] == ["later"]


def test_a_watch_begins_at_the_head_and_ends_with_the_branch(cluster, argon):
    argon.create_branch("p", "dev")
    argon.insert("p", "c", {"_id": "before"}, branch="dev")
    watch = Watch(cluster, "-b", "dev", "--no-documents")
    ids = []

    def seen():  # the watch asks for the head by itself: nobody knows when
        ids.append(len(ids))
        argon.insert("p", "c", {"_id": ids[-1]}, branch="dev")
        return watch.changes()

    wait_until(seen, "the first change", 60)
    wait_until(lambda: watch.changes()[-1]["id"] == ids[-1], "the last change", 60)
    shown = [change["id"] for change in watch.changes()]
    assert shown == list(range(shown[0], ids[-1] + 1))
    assert all("document" not in change for change in watch.changes())
    cluster.argon("branches", "delete", "dev", "-p", "p", "--yes")
    assert watch.process.wait(60) == 3
    assert "NOT_FOUND: branch 'dev' has been deleted" in watch.errors()


def test_a_log_follows(cluster, argon):
    argon.insert_many("p", "c", [{"_id": i} for i in range(30)])
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "XDG_CONFIG_HOME": str(cluster.directory)}
    process = subprocess.Popen(
        [str(BIN / "argon"), "log", "-p", "p", "-n", "3", "--follow", "-o", "ndjson"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )
    first = [json.loads(process.stdout.readline())["id"] for _ in range(3)]
    argon.insert("p", "c", {"_id": "new"})
    assert first == [27, 28, 29]
    assert json.loads(process.stdout.readline())["id"] == "new"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143 and "--after-lsn" in errors


def test_an_lsn_that_is_not_there_yet_is_refused(cluster, argon):
    result = cluster.argon("watch", "-p", "p", "--after-lsn", "999999", check=False)
    assert result.returncode == 2 and "OUT_OF_RANGE" in result.stderr


def test_a_branch_is_materialized(cluster, argon):
    argon.insert_many("p", "c", [{"_id": i} for i in range(500)])
    argon.insert("p", "d", {"_id": 1})
    cluster.branches[0].kill()
    cluster.branches[0].start()
    messages = lines(cluster.argon("materialize", "-p", "p", "-o", "ndjson").stdout)
    assert [p["collection"] for p in messages[0]["progress"]] == ["c", "d"]
    assert [messages[-1][key] for key in ("collections", "done", "entries")] == [2, 2, 501]
    done = [p for message in messages for p in message["progress"] if p["done"]]
    assert {p["collection"]: p["documents"] for p in done} == {"c": 500, "d": 1}
    rows = json.loads(cluster.argon("materialize", "d", "-p", "p", "-o", "json").stdout)
    assert [row["collection"] for row in rows] == ["d"]
    assert cluster.argon("materialize", "-p", "p", "-b", "no", check=False).returncode == 3


def test_states_are_read_by_time(cluster, argon):
    for value in (1, 2):
        cluster.argon("docs", "insert", "-p", "p", "c", json.dumps({"_id": value}))
        before = cluster.argon("branches", "get", "main", "-p", "p", "-o", "json")
        if value == 1:
            lsn = json.loads(before.stdout)["head_lsn"]
            # a time between the two, as this machine's clock has it: the services run here
            time = subprocess.run(["date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"], capture_output=True, text=True, check=True).stdout.strip()
    counts = cluster.argon("docs", "count", "-p", "p", "c", "--at-time", time, "-o", "json")
    assert json.loads(counts.stdout) == {"count": 1, "lsn": lsn}
    cluster.argon("branches", "create", "past", "-p", "p", "--at-time", time)
    assert lines(cluster.argon("docs", "find", "-p", "p", "-b", "past", "c", "-o", "ndjson").stdout) == [{"_id": 1}]
    exported = cluster.argon("export", "-p", "p", "-c", "c", "--at-time", time)
    assert lines(exported.stdout) == [{"_id": 1}]
    future = cluster.argon("docs", "count", "-p", "p", "c", "--at-time", "2999-01-01", check=False)
    assert future.returncode == 2 and "OUT_OF_RANGE" in future.stderr
    assert cluster.argon("docs", "count", "-p", "p", "c", "--stale-ok").stdout == "2\n"
    assert cluster.argon("collections", "list", "-p", "p", "--at-time", "1h ago").returncode == 0


def test_a_watch_goes_with_its_terminal(cluster, argon):
    argon.insert("p", "c", {"_id": 1})
    watch = Watch(cluster, "--after-lsn", "0")
    watch.wait_for(1)
    watch.process.send_signal(signal.SIGHUP)
    assert watch.process.wait(30) == -signal.SIGHUP
