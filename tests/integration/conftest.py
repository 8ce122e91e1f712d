import os
import shutil

import pytest

from harness import Cluster, MongoServer


@pytest.fixture
def tmp_path(tmp_path):
    """pytest's, but not kept: a log begins with a file of 64 MiB, and there are a thousand tests."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path, mongo_servers):
    """Ends before the MongoDB servers: a service that stops takes leave of its own for as long as it looks for servers."""
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


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory):
    """A MongoDB for tests that neither kill nor break it: that of $ARGON_TEST_MONGODB_URI, else one of this run. Others
    start a MongoServer of their own."""
    given = os.environ.get("ARGON_TEST_MONGODB_URI")
    if given:
        yield given
        return
    server = MongoServer(tmp_path_factory.mktemp("mongodb"))
    server.start()
    yield server.uri
    server.close()


@pytest.fixture
def mongo_servers():
    servers = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def mongo_server(tmp_path, mongo_servers):
    """Makes MongoDB servers that the test may kill, pause and break: mongo_server(auth=True)."""

    def make(**options):
        mongo_servers.append(MongoServer(tmp_path, **options))
        return mongo_servers[-1].start()

    return make
