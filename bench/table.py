#!/usr/bin/env python3
"""Turns the JSON lines of run.sh into the markdown tables of docs/performance.md.

    table.py FILE [--write DOCUMENT]     into the document, between its markers, instead of standard output
"""
import json
import re
import sys

BEGIN, END = "<!-- begin: bench/run.sh --write-docs -->", "<!-- end -->"
lines = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]


def one(bench, **want):
    for line in lines:
        if line["bench"] == bench and all(line.get(key) == value for key, value in want.items()):
            return line
    return None


def targets():
    rows = []

    def row(what, target, measured, met):
        rows.append(f"| {what} | {target} | {measured} | {'yes' if met else 'no'} |")

    disk = one("fdatasync")
    a1, a64 = one("append", in_flight=1, entries=1, batches=1), one("append", in_flight=64, entries=1, batches=1)
    a100, bound = one("append", in_flight=16, entries=100), one("echo_fdatasync", in_flight=64)
    share = a64["calls_per_second"] / bound["calls_per_second"]
    row("64 durable appends in flight", "70 % of echo + fdatasync", f"{a64['calls_per_second']:,}/s, {share:.0%} of {bound['calls_per_second']:,}/s", share >= 0.7)
    row("16 in flight x 100 entries", "500 k entries/s where fdatasync takes 250 us", f"{a100['entries_per_second']:,}/s", a100["entries_per_second"] >= 5e5)
    row("one append in flight, p50", "fdatasync's p50 + 150 us", f"{a1['p50_us']} us, fdatasync {disk['p50_us']} us", a1["p50_us"] <= disk["p50_us"] + 150)
    for name, target, line, key, least in (
        ("range read, frames of 100 entries", "2 M entries/s", one("read", entries=100), "entries_per_second", 2e6),
        (f"cold materialization, {one('cold')['documents']:,} documents", "700 k documents/s", one("cold"), "documents_per_second", 7e5),
        ("strong find by _id, 64 in flight", "25 k/s", one("find", in_flight=64), "calls_per_second", 25e3),
        ("filter with one comparison, one core", "5 M documents/s", one("filter", filter="one comparison"), "documents_per_second", 5e6),
        ("filter with five operators, one core", "1.5 M documents/s", one("filter", filter="five operators"), "documents_per_second", 1.5e6),
        ("update with three operators, one core", "1 M/s", one("update", what="three operators"), "per_second", 1e6),
        ("$group by one field, one core", "2 M documents/s", one("pipeline", pipeline="$group by one field"), "documents_per_second", 2e6),
    ):
        row(name, target, f"{line[key]:,}/s", line[key] >= least)
    update = one("update", in_flight=64)
    share = update["calls_per_second"] / a64["calls_per_second"]
    row("update by _id, 64 in flight", "half of the durable appends", f"{update['calls_per_second']:,}/s, {share:.0%}", share >= 0.5)
    branches = [line for line in lines if line["bench"] == "branch"]
    for line in branches:
        row(
            f"branch create, {line['documents']:,} documents",
            "1.2 x InsertOne, under 50 ms",
            f"p50 {line['create_p50_us']} us, {line['create_to_insert']} x",
            line["create_to_insert"] <= 1.2 and line["create_p50_us"] < 50000,
        )
    flat = branches[-1]["create_to_insert"] / branches[0]["create_to_insert"]
    row(
        f"the same, {branches[-1]['documents']:,} to {branches[0]['documents']:,} documents",
        "flat: at most 1.2 times, against InsertOne beside it",
        f"{flat:.2f} times",
        flat <= 1.2,
    )
    walks = [line for line in lines if line["bench"] == "walk" and line["query"] == "one _id"]
    row(
        f"find by _id among {walks[-1]['documents']:,} documents, without services",
        "under 10 us, whatever their number",
        f"{walks[-1]['micros']:.1f} us; among {walks[0]['documents']:,}: {walks[0]['micros']:.1f} us",
        walks[-1]["micros"] < 10,
    )
    query = one("query")
    row("query on 1,000 documents", "under 200 ms", f"{query['us'] / 1000:.1f} ms", query["us"] < 200000)
    return ["| | target | measured | met |", "|---|---|---|---|", *rows]


def fixed_rate():
    rows = ["| at a fixed rate | calls/s | p50 us | p99 us | longest us |", "|---|---|---|---|---|"]
    for line in lines:
        if line.get("rate"):
            rows.append(f"| {line['bench']} | {line['calls_per_second']:,} | {line['p50_us']:,} | {line['p99_us']:,} | {line['max_us']:,} |")
    return rows


def streams():
    rows = [
        "| in flight x batches a message | unary | stream | stream / unary | durable: unary | stream | stream / unary |",
        "|---|---|---|---|---|---|---|",
    ]
    for batches in (1, 16, 64):
        for n in (1, 16, 64):
            cells = []
            for kind in ("echo", "echo_fdatasync"):
                unary, bidi = (one(f"{kind}_{what}", in_flight=n, batches=batches)["batches_per_second"] for what in ("unary", "bidi"))
                cells.append(f"{unary:,} | {bidi:,} | {bidi / unary:.2f}")
            rows.append(f"| {n} x {batches} | {' | '.join(cells)} |")
    return rows


machine, disk = one("machine"), one("fdatasync")
text = "\n".join(
    [
        f"{machine['date']}, commit {machine['commit']}: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, {machine['disk']}; "
        f"fdatasync p50 {disk['p50_us']} us, p99 {disk['p99_us']} us",
        "",
        *targets(),
        "",
        *fixed_rate(),
        "",
        "Batches a second of the bare server, as unary calls and on one bidirectional stream:",
        "",
        *streams(),
    ]
)
if sys.argv[2:3] == ["--write"]:
    document = open(sys.argv[3]).read()
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        sys.exit(f"{sys.argv[3]}: the markers are not there")
    replaced = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: f"{BEGIN}\n{text}\n{END}", document, flags=re.DOTALL)
    open(sys.argv[3], "w").write(replaced)
else:
    print(text)
