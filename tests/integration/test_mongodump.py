"""Dumps go in and come out: directories and archives, gzip or not, byte for byte; what is damaged is named with its place."""

import gzip
import hashlib
import json
import os
import struct
import subprocess

import bson
import pytest

import dumps
from harness import BIN, wait_until
from test_indexes import indexes

BY_N = {"v": 2, "key": {"n": 1}, "name": "n_1", "unique": True}
GEO = {"v": 2, "key": {"where": "2dsphere", "n": -1}, "name": "where_2dsphere", "2dsphereIndexVersion": 3, "sparse": True}


def users():
    return [bson.encode({"_id": i, "n": i, "text": "x" * (i % 50)}) for i in range(3000)]


def collections():
    return {
        "users": (users(), dumps.metadata("users", [BY_N])),
        "types": ([dumps.every_type()], dumps.metadata("types", [GEO])),
        "empty": ([], dumps.metadata("empty")),
    }


def imported(cluster, path, *arguments, **options):
    return cluster.argon("import", "mongodump", str(path), "-p", "p", "-o", "json", *arguments, **options)


def exported(cluster, path, *arguments, **options):
    return cluster.argon("export", "mongodump", str(path), "-p", "p", "--database", "shop", *arguments, **options)


def check_exports(cluster, tmp_path, source):
    """Whatever way it is written, the documents are those of `source`, byte for byte."""
    for number, arguments in enumerate([[], ["--gzip"]]):
        out = tmp_path / f"out{number}"
        exported(cluster, out, *arguments)
        ending = ".gz" if arguments else ""
        decode = gzip.decompress if arguments else bytes
        assert sorted(f.name for f in out.iterdir()) == ["shop"]
        names = {f"{name}.{kind}{ending}" for name in source for kind in ("bson", "metadata.json")}
        assert {f.name for f in (out / "shop").iterdir()} == names
        for name, (documents, _) in source.items():
            assert decode((out / "shop" / f"{name}.bson{ending}").read_bytes()) == b"".join(documents), name
        archive = tmp_path / f"out{number}.archive"
        exported(cluster, archive, "--archive", *arguments)
        metadatas, found = dumps.read_archive(decode(archive.read_bytes()))
        assert found == {name: documents for name, (documents, _) in source.items()}
        for name, metadata in metadatas.items():
            assert metadata == json.loads(decode((out / "shop" / f"{name}.metadata.json{ending}").read_bytes()))
            wanted = json.loads(source[name][1])
            assert (metadata["indexes"], metadata["collectionName"]) == (wanted["indexes"], name)


@pytest.mark.parametrize("form", ["directory", "directory.gz", "database", "archive", "archive.gz"])
def test_a_dump_comes_back_byte_for_byte(cluster, argon, tmp_path, form):
    source = collections()
    path = tmp_path / "dump"
    if "archive" in form:
        data = dumps.archive("shop", source)
        path.write_bytes(gzip.compress(data) if "gz" in form else data)
    else:
        dumps.write_directory(path / "shop", source, compress="gz" in form)
        dumps.write_directory(path / "admin", {"system.version": ([bson.encode({"_id": "x"})], None)})
        if form == "database":
            path = path / "shop"
    result = json.loads(imported(cluster, path).stdout)
    assert (result["database"], result["collections"], result["read"], result["inserted"]) == ("shop", 3, 3001, 3001)
    assert argon.collections("p") == ["empty", "types", "users"]
    assert indexes(argon, "users") == [bson.encode(BY_N)]
    assert indexes(argon, "types") == [bson.encode(GEO)]
    check_exports(cluster, tmp_path, source)


def test_an_archive_goes_through_pipes(cluster, argon, tmp_path):
    source = collections()
    path = tmp_path / "dump.archive"
    path.write_bytes(dumps.archive("shop", source))
    cluster.argon("branches", "create", "dev", "-p", "p")
    run = f'''
        "$ARGON" import mongodump - -p p < {path}
        "$ARGON" export mongodump - --archive -p p --database shop | "$ARGON" import mongodump - -p p -b dev'''
    environment = {**os.environ, "ARGON": str(BIN / "argon"), "ARGON_ENDPOINT": cluster.branches[0].address, "HOME": str(tmp_path)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", run], check=True, env=environment, capture_output=True, timeout=120)
    assert argon.find("p", "users", branch="dev") == argon.find("p", "users")
    assert argon.count("p", "users", branch="dev") == 3000


def test_the_past_and_chosen_collections(cluster, argon, tmp_path):
    lsn = argon.insert_many("p", "a,b", [{"_id": 1}, {"_id": 2}]).lsn
    argon.insert("p", "other", {"_id": 1})
    argon.delete("p", "a,b", {"_id": 1})
    exported(cluster, tmp_path / "then", "--at-lsn", str(lsn))
    assert [f.name for f in (tmp_path / "then" / "shop").iterdir() if f.suffix == ".bson"] == ["a%2Cb.bson"]
    assert (tmp_path / "then" / "shop" / "a%2Cb.bson").read_bytes() == bson.encode({"_id": 1}) + bson.encode({"_id": 2})
    exported(cluster, tmp_path / "now", "--collections", "a\\,b")
    assert (tmp_path / "now" / "shop" / "a%2Cb.bson").read_bytes() == bson.encode({"_id": 2})
    missing = exported(cluster, tmp_path / "x", "--collections", "nothing", check=False)
    assert missing.returncode == 3 and "collection 'nothing' does not exist" in missing.stderr
    again = exported(cluster, tmp_path / "now", check=False)
    assert again.returncode == 4 and "is there already" in again.stderr
    assert [f.name for f in (tmp_path / "now").iterdir()] == ["shop"]  # nothing is left of the attempt


def test_hostile_names(cluster, argon, tmp_path):
    names = ["a/b", "up/../../up", "with space", "ümläut%", "a.b.c", "%2F", "_under", "x" * 128, "ä" * 64, "new-\\,comma"]
    for name in names:
        argon.insert("p", name, {"_id": name})
    exported(cluster, tmp_path / "out")
    files = [f.name for f in (tmp_path / "out" / "shop").iterdir()]
    assert len(files) == 2 * len(names) and all(len(name) <= 255 for name in files)
    assert sum("%24" in name for name in files) == 2  # 64 times three bytes of "%C3%A4" are too long for a file
    cluster.argon("branches", "create", "dev", "-p", "p")
    for name in names:
        argon.rpc.DropCollection(target=argon.target("p", name, "dev"))
    imported(cluster, tmp_path / "out", "-b", "dev")
    assert sorted(argon.collections("p", "dev")) == sorted(names)
    for name in names:
        assert argon.find("p", name, branch="dev") == [{"_id": name}]
    # as mongodump itself cuts and marks a long name
    folder = tmp_path / "cut" / "shop"
    stem = "%C3%A4" * 34 + "%24" + hashlib.sha1(b"x").hexdigest()[:27]
    dumps.write_directory(folder, {stem: ([bson.encode({"_id": 9})], dumps.metadata("ä" * 64))})
    imported(cluster, tmp_path / "cut", "-b", "dev")
    assert {"_id": 9} in argon.find("p", "ä" * 64, branch="dev")


def test_names_that_a_branch_does_not_take(cluster, argon, tmp_path):
    dumps.write_directory(tmp_path / "d" / "shop", {"good": ([bson.encode({"_id": 1})], None), "n" * 129: ([bson.encode({"_id": 1})], None)})
    refused = imported(cluster, tmp_path / "d", check=False)
    assert refused.returncode == 2 and "collection name" in refused.stderr and "129 bytes" in refused.stderr
    assert argon.count("p", "good") == 0  # nothing has begun
    assert json.loads(imported(cluster, tmp_path / "d", "--collections", "good").stdout)["inserted"] == 1


def test_what_is_no_plain_collection_is_named(cluster, argon, tmp_path):
    document = [bson.encode({"_id": 1})]
    path = tmp_path / "d" / "shop"
    dumps.write_directory(
        path,
        {
            "plain": (document, dumps.metadata("plain", options={"validator": {"a": 1}, "collation": {"locale": "de"}})),
            "log": (document, dumps.metadata("log", options={"capped": True, "size": 4096})),
            "view": (None, dumps.metadata("view", type="view", options={"viewOn": "plain", "pipeline": []})),
            "weather": (None, dumps.metadata("weather", type="timeseries", options={"timeseries": {"timeField": "t"}})),
            "system.buckets.weather": (document, None),
            "system.js": (document, None),
        },
    )
    (tmp_path / "d" / "oplog.bson").write_bytes(document[0])
    result = imported(cluster, tmp_path / "d")
    assert (json.loads(result.stdout)["collections"], json.loads(result.stdout)["passed_over"]) == (1, 5)
    for line in (
        "passed over: 'log' is capped",
        "passed over: 'view' is a view",
        "passed over: 'weather' is a time series",
        "passed over: 'system.js' is a system collection",
        "passed over: 'system.buckets.weather' is a system collection",
        "of 'plain' these options are not kept: validator, collation",
        "the oplog of the dump is not applied",
    ):
        assert line in result.stderr, result.stderr
    assert argon.collections("p") == ["plain"]
    # the same in an archive, where the buckets of a time series are not listed
    parts = [dumps.MAGIC, dumps.header(), dumps.listed("shop", "plain2"), dumps.listed("shop", "weather", kind="timeseries")]
    parts += [dumps.listed("shop", "view", kind="view"), dumps.TERMINATOR, dumps.block("shop", "system.buckets.weather", document)]
    parts += [dumps.end("shop", "system.buckets.weather", document), dumps.block("shop", "plain2", document), dumps.end("shop", "plain2", document)]
    (tmp_path / "a").write_bytes(b"".join(parts))
    result = imported(cluster, tmp_path / "a")
    assert "'weather' is a time series" in result.stderr and "'view' is a view" in result.stderr
    assert argon.collections("p") == ["plain", "plain2"]


def test_which_database(cluster, argon, tmp_path):
    for name in ("one", "two"):
        dumps.write_directory(tmp_path / "d" / name, {name: ([bson.encode({"_id": 1})], None)})
    several = imported(cluster, tmp_path / "d", check=False)
    assert several.returncode == 2 and "Say --database; the dump has: one, two" in several.stderr
    absent = imported(cluster, tmp_path / "d", "--database", "three", check=False)
    assert absent.returncode == 3 and "no database 'three'; it has: one, two" in absent.stderr
    assert json.loads(imported(cluster, tmp_path / "d", "--database", "two").stdout)["database"] == "two"
    assert argon.collections("p") == ["two"]
    (tmp_path / "nothing").mkdir()
    nothing = imported(cluster, tmp_path / "nothing", check=False)
    assert nothing.returncode == 2 and "holds no collection" in nothing.stderr
    assert imported(cluster, tmp_path / "not there", check=False).returncode == 3


def test_duplicates(cluster, argon, tmp_path):
    argon.insert("p", "c", {"_id": 1, "old": True})
    dumps.write_directory(tmp_path / "d" / "shop", {"c": ([bson.encode({"_id": i}) for i in range(3)], None)})
    failed = imported(cluster, tmp_path / "d", check=False)
    assert failed.returncode == 4 and "collection 'c'" in failed.stderr and "--on-duplicate skip" in failed.stderr
    assert argon.count("p", "c") == 1
    skipped = json.loads(imported(cluster, tmp_path / "d", "--on-duplicate", "skip").stdout)
    assert (skipped["inserted"], skipped["skipped"]) == (2, 1)
    replaced = json.loads(imported(cluster, tmp_path / "d", "--on-duplicate", "replace").stdout)
    assert (replaced["replaced"], replaced["skipped"]) == (1, 2)
    refused = imported(cluster, tmp_path / "d", "--request-id", "x", check=False)
    assert refused.returncode == 2 and "chooses their ids" in refused.stderr


GOOD = bson.encode({"_id": 1, "text": "good"})
LIST = dumps.MAGIC + dumps.header() + dumps.listed("shop", "c") + dumps.TERMINATOR
LIST_END = len(LIST)
BLOCK = dumps.block("shop", "c", [GOOD])
END = dumps.end("shop", "c", [GOOD])


DAMAGED = [
    (b"hello world", None, "is no archive of mongodump: it begins with 0x6c6c6568"),
    (dumps.MAGIC[:2], 0, "it is cut off"),
    (dumps.MAGIC, 4, "cut off inside the list"),
    (dumps.MAGIC + dumps.TERMINATOR, 4, "there is no header"),
    (dumps.MAGIC + dumps.header("0.2"), None, "its format has version 0.2"),
    (LIST[:-4], LIST_END - 4, "cut off inside the list of collections"),
    (LIST[:-4] + dumps.listed("shop", "c") + dumps.TERMINATOR, LIST_END - 4, "'shop.c' comes twice"),
    (LIST[:-4] + dumps.listed("shop", "") + dumps.TERMINATOR, LIST_END - 4, "a collection has no name"),
    (LIST[:-4] + dumps.listed("shop", "a\0b") + dumps.TERMINATOR, LIST_END - 4, "'collection' is not a string without NUL"),
    (LIST[:-4] + dumps.listed("shop", "d", "{") + dumps.TERMINATOR, LIST_END - 4, "the metadata of 'd'"),
    (LIST, LIST_END, "it ends before 'shop.c' does"),
    (LIST + BLOCK, LIST_END + len(BLOCK), "it ends before 'shop.c' does"),
    (LIST + dumps.TERMINATOR, LIST_END, "a block has no header"),
    (LIST + BLOCK[:-4], LIST_END + len(BLOCK) - 4, "cut off inside a block of 'shop.c'"),
    (LIST + BLOCK[:-6], LIST_END + len(BLOCK) - 4 - len(GOOD), f"a document of {len(GOOD)} bytes begins here"),
    (LIST + dumps.block("shop", "d", [GOOD]), LIST_END, "'shop.d', which is not listed"),
    (LIST + BLOCK + dumps.end("shop", "c", [GOOD], crc=5), LIST_END + len(BLOCK), "the checksum of 'shop.c' is 0000000000000005"),
    (LIST + BLOCK + END + BLOCK, LIST_END + len(BLOCK + END), "'shop.c' goes on behind its end"),
    (LIST + BLOCK.replace(b"good", b"\xff\xfe\xfd\xfc") + END, LIST_END + len(BLOCK) - 4 - len(GOOD), "begins here"),
    (LIST + struct.pack("<I", 0x7FFFFFFF), LIST_END, "2147483647 is no length of a document"),
    (LIST + struct.pack("<I", 3), LIST_END, "3 is no length of a document"),
]


def test_damaged_archives(cluster, argon, tmp_path):
    path = tmp_path / "bad.archive"
    for data, offset, message in DAMAGED:
        path.write_bytes(data)
        failed = imported(cluster, path, "--on-duplicate", "skip", check=False)
        assert failed.returncode in (1, 2, 8), failed.stderr
        assert message in failed.stderr and f"'{path}'" in failed.stderr, failed.stderr
        if offset is not None:
            assert failed.returncode == 8 and f"offset {offset}: " in failed.stderr, failed.stderr


def test_damaged_directories(cluster, argon, tmp_path):
    path = tmp_path / "d" / "shop" / "c.bson"
    dumps.write_directory(path.parent, {"c": ([GOOD], dumps.metadata("c"))})
    path.write_bytes(GOOD + GOOD[:-3])
    failed = imported(cluster, tmp_path / "d", check=False)
    assert failed.returncode == 8 and f"'{path}', offset {len(GOOD)}: it is cut off" in failed.stderr
    path.write_bytes(GOOD + b"\xff\xff\xff\xff")
    failed = imported(cluster, tmp_path / "d", "--on-duplicate", "skip", check=False)
    assert failed.returncode == 8 and f"offset {len(GOOD)}: 4294967295 is no length" in failed.stderr
    path.unlink()
    packed = path.with_suffix(".bson.gz")
    packed.write_bytes(gzip.compress(GOOD * 1000)[:-9])
    failed = imported(cluster, tmp_path / "d", "--on-duplicate", "skip", check=False)
    assert failed.returncode == 8 and f"'{packed}', offset" in failed.stderr and "gzip: it is cut off" in failed.stderr
    data = bytearray(gzip.compress(bytes(range(256)) * 400))
    data[len(data) // 2] ^= 0x40
    packed.write_bytes(data)
    failed = imported(cluster, tmp_path / "d", "--on-duplicate", "skip", check=False)
    assert failed.returncode == 8 and f"'{packed}', offset" in failed.stderr
    packed.write_bytes(gzip.compress(GOOD))
    (path.parent / "c.metadata.json").write_text('{"indexes":[1]}')
    failed = imported(cluster, tmp_path / "d", "--on-duplicate", "skip", check=False)
    assert failed.returncode == 8 and "c.metadata.json': indexes holds what is no document" in failed.stderr


# ---- gone on with after a kill -----------------------------------------------------------------------


EACH = 20_000


def start_import(cluster, path, *arguments):
    folder = str(cluster.directory)
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
    command = [str(BIN / "argon"), "import", "mongodump", str(path), "-p", "p", "-o", "json", "--batch-size", "250", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def marks(cluster):
    return [path for path in (cluster.directory / "argon").glob("import-*") if not path.suffix]


def two_large(path, kind):
    """Not in the order of _id: a dump is gone on with by place."""
    documents = {
        name: [bson.encode({"_id": (i * 7919) % EACH, "n": i, "text": "x" * 100}) for i in range(EACH)] for name in ("one", "two")
    }
    if kind == "archive":
        path.write_bytes(dumps.archive("shop", {name: (found, dumps.metadata(name)) for name, found in documents.items()}))
    else:
        dumps.write_directory(path / "shop", {name: (found, dumps.metadata(name)) for name, found in documents.items()})
    return path


def total(argon):
    return sum(argon.count("p", name) for name in argon.collections("p"))


def kill_on_the_way(cluster, argon, path, goals, *arguments):
    for goal in goals:
        process = start_import(cluster, path, *arguments)
        wait_until(lambda: total(argon) >= goal or process.poll() is not None, f"{goal} documents", 120)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode == -9, errors
        assert len(marks(cluster)) == 1
    return errors


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_a_dump_is_gone_on_with_after_kills(cluster, argon, tmp_path, kind):
    path = two_large(tmp_path / "dump", kind)
    errors = kill_on_the_way(cluster, argon, path, (1, EACH // 2, EACH + EACH // 3))
    assert "goes on where an earlier import stopped" in errors
    other = start_import(cluster, path, "--collections", "one")
    _, errors = other.communicate(timeout=60)
    assert other.returncode != 0 and "was interrupted with '--collections" in errors
    before = total(argon)
    result = json.loads(imported(cluster, path, "--batch-size", "250").stdout)
    assert result["read"] == 2 * EACH and result["inserted"] <= 2 * EACH - before + 7 * 250
    for name in ("one", "two"):
        assert {document["_id"]: document["n"] for document in argon.find("p", name)} == {(i * 7919) % EACH: i for i in range(EACH)}
    assert marks(cluster) == []


def test_another_dump_is_not_gone_on_with(cluster, argon, tmp_path):
    path = two_large(tmp_path / "dump", "directory")
    kill_on_the_way(cluster, argon, path, (EACH // 2,))
    dumps.write_directory(path / "shop", {name: ([bson.encode({"_id": "x"})], dumps.metadata(name)) for name in ("one", "two")})
    refused = imported(cluster, path, check=False)
    assert refused.returncode == 5 and "is not what it was when the import was interrupted" in refused.stderr
    assert imported(cluster, path, "--restart", "--on-duplicate", "skip").returncode == 0
    assert argon.find("p", "two")[-1]["_id"] == "x"


def test_a_collection_that_was_dropped_meanwhile_begins_anew(cluster, argon, tmp_path):
    path = two_large(tmp_path / "dump", "directory")
    kill_on_the_way(cluster, argon, path, (EACH // 2,))
    argon.rpc.DropCollection(target=argon.target("p", "one"))
    result = imported(cluster, path)
    assert "collection 'one' has been dropped since: it begins anew" in result.stderr
    assert [argon.count("p", name) for name in ("one", "two")] == [EACH, EACH]


def test_what_is_refused_is_not_replaced_by_going_on(cluster, argon, tmp_path):
    path = two_large(tmp_path / "dump", "directory")
    argon.insert("p", "two", {"_id": 5, "mine": True})
    refused = imported(cluster, path, check=False)
    assert refused.returncode == 4 and "--on-duplicate skip" in refused.stderr
    assert marks(cluster) == []
    assert imported(cluster, path, "--on-duplicate", "skip").returncode == 0
    assert argon.find_one("p", "two", {"_id": 5}) == {"_id": 5, "mine": True}
    assert [argon.count("p", name) for name in ("one", "two")] == [EACH, EACH]
