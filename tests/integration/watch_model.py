"""What a watch must show, worked out from the log's entries alone."""

import bson
from argon.branch.v1 import branch_pb2

CATALOG = "_catalog"


def id_document(document):
    return bson.encode({"_id": bson.decode(document)["_id"]})


class LogModel:
    """Every entry of a project; changes of a branch are found by walking its lineage."""

    def __init__(self, wal, project_id):
        self.entries = []  # (lsn, run, entry)
        self.branches = {"main": (None, 0, 0)}  # id -> parent, cut, base
        self.names = {"main": "main"}
        for message in wal.Read(project_id=project_id, timeout=60):
            for run in message.runs:
                for place, entry in enumerate(run.entries):
                    self.add(run.first_lsn + place, run, entry)

    def add(self, lsn, run, entry):
        assert lsn == len(self.entries) + 1
        self.entries.append((lsn, run, entry))
        if run.branch_id == CATALOG and run.collection == "branches":
            record = bson.decode(entry.document)
            self.branches.setdefault(record["_id"], (record["parent"], record.get("cut", lsn), lsn))
            self.names[record["name"]] = record["_id"]

    def segments(self, branch, through):
        parent, cut, base = self.branches[branch]
        before = self.segments(parent, min(cut, through)) if parent else []
        return [*before, (branch, base, through)]

    def changes(self, branch, through=1 << 60):
        """Of the branch with this id, in LSN order: a tuple each."""
        shown, names, ids = [], {}, {}
        for owner, after, last in self.segments(branch, through):
            entries = [item for item in self.entries if item[1].branch_id == owner and after < item[0] <= last]
            skip = False
            for item, following in zip(entries, [*entries[1:], None]):
                if skip:
                    skip = False
                    continue
                if item[1].collection == "_collections":
                    change, skip = self.catalog_change(item, following, names)
                else:
                    change = self.document_change(item, names, ids)
                if change:
                    shown.append(change)
        return shown

    @staticmethod
    def make(lsn, run, kind, collection, new="", id=b"", document=b""):
        return (lsn, kind, collection, new, id, document, run.branch_id, run.actor, run.timestamp)

    def catalog_change(self, item, following, names):
        lsn, run, entry = item
        if entry.operation != 3:
            record = bson.decode(entry.document)
            names[record["id"]] = record["_id"]
            return self.make(lsn, run, branch_pb2.CHANGE_CREATE_COLLECTION, record["_id"]), False
        name = entry.document_id[1:-1].decode()
        (id,) = [id for id, known in names.items() if known == name]
        if following and following[0] == lsn + 1 and following[1].collection == "_collections" and following[2].document:
            record = bson.decode(following[2].document)
            if record["id"] == id:
                names[id] = record["_id"]
                return self.make(lsn, run, branch_pb2.CHANGE_RENAME_COLLECTION, name, record["_id"]), True
        del names[id]
        return self.make(lsn, run, branch_pb2.CHANGE_DROP_COLLECTION, name), False

    def document_change(self, item, names, ids):
        lsn, run, entry = item
        key = (run.collection, entry.document_id)
        if entry.operation == 3:
            id, document = ids.pop(key), b""
        else:
            id, document = id_document(entry.document), entry.document
            ids[key] = id
        if run.collection in names:
            return self.make(lsn, run, entry.operation, names[run.collection], id=id, document=document)
        return None


def as_tuple(change):
    return (
        change.lsn, change.kind, change.collection, change.new_collection, change.document_id.bson, change.document.bson,
        change.branch_id, change.actor, change.timestamp,
    )


def of_collection(changes, name):
    """What a watch of one collection shows."""
    return [change for change in changes if name in (change[2], change[3])]


def apply(state, changes):
    """Changes over a state {collection: {_id: document}}, in bytes."""
    for _, kind, collection, new, id, document, *_ in changes:
        if kind == branch_pb2.CHANGE_CREATE_COLLECTION:
            assert collection not in state
            state[collection] = {}
        elif kind == branch_pb2.CHANGE_RENAME_COLLECTION:
            assert new not in state
            state[new] = state.pop(collection)
        elif kind == branch_pb2.CHANGE_DROP_COLLECTION:
            del state[collection]
        elif kind == branch_pb2.CHANGE_DELETE:
            del state[collection][id]
        else:
            assert (id in state[collection]) == (kind == branch_pb2.CHANGE_UPDATE)
            state[collection][id] = document
    return state


def find_state(client, branch, lsn):
    """The state as Find sees it."""
    if lsn == 0:
        return {}
    state = {}
    for name in client.collections("p", branch, at=lsn):
        messages = client.rpc.Find(target=client.target("p", name, branch), read=branch_pb2.ReadOptions(as_of_lsn=lsn), timeout=60)
        found = [document.bson for message in messages for document in message.documents]
        state[name] = {id_document(document): document for document in found}
    return state
