"""The MongoDB servers that other tests stand on do what those tests take for granted."""

import pymongo
import pymongo.errors
import pytest
from harness import wait_until


def test_the_shared_server_stores_with_majority(mongodb_uri):
    with pymongo.MongoClient(mongodb_uri, serverSelectionTimeoutMS=10000) as client:
        concern = pymongo.WriteConcern(w="majority", j=True)
        things = client.argon_harness.get_collection("things", write_concern=concern)
        things.drop()
        things.insert_one({"_id": 1})
        assert list(things.find()) == [{"_id": 1}]
        with pytest.raises(pymongo.errors.DuplicateKeyError):
            things.insert_one({"_id": 1})
        things.drop()


def test_a_killed_server_comes_back_with_what_it_acknowledged(mongo_server):
    server = mongo_server()
    concern = pymongo.WriteConcern(w="majority", j=True)
    with server.client() as client:
        client.db.get_collection("c", write_concern=concern).insert_many([{"_id": i} for i in range(100)])
    server.kill()
    server.start()
    with server.client() as client:
        assert client.db.c.count_documents({}) == 100


def test_a_paused_server_is_silent_and_goes_on(mongo_server):
    server = mongo_server()
    with pymongo.MongoClient(server.uri, socketTimeoutMS=500, serverSelectionTimeoutMS=10000, retryReads=False) as client:
        client.db.c.insert_one({"_id": 1})
        server.pause()
        with pytest.raises(pymongo.errors.PyMongoError):
            client.db.c.find_one({})
        server.resume()
    with server.client() as client:
        assert client.db.c.find_one({}) == {"_id": 1}


def test_failures_can_be_ordered(mongo_server):
    server = mongo_server()
    with server.client() as client:
        server.fail_next(["insert"], errorCode=112)
        with pytest.raises(pymongo.errors.OperationFailure) as failed:
            client.db.c.insert_one({"_id": 1})
        assert failed.value.code == 112
        client.db.c.insert_one({"_id": 1})


def test_a_password_is_asked_for(mongo_server):
    server = mongo_server(auth=True)
    with server.client() as client:
        client.db.c.insert_one({"_id": 1})
    for uri in (server.uri.replace("right", "wrong"), server.uri.replace(server.credentials, "")):
        with pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000) as client, pytest.raises(pymongo.errors.OperationFailure):
            client.db.c.insert_one({"_id": 2})


def test_a_standalone_server_is_no_replica_set(mongo_server):
    server = mongo_server(standalone=True)
    with server.client() as client:
        assert "setName" not in client.admin.command("hello")
        client.db.c.insert_one({"_id": 1})
