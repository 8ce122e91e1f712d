"""What the documents tell a reader to paste works."""

import os
import pathlib
import re
import subprocess

from harness import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]


def blocks(path):
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)


def test_the_example_of_the_readme(cluster, argon):
    example = next(block for block in blocks("README.md") if "projects create shop" in block)
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "PATH": f"{BIN}:{os.environ['PATH']}"}
    commands = example.replace("export PATH=$PWD/build/release/bin:$PATH\n", "")
    result = subprocess.run(["bash", "-eux", "-c", commands], capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    assert '{"_id":"tea","price":2}' in result.stdout and '{"_id":"tea","price":3}' in result.stdout
    assert result.stdout.splitlines()[-1] == "2"


def test_the_steps_of_the_rollout(cluster, argon):
    commands = "\n".join(blocks("docs/rollout.md"))
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address, "PATH": f"{BIN}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-eux", "-c", commands], capture_output=True, text=True, env=environment, timeout=120, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "wal.rollout_percent is 20, not 10 (catalog)" in result.stdout
    assert "Went back to stage traditional" in result.stdout


def test_every_command_group_of_the_readme_exists(cluster, argon):
    for block in blocks("README.md"):
        for command in re.findall(r"^argon (\w+ \w+)", block, re.MULTILINE):
            assert cluster.argon(*command.split(), "--help").stdout


def test_every_option_in_the_documents_exists():
    helps = "".join(subprocess.run([str(BIN / program), "--help"], capture_output=True, text=True).stdout for program in ("wal-service", "branch-service"))
    for path in ("README.md", "docs/limits.md", "docs/rollout.md"):
        for option in set(re.findall(r"`(?:\w+-service )?(--[a-z-]+)", (ROOT / path).read_text())):
            if option not in ("--help", "--at-lsn", "--stop", "--force", "--use-wal", "--traditional"):  # of argon
                assert option in helps, f"{path} names {option}"
