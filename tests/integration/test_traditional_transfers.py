"""Imports into traditional branches, which take no request_ids, and what comes out of them, which has no LSNs."""

import json
import os
import signal
import subprocess

import bson
import pytest

import dumps
from harness import BIN, wait_until
from test_import_mongodb import into
from test_indexes import indexes, set_indexes
from traditional import DATABASE, WAL, branch_of, create, start

N = 6000
BY_N = {"v": 2, "key": {"n": 1}, "name": "by n", "unique": True}


@pytest.fixture
def mongodb(mongo_server):
    return mongo_server()


@pytest.fixture
def argon(cluster, mongodb):
    client = start(cluster, mongodb)
    create(client, "dev")
    return client


@pytest.fixture
def source(mongodb):
    """A database beside that of the branches."""
    with mongodb.client() as client:
        client.source.c.insert_many([{"_id": i, "n": i, "text": "x" * 100} for i in range(N)])
        client.source.c.create_index([("n", 1)], unique=True, name="by n")
    return into(mongodb.uri, "source")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.ndjson"
    path.write_text("".join(json.dumps({"_id": i, "n": i, "text": "x" * 100}) + "\n" for i in range(N)))
    return path


def run(cluster, *arguments):
    folder = str(cluster.directory)
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}
    command = [str(BIN / "argon"), *arguments, "-p", "p", "-o", "json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process, code=0):
    output, errors = process.communicate(timeout=180)
    assert process.returncode == code, f"exit {process.returncode}\n{output}\n{errors}"
    return (json.loads(output) if output else None), errors


def numbers(argon):
    return [document["n"] for document in argon.find("p", "c", branch="dev")]


def names_of_indexes(argon):
    return [bson.decode(index)["name"] for index in indexes(argon, "c", "dev")]


def imports(source, file):
    return {
        "mongodb": ["import", "mongodb", source, "-b", "dev", "--batch-size", "200"],
        "file": ["import", str(file), "-b", "dev", "-c", "c", "--batch-size", "200"],
    }


@pytest.mark.parametrize("way", ["mongodb", "file"])
def test_an_import_is_killed_and_goes_on(cluster, argon, source, file, way):
    command = imports(source, file)[way]
    for goal in (1, N // 3, N * 2 // 3):
        process = run(cluster, *command)
        wait_until(lambda: argon.count("p", "c", branch="dev") >= goal or process.poll() is not None, f"{goal} documents", 60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    result, errors = finish(run(cluster, *command))
    assert "goes on" in errors
    assert result["lsn"] == 0
    assert numbers(argon) == list(range(N))
    assert names_of_indexes(argon) == (["by n"] if way == "mongodb" else [])


@pytest.mark.parametrize("way", ["mongodb", "file"])
def test_mongodb_goes_away_and_comes_back(cluster, argon, mongodb, source, file, way):
    process = run(cluster, *imports(source, file)[way], "--timeout", "90s")
    wait_until(lambda: argon.count("p", "c", branch="dev") >= 1000 or process.poll() is not None, "documents", 60)
    mongodb.kill()
    assert process.poll() is None
    mongodb.start()
    finish(process)
    assert numbers(argon) == list(range(N))


def test_verification_and_duplicates(cluster, argon, source):
    result, errors = finish(run(cluster, "import", "mongodb", source, "-b", "dev", "--verify"))
    assert (result["imported"], result["inserted"]) == (N, N)
    assert f"verified 'c': {N} documents" in errors
    _, errors = finish(run(cluster, "import", "mongodb", source, "-b", "dev", "--restart"), code=4)
    assert "ALREADY_EXISTS" in errors
    result, _ = finish(run(cluster, "import", "mongodb", source, "-b", "dev", "--restart", "--on-duplicate", "skip"))
    assert result["skipped"] == N
    table = cluster.argon("import", "mongodb", source, "-p", "p", "-b", "dev", "--on-duplicate", "replace").stdout
    assert f"Imported {N} documents of 1 collections.\n" in table


def test_a_dump_goes_in_and_comes_out(cluster, argon, tmp_path):
    documents = [bson.encode({"_id": i, "n": i}) for i in range(3000)]
    dumps.write_directory(tmp_path / "dump" / "shop", {"c": (documents, dumps.metadata("c", [BY_N]))})
    table = cluster.argon("import", "mongodump", str(tmp_path / "dump"), "-p", "p", "-b", "dev").stdout
    assert table == "Read 3000 documents of 1 collections, inserted 3000, replaced 0, skipped 0 whose _id exists.\n"
    assert numbers(argon) == list(range(3000))
    assert names_of_indexes(argon) == ["by n"]
    result, _ = finish(run(cluster, "export", "mongodump", str(tmp_path / "out"), "-b", "dev"))
    assert (result["documents"], result["lsn"]) == (3000, 0)
    assert (tmp_path / "out" / "p" / "c.bson").read_bytes() == b"".join(documents)
    assert '"by n"' in (tmp_path / "out" / "p" / "c.metadata.json").read_text()


def test_checkout(cluster, argon, mongodb):
    argon.insert_many("p", "c", [{"_id": i, "n": i} for i in range(2500)], branch="dev")
    set_indexes(argon, "c", [BY_N], branch="dev")
    command = ["checkout", "-b", "dev", "--into", mongodb.uri]
    result, errors = finish(run(cluster, *command, "--verify"))
    assert (result["documents"], result["lsn"], "verified 'c'" in errors) == (2500, 0, True)
    with mongodb.client() as client:
        made = client[result["database"]]
        assert made.c.count_documents({}) == 2500
        assert made.c.index_information()["by n"]["unique"]
        # what is there is of another time: nobody goes on with it
        argon.insert("p", "c", {"_id": "new", "n": "new"}, branch="dev")
        _, errors = finish(run(cluster, *command), code=5)
        assert f"database '{result['database']}' is a checkout of branch 'dev' of project 'p'; argon release drops it" in errors
        cluster.argon("release", result["uri"], "--yes")
        assert finish(run(cluster, *command))[0]["documents"] == 2501


@pytest.mark.parametrize("option, value", [("--at-lsn", "5"), ("--at-time", "10m ago"), ("--min-lsn", "5"), ("--stale-ok", None)])
def test_options_that_need_a_wal_branch_are_named(cluster, argon, mongodb, tmp_path, option, value):
    argon.insert("p", "c", {"_id": 1}, branch="dev")
    given = [option, value] if value else [option]
    for command in (
        ["checkout", "--into", mongodb.uri],
        ["export", str(tmp_path / "out"), "-c", "c"],
        ["export", "mongodump", str(tmp_path / "out")],
        ["docs", "find", "c"],
    ):
        _, errors = finish(run(cluster, *command, "-b", "dev", *given), code=5)
        assert f"argon: {option} needs a WAL branch\n" in errors
        assert "branch 'dev' is traditional" in errors
    assert not (tmp_path / "out").exists()
    with mongodb.client() as client:
        assert [name for name in client.list_database_names() if name.startswith("argon_")] == []


def test_an_id_that_was_given_is_refused(cluster, argon, file):
    given = ["--request-id", "mine", "--since-lsn", str(argon.head("p"))]
    _, errors = finish(run(cluster, "import", str(file), "-b", "dev", "-c", "c", *given), code=5)
    assert "argon: --request-id needs a WAL branch\n" in errors
    assert argon.count("p", "c", branch="dev") == 0


def test_a_mongodb_that_is_away_is_not_blamed_on_the_endpoint(cluster, argon, mongodb):
    create(argon, "wal", kind=WAL)
    nowhere = "mongodb://127.0.0.1:1/source?serverSelectionTimeoutMS=200"
    for command in (["import", "mongodb", nowhere], ["checkout", "--into", nowhere]):
        _, errors = finish(run(cluster, *command, "-b", "wal", "--timeout", "1s"), code=6)
        assert "argon: UNAVAILABLE: MongoDB: " in errors
        assert "endpoint" not in errors
    assert branch_of(argon, "dev").database == DATABASE
    cluster.branches[0].stop()
    failed = cluster.argon("checkout", "-p", "p", "--into", mongodb.uri, "--timeout", "1s", check=False)
    assert failed.returncode == 6
    assert "is from the environment, ARGON_ENDPOINT" in failed.stderr
