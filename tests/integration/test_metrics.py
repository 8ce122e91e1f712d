"""Metrics: all that are in the documents are exported and the other way round, they are what Prometheus reads, and they count."""

import pathlib
import re
import subprocess

import grpc
import pytest

from harness import in_parallel, wait_until
from watching import ADDRESS, Metrics, get

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def watched(cluster):
    """Both services with metrics, and a client with an empty project 'p'."""
    cluster.start_wal(*ADDRESS)
    cluster.start_branch(*ADDRESS)
    client = cluster.client()
    client.create_project("p")
    return client


def documented(service):
    section = (ROOT / "docs/metrics.md").read_text().split(f"## {service}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE))


def test_what_is_documented_is_exported_and_nothing_else(cluster, watched):
    watched.insert("p", "c", {"_id": 1})
    for service, process in (("wal-service", cluster.wal), ("branch-service", cluster.branches[0])):
        metrics = Metrics(process)
        assert metrics.types == documented(service)
        for name, kind in metrics.types.items():
            suffixes = ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]
            for suffix in suffixes:
                assert any(sample.split("{")[0] == name + suffix for sample in metrics), f"{name}{suffix} has no value"
        checked = subprocess.run(["promtool", "check", "metrics"], input=metrics.text, capture_output=True, text=True)
        assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked.stdout + checked.stderr


def test_the_pages(cluster, watched):
    branch = cluster.branches[0]
    status, headers, _ = get(branch, "/metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for path in ("/healthz", "/readyz", "/metrics"):
        assert get(branch, path, "HEAD")[0] == 200
        assert get(branch, path, "POST")[0] == 405
    assert get(branch, "/")[0] == 404
    assert get(branch, "/metrics/../../etc/passwd")[0] == 404


def test_writes_count(cluster, watched):
    wal, branch = cluster.wal, cluster.branches[0]
    before, branch_before = Metrics(wal), Metrics(branch)
    for i in range(20):
        watched.insert("p", "c", {"_id": i})
    watched.insert_many("p", "c", [{"_id": i} for i in range(100, 200)])
    after, branch_after = Metrics(wal), Metrics(branch)

    def rise(name, old=before, new=after, **labels):
        return new.total(name, **labels) - old.total(name, **labels)

    assert rise("argon_wal_commit_lsn") == rise("argon_wal_durable_lsn") == rise("argon_wal_group_entries_sum") >= 120
    assert after["argon_wal_commit_lsn"] == after["argon_wal_durable_lsn"]
    assert rise("argon_wal_batches_total") == rise("argon_wal_group_batches_sum") >= 21
    assert rise("argon_wal_fsync_duration_seconds_count") >= rise("argon_wal_group_batches_count") > 0
    assert rise("argon_wal_fsync_duration_seconds_sum") > 0
    assert rise("argon_branch_writes_total", branch_before, branch_after) >= 21
    assert rise("argon_branch_append_duration_seconds_count", branch_before, branch_after) >= 21
    handled = dict(service="argon.branch.v1.Documents", method="InsertOne", code="OK")
    assert rise("argon_rpc_handled_total", branch_before, branch_after, **handled) == 20
    assert branch_after.total("argon_rpc_duration_seconds_count", method="InsertOne") == 20
    buckets = [value for sample, value in branch_after.items() if sample.startswith("argon_rpc_duration_seconds_bucket") and "InsertOne" in sample]
    assert buckets == sorted(buckets) and buckets[-1] == 20 and len(buckets) == 17
    assert after["argon_wal_queue_appends"] == after["argon_wal_queue_bytes"] == branch_after["argon_branch_append_queue"] == 0
    assert after["argon_wal_segments"] == 1 and after["argon_wal_disk_bytes"] == 64 * 1024 * 1024
    # the same after a restart: what the log holds is counted anew
    wal.stop()
    wal.start()
    assert Metrics(wal)["argon_wal_commit_lsn"] == after["argon_wal_commit_lsn"]


def test_failures_have_their_code(cluster, watched):
    with pytest.raises(grpc.RpcError):
        watched.rpc.GetProject(name="nobody")
    with pytest.raises(grpc.RpcError):
        watched.rpc.channel.unary_unary("/argon.branch.v1.Documents/Nothing")(b"", timeout=10)
    metrics = Metrics(cluster.branches[0])
    assert metrics.total("argon_rpc_handled_total", method="GetProject", code="NOT_FOUND") == 1
    assert metrics.total("argon_rpc_handled_total", service="unknown", code="UNIMPLEMENTED") == 1


def test_conflicts_stale_reads_and_repeats_count(cluster, watched):
    other = cluster.client(cluster.start_branch(*ADDRESS))
    watched.insert("p", "c", {"_id": "n", "n": 0})
    other.find("p", "c")
    # both replicas change one document at a time, each on what it knows, until the log has had to refuse one
    def both():
        in_parallel(*[lambda c=c: c.update("p", "c", {"_id": "n"}, {"$inc": {"n": 1}}) for c in (watched, other)])
        return Metrics(cluster.wal)["argon_wal_conflicts_total"] > 0

    wait_until(both, "a conflict")
    assert sum(Metrics(branch)["argon_branch_write_conflicts_total"] for branch in cluster.branches) > 0
    before = Metrics(cluster.wal)["argon_wal_repeats_total"]
    first = watched.insert("p", "c", {"_id": "once"}, request_id="r1")
    again = other.insert("p", "c", {"_id": "once"}, request_id="r1")
    assert again.lsn == first.lsn
    assert Metrics(cluster.branches[1])["argon_branch_write_repeats_total"] == 1
    assert Metrics(cluster.wal)["argon_wal_repeats_total"] == before + 1
    # a writer who claims to have seen what is not there
    run = {"branch_id": "main", "collection": "c", "entries": [{"operation": 1, "document_id": b"k", "document": b"\x05\0\0\0\0"}]}
    stale = {"runs": [run], "read_lsn": 10**9}
    project = watched.rpc.GetProject(name="p").project.id
    before = Metrics(cluster.wal)
    assert cluster.wal_client().Append(project_id=project, batches=[stale, stale]).results[1].stale
    after = Metrics(cluster.wal)
    assert after["argon_wal_stale_reads_total"] == before["argon_wal_stale_reads_total"] + 2
    assert after["argon_wal_conflicts_total"] == before["argon_wal_conflicts_total"]


def test_reads_count(cluster, watched):
    branch = cluster.branches[0]
    watched.insert_many("p", "c", [{"_id": i, "text": "x" * 1000} for i in range(1000)])
    assert watched.count("p", "c", {"text": {"$gt": ""}}) == 1000
    metrics = Metrics(branch)
    assert metrics["argon_branch_cache_bytes"] > 1000 * 1000
    assert metrics["argon_branch_cache_misses_total"] >= 1
    assert metrics["argon_branch_replayed_entries_total"] >= 1000
    assert watched.count("p", "c", {"text": {"$gt": ""}}) == 1000
    assert Metrics(branch)["argon_branch_cache_hits_total"] > metrics["argon_branch_cache_hits_total"]


def test_evictions_count(cluster):
    cluster.start_wal()
    branch = cluster.start_branch(*ADDRESS, "--memory", "4M")
    client = cluster.client()
    client.create_project("p")
    for name in "abcd":
        client.insert_many("p", name, [{"_id": i, "text": "x" * 1000} for i in range(1500)])
        assert client.count("p", name, {"text": {"$gt": ""}}) == 1500
    metrics = Metrics(branch)
    assert metrics["argon_branch_cache_evictions_total"] >= 1
    assert metrics["argon_branch_cache_bytes"] <= metrics["argon_branch_cache_bytes_limit"] == 4 * 1024 * 1024


def test_a_follow_has_a_lag(cluster, watched):
    other = cluster.start_branch(*ADDRESS)
    reader = cluster.client(other)
    reader.find("p", "c")
    wait_until(lambda: Metrics(other)["argon_branch_follows"] >= 1, "a follow")

    def lag():
        watched.insert("p", "c", {"x": 1})
        return Metrics(other)["argon_branch_follow_lag_seconds_count"] > 0

    wait_until(lag, "an entry that the follow brought")
    assert Metrics(cluster.wal)["argon_wal_follow_streams"] >= 1
