"""Runs both services under a fixed load and tells whether their memory, files and threads stay flat.

Beside the load: a reader that follows the WAL service's log and one that watches the branch service, both without reading
on; 1,000 idle connections to each, which the services replace when they are a minute old. What is bounded gets a small bound,
so that it is full early. The number of live documents and branches is constant. So what still grows, grows with the length of
the log or with time.

The verdict goes by what the program holds of the allocator (heap_probe.c), by files and by threads. What the process holds is
told too; the allocator keeps up to 32 MiB of freed memory in its threads' caches, and gets there slowly.
"""

import asyncio
import collections
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import grpc

import harness

SECONDS = float(os.environ.get("SOAK_SECONDS", 600))
RATE = float(os.environ.get("SOAK_RATE", 1000))
SAMPLE_SECONDS = min(5.0, SECONDS / 20)
IDLE, DOCUMENTS, IN_FLIGHT = 1000, 20000, 64
CONNECTION_AGE = ["--connection-age", "60s"]
WAL_FLAGS = [*CONNECTION_AGE, "--conflict-window-bytes", "1M", "--request-window-bytes", "1M", "--segment-bytes", "8M"]
BRANCH_FLAGS = [*CONNECTION_AGE, "--memory", "32M"]
MOST_GROWTH = 0.10  # from 20 % of the time on
MORE_THREADS = 8  # gRPC's own come and go with the load


class IdleConnections(threading.Thread):
    """HTTP/2 connections without a call: they answer settings and pings, and come again when the server ends them."""

    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and empty settings
    SETTINGS, PING, GOAWAY, ACK = 4, 6, 7, 1

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses = addresses
        self.up = 0
        self.reconnects = 0

    def run(self):
        asyncio.run(self.everything())

    async def everything(self):
        await asyncio.gather(*(self.keep(address) for address in self.addresses for _ in range(IDLE)))

    async def keep(self, address):
        host, port = address.split(":")
        while True:
            writer = None
            try:
                reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
                self.up += 1
                writer.write(self.PREFACE)
                await self.answer(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            if writer:
                self.up -= 1
                writer.close()
            self.reconnects += 1
            await asyncio.sleep(0.2)  # as a client backs off

    async def answer(self, reader, writer):
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags = head[3], head[4]
            if kind in (self.SETTINGS, self.PING) and not flags & self.ACK:
                answer = payload if kind == self.PING else b""
                writer.write(len(answer).to_bytes(3, "big") + bytes([kind, self.ACK, 0, 0, 0, 0]) + answer)
            if kind == self.GOAWAY and payload[4:8] == bytes(4):
                return


class Stalled:
    """Two streams on connections of their own whose readers take the first message and no more. A service cuts them off in the
    end, so before that a new one takes the place of the older one."""

    def __init__(self, open_stream, again_after):
        self.open_stream = open_stream
        self.again_after = again_after
        self.streams = collections.deque()
        self.due = 0.0

    def keep(self, now):
        if now < self.due:
            return
        self.due = now + self.again_after
        if self.streams:
            self.end()
        while len(self.streams) < 2:
            client, stream = self.open_stream()
            next(stream)
            self.streams.append((client, stream))

    def end(self):
        client, stream = self.streams.popleft()
        stream.cancel()
        client.close()


def start(cluster, name, *arguments):
    probe = cluster.directory / f"{name}.heap"
    wrapper = ["env", f"LD_PRELOAD={harness.BIN}/bench_heap_probe.so", f"HEAP_PROBE={probe}"]
    process = harness.Process(cluster.directory, name, arguments, wrapper).start()
    process.probe = probe
    return process


def sample(process):
    base = f"/proc/{process.process.pid}"
    with open(f"{base}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    kib = {name: int(fields[key].split()[0]) for name, key in (("rss", "VmRSS"), ("private", "RssAnon"), ("mapped", "RssFile"), ("peak", "VmHWM"))}
    kib["held"] = int(process.probe.read_text().rpartition("\n")[0].rpartition("\n")[2]) // 1024
    return {**kib, "threads": int(fields["Threads"]), "files": len(os.listdir(f"{base}/fd"))}


def judge(samples):
    """The figures of one service at 10 %, 50 % and 100 % of the time, and whether it stayed flat."""

    def around(part, key):
        low, high = max(0.0, part - 0.05), min(1.0, part + 0.05)
        return statistics.median(each[key] for at, each in samples if low <= at / SECONDS <= high or each is samples[-1][1] and part == 1)

    half = [(at / 60, each["held"]) for at, each in samples if at >= 0.2 * SECONDS]
    slope = statistics.covariance(*zip(*half)) / statistics.variance([at for at, _ in half]) if len(half) > 1 else 0.0
    early, late = around(0.2, "held"), around(1, "held")
    flat = (
        late <= early * (1 + MOST_GROWTH)
        and around(1, "files") <= around(0.2, "files") * (1 + MOST_GROWTH)
        and around(1, "threads") <= around(0.2, "threads") + MORE_THREADS
    )
    figures = {f"{key}_kib": [around(part, key) for part in (0.1, 0.5, 1)] for key in ("held", "rss", "private", "mapped")}
    return {
        **figures,
        "peak_kib": samples[-1][1]["peak"],
        "growth_percent": round(100 * (late - early) / early, 1),
        "slope_kib_per_minute": round(slope, 1),
        "files": [around(part, "files") for part in (0.1, 0.5, 1)],
        "threads": [around(part, "threads") for part in (0.1, 0.5, 1)],
    }, flat


def soak(cluster):
    wal = cluster.wal = start(cluster, "wal", "--data", str(cluster.data), *WAL_FLAGS)
    branch = start(cluster, "branch", "--wal", wal.address, *BRANCH_FLAGS)
    cluster.branches.append(branch)
    bench = [str(harness.BIN / "bench_docs")]
    common = ["--target", branch.address, "--documents", str(DOCUMENTS)]
    subprocess.run([*bench, "fill", *common, "--name", "soak"], check=True, stdout=subprocess.DEVNULL)
    argon = cluster.client()
    project_id = argon.rpc.GetProject(name="soak").project.id

    def follow():
        client = harness.wal_client(wal.address)
        return client, client.stream("Read", project_id=project_id, follow=True)

    def watch():
        client = harness.Argon(branch.address)
        return client, client.rpc.stream("Watch", project="soak", branch="main", from_head=True)

    stalled = [Stalled(follow, 25), Stalled(watch, 240)]
    idle = IdleConnections([wal.address, branch.address])
    idle.start()
    harness.wait_until(lambda: idle.up == 2 * IDLE, "the idle connections")
    load = subprocess.Popen(
        [*bench, "mix", *common, "--project", "soak", "--in-flight", str(IN_FLIGHT), "--rate", str(RATE), "--seconds", str(SECONDS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    began, samples = time.monotonic(), {"wal": [], "branch": []}
    fewest_idle = 2 * IDLE
    with open(os.environ.get("SOAK_SAMPLES", os.devnull), "w") as log:
        while load.poll() is None:
            at = time.monotonic() - began
            for each in stalled:
                each.keep(at)
            for name, process in (("wal", wal), ("branch", branch)):
                samples[name].append((at, sample(process)))
            fewest_idle = min(fewest_idle, idle.up)
            status = argon.rpc.GetStatus()
            follows = status.wal_follow_streams
            line = {"at": round(at, 1), **{name: each[-1][1] for name, each in samples.items()}, "follows": follows, "idle": idle.up}
            line.update(views=status.views, views_kib=status.memory_used_bytes >> 10, segments=status.wal_segments, log_kib=status.wal_disk_bytes >> 10)
            line.update(wal_index_kib=status.wal_memory_bytes >> 10)
            line.update(hits=status.view_hits, misses=status.view_misses, log_reads=status.log_reads)
            print(json.dumps(line), file=log, flush=True)
            try:
                load.wait(max(0.0, (len(samples["wal"])) * SAMPLE_SECONDS - (time.monotonic() - began)))
            except subprocess.TimeoutExpired:
                pass
    if load.returncode != 0:
        raise SystemExit(f"the load ended with {load.returncode}")
    calls = json.loads(load.stdout.read())
    for each in stalled:
        while each.streams:
            each.end()
    verdict, flat = {}, True
    for name, each in samples.items():
        verdict[name], well = judge(each)
        flat = flat and well
    print(
        json.dumps(
            {
                "bench": "soak",
                "seconds": round(samples["wal"][-1][0]),
                "calls": calls["calls"],
                "calls_per_second": calls["calls_per_second"],
                "p50_us": calls["p50_us"],
                "p99_us": calls["p99_us"],
                "entries": status.wal_entries,
                "log_mib": status.wal_disk_bytes >> 20,
                "idle_connections": 2 * IDLE,
                "idle_reconnects": idle.reconnects,
                "views_kib": status.memory_used_bytes >> 10,
                **verdict,
                "verdict": "too short to tell" if SECONDS < 60 else "flat" if flat else "grows",
            }
        )
    )
    return flat or SECONDS < 60


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * IDLE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * IDLE), hard))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="argon-soak.", dir=os.environ.get("BENCH_DIRECTORY", "/var/tmp")))
    cluster = harness.Cluster(directory)
    try:
        flat = soak(cluster)
    finally:
        cluster.close()
        shutil.rmtree(directory)
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
