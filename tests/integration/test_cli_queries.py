"""Queries on the command line: the examples of docs/query.md, as they stand there, and what is wrong with others."""

import json
import pathlib
import re
import shlex

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "query.md"


def section(title):
    return re.search(rf"^## {title}\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]


def examples():
    text = re.sub(r"\\\n\s+", "", section("Asking"))
    return [shlex.split(line)[1:] for line in re.findall(r"^    (argon .*)$", text, re.MULTILINE)]


# What the commands that read print, in their order.
PRINTED = [
    ["find", [{"name": "pot"}, {"name": "cup"}]],
    ["find", [{"_id": 2, "name": "cup", "price": 5, "tags": ["clay"]}, {"_id": 3, "name": "pot", "price": 9, "tags": ["clay", "hot"]}]],
    ["distinct", ["hot", "leaf", "clay"]],
    ["aggregate", [{"_id": 2, "n": 6, "item": [{"_id": 2, "name": "cup", "price": 5, "tags": ["clay"]}]},
                   {"_id": 3, "n": 1, "item": [{"_id": 3, "name": "pot", "price": 9, "tags": ["clay", "hot"]}]}]],
    ["explain", "Through 1 ranges of _id, ordered by _id: 2 looked at, 2 returned."],
]  # fmt: skip


def test_the_examples_of_the_page(cluster, argon):
    printed = []
    for command in examples():
        output = cluster.argon(*command).stdout
        if command[0] != "docs" or command[1] == "insert":
            continue
        if command[1] in ("find", "aggregate"):
            printed.append([command[1], [json.loads(line) for line in output.splitlines()]])
        else:
            printed.append([command[1], json.loads(output) if command[1] == "distinct" else output.strip()])
    assert printed == PRINTED
    shown, expected = re.search(r"^    \$ argon (.*)\n    (.*)$", section("How documents are reached"), re.MULTILINE).groups()
    assert cluster.argon(*shlex.split(shown)).stdout.strip() == expected


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
