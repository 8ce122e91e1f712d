"""The service goes away in the middle of a long answer to the command line."""

import json
import os
import subprocess

import pytest

from gate import Gate
from harness import BIN, wait_until
from traditional import create, start

DOCUMENTS = 30_000


def fill(client, branch):
    for first in range(0, DOCUMENTS, 5000):
        client.insert_many("p", "items", [{"_id": i, "text": "t" * 200} for i in range(first, first + 5000)], branch=branch)


@pytest.fixture
def gate(cluster, mongo_server):
    start(cluster, mongo_server(hasty=True))
    gate = Gate(cluster.branches[0].address)
    yield gate
    gate.close()


def begin(gate, branch, *arguments):
    """A command that has got a part of its answer, and waits for the rest."""
    gate.shut(after=500_000)
    process = subprocess.Popen(
        [str(BIN / "argon"), *arguments, "-p", "p", "-b", branch, "--timeout", "60s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ARGON_ENDPOINT": gate.address},
    )
    wait_until(gate.is_held, "the answer to be held up")
    return process


@pytest.mark.parametrize("command", [("docs", "find", "items", "-o", "ndjson"), ("docs", "find", "items", "--limit", "29000", "-o", "ndjson")])
def test_on_a_wal_branch_it_goes_on_in_the_same_state(cluster, gate, command):
    fill(cluster.clients[0], "main")
    process = begin(gate, "main", *command)
    cluster.clients[0].delete("p", "items", {"_id": {"$in": [5, 29_000 - 1]}}, many=True)
    cluster.clients[0].insert("p", "items", {"_id": 0.5})
    cluster.branches[0].kill()
    cluster.branches[0].start()
    gate.open()
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert [json.loads(line)["_id"] for line in out.splitlines()] == list(range(29_000 if "--limit" in command else DOCUMENTS))


def test_on_a_traditional_branch_it_says_that_it_broke(cluster, gate, tmp_path):
    create(cluster.clients[0], "old")
    fill(cluster.clients[0], "old")
    file = tmp_path / "items.ndjson"
    process = begin(gate, "old", "export", str(file), "-c", "items")
    cluster.branches[0].kill()
    cluster.branches[0].start()
    gate.open()
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "UNAVAILABLE: broken off after " in errors and "a traditional branch has no state to go on in" in errors
    assert not file.exists()
    assert "endpoint" not in errors  # the service is where it is looked for
    assert cluster.argon("export", str(file), "-c", "items", "-p", "p", "-b", "old").returncode == 0
    assert len(file.read_text().splitlines()) == DOCUMENTS
