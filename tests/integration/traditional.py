"""What the tests of traditional branches share."""

import grpc

from argon.branch.v1 import branch_pb2

WAL, TRADITIONAL = branch_pb2.BRANCH_KIND_WAL, branch_pb2.BRANCH_KIND_TRADITIONAL
CREATING, DELETING = branch_pb2.BRANCH_STATE_CREATING, branch_pb2.BRANCH_STATE_DELETING
DATABASE = "app"


def options(server):
    """Of a branch service: both kinds of branch can be made."""
    return ["--mongodb", uri(server), "--enable-wal-branches"]


def uri(server):
    return server.uri.replace("/?", f"/{DATABASE}?authSource=admin&")


def start(cluster, server):
    """A client of a branch service on that server, with an empty project 'p'."""
    cluster.start_wal()
    cluster.start_branch(*options(server))
    client = cluster.client()
    client.create_project("p")
    return client


def create(client, name, start="main", kind=TRADITIONAL, timeout=30, **options):
    fields = {"from": start}
    for option in ("at_lsn", "at_time"):
        if option in options:
            fields[option] = options.pop(option)
    return client.rpc.CreateBranch(project="p", name=name, kind=kind, write=client.write(**options), timeout=timeout, **fields)


def branch_of(client, name):
    return client.rpc.GetBranch(project="p", name=name).branch


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def collections_of(server, database=DATABASE):
    with server.client() as client:
        return sorted(client[database].list_collection_names())
