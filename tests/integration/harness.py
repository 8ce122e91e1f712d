"""Real processes and real clients: what the integration tests stand on."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

import bson
import grpc
import pymongo
from argon.branch.v1 import branch_pb2
from argon.wal.v1 import wal_pb2
from google.protobuf import descriptor_pb2

BIN = pathlib.Path(os.environ["ARGON_BIN"])
MAX_MESSAGE = 80 * 1024 * 1024
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
]


def wait_until(condition, what, timeout=30.0):
    """Polls a condition that will become true; fails the test if it does not."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(0.01)


class Process:
    """A service that can be killed and started again on the same port."""

    def __init__(self, directory, name, arguments, wrapper=()):
        self.directory = pathlib.Path(directory)
        self.name = name
        self.arguments = list(arguments)
        self.wrapper = list(wrapper)
        self.port = 0
        self.process = None
        self.log_path = self.directory / f"{name}-{uuid.uuid4().hex[:6]}.log"

    def start(self, extra=()):
        port_file = self.log_path.with_suffix(".port")
        port_file.unlink(missing_ok=True)
        self.log = open(self.log_path, "ab")
        program = "wal-service" if "wal" in self.name else "branch-service"
        self.process = subprocess.Popen(
            [*self.wrapper, str(BIN / program), "--listen", f"127.0.0.1:{self.port}", "--port-file", str(port_file), *self.arguments, *extra],
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

        def listening():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} exited with {self.process.returncode}:\n{self.text()[-3000:]}")
            return port_file.exists()

        wait_until(listening, f"{self.name} to listen", 60)
        self.port = int(port_file.read_text())
        return self

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def text(self):
        return self.log_path.read_text(errors="replace")

    def events(self, name):
        lines = [line for line in self.text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self, timeout=30):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop:\n{self.text()[-2000:]}")
        self.log.close()
        assert self.process.returncode == 0, f"{self.name} exited with {self.process.returncode}:\n{self.text()[-6000:]}"

    def exited(self, timeout=30):
        """Waits for the process to end by itself; its exit status."""
        return self.process.wait(timeout)


class MongoServer:
    """A MongoDB server of its own (scripts/mongodb-for-tests.sh says which) that can be killed and started again on its data.

    auth: a user "argon" with password "right-password" is made, and then nobody gets in without.
    hasty: what it has acknowledged may be lost when it is killed, unless it was stopped after that.
    """

    SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "mongodb-for-tests.sh"

    def __init__(self, directory, auth=False, standalone=False, hasty=False):
        self.directory = pathlib.Path(directory) / f"mongodb-{uuid.uuid4().hex[:6]}"
        self.log_path = self.directory.with_suffix(".log")
        self.arguments = ["--standalone"] * standalone + ["--hasty"] * hasty
        self.auth = auth
        self.credentials = ""
        self.process = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def uri(self):
        return f"mongodb://{self.credentials}127.0.0.1:{self.port}/?directConnection=true"

    def client(self):
        """pymongo's, to look at the data."""
        return pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=10000)

    def start(self):
        if self.auth and not self.credentials:
            self._start([])
            with self.client() as client:
                client.admin.command("createUser", "argon", pwd="right-password", roles=["root"])
            self.kill()
            self.credentials = "argon:right-password@"
        self._start(["--auth"] if self.auth else [])
        return self

    def _start(self, extra):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.SCRIPT), "exec", str(self.port), str(self.directory), *self.arguments, *extra], stdout=log, stderr=log
            )
        ready = subprocess.run([str(self.SCRIPT), "ready", str(self.port), *self.arguments], stderr=subprocess.PIPE, text=True)
        assert ready.returncode == 0, f"{ready.stderr}\n{self.log_path.read_text(errors='replace')[-3000:]}"

    def kill(self):
        """kill -9; the data stays for the next start."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """With everything on disk."""
        self.process.terminate()
        self.process.wait(60)

    def pause(self):
        """Silent from here on, with its connections open."""
        self.process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")  # its threads stop one after the other, this says so in the end
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the server to stand still")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def fail_next(self, commands, times=1, **data):
        """The next of these commands fail: errorCode=…, closeConnection=True, writeConcernError={…}."""
        with self.client() as client:
            client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data={"failCommands": commands, **data})

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Client:
    """Calls any RPC by name: client.InsertOne(target=..., ...)."""

    def __init__(self, address, package, services, options=()):
        self.channel = grpc.insecure_channel(address, options=[*CHANNEL_OPTIONS, *options])
        self.methods = {}
        for service in services:
            for method in service.methods:
                path = f"/{package}.{service.name}/{method.name}"
                request = getattr(package_module(package), method.input_type.name)
                response = getattr(package_module(package), method.output_type.name)
                described = descriptor_pb2.MethodDescriptorProto()
                method.CopyToProto(described)
                streams = described.server_streaming
                make = self.channel.unary_stream if streams else self.channel.unary_unary
                call = make(path, request_serializer=request.SerializeToString, response_deserializer=response.FromString)
                self.methods[method.name] = (call, request, streams)

    def __getattr__(self, name):
        call, request, streams = self.methods[name]

        def invoke(timeout=30, metadata=None, wait_for_ready=None, **fields):
            answer = call(request(**fields), timeout=timeout, metadata=metadata, wait_for_ready=wait_for_ready)
            return list(answer) if streams else answer

        return invoke

    def stream(self, name, timeout=None, **fields):
        """A server stream, message by message."""
        call, request, _ = self.methods[name]
        return call(request(**fields), timeout=timeout)

    def close(self):
        self.channel.close()


def package_module(package):
    return branch_pb2 if package == "argon.branch.v1" else wal_pb2


def wal_client(address):
    return Client(address, "argon.wal.v1", [wal_pb2.DESCRIPTOR.services_by_name["Wal"]])


def not_applied(error):
    """True when the status says definitely that nothing was written."""
    return ("argon-outcome", "not-applied") in [(item[0], item[1]) for item in error.trailing_metadata() or ()]


class Argon:
    """The branch service's RPCs in few words, for one endpoint."""

    def __init__(self, address, options=()):
        services = branch_pb2.DESCRIPTOR.services_by_name.values()
        self.rpc = Client(address, "argon.branch.v1", services, options)

    def close(self):
        self.rpc.close()

    @staticmethod
    def target(project, collection, branch="main"):
        return branch_pb2.Target(project=project, branch=branch, collection=collection)

    @staticmethod
    def document(value):
        return branch_pb2.Document(bson=bson.encode(value)) if value is not None else None

    @staticmethod
    def write(request_id=None, since=0, actor=""):
        return branch_pb2.WriteOptions(request_id=request_id or "", since_lsn=since, actor=actor)

    def create_project(self, name, **options):
        return self.rpc.CreateProject(name=name, write=self.write(**options)).project

    def delete_project(self, name, **options):
        return self.rpc.DeleteProject(name=name, write=self.write(**options))

    def head(self, project):
        return self.rpc.GetProject(name=project).project.head_lsn

    def create_branch(self, project, name, start="", at=0, timeout=30, **options):
        return self.rpc.CreateBranch(project=project, name=name, **{"from": start}, at_lsn=at, timeout=timeout, write=self.write(**options)).branch

    def insert(self, project, collection, value, branch="main", timeout=30, **options):
        return self.rpc.InsertOne(
            target=self.target(project, collection, branch), document=self.document(value), timeout=timeout, write=self.write(**options)
        )

    def insert_many(self, project, collection, values, branch="main", skip=False, timeout=60, **options):
        return self.rpc.InsertMany(
            target=self.target(project, collection, branch),
            documents=[self.document(value) for value in values],
            on_duplicate=1 if skip else 0,
            timeout=timeout,
            write=self.write(**options),
        )

    def find(self, project, collection, filter=None, branch="main", at=0, skip=0, limit=0, min_lsn=0, timeout=60):
        messages = self.rpc.Find(
            target=self.target(project, collection, branch),
            filter=self.document(filter),
            skip=skip,
            limit=limit,
            timeout=timeout,
            read=branch_pb2.ReadOptions(as_of_lsn=at, min_lsn=min_lsn),
        )
        return [bson.decode(document.bson) for message in messages for document in message.documents]

    def find_one(self, project, collection, filter=None, branch="main", at=0, timeout=60):
        found = self.find(project, collection, filter, branch, at, limit=1, timeout=timeout)
        return found[0] if found else None

    def count(self, project, collection, filter=None, branch="main", at=0, timeout=60):
        return self.rpc.Count(
            target=self.target(project, collection, branch),
            filter=self.document(filter),
            timeout=timeout,
            read=branch_pb2.ReadOptions(as_of_lsn=at),
        ).count

    def update(self, project, collection, filter, update, branch="main", many=False, timeout=30, **options):
        call = self.rpc.UpdateMany if many else self.rpc.UpdateOne
        return call(
            target=self.target(project, collection, branch),
            filter=self.document(filter),
            update=self.document(update),
            timeout=timeout,
            write=self.write(**options),
        )

    def delete(self, project, collection, filter, branch="main", many=False, timeout=30, **options):
        call = self.rpc.DeleteMany if many else self.rpc.DeleteOne
        return call(
            target=self.target(project, collection, branch), filter=self.document(filter), timeout=timeout, write=self.write(**options)
        )

    def collections(self, project, branch="main", at=0):
        answer = self.rpc.ListCollections(project=project, branch=branch, read=branch_pb2.ReadOptions(as_of_lsn=at), page_size=1000)
        return [collection.name for collection in answer.collections]


class Cluster:
    """One WAL service and branch services on it, in a directory of their own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.wal = None
        self.branches = []
        self.clients = []

    def start_wal(self, *arguments, wrapper=()):
        self.wal = Process(self.directory, "wal", ["--data", str(self.data), *arguments], wrapper).start()
        return self.wal

    def start_branch(self, *arguments):
        process = Process(self.directory, "branch", ["--wal", self.wal.address, *arguments]).start()
        self.branches.append(process)
        return process

    def client(self, process=None):
        client = Argon((process or self.branches[0]).address)
        self.clients.append(client)
        return client

    def wal_client(self):
        client = wal_client(self.wal.address)
        self.clients.append(client)
        return client

    def argon(self, *arguments, input=None, check=True, timeout=120, endpoint=None):
        folder = str(self.directory)  # the user's own files stay out of it
        environment = {**os.environ, "ARGON_ENDPOINT": endpoint or self.branches[0].address, "XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}
        result = subprocess.run(
            [str(BIN / "argon"), *arguments], input=input, capture_output=True, text=True, timeout=timeout, env=environment
        )
        if check:
            assert result.returncode == 0, f"argon {' '.join(arguments)}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def close(self):
        for client in self.clients:
            client.close()
        problems = []
        for process in [*self.branches, self.wal]:
            if process is None:
                continue
            try:
                process.stop()
            except AssertionError as error:
                problems.append(str(error))
        for process in [*self.branches, self.wal]:
            if process and ("ERROR: AddressSanitizer" in process.text() or "runtime error:" in process.text()):
                problems.append(process.text()[-6000:])
        assert not problems, "\n".join(problems)


def in_parallel(*functions):
    """Runs them at the same time; their results, or the first exception."""
    results, failures = [None] * len(functions), []
    barrier = threading.Barrier(len(functions))

    def run(index, function):
        try:
            barrier.wait()
            results[index] = function()
        except BaseException as error:  # handed to the caller
            failures.append(error)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results
