"""Queries on both kinds of branch: the same specs must have the same answers, codes included."""

import json
import re

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from test_collections_both_kinds import INVALID, both, same, service  # noqa: F401 (fixtures)

ORDERS = [
    {"_id": 1, "who": "ada", "total": 30, "tags": ["a", "b"], "lines": [{"sku": "x", "n": 2}, {"sku": "y", "n": 5}], "at": {"city": "Oslo"}},
    {"_id": 2, "who": "bob", "total": 12.5, "tags": [], "lines": [{"sku": "y", "n": 1}], "at": {"city": "Rome"}},
    {"_id": 3, "who": "cid", "total": 30, "tags": ["b", "c"], "lines": []},
    {"_id": 4, "who": "ada", "total": None, "tags": "a", "at": {"city": "Oslo", "zip": 7}},
    {"_id": "five", "who": "eve", "total": bson.Int64(7), "lines": [{"sku": "z", "n": 0}]},
]
PEOPLE = [{"_id": "ada", "level": 3, "next": "bob"}, {"_id": "bob", "level": 1, "next": "eve"}, {"_id": "eve", "level": 2}]


def document(value):
    return branch_pb2.Document(bson=bson.encode(value)) if value is not None else None


def in_order(value):
    """A spec whose keys stay in their order: pymongo puts _id first."""
    return branch_pb2.Document(json=json.dumps(value)) if value is not None else None


def options(let=None, collation=None, hint="", hint_keys=None, comment=""):
    return branch_pb2.QueryOptions(
        let=document(let), collation=document(collation), hint=hint, hint_keys=document(hint_keys), comment=comment
    )


def refusal(call):
    """The answer, or the status and MongoDB's code in its message."""
    try:
        return call()
    except grpc.RpcError as error:
        return error.code(), (re.findall(r"\(code (\d+)", error.details()) or [""])[-1]


def documents(messages):
    return [list(bson.decode(found.bson).items()) for message in messages for found in message.documents]


@pytest.fixture
def shop(both):  # noqa: F811
    for branch in both:
        branch.insert_many(ORDERS, collection="orders")
        branch.insert_many(PEOPLE, collection="people")
    return both


FINDS = {
    "inclusion": dict(filter={"who": "ada"}, projection={"who": 1, "at.city": 1}),
    "exclusion": dict(filter={"total": {"$gte": 12}}, projection={"lines": 0, "at.zip": 0}),
    "without id": dict(projection={"_id": 0, "who": 1}),
    "slice": dict(filter={"_id": 1}, projection={"lines": {"$slice": -1}}),
    "elemMatch": dict(filter={"_id": {"$in": [1, 2]}}, projection={"lines": {"$elemMatch": {"n": {"$lt": 3}}}}),
    "positional": dict(filter={"lines.n": 5}, projection={"lines.$": 1}),
    "expression": dict(filter={"_id": 1}, projection={"shout": {"$toUpper": "$who"}, "n": {"$size": "$lines"}}),
    "sort by one": dict(sort={"who": -1, "_id": 1}),
    "sort by mixed types": dict(sort={"total": 1, "_id": -1}, projection={"total": 1}),
    "sort by an array": dict(sort={"lines.n": -1, "_id": 1}, projection={"_id": 1}),
    "sort by id": dict(sort={"_id": -1}, projection={"_id": 1}),
    "sort by id upwards": dict(sort={"_id": 1}, projection={"_id": 1}, skip=1, limit=3),
    "top two": dict(sort={"total": -1, "_id": 1}, limit=2),
    "skip and limit": dict(sort={"who": 1, "_id": 1}, skip=1, limit=3, projection={"who": 1}),
    "behind the end": dict(sort={"who": 1}, skip=9),
    "empty specs": dict(projection={}, sort={}),
    "id range": dict(filter={"_id": {"$gt": 1, "$lte": 3}}),
    "id list": dict(filter={"_id": {"$in": ["five", 9, 1, 1.0]}}, sort={"_id": 1}),
    "no such id": dict(filter={"_id": {"$gt": 3, "$lt": 3}}),
    "variables": dict(filter={"$expr": {"$eq": ["$who", "$$name"]}}, options=dict(let={"name": "ada"}), projection={"who": 1}),
    "simple collation": dict(filter={"who": "ADA"}, options=dict(collation={"locale": "simple"})),
    "comment": dict(filter={"_id": 1}, options=dict(comment="why")),
    "hint": dict(filter={"who": "bob"}, options=dict(hint="_id_")),
    "hint by keys": dict(filter={"who": "bob"}, options=dict(hint_keys={"_id": 1})),
    "no such collection": dict(collection="none", sort={"a": 1}, projection={"a": 1}),
}


def find(branch, collection="orders", filter=None, projection=None, sort=None, skip=0, limit=0, options=None):
    return documents(
        branch.client.rpc.Find(
            target=branch.target(collection), filter=document(filter), projection=document(projection), sort=in_order(sort),
            skip=skip, limit=limit, options=globals()["options"](**options) if options else None,
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", FINDS)
def test_find(shop, name):
    answer = same(shop, lambda branch: refusal(lambda: find(branch, **FINDS[name])))
    assert isinstance(answer, list)


def test_variables_in_a_projection(shop):
    # the test server does not know them there
    answer = find(shop[0], filter={"_id": 1}, projection={"x": {"$add": ["$total", "$$more"]}}, options=dict(let={"more": 5}))
    assert answer == [[("_id", 1), ("x", 35)]]


def test_find_one(shop):
    def script(branch):
        answer = branch.client.rpc.FindOne(
            target=branch.target("orders"), filter=document({}), sort=in_order({"who": 1, "_id": -1}), skip=1, projection=document({"who": 1})
        )
        return bson.decode(answer.document.bson)

    assert same(shop, script) == {"_id": 1, "who": "ada"}


REFUSED = {
    "mixed projection": dict(projection={"a": 1, "b": 0}),
    "sort direction": dict(sort={"a": 2}),
    "unknown operator": dict(filter={"a": {"$near": 1}}),
    "undefined variable": dict(filter={"$expr": {"$eq": ["$a", "$$nobody"]}}),
    "collation": dict(options=dict(collation={"locale": "de"})),
    "two hints": dict(options=dict(hint="a", hint_keys={"a": 1})),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_find(shop, name):
    status, _ = same(shop, lambda branch: (refusal(lambda: find(branch, **REFUSED[name]))[0], None))
    assert status == INVALID


COUNTS = {
    "all": ({}, 0, 0, None, 5),
    "some": ({"total": {"$gte": 12}}, 0, 0, None, 3),
    "skip and limit": ({"total": {"$gte": 12}}, 1, 1, None, 1),
    "all but some": ({}, 2, 0, None, 3),
    "of a range": ({"_id": {"$lt": 3}}, 0, 0, None, 2),
    "variables": ({"$expr": {"$eq": ["$who", "$$name"]}}, 0, 0, dict(let={"name": "ada"}), 2),
}


@pytest.mark.parametrize("name", COUNTS)
def test_count(shop, name):
    filter, skip, limit, given, expected = COUNTS[name]

    def script(branch):
        return branch.client.rpc.Count(
            target=branch.target("orders"), filter=document(filter), skip=skip, limit=limit, options=options(**(given or {}))
        ).count

    assert same(shop, script) == expected


def test_estimated_count(shop):
    def script(branch):
        return [branch.client.rpc.EstimatedCount(target=branch.target(name)).count for name in ("orders", "people", "none")]

    assert same(shop, script) == [5, 3, 0]


DISTINCTS = {
    "scalars": ("who", {}, ["ada", "bob", "cid", "eve"]),
    "filtered": ("who", {"total": 30}, ["ada", "cid"]),
    "elements": ("tags", {}, ["a", "b", "c"]),
    "equal numbers": ("total", {}, [30, 12.5, None, 7]),
    "in an array": ("lines.sku", {}, ["x", "y", "z"]),
    "by index": ("lines.0.sku", {}, ["x", "y", "z"]),
    "documents": ("at", {}, [{"city": "Oslo"}, {"city": "Rome"}, {"city": "Oslo", "zip": 7}]),
    "no such field": ("none", {}, []),
    "id": ("_id", {"_id": {"$gt": 2}}, [3, 4]),
}


@pytest.mark.parametrize("name", DISTINCTS)
def test_distinct(shop, name):
    field, filter, expected = DISTINCTS[name]

    def script(branch):
        answer = branch.client.rpc.Distinct(target=branch.target("orders"), field=field, filter=document(filter))
        return sorted(bson.decode(answer.values.bson)["values"], key=str)

    # (the test server does not look into the documents of arrays)
    assert (script(shop[0]) if name == "in an array" else same(shop, script)) == sorted(expected, key=str)


@pytest.mark.parametrize("given", [dict(field=""), dict(field="a", options=options(let={"x": 1})), dict(field="a", filter=document({"$x": 1}))])
def test_refused_distinct(shop, given):
    assert same(shop, lambda branch: refusal(lambda: branch.client.rpc.Distinct(target=branch.target("orders"), **given))[0]) == INVALID


PIPELINES = {
    "match, group, sort": [
        {"$match": {"total": {"$gt": 0}}},
        {"$group": {"_id": "$who", "sum": {"$sum": "$total"}, "n": {"$sum": 1}}},
        {"$sort": {"sum": -1, "_id": 1}},
    ],
    "lookup": [
        {"$lookup": {"from": "people", "localField": "who", "foreignField": "_id", "as": "person"}},
        {"$project": {"who": 1, "person": 1}},
        {"$sort": {"_id": 1}},
    ],
    "lookup with a pipeline": [
        {"$match": {"_id": 1}},
        {"$lookup": {"from": "people", "let": {"who": "$who"}, "pipeline": [{"$match": {"$expr": {"$gt": ["$_id", "$$who"]}}}, {"$sort": {"_id": 1}}], "as": "others"}},
        {"$project": {"others": 1}},
    ],
    "lookup of no collection": [{"$match": {"_id": 1}}, {"$lookup": {"from": "none", "localField": "a", "foreignField": "b", "as": "c"}}, {"$project": {"c": 1}}],
    "lookup in a lookup": [
        {"$match": {"_id": {"$in": [1, 2]}}},
        {"$lookup": {"from": "people", "localField": "who", "foreignField": "_id", "as": "p", "pipeline": [
            {"$lookup": {"from": "orders", "localField": "_id", "foreignField": "who", "as": "o"}}, {"$project": {"n": {"$size": "$o"}}}]}},
        {"$project": {"p": 1}}, {"$sort": {"_id": 1}},
    ],
    "union": [{"$project": {"_id": 1}}, {"$unionWith": "people"}, {"$sort": {"_id": 1}}],
    "union with a pipeline": [{"$match": {"_id": 1}}, {"$project": {"_id": 1}}, {"$unionWith": {"coll": "people", "pipeline": [{"$match": {"level": {"$gt": 1}}}]}}, {"$sort": {"_id": 1}}],
    "facet": [{"$facet": {"high": [{"$match": {"total": {"$gte": 30}}}, {"$count": "n"}], "joined": [{"$match": {"_id": 1}}, {"$lookup": {"from": "people", "localField": "who", "foreignField": "_id", "as": "p"}}, {"$project": {"p": 1}}]}}],
    "graph lookup": [
        {"$match": {"_id": {"$in": [1, 2]}}},
        {"$graphLookup": {"from": "people", "startWith": "$who", "connectFromField": "next", "connectToField": "_id", "as": "chain"}},
        {"$project": {"n": {"$size": "$chain"}}}, {"$sort": {"_id": 1}},
    ],
    "unwind": [{"$unwind": "$lines"}, {"$group": {"_id": "$lines.sku", "n": {"$sum": "$lines.n"}}}, {"$sort": {"_id": 1}}],
    "count": [{"$match": {"_id": {"$lt": 3}}}, {"$count": "n"}],
    "bucket": [{"$bucket": {"groupBy": "$total", "boundaries": [0, 10, 40], "default": "other"}}, {"$sort": {"count": 1, "_id": 1}}],
    "no stages": [],
}  # fmt: skip


def aggregate(branch, stages, **more):
    return documents(branch.client.rpc.Aggregate(target=branch.target("orders"), pipeline=[document(stage) for stage in stages], **more))


@pytest.mark.parametrize("name", PIPELINES)
def test_aggregate(shop, name):
    def script(branch):
        answer = refusal(lambda: aggregate(branch, PIPELINES[name]))
        return sorted(answer, key=str) if name == "no stages" else answer

    assert isinstance(same(shop, script), list)


def test_aggregate_with_variables(shop):
    stages = [{"$match": {"$expr": {"$eq": ["$who", "$$name"]}}}, {"$project": {"who": 1}}, {"$sort": {"_id": 1}}]
    answer = same(shop, lambda branch: aggregate(branch, stages, options=options(let={"name": "ada"})))
    assert answer == [[("_id", 1), ("who", "ada")], [("_id", 4), ("who", "ada")]]


REFUSED_PIPELINES = {
    "unknown stage": ([{"$sing": {}}], "40324"),
    "writing": ([{"$out": "people"}], "115"),
    "merging": ([{"$merge": "people"}], "115"),
    "writing in a lookup": ([{"$lookup": {"from": "people", "pipeline": [{"$out": "people"}], "as": "a"}}], "115"),
    "two in one": ([{"$match": {}, "$limit": 1}], "40323"),
    "undefined variable": ([{"$project": {"a": "$$nobody"}}], "17276"),
    "limit": ([{"$limit": 0}], "15958"),
    "name of a collection": ([{"$lookup": {"from": "a$b", "localField": "a", "foreignField": "b", "as": "c"}}], ""),
}


@pytest.mark.parametrize("name", REFUSED_PIPELINES)
def test_refused_pipeline(shop, name):
    stages, code = REFUSED_PIPELINES[name]
    status, found = same(shop, lambda branch: refusal(lambda: aggregate(branch, stages)))
    assert status == INVALID
    assert found == code or not code
    assert same(shop, lambda branch: branch.count(collection="people")) == 3


# ---- explain -----------------------------------------------------------------------------------------

EXPLAINED = {
    "everything": (dict(sort={"_id": 1}, limit=4, options=options(hint_keys={"$natural": 1})), "SCAN", "SORTED", "", 4),
    "by an index": (dict(filter={"total": 30}, options=options(hint="by_total")), "INDEX", "SORTED", "by_total", 2),
    "in its order": (dict(filter={"total": {"$gt": 0}}, sort={"total": 1}, options=options(hint="by_total")), "INDEX", "INDEX", "by_total", 4),
    "sorted": (dict(sort={"who": 1}, limit=2), "SCAN", "SORTED", "", 2),
    "hinted": (dict(filter={"total": 30}, options=options(hint_keys={"$natural": 1})), "SCAN", "SORTED", "", 2),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_traditional_branch_says_what_its_mongodb_does(shop, name):
    wal, old = shop
    spec, access, order, indexes, returned = EXPLAINED[name]
    definition = branch_pb2.Document(bson=bson.encode({"v": 2, "key": {"total": 1}, "name": "by_total"}))
    old.client.rpc.SetIndexes(target=old.target("orders"), indexes=[definition])
    filter, sort = document(spec.get("filter")), in_order(spec.get("sort"))
    find = branch_pb2.FindRequest(
        target=old.target("orders"), filter=filter, sort=sort, limit=spec.get("limit", 0), options=spec.get("options")
    )
    plan = old.client.rpc.Explain(find=find)
    names = branch_pb2.Access.Name(plan.access), branch_pb2.Order.Name(plan.order), plan.indexes, plan.returned, plan.lsn
    assert names == (f"ACCESS_{access}", f"ORDER_{order}", indexes, returned, 0)
    assert plan.examined >= returned


def test_a_traditional_branch_explains_a_pipeline(shop):
    old = shop[1]
    stages = [{"$match": {"who": "ada"}}, {"$group": {"_id": "$who"}}, {"$sort": {"_id": 1}}]
    pipeline = branch_pb2.AggregateRequest(target=old.target("orders"), pipeline=[in_order(stage) for stage in stages])
    plan = old.client.rpc.Explain(aggregate=pipeline)
    assert (plan.access, plan.order) == (branch_pb2.ACCESS_SCAN, branch_pb2.ORDER_SORTED)
    assert (plan.examined, plan.returned) == (len(ORDERS), 1)
