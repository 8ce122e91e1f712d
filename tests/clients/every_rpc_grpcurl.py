"""Drives every RPC of both services with grpcurl, which knows them by server reflection alone.

    every_rpc_grpcurl.py GRPCURL CALLS WAL_ADDRESS BRANCH_ADDRESS
"""

import json
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from table import fill, matches  # noqa: E402

grpcurl, calls_file, wal, branch = sys.argv[1:]
known = {"name": "clients-grpcurl"}


def run(*arguments, lines=0):
    """Status and output; stops after so many lines if lines is not 0."""
    process = subprocess.Popen([grpcurl, "-plaintext", "-max-time", "20", *arguments], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    if lines:
        text = ""
        for line in process.stdout:
            text += line
            lines -= line.rstrip() == "}"  # the end of a message
            if not lines:
                process.kill()
                break
        process.communicate()
        return 0, text, ""
    out, err = process.communicate()
    return process.returncode, out, err


def messages(text):
    found, decoder = [], json.JSONDecoder()
    while text.strip():
        value, end = decoder.raw_decode(text.lstrip())
        found.append(value)
        text = text.lstrip()[end:]
    return found


def code_name(text):
    name = re.search(r"Code: (\w+)", text)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[1]).upper() if name else text


missing = set()
for address in (wal, branch):
    for service in run(address, "list")[1].split():
        if service.startswith("argon."):
            missing |= {f"{service}/{line.split('.')[-1]}" for line in run(address, "list", service)[1].split()}
total = len(missing)
if not total:
    sys.exit("reflection lists no service")

for call in json.load(open(calls_file)):
    missing.discard(call["method"])
    address = wal if call["method"].startswith("argon.wal") else branch
    expected = fill(call.get("expect", {}), known)
    status, out, err = run("-d", json.dumps(fill(call["request"], known)), address, call["method"], lines=call.get("take", 0))
    outcome = "OK" if status == 0 else code_name(err)
    answer = messages(out) if isinstance(expected, list) else (messages(out) or [{}])[0]
    if outcome != call.get("error", "OK") or ("error" not in call and not matches(expected, answer)):
        sys.exit(f"{call['method']}: {outcome}: expected {call.get('error', expected)} and got {answer} {err}")
    for variable, path in call.get("save", {}).items():
        value = answer
        for key in path.split("."):
            value = value[key]
        known[variable] = value
if missing:
    sys.exit(f"never called: {sorted(missing)}")
print(f"grpcurl: all {total} methods answer")
