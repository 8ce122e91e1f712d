"""Changing documents on the command line: update, replace, find-one-and-*, bulk-write."""

import json

import pytest


def docs(cluster, command, *arguments, input=None, status=0, output="json"):
    result = cluster.argon("docs", command, "-p", "p", "c", *arguments, "-o", output, input=input, check=False)
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout) if output == "json" and result.stdout else result.stdout + result.stderr


def found(cluster):
    return docs(cluster, "find")


def without_lsn(answer):
    assert answer.pop("lsn") > 0
    return answer


def test_update_upserts_filters_arrays_and_sorts(cluster, argon):
    made = docs(cluster, "update", '{"_id": 1}', '{"$set": {"g": [1, 5, 9]}}', "--upsert")
    assert without_lsn(made) == {"matched": 0, "modified": 0, "upserted_id": {"_id": 1}}
    changed = docs(cluster, "update", "{}", '{"$inc": {"g.$[x]": 1}}', "--array-filters", '[{"x": {"$gte": 5}}]')
    assert without_lsn(changed) == {"matched": 1, "modified": 1, "upserted_id": None}
    docs(cluster, "insert", '{"_id": 2, "n": 7}', '{"_id": 3, "n": 8}')
    docs(cluster, "update", "{}", '{"$set": {"hit": true}}', "--sort", '{"n": -1}')
    docs(cluster, "update", '{"n": 7}', '[{"$set": {"m": {"$add": ["$n", "$$more"]}}}]', "--let", '{"more": 10}')
    docs(cluster, "replace", '{"_id": 4}', '{"new": 1}', "--upsert")
    assert found(cluster) == [
        {"_id": 1, "g": [1, 6, 10]},
        {"_id": 2, "n": 7, "m": 17},
        {"_id": 3, "n": 8, "hit": True},
        {"_id": 4, "new": 1},
    ]
    refused = docs(cluster, "update", "{}", '{"$set": {"a": 1}}', "--many", "--sort", '{"n": 1}', status=2, output="table")
    assert "--sort" in refused and "--many" in refused
    assert "inserted" in docs(cluster, "update", '{"_id": 5}', '{"$set": {"a": 1}}', "--upsert", output="table")


def test_find_one_and(cluster, argon):
    docs(cluster, "insert", '{"_id": 1, "n": 1}', '{"_id": 2, "n": 2}')
    before = docs(cluster, "find-one-and-update", '{"_id": 1}', '{"$inc": {"n": 1}}')
    assert without_lsn(before) == {"document": {"_id": 1, "n": 1}, "matched": 1, "upserted_id": None}
    after = docs(cluster, "find-one-and-update", '{"_id": 1}', '{"$inc": {"n": 1}}', "--return", "after", "--projection", '{"_id": 0}')
    assert after["document"] == {"n": 3}
    assert docs(cluster, "find-one-and-update", '{"_id": 9}', '[{"$set": {"a": 1}}]', "--upsert")["upserted_id"] == {"_id": 9}
    assert docs(cluster, "find-one-and-replace", '{"_id": 2}', '{"z": 1}', "--return", "after")["document"] == {"_id": 2, "z": 1}
    assert docs(cluster, "find-one-and-delete", "{}", "--sort", '{"n": -1}')["document"] == {"_id": 1, "n": 3}
    assert docs(cluster, "find-one-and-delete", '{"_id": 77}')["document"] is None
    assert json.loads(docs(cluster, "find-one-and-delete", '{"_id": 2}', output="table")) == {"_id": 2, "z": 1}
    assert "Matched none" in docs(cluster, "find-one-and-delete", '{"_id": 2}', output="table")
    assert "before or after" in docs(cluster, "find-one-and-update", "{}", '{"$set": {"a": 1}}', "--return", "both", status=2, output="table")


def test_an_insert_that_stops_at_a_duplicate(cluster, argon):
    docs(cluster, "insert", '{"_id": 2}')
    stopped = docs(cluster, "insert", '{"_id": 1}', '{"_id": 2}', '{"_id": 3}', "--on-duplicate", "stop", status=4)
    assert stopped["inserted_ids"] == [{"_id": 1}]
    assert [(e["index"], e["code"], e["mongodb_code"]) for e in stopped["errors"]] == [(1, "ALREADY_EXISTS", 11000)]
    assert found(cluster) == [{"_id": 1}, {"_id": 2}]
    said = docs(cluster, "insert", '{"_id": 4}', '{"_id": [1]}', '{"_id": 5}', "--on-duplicate", "stop", status=2, output="table")
    assert "Inserted 1 document at LSN" in said and "stopped at document 2: " in said
    assert found(cluster) == [{"_id": 1}, {"_id": 2}, {"_id": 4}]
    assert docs(cluster, "insert", '{"_id": 6}', "--on-duplicate", "stop")["errors"] == []
    assert "fail, skip, replace, stop" in docs(cluster, "insert", "{}", "--on-duplicate", "odd", status=2, output="table")


@pytest.mark.parametrize("command", ["update", "find-one-and-update"])
@pytest.mark.parametrize("update, said", [('{"a": 1}', "find-one-and-replace"), ("{}", "$set"), ("[]", "no stages"), (" [ ] ", "no stages")])
def test_an_update_that_forgot_its_operator_replaces_nothing(cluster, argon, command, update, said):
    docs(cluster, "insert", '{"_id": 1, "precious": true}')
    assert said in docs(cluster, command, '{"_id": 1}', update, status=2, output="table")
    assert found(cluster) == [{"_id": 1, "precious": True}]


@pytest.mark.parametrize("hint", ["by_n", '{"n": 1}'])
def test_a_wal_branch_takes_a_hint_and_needs_none(cluster, argon, hint, tmp_path):
    docs(cluster, "insert", '{"_id": 1, "n": 1}')
    assert docs(cluster, "update", "{}", '{"$set": {"n": 2}}', "--hint", hint)["modified"] == 1
    assert docs(cluster, "replace", "{}", '{"n": 3}', "--hint", hint)["modified"] == 1
    assert docs(cluster, "find-one-and-update", "{}", '{"$set": {"n": 4}}', "--hint", hint)["document"] == {"_id": 1, "n": 3}
    assert docs(cluster, "find-one-and-replace", "{}", '{"n": 5}', "--hint", hint)["document"] == {"_id": 1, "n": 4}
    assert docs(cluster, "find", "--hint", hint) == [{"_id": 1, "n": 5}]
    assert docs(cluster, "count", "--hint", hint)["count"] == 1
    assert docs(cluster, "aggregate", '[{"$count": "n"}]', "--hint", hint) == [{"n": 1}]
    assert docs(cluster, "distinct", "n", "--hint", hint)["values"] == [5]
    operations = tmp_path / "operations"
    operations.write_text('{"updateOne": {"filter": {}, "update": {"$set": {"n": 5}}}}\n')
    assert docs(cluster, "bulk-write", str(operations), "--hint", hint)["matched"] == 1
    assert docs(cluster, "find-one-and-delete", "{}", "--hint", hint)["document"] == {"_id": 1, "n": 5}
    assert docs(cluster, "delete", "{}", "--hint", hint)["deleted"] == 0
    assert "--hint" in docs(cluster, "delete", "{}", "--hint", '{"n": ', status=2, output="table")


OPERATIONS = """
{"insertOne": {"document": {"_id": 1, "n": 1}}}
{"insertOne": {"document": {"_id": 2, "n": 2}}}
{"updateOne": {"filter": {"_id": 3}, "update": {"$set": {"g": [1, 2]}}, "upsert": true}}
{"updateOne": {"filter": {"_id": 3}, "update": {"$set": {"g.$[x]": 0}}, "arrayFilters": [{"x": 2}]}}
{"updateMany": {"filter": {"n": {"$gt": 0}}, "update": [{"$set": {"m": "$n"}}]}}
{"replaceOne": {"filter": {}, "replacement": {"r": 1}, "sort": {"n": -1}}}
{"deleteOne": {"filter": {"_id": 1}}}
{"deleteMany": {"filter": {"nothing": 1}}}
"""


def test_bulk_write(cluster, argon, tmp_path):
    path = tmp_path / "operations.ndjson"
    path.write_text(OPERATIONS)
    answer = docs(cluster, "bulk-write", str(path))
    assert without_lsn(answer) == {
        "inserted": 2,
        "matched": 4,
        "modified": 4,
        "deleted": 1,
        "upserted": 1,
        "inserted_ids": [{"index": 0, "id": {"_id": 1}}, {"index": 1, "id": {"_id": 2}}],
        "upserted_ids": [{"index": 2, "id": {"_id": 3}}],
        "errors": [],
    }
    assert found(cluster) == [{"_id": 2, "r": 1}, {"_id": 3, "g": [1, 0]}]


def test_bulk_write_says_what_failed(cluster, argon):
    operations = '{"insertOne": {"document": {"_id": 1}}}\n' * 2 + '{"insertOne": {"document": {"_id": 2}}}'
    first = docs(cluster, "bulk-write", "-", input=operations, status=4)
    assert (first["inserted"], [(e["index"], e["code"], e["mongodb_code"]) for e in first["errors"]]) == (1, [(1, "ALREADY_EXISTS", 11000)])
    second = docs(cluster, "bulk-write", "-", "--unordered", input=operations, status=4)
    assert (second["inserted"], [e["index"] for e in second["errors"]]) == (1, [0, 1])
    assert "operation 0" in docs(cluster, "bulk-write", "-", "--atomic", input=operations, status=4, output="table")


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"insertOne": {"document": 1}}', "'document' is no document"),
        ('{"insertOne": {"doc": {}}}', "'doc'"),
        ('{"upsertOne": {}}', "'upsertOne' is no operation"),
        ('{"deleteOne": {"filter": {}}, "deleteMany": {}}', "one field"),
        ('{"updateOne": {"filter": {}, "update": [1]}}', "no document"),
        ('{"updateOne": {"filter": {}, "update": {}, "upsert": 1}}', "neither true nor false"),
        ('{"updateOne": {"filter": {}, "update": {}, "arrayFilters": {}}}', "no array"),
        ('{"deleteOne": {"filter": {}', ""),
        ('{"deleteMany": {}}', "no field 'filter'"),
        ('{"updateMany": {"update": {"$set": {"a": 1}}}}', "no field 'filter'"),
        ('{"updateOne": {"filter": {}}}', "no field 'update'"),
        ('{"replaceOne": {"filter": {}}}', "no field 'replacement'"),
        ('{"insertOne": {}}', "no field 'document'"),
        ('{"updateOne": {"filter": {}, "update": {"a": 1}}}', "replaceOne"),
        ('{"updateOne": {"filter": {}, "update": {}}}', "replaceOne"),
        ('{"updateMany": {"filter": {}, "update": []}}', "no stages"),
    ],
)
def test_a_file_of_operations_that_cannot_be_read(cluster, argon, line, said):
    text = docs(cluster, "bulk-write", "-", input='{"insertOne": {"document": {}}}\n' + line, status=2, output="table")
    assert said in text and "line 2" in text
    assert found(cluster) == []
