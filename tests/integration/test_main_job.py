"""The main job: documents go in, a branch diverges, both sides and the past can be read back."""

import bson
import pytest


def test_documents_live_on_a_branch(argon):
    inserted = argon.insert("p", "users", {"name": "Ada", "age": 36})
    assert list(bson.decode(inserted.inserted_id.bson)) == ["_id"]
    argon.insert_many("p", "users", [{"_id": i, "n": i} for i in range(10)])
    assert argon.count("p", "users") == 11
    assert argon.find_one("p", "users", {"name": "Ada"})["age"] == 36
    answer = argon.update("p", "users", {"name": "Ada"}, {"$set": {"age": 37}, "$inc": {"visits": 1}})
    assert (answer.matched, answer.modified) == (1, 1)
    assert argon.find_one("p", "users", {"name": "Ada"})["visits"] == 1
    assert argon.delete("p", "users", {"n": 3}).deleted == 1
    assert [d["_id"] for d in argon.find("p", "users", {}, skip=2, limit=3)] == [2, 4, 5]
    assert argon.update("p", "users", {}, {"$set": {"seen": True}}, many=True).modified == 10
    assert argon.delete("p", "users", {"seen": True}, many=True).deleted == 10
    assert argon.count("p", "users") == 0


def test_a_branch_and_its_parent_do_not_see_each_other(argon):
    argon.insert_many("p", "c", [{"_id": i, "v": 0} for i in range(5)])
    branch = argon.create_branch("p", "dev")
    argon.update("p", "c", {"_id": 1}, {"$set": {"v": "dev"}}, branch="dev")
    argon.delete("p", "c", {"_id": 2}, branch="dev")
    argon.update("p", "c", {"_id": 3}, {"$set": {"v": "main"}})
    argon.insert("p", "c", {"_id": 9, "v": "main"})
    assert [(d["_id"], d["v"]) for d in argon.find("p", "c", branch="dev")] == [(0, 0), (1, "dev"), (3, 0), (4, 0)]
    assert [(d["_id"], d["v"]) for d in argon.find("p", "c")] == [(0, 0), (1, 0), (2, 0), (3, "main"), (4, 0), (9, "main")]
    # the branch as it was when it was made
    assert [d["v"] for d in argon.find("p", "c", branch="dev", at=branch.base_lsn)] == [0] * 5


def test_branches_from_the_past_and_of_branches(argon):
    lsns = [argon.insert("p", "c", {"_id": i}).lsn for i in range(4)]
    argon.create_branch("p", "old", at=lsns[1])
    argon.insert("p", "c", {"_id": "old"}, branch="old")
    argon.create_branch("p", "older", start="old", at=lsns[0])
    argon.create_branch("p", "grandchild", start="old")
    argon.insert("p", "c", {"_id": "late"}, branch="old")
    assert [d["_id"] for d in argon.find("p", "c", branch="old")] == [0, 1, "late", "old"]
    assert [d["_id"] for d in argon.find("p", "c", branch="older")] == [0]
    assert [d["_id"] for d in argon.find("p", "c", branch="grandchild")] == [0, 1, "old"]
    # before the branch was made its state is its parent's
    assert [d["_id"] for d in argon.find("p", "c", branch="grandchild", at=lsns[0])] == [0]


def test_a_deleted_parent_is_still_read_by_its_children(argon):
    argon.insert("p", "c", {"_id": 1})
    argon.create_branch("p", "a")
    argon.insert("p", "c", {"_id": 2}, branch="a")
    argon.create_branch("p", "b", start="a")
    argon.rpc.DeleteBranch(project="p", name="a")
    assert [d["_id"] for d in argon.find("p", "c", branch="b")] == [1, 2]
    argon.create_branch("p", "a")
    assert [d["_id"] for d in argon.find("p", "c", branch="a")] == [1]
    assert argon.rpc.GetBranch(project="p", name="b").branch.parent != "a"


def test_collections_are_renamed_and_dropped_without_touching_other_branches(argon):
    argon.insert("p", "one", {"_id": 1})
    argon.create_branch("p", "dev")
    argon.rpc.RenameCollection(target=argon.target("p", "one", "dev"), new_name="two")
    assert argon.collections("p", "dev") == ["two"]
    assert argon.collections("p") == ["one"]
    assert argon.find("p", "two", branch="dev") == [{"_id": 1}]
    assert argon.find("p", "one", branch="dev") == []
    before = argon.head("p")
    argon.rpc.DropCollection(target=argon.target("p", "two", "dev"))
    argon.insert("p", "two", {"_id": 2}, branch="dev")
    assert argon.find("p", "two", branch="dev") == [{"_id": 2}]
    assert argon.find("p", "two", branch="dev", at=before) == [{"_id": 1}]
    argon.rpc.CreateCollection(target=argon.target("p", "empty"))
    assert argon.collections("p") == ["empty", "one"]


def test_every_bson_type_comes_back_byte_for_byte(argon):
    value = {
        "_id": bson.ObjectId("0123456789abcdef01234567"),
        "double": 1.5, "nan": float("nan"), "zero": -0.0, "text": "a\0b", "nested": {"list": [1, [2, {"x": None}]]},
        "binary": bson.Binary(b"\1\2", 5), "yes": True, "date": bson.datetime.datetime(2020, 1, 2), "regex": bson.Regex("^a", "i"),
        "code": bson.Code("f()"), "int32": 1, "int64": bson.Int64(1), "stamp": bson.Timestamp(1, 2),
        "decimal": bson.Decimal128("1.10"), "min": bson.MinKey(), "max": bson.MaxKey(), "": "empty name", "dotted.name": 1,
    }
    raw = bson.encode(value)
    argon.rpc.InsertOne(target=argon.target("p", "types"), document={"bson": raw})
    found = argon.rpc.FindOne(target=argon.target("p", "types"))
    assert found.document.bson == raw


def test_lists_page(argon):
    names = sorted(f"b{i:03}" for i in range(25))
    for name in names:
        argon.create_branch("p", name)
    seen, token = [], ""
    while True:
        page = argon.rpc.ListBranches(project="p", page_size=10, page_token=token)
        seen += [branch.name for branch in page.branches]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(names + ["main"])
    for i in range(12):
        argon.create_project(f"q{i:02}")
    first = argon.rpc.ListProjects(page_size=5)
    assert len(first.projects) == 5 and first.next_page_token
    rest = argon.rpc.ListProjects(page_size=1000, page_token=first.next_page_token)
    assert [p.name for p in first.projects] + [p.name for p in rest.projects] == ["p"] + [f"q{i:02}" for i in range(12)]


def test_json_for_people_with_curl_like_tools(argon):
    answer = argon.rpc.InsertOne(target=argon.target("p", "j"), document={"json": '{"_id": 7, "when": {"$date": "2020-01-01T00:00:00Z"}}'})
    assert answer.inserted_id.json.replace(" ", "") == '{"_id":7}'
    found = argon.rpc.FindOne(target=argon.target("p", "j"), filter={"json": '{"_id": 7}'}, format=1)
    assert "2020-01-01T00:00:00Z" in found.document.json


def test_state_survives_restarts_of_both_services(cluster, argon):
    argon.insert_many("p", "c", [{"_id": i} for i in range(100)])
    argon.create_branch("p", "dev")
    lsn = argon.delete("p", "c", {"_id": 5}, branch="dev").lsn
    cluster.wal.stop()
    cluster.wal.start()
    assert argon.count("p", "c", branch="dev") == 99
    second = cluster.client(cluster.start_branch())
    assert second.count("p", "c", branch="dev") == 99
    assert second.count("p", "c", branch="dev", at=lsn - 1) == 100


@pytest.mark.parametrize("replica", ["same", "other"])
def test_a_project_is_deleted_with_all_it_has(cluster, argon, replica):
    client = argon if replica == "same" else cluster.client(cluster.start_branch())
    argon.insert("p", "c", {"_id": 1})
    client.count("p", "c")
    argon.delete_project("p")
    created = client.create_project("p")
    assert client.count("p", "c") == 0
    assert argon.count("p", "c") == 0
    assert argon.rpc.GetProject(name="p").project.id == created.id
