"""An import that is interrupted goes on where it stopped, whoever was killed, and inserts nothing twice."""

import gzip
import json
import os
import signal
import subprocess

import pytest

from harness import BIN, wait_until

N = 20000


@pytest.fixture
def source(tmp_path):
    """Documents without _id: whatever is inserted twice is there twice."""
    path = tmp_path / "in.ndjson"
    path.write_text("".join(f'{{"n":{i},"text":"{"x" * 200}"}}\n' for i in range(N)))
    return path


def start(cluster, source, *arguments, endpoint=None):
    environment = {
        **os.environ,
        "ARGON_ENDPOINT": endpoint or cluster.branches[0].address,
        "XDG_STATE_HOME": str(cluster.directory),
        "XDG_CONFIG_HOME": str(cluster.directory),
    }
    command = [str(BIN / "argon"), "import", str(source), "-p", "p", "-c", "c", "--batch-size", "100", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def numbers(argon):
    return sorted(document["n"] for document in argon.find("p", "c"))


def states(cluster):
    return [path for path in (cluster.directory / "argon").glob("import-*") if not path.suffix]


def test_an_import_that_is_killed_goes_on(cluster, argon, source):
    for goal in (1, 3000, 9000, 15000):
        process = start(cluster, source)
        wait_until(lambda: argon.count("p", "c") >= goal or process.poll() is not None, f"{goal} documents", 60)
        process.kill()
        process.communicate()
        assert len(states(cluster)) == 1
    process = start(cluster, source, "-o", "json")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "argon: goes on at line" in errors
    result = json.loads(output)
    assert (result["read"], result["inserted"]) == (N, N)
    assert numbers(argon) == list(range(N))
    assert not states(cluster)


def test_it_goes_on_by_another_replica(cluster, argon, source):
    second = cluster.start_branch()
    process = start(cluster, source, "--timeout", "1s")
    wait_until(lambda: argon.count("p", "c") >= 2000, "documents", 60)
    cluster.branches[0].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 6, errors
    assert "the same command goes on from there" in errors
    assert "whether the write took effect is unknown" in errors or "UNAVAILABLE" in errors
    process = start(cluster, source, endpoint=second.address)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert numbers(cluster.client(second)) == list(range(N))
    cluster.branches[0].start()


def test_no_room_for_how_far_it_is(cluster, argon, source):
    process = start(cluster, source)
    wait_until(lambda: argon.count("p", "c") > 0, "the first documents")
    process.kill()
    process.communicate()
    (state,) = states(cluster)
    state.with_name(f"{state.name}.new").unlink(missing_ok=True)
    state.with_name(f"{state.name}.new").symlink_to("/dev/full")
    process = start(cluster, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 7 and "RESOURCE_EXHAUSTED: the state of the import: cannot write" in errors, errors


def test_gzip_is_recognized(cluster, argon, tmp_path):
    source = tmp_path / "in.ndjson"
    source.write_bytes(gzip.compress(b'{"_id":1}'))
    process = start(cluster, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "the input is compressed by gzip: unpack it with gzip -dc, and read it as -" in errors
    bulk = cluster.argon("docs", "bulk-write", "c", str(source), "-p", "p", check=False)
    assert bulk.returncode == 2 and "compressed by gzip" in bulk.stderr


def test_an_import_stopped_by_its_file_goes_on_when_that_is_mended(cluster, argon, tmp_path):
    source = tmp_path / "in.ndjson"
    good = [f'{{"n":{i}}}' for i in range(1000)]
    source.write_text("\n".join([*good[:555], '{"n":', *good[555:]]))
    process = start(cluster, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "line 556" in errors, errors
    assert argon.count("p", "c") == 500
    source.write_text("\n".join(good))
    process = start(cluster, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "goes on at line 500," in errors, errors
    assert numbers(argon) == list(range(1000))


def test_what_is_in_must_not_change(cluster, argon, tmp_path):
    source = tmp_path / "in.ndjson"
    source.write_text("".join(f'{{"n":{i}}}\n' for i in range(300)) + '{"n":')
    assert start(cluster, source).wait(60) == 2
    source.write_text("".join(f'{{"n":{i + 1000}}}\n' for i in range(300)))
    process = start(cluster, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 5 and "the file has changed before line" in errors and "--restart" in errors, errors
    assert argon.count("p", "c") == 300
    process = start(cluster, source, "--restart")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert argon.count("p", "c") == 600


def test_a_dropped_collection_is_filled_anew(cluster, argon, tmp_path):
    source = tmp_path / "in.ndjson"
    text = "".join(f'{{"n":{i}}}\n' for i in range(300))
    source.write_text(text + '{"n":')
    assert start(cluster, source).wait(60) == 2
    cluster.argon("collections", "drop", "c", "-p", "p", "--yes")
    source.write_text(text)
    process = start(cluster, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "has been dropped since" in errors, errors
    assert numbers(argon) == list(range(300))


def test_the_rest_after_a_kill_has_the_same_settings(cluster, argon, source):
    process = start(cluster, source)
    wait_until(lambda: argon.count("p", "c") >= 100, "documents", 60)
    process.kill()
    process.communicate()
    process = start(cluster, source, "--on-duplicate", "skip")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 5 and "--on-duplicate fail --batch-size 100; finish it with these" in errors, errors


def test_two_imports_of_a_file_exclude_each_other(cluster, argon, source):
    process = start(cluster, source)
    wait_until(lambda: argon.count("p", "c") >= 100, "documents", 60)
    process.send_signal(signal.SIGSTOP)
    try:
        second = start(cluster, source)
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 5 and "another import of" in errors, errors
    finally:
        process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert numbers(argon) == list(range(N))


def test_duplicates_are_replaced_or_reported(cluster, argon, tmp_path):
    source = tmp_path / "in.ndjson"
    source.write_text('{"_id":1,"v":1}\n{"_id":2,"v":1}\n')
    assert start(cluster, source).wait(60) == 0
    source.write_text('{"_id":2,"v":2}\n{"_id":3,"v":2}\n')
    process = start(cluster, source, "--on-duplicate", "replace", "-o", "json")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result = json.loads(output)
    assert (result["inserted"], result["replaced"]) == (1, 1)
    assert [document["v"] for document in argon.find("p", "c")] == [1, 2, 2]

    source.write_text('{"_id":3}\n{"_id":[]}\n{"_id":}\n{"_id":4}\n')
    process = start(cluster, source, "--max-errors", "5", "-o", "json")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 4 or process.returncode == 2, errors
    assert "argon: line 1: ALREADY_EXISTS:" in errors and "argon: line 2: INVALID_ARGUMENT:" in errors, errors
    assert "argon: line 3: INVALID_ARGUMENT:" in errors and "3 of 4 documents were not imported" in errors, errors
    assert json.loads(output)["failed"] == 3
    assert argon.count("p", "c") == 4

    source.write_text('{"_id":1}\n{"_id":2}\n{"_id":3}\n')
    process = start(cluster, source, "--max-errors", "2")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4 and "more than 2 documents could not be imported" in errors, errors


def test_progress_without_a_terminal(cluster, argon, source):
    process = start(cluster, source, "--progress")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "%  " in errors and "documents, " in errors, errors


def test_several_endpoints_are_asked_in_turn(cluster, argon):
    second = cluster.start_branch()
    both = f"{cluster.branches[0].address},{second.address}"
    assert cluster.argon("projects", "list", endpoint=both).returncode == 0
    cluster.branches[0].kill()
    for _ in range(4):
        assert cluster.argon("projects", "list", endpoint=both).returncode == 0
    cluster.branches[0].start()
