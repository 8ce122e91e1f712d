"""For the benchmarks in Python: the services as processes, and a MongoDB server, as the integration tests have them."""

import os
import pathlib
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parents[1]
generated = root / "build" / "python"
sys.path[:0] = [str(root / "tests" / "integration"), str(generated)]
generated.mkdir(parents=True, exist_ok=True)
subprocess.run(
    ["protoc", f"--proto_path={root}/proto", f"--python_out={generated}", "argon/wal/v1/wal.proto", "argon/branch/v1/branch.proto"], check=True
)
os.environ.setdefault("ARGON_BIN", str(root / "build" / "release" / "bin"))

from harness import BIN, Cluster, MongoServer  # noqa: E402, F401
