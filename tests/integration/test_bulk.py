"""InsertMany: what becomes of documents that are there already, or cannot be stored; and the same again."""

import bson
import grpc
import pytest

from argon.branch.v1 import branch_pb2
from harness import not_applied

FAIL, SKIP, REPLACE, REPORT = range(4)
INVALID, EXISTS = 3, 6


def insert(client, values, on_duplicate=FAIL, skip_invalid=False, rid=None, since=0):
    documents = [value if isinstance(value, branch_pb2.Document) else client.document(value) for value in values]
    return client.rpc.InsertMany(
        target=client.target("p", "c"),
        documents=documents,
        on_duplicate=on_duplicate,
        skip_invalid=skip_invalid,
        write=client.write(rid, since),
    )


def ids(answer):
    return [bson.decode(document.bson)["_id"] for document in answer.inserted_ids]


def counts(answer):
    return answer.inserted, answer.replaced, answer.skipped


def errors(answer):
    return [(error.index, error.code) for error in answer.errors]


@pytest.fixture
def prepared(argon):
    argon.insert_many("p", "c", [{"_id": 1, "v": "old"}, {"_id": 2, "v": "same"}])
    return argon


def test_replace(prepared):
    answer = insert(prepared, [{"_id": 1, "v": "new"}, {"_id": 2, "v": "same"}, {"_id": 3}], REPLACE)
    assert counts(answer) == (1, 1, 1)
    assert ids(answer) == [3]
    assert prepared.find("p", "c") == [{"_id": 1, "v": "new"}, {"_id": 2, "v": "same"}, {"_id": 3}]
    # the past is as it was
    assert prepared.find_one("p", "c", {"_id": 1}, at=answer.lsn - 2) == {"_id": 1, "v": "old"}


def test_replace_with_nothing_new_writes_nothing(prepared):
    before = prepared.head("p")
    answer = insert(prepared, [{"_id": 1, "v": "old"}, {"_id": 2, "v": "same"}], REPLACE)
    assert counts(answer) == (0, 0, 2)
    assert prepared.head("p") == before


def test_replace_within_one_request_goes_in_its_order(prepared):
    answer = insert(prepared, [{"_id": 1, "v": 1}, {"_id": 7, "v": 1}, {"_id": 1, "v": 2}, {"_id": 7, "v": 2}, {"_id": 7, "v": 2}], REPLACE)
    assert counts(answer) == (1, 3, 1)
    assert ids(answer) == [7]
    assert prepared.find("p", "c", {"v": 2}) == [{"_id": 1, "v": 2}, {"_id": 7, "v": 2}]


def test_report(prepared):
    answer = insert(prepared, [{"_id": 5}, {"_id": 1, "v": "new"}, {"_id": 6}, {"_id": 5, "again": True}], REPORT)
    assert counts(answer) == (2, 0, 0)
    assert errors(answer) == [(1, EXISTS), (3, EXISTS)]
    assert '{ "_id" : 1 }' in answer.errors[0].message or '{"_id":1}' in answer.errors[0].message
    assert prepared.find("p", "c") == [{"_id": 1, "v": "old"}, {"_id": 2, "v": "same"}, {"_id": 5}, {"_id": 6}]


BAD = [
    branch_pb2.Document(bson=b"\x05\x00\x00\x00\x01"),
    branch_pb2.Document(json="{"),
    branch_pb2.Document(),
    branch_pb2.Document(json='{"_id": [1]}'),
    branch_pb2.Document(json='{"_id": {"$x": 1}}'),
]


def test_skip_invalid(prepared):
    answer = insert(prepared, [{"_id": 8}, *BAD, {"_id": 9}], skip_invalid=True)
    assert errors(answer) == [(i, INVALID) for i in range(1, 1 + len(BAD))]
    assert all(error.message for error in answer.errors)
    assert ids(answer) == [8, 9]
    assert prepared.count("p", "c") == 4


def test_an_invalid_document_fails_the_whole_otherwise(prepared):
    for bad in BAD:
        with pytest.raises(grpc.RpcError) as error:
            insert(prepared, [{"_id": 8}, bad], REPORT)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "document 1" in error.value.details()
        assert not_applied(error.value)
    assert prepared.count("p", "c") == 2


def test_nothing_but_invalid_documents(prepared):
    answer = insert(prepared, BAD, skip_invalid=True, rid="r")
    assert counts(answer) == (0, 0, 0) and len(answer.errors) == len(BAD)
    assert insert(prepared, BAD, skip_invalid=True, rid="r") == answer


MIXED = [{"_id": 1, "v": "new"}, {"v": "generated"}, {"_id": 3}, {"_id": 3, "twice": True}, BAD[1], {"v": "generated too"}, {"_id": 2, "v": "same"}]


@pytest.mark.parametrize("on_duplicate", [SKIP, REPLACE, REPORT])
def test_the_same_answer_again(cluster, prepared, on_duplicate):
    since = prepared.head("p")
    first = insert(prepared, MIXED, on_duplicate, True, "r", since)
    after = prepared.find("p", "c")
    assert errors(first) == {
        SKIP: [(4, INVALID)],
        REPLACE: [(4, INVALID)],
        REPORT: [(0, EXISTS), (3, EXISTS), (4, INVALID), (6, EXISTS)],
    }[on_duplicate]
    # by now everything is a duplicate, and what was one is gone
    prepared.delete("p", "c", {"_id": 1})
    prepared.insert("p", "c", {"_id": 1, "v": after[0]["v"]})
    other = cluster.client(cluster.start_branch())
    assert insert(other, MIXED, on_duplicate, True, "r", since) == first
    cluster.wal.kill()
    cluster.wal.start()
    assert insert(prepared, MIXED, on_duplicate, True, "r", since) == first
    assert sorted(map(str, prepared.find("p", "c"))) == sorted(map(str, after))


def test_all_duplicates_reported_again_after_they_are_gone(prepared):
    since = prepared.head("p")
    first = insert(prepared, [{"_id": 1}, {"_id": 2}], REPORT, rid="r", since=since)
    assert errors(first) == [(0, EXISTS), (1, EXISTS)]
    prepared.delete("p", "c", {}, many=True)
    assert insert(prepared, [{"_id": 1}, {"_id": 2}], REPORT, rid="r", since=since) == first
    assert prepared.count("p", "c") == 0


def test_as_many_errors_as_documents_fit_one_answer(argon):
    long = "x" * 600
    values = [{"_id": f"{i}{long}"} for i in range(20_000)]
    argon.insert_many("p", "c", values)
    answer = insert(argon, values, REPORT)
    assert len(answer.errors) == 20_000
    assert answer.ByteSize() < 8 * 1024 * 1024


def test_too_many_documents_are_refused_even_if_all_are_invalid(argon):
    with pytest.raises(grpc.RpcError) as error:
        insert(argon, [branch_pb2.Document()] * 100_000, skip_invalid=True)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "99999" in error.value.details()


def test_a_duplicate_that_another_replica_takes_away_is_not_passed_over(cluster, prepared):
    # what is passed over is not touched, so it must be seen in the state of now
    other = cluster.client(cluster.start_branch())
    assert other.count("p", "c") == 2
    for on_duplicate in (SKIP, REPORT, REPLACE):
        prepared.delete("p", "c", {"_id": 2})
        answer = insert(other, [{"_id": 2, "v": "same"}, {"_id": f"other {on_duplicate}"}], on_duplicate)
        assert counts(answer) == (2, 0, 0)
