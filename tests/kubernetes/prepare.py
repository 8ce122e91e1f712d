"""Generated messages and the harness of the integration tests, for the programs here."""

import os
import pathlib
import sys

root = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(root / "tests" / "integration"), str(root / "build" / "python")]
os.environ.setdefault("ARGON_BIN", str(root / "build" / "release" / "bin"))
