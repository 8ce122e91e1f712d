"""Several branch services on one WAL service: they conflict, and lose nothing."""

import threading

import grpc

from harness import in_parallel
from log_check import check_log


def test_eight_writers_increment_one_document_through_two_replicas(cluster, argon):
    argon.insert("p", "c", {"_id": "counter", "n": 0})
    other = cluster.client(cluster.start_branch())
    successes = []

    def writer(client):
        done = 0
        for _ in range(40):
            try:
                done += client.update("p", "c", {"_id": "counter"}, {"$inc": {"n": 1}}).modified
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.ABORTED, error
        successes.append(done)

    in_parallel(*[lambda client=client: writer(client) for client in (argon, other) * 4])
    assert argon.find_one("p", "c", {"_id": "counter"})["n"] == sum(successes)
    assert sum(successes) > 0


def outcome(function):
    try:
        function()
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def test_two_replicas_create_one_name_at_once(cluster, argon):
    other = cluster.client(cluster.start_branch())
    for i in range(10):
        for create in (
            lambda client: client.create_branch("p", f"b{i}"),
            lambda client: client.create_project(f"q{i}"),
            lambda client: client.rpc.CreateCollection(target=client.target("p", f"c{i}")),
            lambda client: client.insert("p", "docs", {"_id": i}),
        ):
            outcomes = in_parallel(lambda: outcome(lambda: create(argon)), lambda: outcome(lambda: create(other)))
            assert sorted(outcomes) == ["ALREADY_EXISTS", "OK"]


def test_writers_beside_one_who_deletes_recreates_drops_and_renames(cluster, argon):
    """Every acknowledged entry is in a lineage; every other write got an error."""
    other = cluster.client(cluster.start_branch())
    project = argon.rpc.GetProject(name="p").project.id
    argon.create_branch("p", "work")
    stop = threading.Event()
    acknowledged, refused, surprises = {}, [], []

    def write(client, name):
        i = 0
        while not stop.is_set():
            i += 1
            try:
                acknowledged[client.insert("p", "c", {"_id": f"{name}-{i}"}, branch="work").lsn] = f"{name}-{i}"
            except grpc.RpcError as error:
                expected = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED)
                (refused if error.code() in expected else surprises).append(error)

    writers = [threading.Thread(target=write, args=(client, name)) for client, name in ((argon, "a"), (cluster.client(), "b"))]
    for writer in writers:
        writer.start()
    try:
        for round_ in range(12):
            outcome(lambda: other.rpc.DropCollection(target=other.target("p", "c", "work")))
            outcome(lambda: other.rpc.RenameCollection(target=other.target("p", "c", "work"), new_name=f"c{round_}"))
            other.create_branch("p", f"saved{round_}", start="work")
            if round_ % 2:
                other.rpc.RenameBranch(project="p", name="work", new_name=f"moved{round_}")
            else:
                other.rpc.DeleteBranch(project="p", name="work")
            other.create_branch("p", "work")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not surprises, surprises[0]
    assert acknowledged and refused
    inserted = check_log(cluster.wal_client(), project)
    for lsn, name in acknowledged.items():
        assert inserted[lsn]["_id"] == name
    # and nothing else: a write that got an error is not in the log
    documents = {document["_id"] for document in inserted.values() if "name" not in document and isinstance(document["_id"], str)}
    assert {name for name in documents if name[:2] in ("a-", "b-")} == set(acknowledged.values())


def test_reads_on_another_replica_see_what_was_acknowledged(cluster, argon):
    other = cluster.client(cluster.start_branch())
    for i in range(100):
        lsn = argon.insert("p", "c", {"_id": i}).lsn
        assert other.find_one("p", "c", {"_id": i}) is not None
        assert len(other.find("p", "c", {"_id": i}, min_lsn=lsn)) == 1


def test_min_lsn_that_never_comes_is_unavailable(argon):
    argon.insert("p", "c", {"_id": 1})
    try:
        argon.find("p", "c", min_lsn=10**6, timeout=1)
        raise AssertionError("it was answered")
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
