"""Drives every RPC of both services from Python, as tests/clients/calls.json says.

    every_rpc.py CALLS WAL_ADDRESS BRANCH_ADDRESS
"""

import json
import pathlib
import sys

import grpc
from argon.branch.v1 import branch_pb2, branch_pb2_grpc
from argon.wal.v1 import wal_pb2, wal_pb2_grpc
from google.protobuf import json_format

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from table import fill, matches  # noqa: E402


def main(calls_file, wal_address, branch_address):
    known = {"name": "clients-python"}
    packages = {
        "argon.wal.v1": (wal_pb2, wal_pb2_grpc, grpc.insecure_channel(wal_address)),
        "argon.branch.v1": (branch_pb2, branch_pb2_grpc, grpc.insecure_channel(branch_address)),
    }
    stubs, methods = {}, {}
    for package, (messages, services, channel) in packages.items():
        for service in messages.DESCRIPTOR.services_by_name.values():
            stubs[service.full_name] = getattr(services, service.name + "Stub")(channel)
            methods.update({f"{service.full_name}/{method.name}": (messages, method) for method in service.methods})
    missing = set(methods)

    for call in json.load(open(calls_file)):
        service, name = call["method"].split("/")
        messages, method = methods[call["method"]]
        missing.discard(call["method"])
        request = json_format.ParseDict(fill(call["request"], known), getattr(messages, method.input_type.name)())
        expected = fill(call.get("expect", {}), known)
        try:
            answer = getattr(stubs[service], name)(request, timeout=20)
            if isinstance(expected, list):
                stream, answer = answer, []
                for message in stream:
                    answer.append(json_format.MessageToDict(message))
                    if len(answer) == call.get("take"):
                        stream.cancel()
                        break
            else:
                answer = json_format.MessageToDict(answer)
            outcome = "OK"
        except grpc.RpcError as error:
            answer, outcome = error.details(), error.code().name
        if outcome != call.get("error", "OK") or ("error" not in call and not matches(expected, answer)):
            sys.exit(f"{call['method']}: {outcome}: expected {call.get('error', expected)} and got {answer}")
        for variable, path in call.get("save", {}).items():
            value = answer
            for key in path.split("."):
                value = value[key]
            known[variable] = value
    if missing:
        sys.exit(f"never called: {sorted(missing)}")
    print(f"python: all {len(methods)} methods answer")


main(*sys.argv[1:])
