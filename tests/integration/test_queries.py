"""What queries do on a WAL branch: how they reach documents, which state they read, what they are refused and when they end."""

import json
import threading
import time

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import not_applied, wait_until

INVALID, EXHAUSTED, PRECONDITION = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def text(value):
    return branch_pb2.Document(json=json.dumps(value)) if value is not None else None


def stages(*values):
    return [text(value) for value in values]


def decoded(messages):
    return [bson.decode(document.bson) for message in messages for document in message.documents]


def aggregate(argon, *pipeline, collection="c", branch="main", at=0, timeout=30):
    return decoded(
        argon.rpc.Aggregate(
            target=argon.target("p", collection, branch), pipeline=stages(*pipeline), read=branch_pb2.ReadOptions(as_of_lsn=at), timeout=timeout
        )
    )  # fmt: skip


def refused(call):
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return failure.value.code(), failure.value.details()


# ---- how documents are reached -----------------------------------------------------------------------

N = 1000


@pytest.fixture
def numbers(argon):
    argon.insert_many("p", "c", [{"_id": i, "n": i % 10} for i in range(N)] + [{"_id": f"s{i}", "n": i} for i in range(10)])
    return argon


EXPLAINED = {
    "one id": (dict(filter={"_id": 7}), "ID_LOOKUP", 1, 1, "NONE"),
    "one id and more": (dict(filter={"_id": 7, "n": 8}), "ID_LOOKUP", 1, 0, "NONE"),
    "no such id": (dict(filter={"_id": "none"}), "ID_LOOKUP", 0, 0, "NONE"),
    "a range": (dict(filter={"_id": {"$gte": 100, "$lt": 150}}), "ID_RANGES", 50, 50, "NONE"),
    "a range and more": (dict(filter={"_id": {"$gte": 100, "$lt": 150}, "n": 3}), "ID_RANGES", 50, 5, "NONE"),
    "a range backwards": (dict(filter={"_id": {"$gt": 100}}, sort={"_id": -1}, limit=5), "ID_RANGES", 5, 5, "ID"),
    "ranges of two types": (dict(filter={"$or": [{"_id": {"$lt": 3}}, {"_id": {"$gte": "s8"}}]}), "ID_RANGES", 5, 5, "NONE"),
    "a list": (dict(filter={"_id": {"$in": [5, 5.0, "s1", "x", 999, 1000]}}), "ID_RANGES", 3, 3, "NONE"),
    "a contradiction": (dict(filter={"_id": {"$gt": 5, "$lt": 5}}), "ID_RANGES", 0, 0, "NONE"),
    "everything": (dict(), "SCAN", N + 10, N + 10, "NONE"),
    "another field": (dict(filter={"n": 3}), "SCAN", N + 10, 101, "NONE"),
    "the last": (dict(sort={"_id": -1}, limit=1), "SCAN", 1, 1, "ID"),
    "the first": (dict(sort={"_id": 1}, skip=2, limit=1), "SCAN", 3, 1, "ID"),
    "sorted": (dict(sort={"n": 1}, limit=3), "SCAN", N + 10, 3, "SORTED"),
    "a sorted range": (dict(filter={"_id": {"$lt": 20}}, sort={"n": 1}), "ID_RANGES", 20, 20, "SORTED"),
    "no such collection": (dict(collection="none"), "NOTHING", 0, 0, "NONE"),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_explain_find(numbers, name):
    spec, access, examined, returned, order = EXPLAINED[name]
    request = branch_pb2.FindRequest(
        target=numbers.target("p", spec.get("collection", "c")), filter=text(spec.get("filter")), sort=text(spec.get("sort")),
        skip=spec.get("skip", 0), limit=spec.get("limit", 0),
    )  # fmt: skip
    answer = numbers.rpc.Explain(find=request)
    names = branch_pb2.Access.Name(answer.access), branch_pb2.Order.Name(answer.order)
    assert names == (f"ACCESS_{access}", f"ORDER_{order}")
    assert (answer.examined, answer.returned) == (examined, returned)
    assert answer.lsn == numbers.head("p")


PIPELINES = {
    "an id range in front": ([{"$match": {"_id": {"$lt": 30}}}, {"$match": {"n": 3}}], "ID_RANGES", 30, 3, "NONE"),
    "behind another stage": ([{"$skip": 1}, {"$match": {"_id": {"$lt": 30}}}], "SCAN", N + 10, 29, "NONE"),
    "a sort": ([{"$match": {"_id": 3}}, {"$sort": {"n": 1}}], "ID_LOOKUP", 1, 1, "SORTED"),
    "a limit": ([{"$limit": 3}], "SCAN", 3, 3, "NONE"),
    "the first": ([{"$sort": {"_id": 1}}, {"$limit": 3}], "SCAN", 3, 3, "ID"),
    "the last of a range": ([{"$match": {"_id": {"$lt": 30}}}, {"$match": {"n": 3}}, {"$sort": {"_id": -1}}, {"$limit": 1}], "ID_RANGES", 7, 1, "ID"),
    "sorted twice": ([{"$sort": {"_id": -1}}, {"$limit": 3}, {"$sort": {"n": 1}}], "SCAN", 3, 3, "SORTED"),
    "an order behind another stage": ([{"$limit": 4}, {"$sort": {"_id": -1}}, {"$limit": 2}], "SCAN", 4, 2, "SORTED"),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_explain_aggregate(numbers, name):
    pipeline, access, examined, returned, order = PIPELINES[name]
    answer = numbers.rpc.Explain(aggregate=branch_pb2.AggregateRequest(target=numbers.target("p", "c"), pipeline=stages(*pipeline)))
    names = branch_pb2.Access.Name(answer.access), branch_pb2.Order.Name(answer.order)
    assert names == (f"ACCESS_{access}", f"ORDER_{order}")
    assert (answer.examined, answer.returned) == (examined, returned)


ORDERED = {
    "downwards": ([{"$match": {"_id": {"$gte": 3, "$lt": 7}}}, {"$sort": {"_id": -1}}, {"$project": {"_id": 1}}], [6, 5, 4, 3]),
    "behind a limit": ([{"$match": {"_id": {"$lt": 7}}}, {"$limit": 3}, {"$sort": {"_id": -1}}, {"$project": {"_id": 1}}], [2, 1, 0]),
    "of a lookup": (
        [
            {"$match": {"_id": 3}},
            {"$lookup": {"from": "c", "let": {"n": "$n"}, "as": "like", "pipeline": [
                {"$match": {"_id": {"$gt": 0, "$lt": 35}}},
                {"$match": {"$expr": {"$eq": ["$n", "$$n"]}}},
                {"$sort": {"_id": -1}},
            ]}},
            {"$unwind": "$like"},
            {"$project": {"_id": "$like._id"}},
        ],
        [33, 23, 13, 3],
    ),
    "of a union": (
        [{"$match": {"_id": 1}}, {"$unionWith": {"coll": "c", "pipeline": [{"$match": {"_id": {"$lt": 3}}}, {"$sort": {"_id": 1}}]}}, {"$project": {"_id": 1}}],
        [1, 0, 1, 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERED)
def test_a_pipeline_in_the_order_of_ids(numbers, name):
    pipeline, ids = ORDERED[name]
    assert [document["_id"] for document in aggregate(numbers, *pipeline)] == ids


def test_explain_is_of_one_query(argon):
    find = branch_pb2.FindRequest(target=argon.target("p", "c"))
    pipeline = branch_pb2.AggregateRequest(target=argon.target("p", "c"))
    assert refused(lambda: argon.rpc.Explain())[0] == INVALID
    assert refused(lambda: argon.rpc.Explain(find=find, aggregate=pipeline))[0] == INVALID


def test_updates_and_deletes_of_id_ranges(numbers):
    assert numbers.update("p", "c", {"_id": {"$gte": 10, "$lt": 20}}, {"$set": {"hit": 1}}, many=True).modified == 10
    assert numbers.update("p", "c", {"_id": {"$in": [1, 3, "s1", "none"]}}, {"$set": {"hit": 1}}, many=True).modified == 3
    assert [found["_id"] for found in numbers.find("p", "c", {"hit": 1})] == [1, 3, *range(10, 20), "s1"]
    assert numbers.update("p", "c", {"_id": {"$gt": 500}}, {"$set": {"hit": 2}}).modified == 1
    assert [found["_id"] for found in numbers.find("p", "c", {"hit": 2})] == [501]
    assert numbers.delete("p", "c", {"_id": {"$gte": 5}}, many=True).deleted == N - 5
    assert [found["_id"] for found in numbers.find("p", "c", {"_id": {"$lt": 100}})] == [0, 1, 2, 3, 4]


# ---- which state -------------------------------------------------------------------------------------


def test_lookups_read_the_same_lsn(argon):
    argon.insert("p", "c", {"_id": 1, "who": "ada"})
    argon.insert("p", "people", {"_id": "ada", "level": 1})
    past = argon.head("p")
    argon.update("p", "people", {"_id": "ada"}, {"$set": {"level": 2}})
    argon.rpc.RenameCollection(target=argon.target("p", "people"), new_name="staff")
    join = lambda name: {"$lookup": {"from": name, "localField": "who", "foreignField": "_id", "as": "p"}}
    assert aggregate(argon, join("people"))[0]["p"] == []
    assert aggregate(argon, join("staff"))[0]["p"] == [{"_id": "ada", "level": 2}]
    assert aggregate(argon, join("people"), at=past)[0]["p"] == [{"_id": "ada", "level": 1}]
    assert aggregate(argon, join("staff"), at=past)[0]["p"] == []
    assert aggregate(argon, {"$project": {"_id": 1}}, {"$unionWith": "people"}, at=past) == [{"_id": 1}, {"_id": "ada", "level": 1}]


def test_lookups_stay_on_the_branch(argon):
    argon.insert("p", "c", {"_id": 1})
    argon.insert("p", "other", {"_id": 1, "on": "main"})
    argon.create_branch("p", "dev")
    argon.update("p", "other", {}, {"$set": {"on": "dev"}}, branch="dev")
    join = {"$lookup": {"from": "other", "localField": "_id", "foreignField": "_id", "as": "o"}}
    assert aggregate(argon, join)[0]["o"] == [{"_id": 1, "on": "main"}]
    assert aggregate(argon, join, branch="dev")[0]["o"] == [{"_id": 1, "on": "dev"}]


def test_counts_distincts_and_estimates_of_the_past(argon):
    argon.insert("p", "c", {"_id": 1, "a": "x"})
    past = argon.head("p")
    argon.insert("p", "c", {"_id": 2, "a": "y"})
    target, then = argon.target("p", "c"), branch_pb2.ReadOptions(as_of_lsn=past)
    assert argon.rpc.EstimatedCount(target=target).count == 2
    assert argon.rpc.EstimatedCount(target=target, read=then).count == 1
    answer = argon.rpc.Distinct(target=target, field="a", read=then)
    assert (bson.decode(answer.values.bson), answer.lsn) == ({"values": ["x"]}, past)
    assert bson.decode(argon.rpc.Distinct(target=target, field="a").values.bson) == {"values": ["x", "y"]}


def test_a_projected_stream_of_many_messages(argon):
    documents = [{"_id": i, "a": "x" * 2000, "b": i} for i in range(3000)]
    argon.insert_many("p", "c", documents)
    target = argon.target("p", "c")
    messages = argon.rpc.Find(target=target, projection=text({"a": 1, "c": {"$add": ["$b", 1]}}), sort=text({"b": -1}))
    assert len(messages) > 3
    assert decoded(messages) == [{"_id": i, "a": "x" * 2000, "c": i + 1} for i in reversed(range(3000))]
    messages = argon.rpc.Aggregate(target=target, pipeline=stages({"$sort": {"b": -1}}, {"$addFields": {"b": {"$add": ["$b", 1]}}}))
    assert decoded(messages) == [{**document, "b": document["b"] + 1} for document in reversed(documents)]


# ---- limits ------------------------------------------------------------------------------------------


def test_a_sort_has_a_memory_limit(argon):
    large = "x" * 1024 * 1024
    for begin in range(0, 120, 30):
        argon.insert_many("p", "c", [{"_id": i, "a": -i, "s": large} for i in range(begin, begin + 30)])
    target = argon.target("p", "c")
    status, why = refused(lambda: argon.rpc.Find(target=target, sort=text({"a": 1})))
    assert (status, "(code 292" in why) == (EXHAUSTED, True)
    status, why = refused(lambda: argon.rpc.Aggregate(target=target, pipeline=stages({"$sort": {"a": 1}})))
    assert (status, "(code 292" in why) == (EXHAUSTED, True)
    ids = lambda messages: [document["_id"] for document in decoded(messages)]
    assert ids(argon.rpc.Find(target=target, sort=text({"a": 1}), limit=3)) == [119, 118, 117]
    assert ids(argon.rpc.Find(target=target, sort=text({"_id": -1}), projection=text({"_id": 1}))) == list(reversed(range(120)))
    status, why = refused(lambda: argon.rpc.Distinct(target=target, field="s_", filter=text({"_id": {"$lt": 0}, "a": {"$mod": [0, 0]}})))
    assert status == INVALID


def test_what_queries_hold_counts_against_the_memory_budget(cluster):
    cluster.start_wal()
    cluster.start_branch("--memory", str(100 * 1024 * 1024))
    argon = cluster.client()
    argon.create_project("p")
    for i in range(40):
        argon.insert("p", "c", {"_id": i, "a": -i, "s": "x" * 1024 * 1024})
    target = argon.target("p", "c")
    assert argon.count("p", "c", {"a": {"$lt": 1}}) == 40
    used = lambda: argon.rpc.GetStatus().memory_used_bytes
    before = used()
    assert [document["_id"] for document in decoded(argon.rpc.Find(target=target, sort=text({"a": 1}), projection=text({"_id": 1})))] == list(range(39, -1, -1))
    assert aggregate(argon, {"$sort": {"a": 1}}, {"$project": {"_id": 1}})[0] == {"_id": 39}
    assert used() == before
    for again in range(3):
        status, why = refused(lambda: aggregate(argon, {"$sort": {"a": 1}}, {"$sort": {"s": 1}}, {"$sort": {"a": -1}}, {"$count": "n"}))
        assert (status, "more memory than there is" in why) == (EXHAUSTED, True), why
    assert argon.count("p", "c", {"a": {"$lt": 1}}) == 40
    assert used() <= before
    # a stream that is left in the middle
    stream = argon.rpc.stream("Find", target=target, sort=text({"a": 1}))
    next(stream)
    assert used() > before + 30 * 1024 * 1024
    stream.cancel()
    wait_until(lambda: used() <= before, "the memory of a stream that was left")


def test_distinct_values_are_sorted(argon):
    argon.insert_many("p", "c", [{"_id": 1, "a": ["x", 3, None]}, {"_id": 2, "a": 2.5}, {"_id": 3, "a": [3.0, True, "a"]}, {"_id": 4, "a": {"b": 1}}])
    answer = argon.rpc.Distinct(target=argon.target("p", "c"), field="a")
    assert bson.decode(answer.values.bson) == {"values": [None, 2.5, 3, "a", "x", {"b": 1}, True]}


def test_distinct_has_a_size_limit(argon):
    for i in range(17):
        argon.insert("p", "c", {"_id": i, "s": str(i) + "x" * 1024 * 1024})
    target = argon.target("p", "c")
    status, why = refused(lambda: argon.rpc.Distinct(target=target, field="s"))
    assert (status, "(code 17217" in why) == (INVALID, True)
    answer = argon.rpc.Distinct(target=target, field="s", filter=text({"_id": {"$lt": 15}}))
    assert len(bson.decode(answer.values.bson)["values"]) == 15


ENDLESS = [{"$unwind": "$a"}, {"$addFields": {"b": "$all"}}, {"$unwind": "$b"}, {"$addFields": {"c": "$all"}}, {"$unwind": "$c"}, {"$match": {"c": -1}}]


def test_an_aggregation_ends_with_its_caller(cluster):
    cluster.start_wal()
    cluster.start_branch("--workers", "2")
    argon = cluster.client()
    argon.create_project("p")
    argon.insert("p", "c", {"_id": 1, "a": list(range(5000)), "all": list(range(5000))})
    target = argon.target("p", "c")
    for _ in range(4):  # more than there are workers
        status, why = refused(lambda: aggregate(argon, *ENDLESS, timeout=0.3))
        assert status == grpc.StatusCode.DEADLINE_EXCEEDED, why
        stream = argon.rpc.stream("Aggregate", target=target, pipeline=stages(*ENDLESS))
        threading.Timer(0.2, stream.cancel).start()
        with pytest.raises(grpc.RpcError):
            next(stream)
    began = time.monotonic()
    assert argon.count("p", "c", {"_id": {"$gt": 0}}) == 1
    assert time.monotonic() - began < 5


# some 10 ms a document
SLOW = {"$size": {"$map": {"input": {"$range": [0, 20000]}, "in": {"$add": ["$$this", 1]}}}}
SLOWLY = text({"$expr": {"$eq": [SLOW, "$x"]}})
LEFT = {
    "Find": dict(filter=SLOWLY),
    "Count": dict(filter=SLOWLY),
    "Distinct": dict(filter=SLOWLY, field="_id"),
    "Aggregate": dict(pipeline=stages({"$group": {"_id": {"$add": [SLOW, "$x"]}}})),
    "Find, sorted and projected": dict(sort=text({"x": 1}), projection=text({"y": {"$add": [SLOW, "$x"]}})),
    "UpdateOne": dict(filter=SLOWLY, update=text({"$set": {"y": 1}})),
    "UpdateMany": dict(pipeline=stages({"$set": {"y": SLOW}})),
    "DeleteMany": dict(filter=SLOWLY),
    "FindOneAndDelete": dict(filter=SLOWLY, sort=text({"x": 1})),
    "BulkWrite": dict(operations=[branch_pb2.BulkOperation(delete_many=branch_pb2.BulkDelete(filter=SLOWLY))]),
}


@pytest.mark.parametrize("leaves", ["at its deadline", "by itself"])
@pytest.mark.parametrize("name", LEFT)
def test_what_takes_long_over_each_document_ends_with_its_caller(cluster, name, leaves):
    cluster.start_wal()
    cluster.start_branch("--workers", "2")
    argon = cluster.client()
    argon.create_project("p")
    argon.insert_many("p", "c", [{"_id": i} for i in range(1000)])
    call, request, streams = argon.rpc.methods[name.split(",")[0]]
    for _ in range(2):  # as many as there are workers
        timeout = 0.3 if leaves == "at its deadline" else None
        send = call if streams else call.future
        answer = send(request(target=argon.target("p", "c"), **LEFT[name]), timeout=timeout)
        if timeout is None:
            threading.Timer(0.3, answer.cancel).start()
        assert answer.code() == (grpc.StatusCode.DEADLINE_EXCEEDED if timeout else grpc.StatusCode.CANCELLED), answer.details()
    began = time.monotonic()
    assert argon.count("p", "c", {"_id": {"$gt": 0}}) == 999
    assert time.monotonic() - began < 8


# half a gigabyte, one value after the other
WASTE = {"$reduce": {"input": {"$range": [0, 100]}, "initialValue": 0, "in": {"$size": {"$range": [0, 100000]}}}}


@pytest.mark.parametrize("name", ["projection", "projection of one that is changed", "variable"])
def test_what_one_document_takes_has_a_memory_limit(argon, name):
    argon.insert("p", "c", {"_id": 1})
    target, projection = argon.target("p", "c"), text({"y": {"$add": [WASTE, "$_id"]}})
    calls = {
        "projection": lambda: argon.rpc.Find(target=target, projection=projection),
        "projection of one that is changed": lambda: argon.rpc.FindOneAndUpdate(target=target, update=text({"$set": {"n": 1}}), projection=projection),
        "variable": lambda: argon.rpc.Find(target=target, options=branch_pb2.QueryOptions(let=text({"v": WASTE}))),
    }
    status, why = refused(calls[name])
    assert (status, "more memory than it may use" in why) == (EXHAUSTED, True)
    assert argon.find("p", "c") == [{"_id": 1}]


# some 40 MiB while it is evaluated, for the document {_id: 1}
BUILT = {"$size": {"$range": [0, {"$add": [400_000, "$_id"]}]}}
CHANGE = branch_pb2.BulkOperation(update_one=branch_pb2.BulkUpdate(filter=text({"_id": 1}), update=text({"$set": {"m": 1}})))
EVALUATED = {
    "projection": ("Find", dict(projection=text({"n": BUILT}))),
    "filter": ("Count", dict(filter=text({"$expr": {"$lt": [BUILT, 0]}}))),
    "variable": ("Find", dict(options=branch_pb2.QueryOptions(let=text({"n": {"$size": {"$range": [0, 400_000]}}})))),
    "constant": ("Find", dict(projection=text({"n": {"$range": [0, 400_000]}}))),
    "stage": ("Aggregate", dict(pipeline=stages({"$addFields": {"n": BUILT}}))),
    "stage beside": ("Aggregate", dict(pipeline=stages({"$facet": {"n": [{"$group": {"_id": BUILT}}]}}))),
    "update": ("UpdateOne", dict(filter=text({"_id": 1}), pipeline=stages({"$set": {"n": BUILT}}))),
    "updates": ("UpdateMany", dict(filter=text({}), pipeline=stages({"$set": {"n": BUILT}}))),
    "filter of an update": ("UpdateMany", dict(filter=text({"$expr": {"$gt": [BUILT, 0]}}), update=text({"$set": {"n": 1}}))),
    "filter of a delete": ("DeleteMany", dict(filter=text({"$expr": {"$gt": [BUILT, 0]}}))),
    "find and update": ("FindOneAndUpdate", dict(filter=text({"_id": 1}), update=text({"$set": {"n": 1}}), projection=text({"n": BUILT}))),
    "bulk write": (
        "BulkWrite",
        dict(
            unordered=True,
            operations=[
                CHANGE,
                branch_pb2.BulkOperation(update_one=branch_pb2.BulkUpdate(filter=text({"_id": 1}), pipeline=stages({"$set": {"n": BUILT}}))),
                CHANGE,
            ],
        ),
    ),
}


@pytest.mark.parametrize("name", EVALUATED)
def test_what_one_document_takes_counts_against_the_memory_budget(cluster, name):
    cluster.start_wal()
    small, large = [cluster.client(cluster.start_branch("--memory", size)) for size in ("24M", "128M")]
    small.create_project("p")
    small.insert("p", "c", {"_id": 1})
    used = lambda: small.rpc.GetStatus().memory_used_bytes
    assert small.find("p", "c") == large.find("p", "c") == [{"_id": 1}]
    before = used()
    assert before > 0
    call, fields = EVALUATED[name]
    for request_id in ("", "r", "r"):
        write = {} if call in ("Find", "Count", "Aggregate") else {"write": small.write(request_id)}
        with pytest.raises(grpc.RpcError) as failure:
            getattr(small.rpc, call)(target=small.target("p", "c"), **write, **fields)
        error = failure.value
        assert error.code() == EXHAUSTED and "more memory than there is: 25165824 bytes are the budget" in error.details(), error
        assert not write or not_applied(error)
        wait_until(lambda: used() < before, "the memory of the query, for which the view has made room")
        assert small.find("p", "c") == [{"_id": 1}]
        assert used() == before
    # where there is room it goes through, also for who was refused
    write = {"write": large.write("r")} if write else {}
    getattr(large.rpc, call)(target=large.target("p", "c"), **write, **fields)
    assert large.rpc.GetStatus().memory_used_bytes < 1024 * 1024


def test_a_find_one_that_takes_long_holds_nobody_up(cluster):
    cluster.start_wal()
    cluster.start_branch()
    argon, beside = cluster.client(), cluster.client()
    argon.create_project("p")
    argon.insert("p", "c", {"_id": 1})
    assert argon.find("p", "c") == [{"_id": 1}]
    call, request, _ = argon.rpc.methods["FindOne"]
    searched = {"$filter": {"input": "$$all", "cond": {"$in": [-1, "$$all"]}}}
    takes_long = {"$let": {"vars": {"all": {"$range": [0, {"$add": [100_000, "$_id"]}]}}, "in": searched}}
    slow = call.future(request(target=argon.target("p", "c"), filter=text({"_id": 1, "$expr": takes_long})), timeout=3)
    most = 0
    while not slow.done():
        began = time.monotonic()
        assert beside.find_one("p", "c", {"_id": 1}) == {"_id": 1}
        most = max(most, time.monotonic() - began)
    assert slow.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert most < 2


def test_what_was_held_for_one_who_has_gone_is_given_back(cluster):
    cluster.start_wal()
    argon = cluster.client(cluster.start_branch("--memory", "128M"))
    argon.create_project("p")
    argon.insert("p", "c", {"_id": 1})
    target, used = argon.target("p", "c"), lambda: argon.rpc.GetStatus().memory_used_bytes
    assert argon.find("p", "c") == [{"_id": 1}]
    before = used()
    # holds the numbers, and looks through them once for each
    searched = {"$filter": {"input": "$$all", "cond": {"$in": [-1, "$$all"]}}}
    held = {"$let": {"vars": {"all": {"$range": [0, {"$add": [400_000, "$_id"]}]}}, "in": searched}}
    ends = {"at its deadline": grpc.StatusCode.DEADLINE_EXCEEDED, "by itself": grpc.StatusCode.CANCELLED}
    for leaves, status in ends.items():
        stream = argon.rpc.stream("Find", 2 if leaves == "at its deadline" else None, target=target, projection=text({"n": held}))
        wait_until(lambda: used() > before + 20 * 1024 * 1024, "the memory of an evaluation")
        if leaves == "by itself":
            stream.cancel()
        assert stream.code() == status
        wait_until(lambda: used() == before, "the memory of an evaluation that was left")


HOSTILE = {
    "deep filter": dict(filter='{"a":' * 300 + "1" + "}" * 300),
    "very deep filter": dict(filter='{"$and":[' * 10000 + "{}" + "]}" * 10000),
    "deep projection": dict(projection='{"a":' * 10000 + "1" + "}" * 10000),
    "deep expression": dict(projection='{"a":' + '{"$not":[' * 10000 + "1" + "]}" * 10000 + "}"),
    "deep sort": dict(sort='{"a":' * 10000 + "1" + "}" * 10000),
    "many sort keys": dict(sort=json.dumps({f"k{i}": 1 for i in range(33)})),
    "long path": dict(sort=json.dumps({".".join("a" * 200): 1})),
    "catastrophic regex": dict(filter='{"s":{"$regex":"^(a+)+$"}}'),
    "regex that is too long": dict(filter=json.dumps({"s": {"$regex": "(a?){1000}" * 10000}})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_specs_are_refused(argon, name):
    argon.insert("p", "c", {"_id": 1, "s": "a" * 10000 + "!"})
    spec = {key: branch_pb2.Document(json=value) for key, value in HOSTILE[name].items()}
    status, why = refused(lambda: argon.rpc.Find(target=argon.target("p", "c"), **spec, timeout=20))
    assert status == INVALID, why
    assert argon.count("p", "c") == 1


def test_a_list_of_a_million_ids(argon):
    argon.insert_many("p", "c", [{"_id": i} for i in range(1000)])
    ids = bson.encode({"_id": {"$in": [7 * i for i in range(1000000)]}})
    messages = argon.rpc.Find(target=argon.target("p", "c"), filter=branch_pb2.Document(bson=ids), timeout=60)
    assert [document["_id"] for document in decoded(messages)] == list(range(0, 1000, 7))
