"""The checker of histories accepts what can be explained, and finds what cannot."""

import copy

import pytest
from history import check


def write(by, lsn, begin, end, **more):
    return {"kind": "write", "document": "d", "by": by, "lsn": lsn, "modified": 1, "begin": begin, "end": end, **more}


def read(n, by, begin, end):
    return {"kind": "read", "document": "d", "n": n, "by": by, "begin": begin, "end": end}


def insert(name):
    return {"kind": "insert", "document": name, "lsn": 1, "begin": 0, "end": 1}


GOOD = [
    write("a", 5, 0.0, 1.0),
    read(0, "", 0.1, 0.9),  # beside a: before it
    read(1, "a", 0.2, 0.8),  # and behind it
    write("b", 9, 1.5, 4.0),
    write("c", 7, 1.6, 2.0),  # began later and came first
    read(2, "c", 2.5, 3.0),
    read(3, "b", 3.5, 5.0),
    insert("x"),
    {"kind": "final", "documents": {"d": {"n": 3, "by": "b"}}, "inserted": ["x"]},
]


def test_what_can_be_explained_is_accepted():
    assert check(GOOD) == []


def change(index, **fields):
    history = copy.deepcopy(GOOD)
    history[index].update(fields)
    return history


WRONG = {
    "a read of the past": change(5, n=1, by="a", begin=4.5, end=5.0),
    "a read of what came later": change(1, n=2, by="c"),
    "two reads in the wrong order": GOOD[:7] + [read(2, "c", 5.5, 6.0)] + GOOD[7:],
    "a write that is older than what was read": change(3, begin=1.5, lsn=6),
    "a value that nobody wrote": change(2, by="z"),
    "a count that is not that of the write": change(5, n=3),
    "a write that is lost": change(8, documents={"d": {"n": 2, "by": "c"}}),
    "a write that was done twice": change(8, documents={"d": {"n": 4, "by": "b"}}),
    "a write that changed nothing": change(0, modified=0),
    "two writes at one LSN": change(4, lsn=9),
    "an insert that is lost": change(8, inserted=[]),
    "an insert that is there twice": change(8, inserted=["x", "x"]),
    "a document that nobody inserted": change(8, inserted=["x", "y"]),
    "a document that is lost": change(8, documents={}),
    "a call that failed": [*GOOD, {"kind": "read", "document": "d", "failed": "UNKNOWN"}],
    "no end": GOOD[:-1],
}


@pytest.mark.parametrize("history", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_found(history):
    assert check(history)
