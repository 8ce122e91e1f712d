"""wal-service --verify, over a log whose old segments have been sealed and compressed under load."""

import hashlib
import json
import subprocess

from harness import BIN, wait_until
from test_log_under_attack import append, batches_in


def verify(cluster, *arguments):
    return subprocess.run([str(BIN / "wal-service"), "--verify", str(cluster.data), *arguments], capture_output=True, text=True, timeout=60)


def sums(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_a_log_is_compressed_served_and_checked(cluster):
    arguments = ["--segment-bytes", "1M", "--compress-after", "1"]
    cluster.start_wal(*arguments)
    client = cluster.wal_client()
    names = [f"b{i}" for i in range(60)]
    for name in names:
        assert append(client, "p", name, padding=b"x" * 100_000).code == 0
    wait_until(lambda: len(list(cluster.data.glob("*.zst"))) >= 3, "three segments to be compressed")
    assert sorted(batches_in(client, "p")) == sorted(names)

    running = verify(cluster)
    assert running.returncode == 1 and "locked by process" in running.stderr
    cluster.wal.stop()
    before = sums(cluster.data)
    checked = verify(cluster)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    lines = checked.stdout.splitlines()
    assert " 0 damaged;" in lines[-1]
    states = [line.split()[1] for line in lines[:-1]]
    assert states.count("compressed") >= 3 and states[-1] == "active"
    assert verify(cluster, "-o", "xml").returncode == 2

    packed = min(cluster.data.glob("*.zst"))
    whole = packed.read_bytes()
    at = len(whole) // 2
    packed.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    damaged = verify(cluster, "-o", "json")
    assert damaged.returncode == 1
    *segments, summary = [json.loads(line) for line in damaged.stdout.splitlines()]
    assert summary["damaged"] == 1
    (bad,) = [segment for segment in segments if not segment["ok"]]
    assert bad["file"] == packed.name and bad["state"] == "compressed" and f"{packed.name}, byte " in bad["damage"]
    packed.write_bytes(whole)
    assert sums(cluster.data) == before

    cluster.wal.start()
    assert sorted(batches_in(cluster.wal_client(), "p")) == sorted(names)
