"""Snapshots in front of a server that has none: reads at a cluster time go into a transaction of that server, which isolates."""

import itertools
import socket
import struct
import threading
import time
import uuid

import bson

OP_MSG = 2013
SNAPSHOT_TOO_OLD = 239


def receive(connection):
    head = read_exactly(connection, 16)
    return head + read_exactly(connection, struct.unpack_from("<i", head)[0] - 16)


def read_exactly(connection, n):
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data


def command_of(message):
    """Of a message that is one document; None of another."""
    length, _, _, operation = struct.unpack_from("<iiii", message)
    if operation != OP_MSG or message[20] != 0:
        return None
    size = struct.unpack_from("<i", message, 21)[0]
    return bson.decode(message[21:]) if 21 + size == length else None


def with_document(message, document):
    body = bson.encode(document)
    _, request, response, _ = struct.unpack_from("<iiii", message)
    return struct.pack("<iiiiI", 21 + len(body), request, response, OP_MSG, 0) + b"\0" + body


class Snapshots:
    """Passes a MongoDB on, and keeps the snapshots that it is asked for until it is told to forget them."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"mongodb://127.0.0.1:{self.listener.getsockname()[1]}/?directConnection=true"
        self.lock = threading.Lock()
        self.times = itertools.count(1)
        self.sessions = {}  # cluster time -> the transaction that is read in
        self.cursors = {}  # of those cluster times
        self.reads = []  # collections, in the order in which they were read at a snapshot
        self.before_read = lambda collection: None  # at a snapshot that was begun
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def forget(self):
        with self.lock:
            self.sessions.clear()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            self.sockets += [client, server]
            threading.Thread(target=self.serve, args=(client, server), daemon=True).start()

    def serve(self, client, server):
        try:
            while True:
                message = receive(client)
                server_message, finish = self.translate(message)
                if server_message is not None:
                    server.sendall(server_message)
                    answer = receive(server)
                    client.sendall(finish(answer) if finish else answer)
                    while struct.unpack_from("<i", answer, 12)[0] == OP_MSG and answer[16] & 2:  # one of several
                        answer = receive(server)
                        client.sendall(answer)
                else:
                    client.sendall(finish)
        except OSError:
            client.close()
            server.close()

    def translate(self, message):
        """What the server is sent, and what becomes of its answer; or None, and an answer."""
        command = command_of(message)
        if command is None:
            return message, None
        name = next(iter(command))
        concern = command.get("readConcern", {})
        if concern.get("level") == "snapshot":
            at = concern.get("atClusterTime")
            if at is not None:
                self.before_read(command[name])
            with self.lock:
                if at is None:
                    at = bson.Timestamp(int(time.time()), next(self.times))
                    self.sessions[at] = {"lsid": {"id": bson.Binary.from_uuid(uuid.uuid4())}, "txnNumber": bson.Int64(1), "autocommit": False}
                    begins = {"startTransaction": True}
                else:
                    self.reads.append(command[name])
                    begins = {}
                session = self.sessions.get(at)
            del command["readConcern"]
        elif name == "getMore":
            with self.lock:
                if command[name] not in self.cursors:
                    return message, None
                at, begins, session = None, {}, self.sessions.get(self.cursors[command[name]])
        else:
            return message, None
        if session is None:
            return None, with_document(
                struct.pack("<iiii", 0, 0, struct.unpack_from("<i", message, 4)[0], OP_MSG),
                {"ok": 0.0, "code": SNAPSHOT_TOO_OLD, "codeName": "SnapshotTooOld", "errmsg": "the snapshot is gone"},
            )

        def finish(answer):
            document = command_of(answer)
            if at is not None and "cursor" in document:
                document["cursor"]["atClusterTime"] = at
                with self.lock:
                    if document["cursor"]["id"]:
                        self.cursors[document["cursor"]["id"]] = at
            return with_document(answer, document)

        return with_document(message, {**command, **session, **begins}), finish

    def close(self):
        self.listener.close()
        for one in self.sockets:
            one.close()
