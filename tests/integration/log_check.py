"""Reads a project's whole log and checks what must hold of every entry in it, whoever wrote beside whom."""

import bson

CATALOG = "_catalog"


class Log:
    """The catalog as the log says it was, batch by batch."""

    def __init__(self):
        self.branches = {"main": {"parent": None, "cut": 0, "deleted": False}}
        self.collections = {}  # branch id -> [(lsn, document_id, collection id or None)]
        self.deleted = False
        self.next_lsn = 1

    def live_collections(self, branch, lsn):
        record = self.branches[branch]
        live = dict(self.live_collections(record["parent"], min(lsn, record["cut"]))) if record["parent"] else {}
        for changed, name, collection in self.collections.get(branch, []):
            if changed <= lsn:
                live[name] = collection
        return {name: collection for name, collection in live.items() if collection}

    def catalog(self, run, lsn, entry):
        document = bson.decode(entry.document) if entry.document else None
        if run.collection == "branches":
            known = self.branches.get(document["_id"])
            if known:
                known["deleted"] = document.get("deleted", False)
            else:
                assert not self.branches[document["parent"]]["deleted"], f"LSN {lsn}: a fork of a deleted branch"
                self.branches[document["_id"]] = {"parent": document["parent"], "cut": document.get("cut", lsn), "deleted": False}
        elif run.collection == "project":
            self.deleted = True

    def entry(self, run, lsn, entry):
        if run.branch_id == CATALOG:
            self.catalog(run, lsn, entry)
            return
        assert not self.deleted, f"LSN {lsn}: an entry in a deleted project"
        assert run.branch_id in self.branches, f"LSN {lsn}: an entry on branch {run.branch_id}, which was never made"
        assert not self.branches[run.branch_id]["deleted"], f"LSN {lsn}: an entry on a deleted branch"
        if run.collection == "_collections":
            collection = bson.decode(entry.document)["id"] if entry.document else None
            self.collections.setdefault(run.branch_id, []).append((lsn, bytes(entry.document_id), collection))
        else:
            live = self.live_collections(run.branch_id, lsn).values()
            assert run.collection in live, f"LSN {lsn}: an entry of a collection that is not there"


def check_log(wal, project_id):
    """Returns {LSN: document} of all that was ever inserted."""
    log, inserted = Log(), {}
    for message in wal.Read(project_id=project_id, timeout=60):
        for run in message.runs:
            assert run.first_lsn == log.next_lsn, "LSNs have a gap"
            log.next_lsn += len(run.entries)
            for place, entry in enumerate(run.entries):
                log.entry(run, run.first_lsn + place, entry)
                if entry.operation == 1 and run.branch_id != CATALOG:
                    inserted[run.first_lsn + place] = bson.decode(entry.document)
    return inserted
