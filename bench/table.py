#!/usr/bin/env python3
"""Turns the JSON lines of run.sh into the markdown table of docs/performance.md."""
import json
import sys

lines = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]


def one(bench, **want):
    for line in lines:
        if line["bench"] == bench and all(line.get(key) == value for key, value in want.items()):
            return line
    return None


def row(what, target, measured, met):
    rows.append(f"| {what} | {target} | {measured} | {'yes' if met else 'no'} |")


rows = []
machine = one("machine")
disk = one("fdatasync")
a1, a64 = one("append", in_flight=1, entries=1, batches=1), one("append", in_flight=64, entries=1, batches=1)
a100 = one("append", in_flight=16, entries=100)
bound = one("echo_fdatasync", in_flight=64)
if a64 and bound:
    share = a64["calls_per_second"] / bound["calls_per_second"]
    row("64 durable appends in flight", "70 % of echo + fdatasync", f"{a64['calls_per_second']:,}/s, {share:.0%} of {bound['calls_per_second']:,}/s", share >= 0.7)
if a100:
    row("16 in flight x 100 entries", "500 k entries/s where fdatasync takes 250 us", f"{a100['entries_per_second']:,}/s", a100["entries_per_second"] >= 5e5)
if a1 and disk:
    row("one append in flight, p50", "fdatasync's p50 + 150 us", f"{a1['p50_us']} us, fdatasync {disk['p50_us']} us", a1["p50_us"] <= disk["p50_us"] + 150)
for name, target, bench, key, least in (
    ("range read, frames of 100 entries", "2 M entries/s", one("read", entries=100), "entries_per_second", 2e6),
    ("cold materialization", "700 k documents/s", one("cold"), "documents_per_second", 7e5),
    ("strong find by _id, 64 in flight", "25 k/s", one("find", in_flight=64), "calls_per_second", 25e3),
):
    if bench:
        row(name, target, f"{bench[key]:,}/s", bench[key] >= least)
update = one("update", in_flight=64)
if update and a64:
    row("update by _id, 64 in flight", "half of the durable appends", f"{update['calls_per_second']:,}/s, {update['calls_per_second'] / a64['calls_per_second']:.0%}",
        update["calls_per_second"] * 2 >= a64["calls_per_second"])
for line in (line for line in lines if line["bench"] == "branch"):
    row(f"branch create, {line['documents']:,} documents", "1.2 x InsertOne, under 50 ms", f"p50 {line['create_p50_us']} us, {line['create_to_insert']} x",
        line["create_to_insert"] <= 1.2 and line["create_p50_us"] < 50000)
query = one("query")
if query:
    row("query on 1,000 documents", "under 200 ms", f"{query['us'] / 1000:.1f} ms", query["us"] < 200000)
if machine:
    print(f"{machine['date']}, commit {machine['commit']}: {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['disk']}", end="")
    print(f"; fdatasync p50 {disk['p50_us']} us, p99 {disk['p99_us']} us\n" if disk else "\n")
print("| | target | measured | met |\n|---|---|---|---|")
print("\n".join(rows))
