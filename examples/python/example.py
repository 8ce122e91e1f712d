"""Argon from Python: a project, a branch that diverges, and what happened on it.

    protoc --proto_path=../../proto --python_out=. --grpc_python_out=. \
        --plugin=protoc-gen-grpc_python=$(which grpc_python_plugin) argon/branch/v1/branch.proto
    python3 example.py [HOST:PORT]
"""

import json
import os
import sys
import uuid

import grpc
from argon.branch.v1 import branch_pb2 as pb
from argon.branch.v1 import branch_pb2_grpc as rpc

PROJECT = "example-python"
# a service that stops drops calls (docs/errors.md); this one is sent again, because it has a request_id
RETRY = {"methodConfig": [{
    "name": [{"service": "argon.branch.v1.Documents", "method": "UpdateMany"}],
    "waitForReady": True,
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]},
}]}


def on(branch):
    return pb.Target(project=PROJECT, branch=branch, collection="items")


def document(value):
    return pb.Document(json=json.dumps(value))


def show(documents, branch):
    print(f"items on {branch}:")
    for page in documents.Find(pb.FindRequest(target=on(branch), format=pb.FORMAT_RELAXED_JSON), timeout=30):
        for found in page.documents:
            print(" ", found.json)


endpoint = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ARGON_ENDPOINT", "127.0.0.1:7800")
with grpc.insecure_channel(endpoint, [("grpc.service_config", json.dumps(RETRY))]) as channel:
    projects, branches, documents = rpc.ProjectsStub(channel), rpc.BranchesStub(channel), rpc.DocumentsStub(channel)
    try:
        projects.DeleteProject(pb.DeleteProjectRequest(name=PROJECT), timeout=30)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
    projects.CreateProject(pb.CreateProjectRequest(name=PROJECT), timeout=30)
    items = [document({"_id": "tea", "price": 3}), document({"_id": "cup", "price": 5})]
    documents.InsertMany(pb.InsertManyRequest(target=on("main"), documents=items), timeout=30)

    # a branch costs one small record, however much there is
    created = branches.CreateBranch(pb.CreateBranchRequest(project=PROJECT, name="sale"), timeout=30)

    # repeated with the same request_id, on any replica, it has one effect: RETRY sends it again
    write = pb.WriteOptions(request_id=str(uuid.uuid4()), since_lsn=created.lsn, actor="example")
    cheaper = pb.UpdateRequest(target=on("sale"), filter=document({}), update=document({"$inc": {"price": -1}}), write=write)
    print(documents.UpdateMany(cheaper, timeout=30).modified, "items are cheaper on sale")
    show(documents, "main")
    show(documents, "sale")

    # what has changed on the branch since it was made
    print("changes on sale:")
    since = pb.WatchRequest(project=PROJECT, branch="sale", after_lsn=created.branch.base_lsn, stop_at_head=True,
                            format=pb.FORMAT_RELAXED_JSON)
    for message in branches.Watch(since, timeout=30):
        for change in message.changes:
            print(f"  LSN {change.lsn} by {change.actor}: {change.document.json}")
