"""Completion in the shells that people use."""

import os
import subprocess

import pytest

from harness import BIN


@pytest.fixture
def environment(cluster, argon, tmp_path):
    argon.create_branch("p", "dev")
    argon.create_branch("p", "develop")
    argon.create_project("other")
    argon.insert("p", "users", {"_id": 1})
    argon.insert("p", "items", {"_id": 1}, branch="dev")
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ARGON_ENDPOINT": cluster.branches[0].address,
        "GRPC_VERBOSITY": "NONE",
    }


def bash(environment, line):
    """What bash offers for a line with the cursor at its end, found as it would: by the function of `complete`."""
    script = r"""
    source <(argon completion bash) || exit 1
    line=$1
    function=$(complete -p argon | sed 's/.*-F \([^ ]*\) .*/\1/')
    read -ra COMP_WORDS <<<"${line//=/ = }"
    [ "${line: -1}" != ' ' ] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
    "$function" argon "${COMP_WORDS[COMP_CWORD]}" ''
    printf '%s\n' "${COMPREPLY[@]}"
    """
    result = subprocess.run(["bash", "--norc", "-c", script, "bash", line], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and not result.stderr, result.stderr
    return result.stdout.split()


def zsh(environment, line):
    """The same by zsh's own completion system, in a terminal of its own (zpty)."""
    script = r"""
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -D; source <(argon completion zsh)
    compadd () { builtin compadd -O reply "$@"; print -r -- "<BEGIN>${(j: :)reply}<DONE>"; }
    print READ''Y'
    zpty -r shell out '*READY*'
    zpty -w -n shell "$1"$'\t'
    zpty -r shell out '*<DONE>*'
    print -r -- "$out"
    zpty -d shell
    """
    result = subprocess.run(["zsh", "-f", "-c", script, "zsh", line], env={**environment, "TERM": "dumb"}, capture_output=True, text=True, timeout=60)
    assert "<BEGIN>" in result.stdout, result.stdout + result.stderr
    return result.stdout.rsplit("<BEGIN>", 1)[1].split("<DONE>")[0].split()


CASES = [
    ("argon bran", {"branches"}),
    ("argon branches ", {"adopt", "bases", "copy-base", "create", "delete-base", "get", "list", "rename", "delete"}),
    ("argon branches get -p p dev", {"dev", "develop"}),
    ("argon docs find -p p -b dev ", {"items"}),
    ("argon docs find -p ", {"p", "other"}),
    ("argon docs find -p p users -b d", {"dev", "develop"}),
    ("argon docs find -p p users -o ", {"table", "json", "ndjson"}),
    ("argon docs find --at", {"--at-lsn", "--at-time"}),
    ("argon import x -p p -c u", {"users"}),
    ("argon import mongo", {"mongodb", "mongodump"}),
    ("argon import mongodb --ver", {"--verify"}),
    ("argon import mongodump x --on", {"--on-duplicate"}),
    ("argon context set b", {"branch="}),
    ("argon config set wal.r", {"wal.rollout_percent"}),
]


@pytest.mark.parametrize("line, expected", CASES)
def test_bash(environment, line, expected):
    assert set(bash(environment, line)) == expected


def test_bash_knows_an_option_with_its_value(environment):
    assert set(bash(environment, "argon docs find --project=o")) == {"other"}
    assert set(bash(environment, "argon branches get --project=p d")) == {"dev", "develop"}


def test_bash_offers_files(environment, tmp_path):
    (tmp_path / "users.ndjson").touch()
    line = f"argon import {tmp_path}/us"
    assert bash(environment, line) == [str(tmp_path / "users.ndjson")]


@pytest.mark.parametrize("line, expected", CASES)
def test_zsh(environment, line, expected):
    assert set(zsh(environment, line)) == expected


def test_nobody_waits_for_a_service_that_is_away(environment):
    offered = bash({**environment, "ARGON_ENDPOINT": "127.0.0.1:1"}, "argon docs find -p ")
    assert offered == []
