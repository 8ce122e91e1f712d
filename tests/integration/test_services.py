"""What every service does: health, addresses, signals, usage."""

import os
import pathlib
import signal
import subprocess

import grpc
import health_pb2
import pytest

from harness import BIN, Process, wait_until
from traditional import start


def health(address, service=""):
    channel = grpc.insecure_channel(address)
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        return check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
    finally:
        channel.close()


def test_health_of_both_services(cluster, argon):
    assert health(cluster.wal.address) == health_pb2.HealthCheckResponse.SERVING
    assert health(cluster.wal.address, "argon.wal.v1.Wal") == health_pb2.HealthCheckResponse.SERVING
    assert health(cluster.branches[0].address, "argon.branch.v1.Documents") == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as error:
        health(cluster.wal.address, "nobody")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_service_that_cannot_do_its_work_is_alive(tmp_path):
    branch = Process(tmp_path, "branch", ["--wal", "127.0.0.1:1"]).start()
    try:
        assert health(branch.address) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert health(branch.address, "grpc.health.v1.Health") == health_pb2.HealthCheckResponse.SERVING  # what liveness probes ask
    finally:
        branch.stop()


PROGRAMS = {"wal-service": ["--data"], "branch-service": ["--wal", "127.0.0.1:1"]}


def run(program, tmp_path, *arguments):
    own = [*PROGRAMS[program], str(tmp_path / "data")] if program == "wal-service" else PROGRAMS[program]
    return subprocess.run([str(BIN / program), *own, *arguments], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("program", PROGRAMS)
def test_another_address_than_loopback_needs_insecure(program, tmp_path):
    refused = run(program, tmp_path, "--listen", "0.0.0.0:0")
    assert refused.returncode != 0
    assert "--insecure" in refused.stderr


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", [["--bogus"], ["--listen"], ["stray"], ["--grace", "soon"]])
def test_wrong_usage_ends_with_2(program, tmp_path, arguments):
    wrong = run(program, tmp_path, *arguments)
    assert wrong.returncode == 2, wrong.stderr
    assert "--help" in wrong.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_version(program, tmp_path):
    assert "--listen" in run(program, tmp_path, "--help").stdout
    assert program in run(program, tmp_path, "--version").stdout


def test_a_taken_port_is_an_error(cluster, argon):
    taken = subprocess.run(
        [str(BIN / "branch-service"), "--listen", cluster.branches[0].address, "--wal", cluster.wal.address],
        capture_output=True, text=True, timeout=30,
    )
    assert taken.returncode == 1
    assert cluster.branches[0].address in taken.stderr


def test_insecure_listens_everywhere(tmp_path):
    process = Process(tmp_path, "wal", ["--data", str(tmp_path / "data"), "--listen", "0.0.0.0:0", "--insecure"]).start()
    try:
        assert health(process.address) == health_pb2.HealthCheckResponse.SERVING
    finally:
        process.stop()


def test_a_branch_service_starts_before_its_wal_service(cluster):
    cluster.start_wal()
    cluster.wal.kill()
    branch = cluster.start_branch()
    argon = cluster.client()
    with pytest.raises(grpc.RpcError) as error:
        argon.rpc.ListProjects(timeout=1)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    cluster.wal.start()
    wait_until(lambda: argon.rpc.ListProjects(timeout=10) is not None, "the WAL service to be found")
    branch.process.send_signal(signal.SIGINT)
    assert branch.exited() == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_health_check_asks_the_service_of_this_machine(cluster, argon, program, tmp_path):
    process = cluster.wal if program == "wal-service" else cluster.branches[0]
    everywhere = process.address.replace("127.0.0.1", "0.0.0.0")  # as a container listens; no --insecure: nothing is served
    assert run(program, tmp_path, "--health-check", "--listen", everywhere).returncode == 0
    process.stop()
    gone = run(program, tmp_path, "--health-check", "--listen", everywhere)
    assert gone.returncode == 1 and process.address in gone.stderr


# ---- shared memory -----------------------------------------------------------------------------------


def test_no_program_leaves_counters_of_the_driver_in_shared_memory(cluster, mongo_server):
    server = mongo_server(hasty=True)
    start(cluster, server)
    environment = {**os.environ, "ARGON_ENDPOINT": cluster.branches[0].address}
    watch = subprocess.Popen([str(BIN / "argon"), "watch", "-p", "p", "--after-lsn", "0", "-o", "ndjson"], stdout=subprocess.PIPE, env=environment)
    cluster.argon("docs", "insert", "items", '{"_id": 1}', "-p", "p")
    assert watch.stdout.readline()  # it is well past its start
    service = cluster.branches[0].process
    for process in (watch, service):
        mapped = pathlib.Path(f"/proc/{process.pid}/maps").read_text()
        assert "libmongoc" in mapped  # else there is nothing to show
        assert not pathlib.Path(f"/dev/shm/mongoc-{process.pid}").exists()
    watch.kill()
    watch.communicate()
    assert not pathlib.Path(f"/dev/shm/mongoc-{watch.pid}").exists()
