"""One document or one spec that is as large as it may be: it is answered, or it ends with its caller, and the workers are free."""

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2

N = 100_000  # fields or values; some 1 to 2 MB of BSON
NAMES = [f"f{i:06}" for i in range(N)]
OBJECT = {name: 1 for name in NAMES}
MIXED = [*range(N // 2), *(f"s{i}" for i in range(N // 2))]
PAIRS = {"$map": {"input": {"$range": [0, N // 2]}, "in": {"k": {"$toString": "$$this"}, "v": "$$this"}}}
SHORT = NAMES[: N // 5]


def document(value):
    return branch_pb2.Document(bson=bson.encode(value))


def pipeline(*stages):
    return dict(pipeline=[document(stage) for stage in stages])


def computed(expression):
    return pipeline({"$match": {"_id": "list"}}, {"$project": {"x": {"$type": expression}}})


LARGE = {
    "inclusion": ("Find", dict(projection=document(OBJECT))),
    "exclusion": ("Find", dict(projection=document({name: 0 for name in NAMES}))),
    "$set of a pipeline": ("Aggregate", pipeline({"$set": OBJECT})),
    "$unset of a pipeline": ("Aggregate", pipeline({"$unset": NAMES})),
    "$project of a pipeline": ("Aggregate", pipeline({"$project": {name: "$" + name for name in reversed(NAMES)}})),
    "$group": ("Aggregate", pipeline({"$group": {"_id": None, **{name: {"$sum": 1} for name in SHORT}}})),
    "$facet": ("Aggregate", pipeline({"$facet": {name: [{"$limit": 1}] for name in SHORT}})),
    "$sort": ("Aggregate", pipeline({"$sort": {name: 1 for name in NAMES[:32]}})),
    "$bucket": ("Aggregate", pipeline({"$bucket": {"groupBy": "$n", "boundaries": list(range(N)), "default": "x"}})),
    "$all": ("Find", dict(filter=document({"a": {"$all": MIXED}}))),
    "$all backwards": ("Find", dict(filter=document({"a": {"$all": MIXED[::-1]}}))),
    "$in": ("Find", dict(filter=document({"a": {"$in": [[i] for i in range(N)]}}))),
    "$in of patterns": ("Find", dict(filter=document({"a": {"$in": [bson.Regex(f"^x{i}$") for i in range(1000)]}}))),
    "$and of equalities": ("Find", dict(filter=document({"$and": [{name: 1} for name in SHORT]}))),
    "$or of equalities": ("Find", dict(filter=document({"$or": [{name: 2} for name in SHORT]}))),
    "fields": ("Find", dict(filter=document(OBJECT))),
    "$jsonSchema properties": ("Find", dict(filter=document({"$jsonSchema": {"properties": {name: {"minimum": 0} for name in NAMES}}}))),
    "$jsonSchema required": ("Find", dict(filter=document({"$jsonSchema": {"required": NAMES}}))),
    "$jsonSchema enum": ("Find", dict(filter=document({"$jsonSchema": {"properties": {"a": {"items": [], "enum": [[i] for i in range(N)]}}}}))),
    "$jsonSchema uniqueItems": ("Find", dict(filter=document({"$jsonSchema": {"properties": {"a": {"uniqueItems": True}}}}))),
    "$mergeObjects": ("Aggregate", computed({"$mergeObjects": [{"$arrayToObject": PAIRS}, {"$arrayToObject": PAIRS}]})),
    "$arrayToObject": ("Aggregate", computed({"$arrayToObject": PAIRS})),
    "$setField again and again": (
        "Aggregate",
        computed({"$reduce": {"input": {"$range": [0, N]}, "initialValue": {}, "in": {"$mergeObjects": ["$$value", {"$arrayToObject": [[["x", 1]]]}]}}}),
    ),
    "$concatArrays that grows": (
        "Aggregate",
        computed({"$reduce": {"input": {"$range": [0, N]}, "initialValue": [], "in": {"$concatArrays": ["$$value", ["$$this"]]}}}),
    ),
    "$concat that grows": ("Aggregate", computed({"$reduce": {"input": {"$range": [0, N]}, "initialValue": "", "in": {"$concat": ["$$value", "x"]}}})),
    "an array that doubles": (
        "Aggregate",
        computed({"$reduce": {"input": {"$range": [0, 40]}, "initialValue": [1], "in": {"$concatArrays": ["$$value", "$$value"]}}}),
    ),
    "a text that doubles": (
        "Aggregate",
        computed({"$reduce": {"input": {"$range": [0, 40]}, "initialValue": "x", "in": {"$concat": ["$$value", "$$value"]}}}),
    ),
    "$setUnion": ("Aggregate", computed({"$setUnion": ["$a", "$a", {"$range": [0, N]}]})),
    "$setIntersection": ("Aggregate", computed({"$setIntersection": ["$a", {"$reverseArray": "$a"}]})),
    "$setDifference": ("Aggregate", computed({"$setDifference": [{"$range": [0, N]}, "$a"]})),
    "$setIsSubset": ("Aggregate", computed({"$setIsSubset": ["$a", {"$reverseArray": "$a"}]})),
    "$in for each": ("Aggregate", computed({"$map": {"input": "$a", "in": {"$in": ["$$this", {"$reverseArray": "$a"}]}}})),
    "$indexOfArray for each": ("Aggregate", computed({"$map": {"input": "$a", "in": {"$indexOfArray": ["$a", "$$this"]}}})),
    "$range": ("Aggregate", computed({"$range": [0, 2**31 - 1]})),
    "$sortArray": ("Aggregate", computed({"$sortArray": {"input": "$a", "sortBy": -1}})),
    "$set": ("UpdateMany", dict(update=document({"$set": {name: 2 for name in NAMES}}))),
    "$unset": ("UpdateMany", dict(update=document({"$unset": OBJECT}))),
    "$rename": ("UpdateMany", dict(update=document({"$rename": {name: "x" + name for name in NAMES[: N // 2]}}))),
    "$addToSet": ("UpdateMany", dict(update=document({"$addToSet": {"a": {"$each": MIXED[::-1]}}}), filter=document({"_id": "list"}))),
    "$pullAll": ("UpdateMany", dict(update=document({"$pullAll": {"a": MIXED[::-1]}}), filter=document({"_id": "list"}))),
    "$push and $sort": ("UpdateMany", dict(update=document({"$push": {"a": {"$each": MIXED[::-1], "$sort": 1}}}), filter=document({"_id": "list"}))),
    "upsert of equalities": ("UpdateOne", dict(filter=document({"_id": "new", "$and": [{name: 1} for name in SHORT]}), update=document({"$set": {"n": 1}}), upsert=True)),
}  # fmt: skip
ENDS = (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)


@pytest.fixture
def large(cluster):
    cluster.start_wal()
    cluster.start_branch("--workers", "2")
    argon = cluster.client()
    argon.create_project("p")
    argon.insert_many("p", "c", [{"_id": "fields", **OBJECT}, {"_id": "list", "a": MIXED}])
    argon.count("p", "c")
    return argon


def ask(argon, rpc, request, timeout):
    try:
        answer = getattr(argon.rpc, rpc)(target=argon.target("p", "c"), timeout=timeout, **request)
        if rpc in ("Find", "Aggregate"):
            for _ in answer:
                pass
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("name", LARGE)
def test_it_is_answered_or_ends_with_its_caller(large, name):
    rpc, request = LARGE[name]
    for _ in range(2):  # as many as there are workers
        status, why = ask(large, rpc, request, timeout=1)
        assert status in ENDS, why
    assert large.count("p", "c", timeout=10) >= 2
