"""What docs/operations.md says of backups, and its commands."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

from harness import BIN, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()


def run_block(number, **environment):
    block = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[number]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", "-eu", "-c", block], capture_output=True, text=True, env=environment, timeout=120)


def test_a_copy_of_a_stopped_service_is_a_backup(cluster, argon):
    argon.insert_many("p", "c", [{"_id": i} for i in range(1000)])
    backup = cluster.directory / "backup"
    cluster.wal.stop()
    copied = run_block(0, DATA=str(cluster.data), BACKUP=str(backup))
    assert copied.returncode == 0, copied.stdout + copied.stderr
    cluster.wal.start()
    argon.insert("p", "c", {"_id": "later"})
    cluster.wal.stop()
    shutil.rmtree(cluster.data)
    backup.rename(cluster.data)
    cluster.wal.start()
    assert argon.count("p", "c") == 1000


def test_a_snapshot_of_a_running_service_has_all_that_was_acknowledged(cluster, argon):
    """The process stands still while its files are copied: to them that is an atomic snapshot, in the middle of writes."""
    acknowledged, stop = [], threading.Event()
    client = cluster.client()

    def write():
        while not stop.is_set():
            client.insert("p", "c", {"_id": len(acknowledged), "text": "x" * 2000}, timeout=60)
            acknowledged.append(len(acknowledged))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) > 200, "writes")
        cluster.wal.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: pathlib.Path(f"/proc/{cluster.wal.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", "it to stand still")
        had = len(acknowledged)
        backup = cluster.directory / "backup"
        shutil.copytree(cluster.data, backup)
        cluster.wal.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(acknowledged) > had + 10, "writes to go on")
    finally:
        stop.set()
        writer.join()
    verified = subprocess.run([str(BIN / "wal-service"), "--verify", str(backup)], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0, verified.stdout
    cluster.wal.stop()
    shutil.rmtree(cluster.data)
    backup.rename(cluster.data)
    cluster.wal.start()
    found = {document["_id"] for document in argon.find("p", "c")}
    assert set(range(had)) <= found and len(found) <= had + 1


def test_every_metric_that_the_page_names_exists():
    documented = set(re.findall(r"^\| `(\w+)` \| \w+ \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    named = set(re.findall(r"`((?:argon|process)_\w+)`", PAGE))
    assert len(named) >= 5 and named <= documented, named - documented


def test_every_event_that_the_page_names_is_written_somewhere():
    sources = "".join(path.read_text() for folder in ("common", "wal-service", "branch-service") for path in (ROOT / folder).rglob("*.c"))
    for event in set(re.findall(r"`((?:rpc|wal|config|service)\.[a-z_]+)`", PAGE)):
        assert f'"{event}"' in sources, event
