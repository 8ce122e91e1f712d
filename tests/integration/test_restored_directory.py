"""A data directory replaced by an older copy of itself under running branch services."""

import shutil

import grpc
import pytest


def test_replicas_notice_by_the_incarnation(cluster, argon):
    other = cluster.client(cluster.start_branch())
    argon.insert_many("p", "c", [{"_id": i, "v": "old"} for i in range(10)])
    argon.create_branch("p", "kept")
    cluster.wal.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.data, copy)
    cluster.wal.start()

    head = argon.head("p")
    for client in (argon, other):
        client.update("p", "c", {"_id": 1}, {"$set": {"v": "lost"}})
        assert client.find_one("p", "c", {"_id": 1})["v"] == "lost"
    argon.create_branch("p", "lost")
    argon.insert("p", "c", {"_id": "lost"})
    assert other.count("p", "c") == 11
    cluster.wal.kill()
    shutil.rmtree(cluster.data)
    copy.rename(cluster.data)
    cluster.wal.start()

    # a writer that still holds the lost state: its increment is computed on what the copy has
    answer = other.update("p", "c", {"_id": 1, "v": "lost"}, {"$set": {"v": "wrong"}})
    assert answer.matched == 0
    for client in (argon, other):
        assert client.find_one("p", "c", {"_id": 1})["v"] == "old"
        assert client.count("p", "c") == 10
        with pytest.raises(grpc.RpcError) as error:
            client.count("p", "c", branch="lost")
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert client.count("p", "c", branch="kept") == 10
    assert argon.head("p") == head
    assert argon.insert("p", "c", {"_id": "new"}).lsn == head + 1
    assert other.count("p", "c") == 11


def test_the_log_refuses_what_was_learned_under_another_incarnation(cluster, argon):
    argon.insert("p", "c", {"_id": 1})
    project = argon.rpc.GetProject(name="p").project
    wal = cluster.wal_client()
    before = wal.GetHead(project_id=project.id)
    cluster.wal.kill()
    cluster.wal.start()
    wal = cluster.wal_client()
    run = {"branch_id": "main", "collection": "x", "entries": [{"operation": 3, "document_id": b"k"}]}
    answer = wal.Append(
        project_id=project.id, incarnation=before.incarnation, batches=[{"runs": [run], "read_lsn": before.commit_lsn}]
    )
    assert answer.results[0].code == grpc.StatusCode.ABORTED.value[0]
    assert answer.results[0].stale and answer.results[0].not_applied
    after = wal.GetHead(project_id=project.id, known_incarnation=before.incarnation)
    assert after.commit_lsn == before.commit_lsn
    assert after.known_through == before.commit_lsn
    assert after.incarnation != before.incarnation
    assert wal.GetHead(project_id=project.id, known_incarnation=b"x" * 16).known_through == 0
