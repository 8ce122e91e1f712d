import pytest

from harness import Cluster


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def argon(cluster):
    """A client of one branch service on one WAL service, with an empty project 'p'."""
    cluster.start_wal()
    cluster.start_branch()
    client = cluster.client()
    client.create_project("p")
    return client
