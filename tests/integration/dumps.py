"""Dumps as mongodump writes them, made here: directories and archives."""

import gzip
import json
import struct

import bson
from bson import json_util

ID_INDEX = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
MAGIC = struct.pack("<I", 0x8199E26D)
TERMINATOR = b"\xff\xff\xff\xff"
CRC_TABLE = []


def crc64(data, crc=0):
    """ECMA-182, reflected, byte by byte."""
    if not CRC_TABLE:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ 0xC96C5795D7870F42 if byte & 1 else byte >> 1
            CRC_TABLE.append(byte)
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFFFFFFFFFF


def signed(crc):
    return crc - (1 << 64) if crc >> 63 else crc


def metadata(name, indexes=(), **fields):
    document = {"indexes": [ID_INDEX, *indexes], "uuid": "0" * 32, "collectionName": name, "type": "collection", **fields}
    return json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS)


def write_directory(folder, collections, compress=False):
    """collections: name of the file -> (documents as bytes, or None; text of the metadata, or None)"""
    folder.mkdir(parents=True, exist_ok=True)
    ending, encode = (".gz", gzip.compress) if compress else ("", bytes)
    for name, (documents, text) in collections.items():
        if documents is not None:
            (folder / f"{name}.bson{ending}").write_bytes(encode(b"".join(documents)))
        if text is not None:
            (folder / f"{name}.metadata.json{ending}").write_bytes(encode(text.encode()))
    return folder


def header(version="0.1"):
    return bson.encode({"concurrent_collections": 4, "version": version, "server_version": "7.0.5", "tool_version": "100.9.4"})


def listed(database, name, text="", kind="collection"):
    return bson.encode({"db": database, "collection": name, "metadata": text, "size": 0, "type": kind})


def block(database, name, documents):
    return bson.encode({"db": database, "collection": name, "EOF": False, "CRC": 0}) + b"".join(documents) + TERMINATOR


def end(database, name, documents, crc=None):
    value = signed(crc64(b"".join(documents))) if crc is None else crc
    return bson.encode({"db": database, "collection": name, "EOF": True, "CRC": bson.Int64(value)}) + TERMINATOR


def archive(database, collections):
    """collections: name -> (documents, metadata). Their blocks are mixed."""
    parts = [MAGIC, header(), *(listed(database, name, text) for name, (_, text) in collections.items()), TERMINATOR]
    for half in (0, 1):
        for name, (documents, _) in collections.items():
            middle = len(documents) // 2
            parts.append(block(database, name, documents[middle:] if half else documents[:middle]))
    parts += [end(database, name, documents) for name, (documents, _) in collections.items()]
    return b"".join(parts)


def read_archive(data):
    """What a reader that knows the format makes of it: collections' metadata, documents, and whether the checksums are right."""
    assert data[:4] == MAGIC
    at = 4

    def items():
        nonlocal at
        while at < len(data):
            length = struct.unpack_from("<I", data, at)[0]
            size = 4 if length == 0xFFFFFFFF else length
            yield None if length == 0xFFFFFFFF else data[at : at + size]
            at += size

    stream = items()
    assert bson.decode(next(stream))["version"] == "0.1"
    metadatas, documents, ended = {}, {}, set()
    for item in stream:
        if item is None:
            break
        found = bson.decode(item)
        metadatas[found["collection"]] = json.loads(found["metadata"])
        documents[found["collection"]] = []
    current = None
    for item in stream:
        if item is None:
            current = None
        elif current is None:
            found = bson.decode(item)
            current = found["collection"]
            assert current not in ended
            if found["EOF"]:
                assert found["CRC"] == signed(crc64(b"".join(documents[current])))
                ended.add(current)
        else:
            documents[current].append(item)
    assert ended == set(documents)
    return metadatas, documents


def every_type(deprecated=True):
    """A document of every BSON type, as bytes: those that are deprecated have no class in Python, and servers that are made of it
    do not keep them."""
    from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

    known = bson.encode(
        {
            "_id": ObjectId("5f0000000000000000000001"),
            "double": 1.5,
            "nan": float("nan"),
            "negative zero": -0.0,
            "string": "ä\u0000b",
            "document": {"": {"a.b": 1, "$c": 2}},
            "array": [1, [2, [3]], {"x": []}],
            "binary": Binary(b"\x00\x01\xff", 0),
            "old binary": Binary(b"abc", 2),
            "uuid": Binary(b"0123456789abcdef", 4),
            "id": ObjectId("5f0000000000000000000002"),
            "bool": False,
            "date": bson.datetime.datetime(1960, 1, 2),
            "null": None,
            "regex": Regex("^a", "im"),
            "code": Code("function() {}"),
            "scoped": Code("x", {"y": 1}),
            "int": 2**31 - 1,
            "timestamp": Timestamp(7, 9),
            "long": Int64(-(2**63)),
            "decimal": Decimal128("-1E-6176"),
            "least": MinKey(),
            "most": MaxKey(),
            "ref": DBRef("c", 1),
        }
    )
    undefined = b"\x06undefined\x00"
    symbol = b"\x0esymbol\x00\x03\x00\x00\x00ab\x00"
    pointer = b"\x0cpointer\x00\x02\x00\x00\x00c\x00" + bytes(range(12))
    if not deprecated:
        return known
    body = known[4:-1] + undefined + symbol + pointer + b"\x00"
    return struct.pack("<I", len(body) + 4) + body
