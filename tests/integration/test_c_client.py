"""The C library: every function and its errors, one effect of each write while services are killed, and what it exports."""

import os
import pathlib
import re
import subprocess

import pytest

from harness import BIN

PROGRAMS = BIN.parent / "tests"
LIBRARY = BIN.parent / "client" / "libargon.so"
HEADER = pathlib.Path(__file__).parents[2] / "include" / "argon" / "argon.h"


def start(cluster, program, *arguments):
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address}
    command = [str(PROGRAMS / program), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("calls", ["client_calls", "client_operations"])
def test_every_function_and_its_errors(cluster, calls):
    cluster.start_wal("--request-window-bytes", "64K")
    cluster.start_branch()
    program = start(cluster, calls)
    output, _ = program.communicate(timeout=300)
    assert program.returncode == 0, output


@pytest.mark.parametrize("killed", ["branch", "wal"])
def test_threads_share_a_client_while_a_service_is_killed(cluster, killed):
    """A kill meets writes of all threads under way: none of them waits for anything but its answer."""
    threads, writes, kills = 8, 100, 6
    cluster.start_wal()
    service = cluster.start_branch() if killed == "branch" else (cluster.start_branch() and cluster.wal)
    program = start(cluster, "client_load", str(threads), str(writes))
    lines = []
    for line in program.stdout:
        lines.append(line)
        if len(lines) % (threads * writes // (kills + 1)) == 0 and len(lines) < threads * writes:
            service.kill()
            service.start()
    assert program.wait(300) == 0, "".join(lines[-20:])
    assert lines[-1] == f"{threads * writes} documents\n"


def test_the_library_exports_what_the_header_promises():
    symbols = subprocess.run(["nm", "-D", "--defined-only", str(LIBRARY)], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in symbols.splitlines()}
    promised = set(re.findall(r"\b(argon_[a-z_]+)\(", re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)))
    assert exported == promised
