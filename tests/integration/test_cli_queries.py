"""Queries on the command line: for programs, and what is wrong with some."""

import json

import pytest


@pytest.fixture
def items(cluster, argon):
    argon.insert_many("p", "items", [{"_id": i, "n": i % 3} for i in range(10)])
    return lambda *arguments, check=True: cluster.argon("docs", *arguments, "-p", "p", check=check)


def test_for_programs(items, argon):
    assert json.loads(items("distinct", "items", "n", '{"_id":{"$lt":2}}', "-o", "json").stdout) == {"values": [0, 1], "lsn": argon.head("p")}
    explained = json.loads(items("explain", "items", '[{"$match":{"_id":{"$lt":4}}},{"$sort":{"n":1}}]', "-o", "json").stdout)
    assert explained == {"access": "ID_RANGES", "ranges": 1, "examined": 4, "returned": 4, "order": "SORTED", "indexes": "", "lsn": argon.head("p")}
    found = items("aggregate", "items", '[{"$match":{"$expr":{"$gte":["$_id","$$from"]}}},{"$count":"n"}]', "--let", '{"from":7}', "-o", "json")
    assert json.loads(found.stdout) == [{"n": 3}]
    counted = items("count", "items", '{"$expr":{"$gte":["$_id","$$from"]}}', "--let", '{"from":7}', "--limit", "2", "-o", "json")
    assert json.loads(counted.stdout)["count"] == 2
    past = argon.head("p")
    argon.delete("p", "items", {}, many=True)
    assert json.loads(items("count", "items", "--estimated", "-o", "json").stdout) == {"count": 0, "lsn": argon.head("p")}
    assert items("count", "items", "--estimated", "--at-lsn", str(past)).stdout == "10\n"
    assert json.loads(items("distinct", "items", "n", "--at-lsn", str(past), "-o", "json").stdout)["values"] == [0, 1, 2]


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["aggregate", "items", '{"$count":"n"}'], "PIPELINE: an array"),
        (["aggregate", "items", "[1]"], "PIPELINE: item 0 is no document"),
        (["aggregate", "items", "[{}"], "PIPELINE: "),
        (["aggregate", "items", '[{"$sing":1}]'], "'$sing' (code 40324"),
        (["explain", "items", '[{"$count":"n"}]', "--limit", "1"], "stages of a pipeline"),
        (["find", "items", "--sort", "{"], "--sort: "),
        (["find", "items", "--projection", '{"a":1,"b":0}'], "projection: "),
        (["find", "items", "--let", "5"], "--let: "),
        (["distinct", "items", ""], "field is missing"),
        (["count", "items", "{}", "--estimated"], "--estimated is of all documents"),
        (["count", "items", "--estimated", "--hint", "a"], "--estimated is of all documents"),
        (["count", "items", "--estimated", "--limit", "1"], "--estimated is of all documents"),
        (["find", "items", "--hint", "{"], "--hint: "),
    ],
)
def test_wrong_queries(items, arguments, why):
    result = items(*arguments, check=False)
    assert result.returncode == 2
    assert why in result.stderr
