"""A database of a MongoDB goes into a branch: every type, names of all kinds, killed on either side and gone on with, verified."""

import json
import os
import signal
import subprocess
import uuid

import bson
import pymongo
import pytest
from bson.raw_bson import RawBSONDocument

import dumps
from harness import BIN, wait_until
from test_indexes import indexes

N = 100000


@pytest.fixture
def database(mongodb_uri):
    """A database of its own on the shared server, and the URI that leads there."""
    name = f"import_{uuid.uuid4().hex[:8]}"
    with pymongo.MongoClient(mongodb_uri, serverSelectionTimeoutMS=10000) as client:
        yield client[name], into(mongodb_uri, name)
        if "ARGON_TEST_MONGODB_URI" in os.environ:  # that of this run goes as a whole
            client.drop_database(name)


def into(uri, name):
    return uri.replace("/?", f"/{name}?")


def start(cluster, uri, *arguments):
    environment = {
        **os.environ,
        "ARGON_ENDPOINT": cluster.branches[0].address,
        "XDG_STATE_HOME": str(cluster.directory),
        "XDG_CONFIG_HOME": str(cluster.directory),
    }
    command = [str(BIN / "argon"), "import", "mongodb", uri, "-p", "p", "-o", "json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process, code=0, timeout=300):
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == code, f"exit {process.returncode}\n{output}\n{errors}"
    return (json.loads(output) if output else None), errors


def run(cluster, uri, *arguments, code=0):
    return finish(start(cluster, uri, *arguments), code)


def states(cluster):
    return [path for path in (cluster.directory / "argon").glob("import-*") if not path.suffix]


def raw(collection):
    options = bson.CodecOptions(document_class=RawBSONDocument)
    return [document.raw for document in collection.with_options(options).find().sort("_id", 1)]


def raw_of_branch(argon, collection, branch="main"):
    messages = argon.rpc.Find(target=argon.target("p", collection, branch), timeout=120)
    return [document.bson for message in messages for document in message.documents]


def test_a_database_comes_over_byte_for_byte(cluster, argon, database):
    source, uri = database
    names = ["users", "a.b.c", "ümläut", "a,b", "with space", "%24"]
    for name in names:
        source[name].insert_many([{"_id": i, "name": f"{name} {i}", "n": [i, {"x": None}]} for i in range(500)])
    mixed = [None, 1, 2.5, bson.Int64(3), bson.Decimal128("4.5"), "a", "B", {"x": 1}, bson.Binary(b"x"), bson.ObjectId(), True, bson.MinKey(), bson.MaxKey()]
    source.mixed.insert_many([{"_id": value, "v": 1} for value in mixed])
    source.types.insert_one(RawBSONDocument(dumps.every_type(deprecated=False)))
    source.create_collection("nothing")
    source.users.create_index([("name", 1), ("n", -1)], unique=True, name="by name")
    source.create_collection("log", capped=True, size=4096)
    source.create_collection("view", viewOn="users", pipeline=[])
    result, errors = run(cluster, uri, "--verify")
    assert (result["collections"], result["imported"], result["inserted"]) == (9, 500 * 6 + 14, 500 * 6 + 14), errors
    assert "passed over: 'log' is capped" in errors and "passed over: 'view' is a view" in errors
    assert argon.collections("p") == sorted([*names, "mixed", "types", "nothing"], key=str.encode)
    for name in argon.collections("p"):
        assert sorted(raw_of_branch(argon, name)) == sorted(raw(source[name])), name
        assert f"verified '{name}'" in errors
    definition = bson.decode(indexes(argon, "users")[0])
    assert (definition["key"], definition["name"], definition["unique"]) == ({"name": 1, "n": -1}, "by name", True)
    assert "ns" not in definition and len(indexes(argon, "users")) == 1
    assert not states(cluster)
    assert source.list_collection_names(filter={"name": {"$regex": "^_argon"}}) == []  # the check of snapshots left nothing


def test_isolation_is_tried_and_not_believed(cluster, argon, database):
    source, uri = database
    source.c.insert_one({"_id": 1})
    result, _ = run(cluster, uri)
    concern = {"level": "snapshot"}
    time = source.command("find", "c", readConcern=concern)["cursor"].get("atClusterTime")
    source.c.insert_one({"_id": 2})
    then = source.command("find", "c", readConcern={**concern, "atClusterTime": time}) if time else None
    isolates = then is not None and len(then["cursor"]["firstBatch"]) == 1
    assert result["one_point_in_time"] == isolates
    assert (result["why_not"] is None) == isolates
    if not isolates:
        assert "a write of another session is seen" in result["why_not"]
    table = cluster.argon("import", "mongodb", uri, "-p", "p", "--on-duplicate", "skip").stdout
    assert ("All of one point in time." if isolates else "Not one point in time: ") in table


def test_what_is_asked_for(cluster, argon, database):
    source, uri = database
    for name in ("a", "b,c", "d"):
        source[name].insert_one({"_id": name})
    result, _ = run(cluster, uri, "--collections", "a,b\\,c")
    assert (result["collections"], argon.collections("p")) == (2, ["a", "b,c"])
    _, errors = run(cluster, uri, "--collections", "x", code=3)
    assert "has no collection 'x'" in errors
    plain = uri.replace(f"/{source.name}?", "/?")
    _, errors = run(cluster, plain, code=2)
    assert "which database? Say --database" in errors
    assert run(cluster, plain, "--database", source.name, "--collections", "d")[0]["imported"] == 1
    _, errors = run(cluster, plain, "--database", "nowhere_at_all", code=3)
    assert "has no collections" in errors
    for nonsense in ("http://x/y", "mongodb://"):
        assert run(cluster, nonsense, code=2)[1]
    result = cluster.argon("import", "mongodb", "-p", "p", check=False)
    assert result.returncode == 2 and "set ARGON_MONGODB" in result.stderr


def test_duplicates(cluster, argon, database):
    source, uri = database
    source.c.insert_many([{"_id": i, "v": "new"} for i in range(10)])
    argon.insert("p", "c", {"_id": 3, "v": "old"})
    _, errors = run(cluster, uri, code=4)
    assert "collection 'c'" in errors and argon.count("p", "c") == 1
    _, errors = run(cluster, uri, "--on-duplicate", "skip", code=5)
    assert "was interrupted with '--collections '' --on-duplicate fail'" in errors and "--restart" in errors
    result, errors = run(cluster, uri, "--on-duplicate", "skip", "--restart")
    assert (result["inserted"], result["skipped"]) == (9, 1) and "'c' had documents before: it is not verified" in errors
    assert argon.find_one("p", "c", {"_id": 3})["v"] == "old"
    assert run(cluster, uri, "--on-duplicate", "replace")[0]["replaced"] == 1
    assert argon.find_one("p", "c", {"_id": 3})["v"] == "new"


def fill(source, n=N, collections=("a", "b")):
    each = n // len(collections)
    for name in collections:
        for begin in range(0, each, 10000):
            source[name].insert_many([{"_id": i, "text": "x" * 100} for i in range(begin, min(begin + 10000, each))], ordered=False)
    return each


def total(argon):
    return sum(argon.count("p", name) for name in argon.collections("p"))


def test_a_hundred_thousand_documents_with_kills(cluster, argon, database):
    source, uri = database
    each = fill(source)
    for goal in (1, N // 4, N * 6 // 10):
        process = start(cluster, uri, "--batch-size", "500")
        wait_until(lambda: total(argon) >= goal or process.poll() is not None, f"{goal} documents", 120)
        process.kill()
        process.communicate()
        assert len(states(cluster)) == 1
    result, errors = run(cluster, uri, "--verify")
    assert "goes on where an earlier import stopped" in errors
    assert result["imported"] == N
    for name in ("a", "b"):
        assert [document["_id"] for document in argon.find("p", name)] == list(range(each))
    assert not states(cluster)


def test_the_source_changes_while_nobody_imports(cluster, argon, database):
    """What lay ahead comes as it is; what was on its way at the kill is replaced; what was in stays, deleted in the source or not."""
    source, uri = database
    each = fill(source, 40000, ["a"])
    process = start(cluster, uri, "--batch-size", "200")
    wait_until(lambda: total(argon) >= 10000 or process.poll() is not None, "documents", 60)
    process.kill()
    process.communicate()
    assert len(states(cluster)) == 1
    there = {document["_id"] for document in argon.find("p", "a")}
    mark = json.loads(states(cluster)[0].read_text())["collections"][0]
    on_the_way = set(range(int(mark["done"]["_id"]["$numberInt"]) + 1 if "done" in mark else 0, int(mark["sent"]["_id"]["$numberInt"]) + 1))
    assert there <= set(range(max(on_the_way) + 1))
    source.a.update_many({}, {"$set": {"text": "changed"}})
    source.a.delete_many({"_id": {"$mod": [10, 3]}})
    source.a.insert_many([{"_id": i + 0.5, "text": "changed"} for i in range(0, each, 100)])
    result, errors = run(cluster, uri)
    found = {document["_id"]: document["text"] for document in argon.find("p", "a")}
    before = set(range(min(on_the_way)))  # acknowledged: as it was
    assert all(found[i] == "x" * 100 for i in before)
    for i in on_the_way | set(range(max(on_the_way) + 1, each)):
        if i % 10 != 3:
            assert found[i] == "changed", i
        elif i not in there:
            assert i not in found
    for i in range(min(on_the_way) if on_the_way else 0, each):
        if i % 100 == 0:
            assert found[i + 0.5] == "changed"
    assert "'a' has changed meanwhile" in errors or result["one_point_in_time"]


def test_a_dropped_collection_begins_anew(cluster, argon, database):
    source, uri = database
    fill(source, 30000, ["a"])
    process = start(cluster, uri, "--batch-size", "200")
    wait_until(lambda: total(argon) >= 10000 or process.poll() is not None, "documents", 60)
    process.kill()
    process.communicate()
    cluster.argon("collections", "drop", "a", "-p", "p", "--yes")
    result, errors = run(cluster, uri, "--verify")
    assert "collection 'a' has been dropped since: it begins anew" in errors
    assert result["imported"] == 30000 == argon.count("p", "a")


def test_two_imports_exclude_each_other(cluster, argon, database):
    source, uri = database
    fill(source, 30000, ["a"])
    process = start(cluster, uri, "--batch-size", "200")
    wait_until(lambda: total(argon) >= 1 or process.poll() is not None, "documents", 60)
    process.send_signal(signal.SIGSTOP)
    try:
        _, errors = run(cluster, uri, code=5)
        assert "another import of this database into this branch is running" in errors
    finally:
        process.send_signal(signal.SIGCONT)
    assert finish(process)[0]["imported"] == 30000


def test_the_source_is_killed_and_comes_back(cluster, argon, mongo_server):
    server = mongo_server()
    with server.client() as client:
        fill(client.shop, 60000, ["a"])
    uri = into(server.uri, "shop")
    process = start(cluster, uri, "--timeout", "60s", "--verify", "--batch-size", "200")
    wait_until(lambda: total(argon) >= 1 or process.poll() is not None, "documents", 60)
    server.kill()
    server.start()
    result, _ = finish(process)
    assert result["imported"] == 60000 == argon.count("p", "a")
    # one that stays away ends the command, and the same command goes on
    process = start(cluster, uri, "--on-duplicate", "replace", "--timeout", "1s")
    wait_until(lambda: states(cluster) or process.poll() is not None, "the import to begin", 60)
    server.kill()
    _, errors = finish(process, code=6)
    assert "the same command goes on from there" in errors or "connecting" in errors or "MongoDB: " in errors
    server.start()
    result, _ = run(cluster, uri, "--on-duplicate", "replace")
    assert argon.count("p", "a") == 60000


def test_a_lost_connection_in_the_middle_is_made_again(cluster, argon, mongo_server):
    server = mongo_server()
    with server.client() as client:
        fill(client.shop, 30000, ["a"])
    server.fail_next(["getMore"], times=2, closeConnection=True)
    result, _ = run(cluster, into(server.uri, "shop"), "--verify")
    assert result["imported"] == result["inserted"] == 30000


def test_a_wrong_password(cluster, argon, mongo_server):
    server = mongo_server(auth=True)
    with server.client() as client:
        client.shop.c.insert_one({"_id": 1})
    good = into(server.uri, "shop") + "&authSource=admin"
    _, errors = run(cluster, good.replace("right", "wrong"), code=2)
    assert "UNAUTHENTICATED: MongoDB: " in errors and "wrong-password" not in errors
    _, errors = run(cluster, good.replace("argon:right-password@", ""), code=2)
    assert "UNAUTHENTICATED" in errors or "PERMISSION_DENIED" in errors
    assert argon.collections("p") == []
    assert run(cluster, good)[0]["imported"] == 1


def test_nobody_listens(cluster, argon):
    _, errors = run(cluster, "mongodb://127.0.0.1:1/shop", code=6)
    assert "UNAVAILABLE: MongoDB: connecting: " in errors


def test_who_may_only_read_imports_without_the_check(cluster, argon, mongo_server):
    server = mongo_server(auth=True)
    with server.client() as client:
        client.shop.c.insert_one({"_id": 1})
        client.admin.command("createUser", "reader", pwd="reads", roles=[{"role": "read", "db": "shop"}])
    uri = into(server.uri, "shop").replace("argon:right-password@", "reader:reads@") + "&authSource=admin"
    result, _ = run(cluster, uri)
    assert result["imported"] == 1 and result["one_point_in_time"] is False
    assert "it could not be tried whether the server keeps snapshots: MongoDB: " in result["why_not"]
