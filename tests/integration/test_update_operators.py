"""Update operators through the RPCs; what each of them does is in tests/corpus/update."""

import bson
import grpc
import pytest

CASES = {
    "arrays": ({"_id": 1}, {"$push": {"tags": {"$each": ["c", "a"], "$sort": 1, "$slice": 3}}, "$pull": {"n": {"$gt": 2}}},
               {"tags": ["a", "b", "c"], "n": [1, 2]}),
    "the element that the filter found": ({"items.sku": "y"}, {"$inc": {"items.$.left": -1}}, {"items": [{"sku": "x", "left": 5}, {"sku": "y", "left": 6}]}),
    "every element": ({"_id": 1}, {"$mul": {"items.$[].left": 2}}, {"items": [{"sku": "x", "left": 10}, {"sku": "y", "left": 14}]}),
    "names": ({"_id": 1}, {"$rename": {"name": "title"}, "$min": {"best": 3}, "$setOnInsert": {"made": 1}}, {"title": "one", "best": 3}),
    "nothing": ({"_id": 1}, {"$addToSet": {"tags": "b"}, "$max": {"best": 4}}, {}),
}


@pytest.fixture
def filled(argon):
    argon.insert("p", "c", {"_id": 1, "name": "one", "best": 9, "tags": ["b"], "n": [1, 2, 3],
                            "items": [{"sku": "x", "left": 5}, {"sku": "y", "left": 7}]})
    return argon


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("many", [False, True])
def test_update(filled, name, many):
    filter, update, changed = CASES[name]
    before = filled.find_one("p", "c")
    answer = filled.update("p", "c", filter, update, many=many)
    expected = {key: value for key, value in before.items() if not (name == "names" and key == "name")} | changed
    assert filled.find_one("p", "c") == expected
    assert (answer.matched, answer.modified) == (1, int(bool(changed)))


def test_refusals_carry_mongodbs_code(filled):
    with pytest.raises(grpc.RpcError) as refused:
        filled.update("p", "c", {"_id": 1}, {"$push": {"name": 1}})
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details().endswith("$push of 'name': $push needs an array, but the field is of type string (code 2, BadValue)")


def test_current_date(filled):
    filled.update("p", "c", {"_id": 1}, {"$currentDate": {"at": True, "stamp": {"$type": "timestamp"}}})
    found = filled.find_one("p", "c")
    assert abs(found["at"].timestamp() - found["stamp"].time) < 3600 * 24
    assert isinstance(found["stamp"], bson.Timestamp)
