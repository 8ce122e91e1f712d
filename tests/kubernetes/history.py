#!/usr/bin/python3
"""Checks what load.py has recorded: nothing failed, nothing is lost, nothing was done twice, and each document behaved as if one
client after the other had used it (linearizability).

    tests/kubernetes/history.py HISTORY [PHASES]      prints a table, a line a phase; exit 1 if anything is wrong

The order that must explain everything a client saw of a document is that of the LSNs of its writes. In it the k-th write made
n = k, and a read that saw n = k stands behind that write and before the next one. That is a linearization if it agrees with
time: what had ended before something else began stands before it.
"""

import collections
import json
import sys


def place_writes(writes, problems):
    """The writes of one document by their LSNs: {request: its place, from 1}."""
    by_lsn = sorted(writes, key=lambda write: write["lsn"])
    for earlier, later in zip(by_lsn, by_lsn[1:]):
        if earlier["lsn"] == later["lsn"]:
            problems.append(f"{later['document']}: two writes have the LSN {later['lsn']}")
    for write in writes:
        if write["modified"] != 1:
            problems.append(f"{write['document']}: write {write['by']} modified {write['modified']} documents")
    return {write["by"]: place for place, write in enumerate(by_lsn, 1)}


def check_document(name, records, final, problems):
    writes = [record for record in records if record["kind"] == "write"]
    places = place_writes(writes, problems)
    places[""] = 0  # as it was made
    steps = []  # (begin, end, place, is a write)
    for record in [*(r for r in records if r["kind"] == "read"), {**final, "begin": float("inf"), "end": float("inf")}]:
        if places.get(record["by"]) != record["n"]:
            problems.append(f"{name}: n = {record['n']} was seen together with write {record['by']!r}, which is number {places.get(record['by'])}")
        else:
            steps.append((record["begin"], record["end"], record["n"], False))
    steps += [(write["begin"], write["end"], places[write["by"]], True) for write in writes]
    if final["n"] != len(writes):
        problems.append(f"{name}: {len(writes)} writes were acknowledged, and {final['n']} took effect")
    # In the order of their beginnings, each against the latest place of all that had ended by then.
    ended, latest, next_end = sorted((end, place) for _, end, place, _ in steps), 0, 0
    for begin, _, place, is_write in sorted(steps):
        while next_end < len(ended) and ended[next_end][0] < begin:
            latest = max(latest, ended[next_end][1])
            next_end += 1
        if place < latest or (is_write and place == latest):
            problems.append(f"{name}: {'write' if is_write else 'a read of'} {place} began after {latest} had been seen")


def check(records):
    """All that is wrong with a history, in words."""
    problems = [f"failed: {record}" for record in records if "failed" in record]
    records = [record for record in records if "failed" not in record]
    finals = [record for record in records if record["kind"] == "final"]
    if len(finals) != 1:
        return [*problems, "the history has no end"]
    documents = collections.defaultdict(list)
    for record in records:
        if record["kind"] in ("write", "read"):
            documents[record["document"]].append(record)
    for name, final in finals[0]["documents"].items():
        check_document(name, documents.pop(name, []), final, problems)
    problems += [f"{name} is lost" for name in documents]
    acknowledged, there = [r["document"] for r in records if r["kind"] == "insert"], collections.Counter(finals[0]["inserted"])
    problems += [f"inserted {name} is lost" for name in acknowledged if not there[name]]
    problems += [f"inserted {name} is there {count} times" for name, count in there.items() if count > 1]
    problems += [f"inserted {name} is there and nobody knows of it" for name in there.keys() - set(acknowledged)]
    return problems


def table(records, phases):
    """A line for each phase: what began in it."""
    calls = [record for record in records if "wall" in record]
    begins = [phase["wall"] for phase in phases]
    print(f"{'phase':46}{'seconds':>8}{'calls':>8}{'a second':>9}{'again':>7}{'failed':>7}{'longest ms':>11}")
    for phase, begin, end in zip(phases, begins, [*begins[1:], max(record["wall"] for record in calls) if calls else 0]):
        inside = [record for record in calls if begin <= record["wall"] < end]
        again = sum(1 for record in inside if record.get("again"))
        failed = sum("failed" in record for record in inside)
        longest = max((record["end"] - record["begin"] for record in inside if "end" in record), default=0)
        seconds = max(end - begin, 0.001)
        print(f"{phase['phase']:46}{seconds:8.0f}{len(inside):8}{len(inside) / seconds:9.0f}{again:7}{failed:7}{1000 * longest:11.0f}")


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    history = lines(sys.argv[1])
    if len(sys.argv) > 2:
        table(history, lines(sys.argv[2]))
    wrong = check(history)
    kinds = collections.Counter(record["kind"] for record in history)
    print(f"{kinds['write']} writes, {kinds['insert']} inserts, {kinds['read']} reads; {sum(bool(r.get('again')) for r in history)} were sent again;"
          f" {len(wrong)} things are wrong")
    print("\n".join(wrong[:20]))
    sys.exit(bool(wrong))
