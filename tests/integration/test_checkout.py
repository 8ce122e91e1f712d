"""A branch becomes a database of a MongoDB: byte for byte, at any LSN, killed and gone on with; what is no checkout is never dropped."""

import json
import os
import subprocess

import bson
import pytest
from bson.raw_bson import RawBSONDocument

import dumps
from harness import BIN, wait_until
from test_import_mongodb import into, raw, raw_of_branch
from test_indexes import BY_NAME, set_indexes

N = 100000


@pytest.fixture
def server(mongo_server):
    return mongo_server()


def start(cluster, uri, *arguments, command="checkout"):
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "XDG_CONFIG_HOME": str(cluster.directory), "ARGON_MONGODB": uri}
    return subprocess.Popen(
        [str(BIN / "argon"), command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
    )


def finish(process, code=0, timeout=300):
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == code, f"exit {process.returncode}\n{output}\n{errors}"
    return output, errors


def check_out(cluster, uri, *arguments, code=0):
    output, errors = finish(start(cluster, uri, "-p", "p", "-o", "json", *arguments), code)
    return (json.loads(output) if output else None), errors


def release(cluster, uri, *arguments, code=0):
    return finish(start(cluster, uri, "--yes", *arguments, command="release"), code)


def test_a_branch_comes_out_and_goes_in_again(cluster, argon, server):
    names = ["users", "a.b.c", "ümläut", "a,b", "%24", "_under", "x" * 128]
    for name in names:
        argon.insert_many("p", name, [{"_id": i, "n": [i, {"x": None}]} for i in range(100)])
    mixed = [None, 1, 2.5, "a", {"x": 1}, bson.Binary(b"x"), bson.ObjectId(), True, bson.MinKey(), bson.MaxKey()]
    argon.insert_many("p", "mixed", [{"_id": value} for value in mixed])
    argon.rpc.InsertOne(target=argon.target("p", "types"), document={"bson": dumps.every_type(deprecated=False)})
    argon.rpc.CreateCollection(target=argon.target("p", "nothing"))
    set_indexes(argon, "users", [{**BY_NAME, "unique": False}])
    lsn = argon.head("p")
    argon.insert("p", "users", {"_id": "later"})
    result, errors = check_out(cluster, server.uri, "--at-lsn", str(lsn), "--verify")
    assert result["database"] == f"argon_checkout_p_main_{lsn}" and result["documents"] == 700 + 10 + 1
    with server.client() as client:
        database = client[result["database"]]
        assert sorted(database.list_collection_names()) == sorted([*names, "mixed", "types", "nothing", "_argon_checkout"])
        for name in names[1:] + ["mixed", "types"]:
            assert sorted(raw(database[name])) == sorted(raw_of_branch(argon, name)), name
            assert f"verified '{name}'" in errors
        assert database.users.count_documents({}) == 100  # not what came later
        assert database.users.index_information()["name_1_age_-1"]["key"] == [("name", 1), ("age", -1)]
        mark = database["_argon_checkout"].find_one()
        assert (mark["project"], mark["branch"], mark["lsn"], mark["complete"]) == ("p", "main", lsn, True)
    # again: it is there already
    assert check_out(cluster, server.uri, "--at-lsn", str(lsn))[0] == result
    # and back into another branch, by the URI that was printed
    argon.create_branch("p", "back", at=1)
    for name in argon.collections("p", "back"):
        argon.rpc.DropCollection(target=argon.target("p", name, "back"))
    chosen = ",".join(name.replace(",", "\\,") for name in [*names, "mixed", "types", "nothing"])
    cluster.argon("import", "mongodb", result["uri"], "-p", "p", "-b", "back", "--collections", chosen)
    for name in names[1:] + ["mixed", "types"]:
        assert raw_of_branch(argon, name, "back") == raw_of_branch(argon, name)
    release(cluster, "", result["uri"])
    with server.client() as client:
        assert result["database"] not in client.list_database_names()


def test_a_hundred_thousand_documents_with_kills(cluster, argon, server):
    for begin in range(0, N, 20000):
        argon.insert_many("p", "c", [{"_id": i, "text": "x" * 100} for i in range(begin, begin + 20000)])
    lsn = argon.head("p")
    name = f"argon_checkout_p_main_{lsn}"
    with server.client() as client:
        for goal in (1, N // 3, N * 2 // 3):
            process = start(cluster, server.uri, "-p", "p", "--at-lsn", str(lsn))
            wait_until(lambda: client[name].c.estimated_document_count() >= goal or process.poll() is not None, f"{goal} documents", 120)
            process.kill()
            process.communicate()
        assert client[name]["_argon_checkout"].find_one()["complete"] is False
        argon.insert("p", "c", {"_id": "later"})
        result, errors = check_out(cluster, server.uri, "--at-lsn", str(lsn), "--verify")
        assert "goes on where an earlier checkout stopped" in errors and result["documents"] == N
        assert [document["_id"] for document in client[name].c.find({}, {"_id": 1}).sort("_id", 1)] == list(range(N))
        assert client[name]["_argon_checkout"].find_one()["complete"] is True


def test_the_server_is_killed_and_comes_back(cluster, argon, server):
    argon.insert_many("p", "c", [{"_id": i, "text": "x" * 100} for i in range(60000)])
    lsn = argon.head("p")
    name = f"argon_checkout_p_main_{lsn}"
    process = start(cluster, server.uri, "-p", "p", "-o", "json", "--timeout", "60s", "--verify")
    with server.client() as client:
        wait_until(lambda: client[name].c.estimated_document_count() >= 1 or process.poll() is not None, "documents", 120)
    server.kill()
    server.start()
    output, _ = finish(process)
    assert json.loads(output)["documents"] == 60000


def test_only_a_checkout_is_written_to_and_dropped(cluster, argon, server):
    argon.insert("p", "c", {"_id": 1})
    with server.client() as client:
        client.mine.c.insert_one({"_id": "precious"})
        _, errors = check_out(cluster, server.uri, "--database", "mine", code=5)
        assert "is there, and is no checkout" in errors
        _, errors = release(cluster, server.uri, "mine", code=5)
        assert "'mine' is no checkout: it is not dropped" in errors
        assert client.mine.c.find_one() == {"_id": "precious"}
        first, _ = check_out(cluster, server.uri, "--database", "taken")
        argon.insert("p", "c", {"_id": 2})
        _, errors = check_out(cluster, server.uri, "--database", "taken", code=5)
        assert f"'taken' is a checkout of branch 'main' of project 'p' at LSN {first['lsn']}; argon release drops it" in errors
        release(cluster, server.uri, "taken")
        assert check_out(cluster, server.uri, "--database", "taken")[0]["documents"] == 2
        assert release(cluster, server.uri, "nowhere", code=3)[1]
        assert "the URI names no database" in release(cluster, "", server.uri, code=2)[1]
        assert "of which MongoDB?" in release(cluster, "", "name", code=2)[1]
        assert "into which MongoDB?" in check_out(cluster, "", code=2)[1]
        argon.insert("p", "_argon_checkout", {"_id": 1})
        assert "the name of the mark" in check_out(cluster, server.uri, code=5)[1]


def test_an_index_that_the_documents_break(cluster, argon, server):
    argon.insert_many("p", "c", [{"_id": 1, "name": "same", "age": 9}, {"_id": 2, "name": "same", "age": 9}])
    set_indexes(argon, "c", [BY_NAME])
    _, errors = check_out(cluster, server.uri, code=5)
    assert "index 'name_1_age_-1' of 'c'" in errors and "--no-indexes" in errors
    assert check_out(cluster, server.uri, "--no-indexes")[0]["documents"] == 2


def test_the_password_is_not_printed_unless_asked_for(cluster, argon, mongo_server):
    server = mongo_server(auth=True)
    argon.insert("p", "c", {"_id": 1})
    _, errors = finish(start(cluster, server.uri.replace("right", "wrong"), "-p", "p"), code=2)
    assert "UNAUTHENTICATED: MongoDB: " in errors and "wrong-password" not in errors
    output, _ = finish(start(cluster, server.uri, "-p", "p"))
    assert output.startswith("mongodb://argon:****@") and "right-password" not in output
    output, _ = finish(start(cluster, server.uri, "-p", "p", "--show-password"))
    uri = json.loads(finish(start(cluster, server.uri, "-p", "p", "-o", "json"))[0])["uri"]
    assert output.strip() == uri and "argon:right-password@" in uri and "authSource=admin" in uri
    cluster.argon("import", "mongodb", uri, "-p", "p", "--collections", "c", "--on-duplicate", "skip")  # the URI works
    release(cluster, "", uri)


def test_names_that_a_driver_would_rather_not_see(cluster, argon, server):
    odd = {"_id": 1, "": 1, "a.b": 2, "c$": 3, "d": {"": {"e.": []}}}
    argon.insert("p", "c", odd)
    result, _ = check_out(cluster, server.uri, "--verify")
    with server.client() as client:
        options = bson.CodecOptions(document_class=RawBSONDocument)
        assert client[result["database"]].c.with_options(options).find_one().raw == bson.encode(odd)
