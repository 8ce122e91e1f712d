"""Health says whether a service can do its work: over gRPC and as /readyz, and the two agree."""

import signal
import socket
import threading

import grpc
import health_pb2

from harness import Process, wait_until, wal_client
from watching import ADDRESS, Metrics, get, port, ready

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
BRANCH_SERVICES = ["", "argon.branch.v1.Documents", "argon.branch.v1.Admin"]


def check(process, service=""):
    with grpc.insecure_channel(process.address) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return call(health_pb2.HealthCheckRequest(service=service), timeout=10).status


class Watching(threading.Thread):
    """Every status that a client of Health.Watch hears, and whether /readyz agreed with the last of them."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.channel = grpc.insecure_channel(process.address)
        watch = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        self.stream, self.heard = watch(health_pb2.HealthCheckRequest()), []
        self.start()

    def run(self):
        try:
            for answer in self.stream:
                self.heard.append(answer.status)
        except grpc.RpcError:
            pass  # the service went


def test_a_branch_service_without_its_wal_service_is_not_ready_until_it_is_back(cluster):
    cluster.start_wal()
    branch = cluster.start_branch(*ADDRESS, "--wal-away", "1s")
    assert all(check(branch, service) == SERVING for service in BRANCH_SERVICES) and ready(branch)
    metrics = Metrics(branch)
    assert metrics["argon_serving"] == metrics["argon_branch_wal_reachable"] == 1
    for _ in range(2):
        cluster.wal.kill()
        wait_until(lambda: check(branch) == NOT_SERVING, "health to say no")
        assert all(check(branch, service) == NOT_SERVING for service in BRANCH_SERVICES) and not ready(branch)
        assert get(branch, "/healthz")[0] == 200  # to start it anew would not help
        metrics = Metrics(branch)
        assert metrics["argon_serving"] == metrics["argon_branch_wal_reachable"] == 0
        assert metrics["argon_branch_wal_silence_seconds"] >= 1
        cluster.wal.start()
        wait_until(lambda: check(branch) == SERVING, "health to say yes again")
        assert all(check(branch, service) == SERVING for service in BRANCH_SERVICES) and ready(branch)
    assert len(branch.events("wal.away")) == 2 and len(branch.events("wal.reachable")) == 2


def test_a_wal_service_that_is_stopped_and_goes_on_is_away_in_between(cluster):
    cluster.start_wal()
    branch = cluster.start_branch(*ADDRESS, "--wal-away", "1s")
    cluster.wal.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not ready(branch), "health to say no")
    cluster.wal.process.send_signal(signal.SIGCONT)
    wait_until(lambda: ready(branch), "health to say yes again")


def test_a_short_absence_is_none(cluster):
    cluster.start_wal()
    branch = cluster.start_branch(*ADDRESS, "--wal-away", "1h")
    cluster.wal.kill()
    wait_until(lambda: Metrics(branch)["argon_branch_wal_reachable"] == 0, "the absence to be noticed")
    assert ready(branch) and check(branch) == SERVING
    cluster.wal.start()


def test_a_branch_service_that_never_saw_its_wal_service_is_not_ready(cluster):
    cluster.start_wal()
    cluster.wal.kill()
    branch = cluster.start_branch(*ADDRESS)
    assert check(branch) == NOT_SERVING and not ready(branch)
    cluster.wal.start()
    wait_until(lambda: ready(branch) and check(branch) == SERVING, "the WAL service to be found")


def test_a_failed_disk_ends_health_before_it_ends_the_service(cluster):
    failing = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=12+"]
    wal = cluster.start_wal(*ADDRESS, wrapper=failing)
    watching = Watching(wal)
    client = wal_client(wal.address)
    run = {"branch_id": "b", "collection": "c", "entries": [{"operation": 1, "document_id": b"k", "document": b"\x05\0\0\0\0"}]}
    for _ in range(100):
        try:
            if client.Append(project_id="p", batches=[{"runs": [run], "unconditional": True}], timeout=10).results[0].code:
                break
        except grpc.RpcError:
            break
    else:
        raise AssertionError("the injected failure was not met")
    client.close()
    assert wal.exited() != 0
    watching.join(10)
    assert watching.heard == [SERVING, NOT_SERVING]
    assert wal.events("wal.failed")
    wal.wrapper = []
    wal.start()
    assert check(wal) == SERVING and ready(wal)


def test_before_it_drains_a_service_says_so_and_goes_on(cluster):
    wal = cluster.start_wal(*ADDRESS, "--drain-delay", "1h")
    branch = cluster.start_branch(*ADDRESS, "--drain-delay", "1h")
    client, watching = cluster.client(), [Watching(process) for process in (wal, branch)]
    client.create_project("p")
    for process in (branch, wal):
        process.process.send_signal(signal.SIGTERM)
    for process, watch in zip((wal, branch), watching):
        wait_until(lambda: watch.heard == [SERVING, NOT_SERVING], "the watch to hear of it")
        assert not ready(process) and get(process, "/healthz")[0] == 200
    client.insert("p", "c", {"_id": 1})  # calls go on, new connections, too
    assert cluster.client().count("p", "c") == 1
    for process in (branch, wal):
        process.stop()  # who asks again does not want to wait


def test_the_delay_ends_by_itself(cluster):
    wal = cluster.start_wal("--drain-delay", "100ms")
    wal.process.send_signal(signal.SIGTERM)
    assert wal.exited() == 0
    assert [event["event"] for event in map(wal.events, ["service.drain_delay", "wal.stopping", "wal.stopped"]) for event in event] == [
        "service.drain_delay", "wal.stopping", "wal.stopped"
    ]


class SlowClients(threading.Thread):
    """Connections that never ask a whole question: half of them say nothing, the others a byte now and then. Who is cut off comes again."""

    def __init__(self, address, number):
        super().__init__(daemon=True)
        self.address = address
        self.ended = threading.Event()
        self.connections = [self.connect() for _ in range(number)]
        self.start()

    def connect(self):
        connection = socket.create_connection(self.address, timeout=10)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        return connection

    def run(self):
        while not self.ended.wait(0.5):
            for i, connection in enumerate(self.connections):
                try:
                    if i % 2:
                        connection.sendall(b"x")
                    if connection.recv(1, socket.MSG_DONTWAIT) == b"":
                        raise ConnectionResetError
                except BlockingIOError:
                    pass
                except OSError:
                    connection.close()
                    self.connections[i] = self.connect()

    def end(self):
        self.ended.set()
        self.join()
        for connection in self.connections:
            connection.close()


def test_slow_clients_do_not_keep_a_probe_from_its_answer(cluster):
    cluster.start_wal(*ADDRESS)
    slow = SlowClients(("127.0.0.1", port(cluster.wal)), 200)
    for _ in range(20):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert get(cluster.wal, path, timeout=1)[0] == 200
    assert Metrics(cluster.wal)["process_open_fds"] < 150  # the oldest are cut off
    slow.end()


def test_a_taken_metrics_address_is_an_error(tmp_path, cluster):
    cluster.start_wal(*ADDRESS)
    taken = f"127.0.0.1:{cluster.wal.events('metrics.started')[0]['port']}"
    second = Process(tmp_path, "branch", ["--wal", cluster.wal.address, "--metrics-address", taken])
    try:
        second.start()
    except AssertionError as error:
        assert f"cannot serve metrics on '{taken}': Address already in use" in str(error)
    else:
        second.stop()
        raise AssertionError("two processes share the address")
