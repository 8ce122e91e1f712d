"""What the documents tell a reader to paste works: each command is run here as it stands there, or by the script that ELSEWHERE names."""

import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

from harness import BIN, Cluster, MongoServer
from traditional import TRADITIONAL

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTED = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
PAGES = subprocess.run(LISTED, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

# ---- commands that other scripts run: (command, script, how it stands there) ---------------------------

FIND = """grpcurl -plaintext -d '{"target":{"project":"shop","branch":"main","collection":"items"}}' %s argon.branch.v1.Documents/Find"""
ELSEWHERE = [
    ("./scripts/quickstart.sh", "tests/integration/quickstart.sh", "./scripts/quickstart.sh"),
    ("./scripts/build.sh", "tests/integration/quickstart.sh", "./scripts/build.sh"),
    ("./scripts/test.sh", ".ci/run", 'exec "$(dirname "$0")/../scripts/test.sh"'),
    ("scripts/build-images.sh", "tests/containers/compose.sh", '"$root/scripts/build-images.sh"'),
    ("docker compose up -d", "tests/containers/compose.sh", "compose up -d --no-build"),
    ("kubectl apply -k deploy/kubernetes/overlays/embedded", "scripts/test-kubernetes.sh", 'kube apply --validate=strict -k "$overlays/embedded"'),
    ("kubectl -n argon scale deployment/argon-branch --replicas=4", "scripts/test-kubernetes.sh", "kube -n argon scale deployment/argon-branch --replicas=4"),
    ("grpcurl -plaintext 127.0.0.1:7800 list", "tests/clients/run.sh", 'grpcurl -plaintext "$branch" list'),
    (FIND % "127.0.0.1:7800", "tests/clients/run.sh", FIND % '"$branch"'),
]

# ---- what a page's commands find: run before the first block, and before the block that begins so ------


def a_shop(reader):
    """What the references speak of: a database with collections, some with the prefix of a branch, and changes to make."""
    with reader.mongo.client() as client:
        client.shop.goods.insert_many([{"_id": f"good {i}"} for i in range(115)])  # so many that an import of them ends at LSN 120
        client.argon.staging_items.insert_many([{"_id": i} for i in range(10)])
        client.argon.later_items.insert_many([{"_id": i} for i in range(10)])
    (reader.folder / "changes.ndjson").write_text('{"insertOne":{"document":{"name":"Bob"}}}\n')
    (reader.folder / "users.ndjson").write_text('{"_id":"Eve"}\n')


def a_branch_for_a_database(reader):
    a_shop(reader)
    reader.run("argon projects create shop; argon branches create dev -p shop; argon branches create restored -p shop")


def two_traditional_branches(reader):
    client = reader.cluster.client()
    client.create_project("shop")
    for name in ("staging", "other"):
        client.rpc.CreateBranch(project="shop", name=name, kind=TRADITIONAL)
        client.insert_many("shop", "items", [{"_id": i} for i in range(10)], branch=name)


WITH_MONGODB = {"docs/cli.md": a_shop, "docs/mongodb.md": a_branch_for_a_database, "docs/migration.md": two_traditional_branches}

BEFORE = {
    ("docs/cli.md", "argon projects create "): "! argon projects get shop || argon projects delete shop --yes",
    ("docs/cli.md", "argon branches create "): """
        argon projects create shop
        seq 130 | sed 's/.*/{"_id":&}/' | argon docs insert numbers - -p shop
    """,
    ("docs/cli.md", "argon branches delete "): "argon branches rename develop dev -p shop",
    ("docs/cli.md", "argon collections list "): "argon branches create dev -p shop",
    ("docs/cli.md", "argon collections drop "): "argon collections rename people users -p shop -b dev",
    ("docs/cli.md", "argon collections indexes "): "argon collections create users -p shop -b dev",
    ("docs/cli.md", "argon import mongodump "): """
        argon projects create other
        argon docs insert users '{"_id":"Max"}' -p other
        argon export mongodump dump -p other
    """,
    ("docs/cli.md", "argon release "): "argon checkout -p shop -b dev --into mongodb://localhost --database argon_checkout_shop_dev_120",
    ("docs/cli.md", "argon rollout apply "): "argon rollout apply traditional -f examples/rollout.yaml",
    ("docs/cli.md", "argon migrate start "): "argon config set wal.enabled true",
    ("docs/cli.md", "argon migrate rollback "): """
        argon branches delete staging -p shop --yes
        argon branches adopt staging -p shop --prefix later_
        argon migrate start -p shop -b staging
    """,
}

# ---- what stands for something that is the reader's own -------------------------------------------------

WATCH = "argon watch -p shop -b dev -c users -o ndjson"
PLACEHOLDERS = {
    "6a0c41f2e9b7d5830c1f4e26": "$(argon branches bases -p shop -o json | jq -r '.[0].base_id')",
    WATCH: f"""
        {WATCH} >watched & watch=$!
        until [ -s watched ]; do argon docs insert users '{{}}' -p shop -b dev; done
        kill $watch  # SIGINT may be ignored where the tests run in the background
        wait $watch || [ $? -gt 128 ]
    """,
}


# ---- blocks and commands of a page ----------------------------------------------------------------------

FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```\n(?=(?:\n*```text\n((?:.*\n)*?)```\n)?)", re.MULTILINE)


def blocks(page):
    """(language, text, the output that is shown with it or None) of each block."""
    return FENCE.findall((ROOT / page).read_text())


def without_comment(line):
    quote = None
    for i, c in enumerate(line):
        if quote:
            quote = None if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "#" and (i == 0 or line[i - 1].isspace()):
            return line[:i].rstrip()
    return line.rstrip()


def commands(text):
    """One by one, without the comments."""
    return [command for command in map(without_comment, text.replace("\\\n", "").splitlines()) if command]


class Reader:
    """Somebody with a checkout, the programs, and the services that the page speaks of."""

    def __init__(self, folder, page):
        self.page = page
        self.folder = folder / "checkout"
        (self.folder / "build/release").mkdir(parents=True)
        (self.folder / "build/release/bin").symlink_to(BIN)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        self.cluster = Cluster(folder)
        self.mongo = MongoServer(folder) if page in WITH_MONGODB else None

    def read(self):
        try:
            options = []
            if self.mongo:
                self.mongo.start()
                options = ["--enable-wal-branches", "--mongodb", f"mongodb://127.0.0.1:{self.mongo.port}/argon"]
            self.cluster.start_wal()
            for _ in range(2):
                self.cluster.start_branch(*options)
            self.values = {
                **PLACEHOLDERS,
                "127.0.0.1:7700": self.cluster.wal.address,
                "127.0.0.1:7800": self.cluster.branches[0].address,
                "127.0.0.1:7801": self.cluster.branches[1].address,
                "mongodb://localhost": f"mongodb://127.0.0.1:{self.mongo.port}" if self.mongo else "",
            }
            if self.mongo:
                WITH_MONGODB[self.page](self)
            for language, text, output in blocks(self.page):
                if language == "sh":
                    self.paste(text, output)
        finally:
            self.cluster.close()
            if self.mongo:
                self.mongo.close()

    def paste(self, text, output):
        here = [command for command in commands(text) if command not in [command for command, _, _ in ELSEWHERE]]
        for (page, begin), preparation in BEFORE.items():
            if here and page == self.page and here[0].startswith(begin):
                self.run(preparation)
        services = [self.cluster.wal, *self.cluster.branches]
        alone = "wal-service " in text  # a block with services of its own, or with the directory of one that is stopped
        for process in reversed(services) if alone else []:
            process.stop()
        printed = self.run("\n".join(here))
        for process in services if alone else []:
            process.start()
        if output:
            shown = re.escape(output).replace("…", ".*")  # what is another each time
            assert re.fullmatch(shown, printed), f"{self.page} shows other output of\n{text}\nwhich printed\n{printed}"

    def run(self, text):
        for placeholder, value in self.values.items():
            text = text.replace(placeholder, value)
        folder = str(self.folder)
        environment = {
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ARGON_ENDPOINT": self.cluster.branches[0].address,
            "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder, "DATA": str(self.cluster.data), "BACKUP": f"{folder}/backup",
        }  # fmt: skip
        # what a block leaves in the background ends with it
        script = "trap 'jobs=$(jobs -p); [ -z \"$jobs\" ] || kill $jobs; wait' EXIT\n" + text
        result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, f"{self.page}: exit {result.returncode} of\n{text}\n{result.stdout}\n{result.stderr}"
        return result.stdout


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """All pages at once: much of the time is that of the migrations, which wait."""
    with concurrent.futures.ThreadPoolExecutor(len(PAGES)) as pool:
        pages = [page for page in PAGES if any(language == "sh" for language, _, _ in blocks(page))]
        yield {page: pool.submit(Reader(tmp_path_factory.mktemp("page"), page).read) for page in pages}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of(page, read):
    if page in read:
        read[page].result()


# ---- what is not run here -------------------------------------------------------------------------------


def test_a_command_is_run_by_the_script_that_is_named():
    written = {command for page in PAGES for language, text, _ in blocks(page) if language == "sh" for command in commands(text)}
    tests = (ROOT / "scripts/test.sh").read_text()
    for command, script, there in ELSEWHERE:
        assert command in written, f"no document has {command}"
        assert there in [line.strip() for line in commands((ROOT / script).read_text())], f"{script} does not run {there}"
        assert script == ".ci/run" or script in tests, f"scripts/test.sh does not run {script}"


PROGRAMS = r"(?:argon|wal-service|branch-service|kubectl|docker|grpcurl|cmake|(?:\./)?(?:scripts|bench|tests)/\S+)"


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_in_blocks_of_their_own(page):
    text = (ROOT / page).read_text()
    assert {language for language, _, _ in blocks(page)} <= {"sh", "text", "json", "yaml"}
    assert text.count("\n```") == 2 * len(blocks(page)), "a fence that is not at the beginning of a line, or not closed"
    prose = FENCE.sub("", text)
    assert not re.findall(r"^(?: {4}|\t).*", prose, re.MULTILINE), "an indented block: is it text, or sh?"
    for language, block, _ in blocks(page):
        if language != "sh":
            assert not re.findall(rf"^(?:\$ .*|{PROGRAMS} \S.*)", block, re.MULTILINE), "a command"


def helps():
    """What the programs and scripts say of themselves."""
    printed = [[BIN / "argon", "help", "--markdown"], [BIN / "wal-service", "--help"], [BIN / "branch-service", "--help"]]
    texts = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in printed]
    return texts + [path.read_text() for folder in ("scripts", "bench", "tests") for path in (ROOT / folder).rglob("*.sh")]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_in_the_text_exists(page):
    """Commands with their options, and scripts."""
    known = "\n".join(helps())
    of_others = {"--oplog", "--target", "--descriptor_set_out"}  # mongodump, cmake, protoc
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", (ROOT / page).read_text())):
        for option in re.findall(r"(?:^|\s)(--[a-z][a-z_-]+)", code):
            assert option in of_others or re.search(rf"{option}(?![a-z-])", known), code
        command = re.match(r"argon ([a-z][a-z-]*)(?: ([a-z-]+))?", code)
        if command:
            assert any(f"argon {words}\n" in known for words in (command[0][6:], command[1])), code
        script = re.match(r"(?:\./)?((?:scripts|bench|tests|deploy|docs|examples|common|cli|include)/[\w./-]+)", code)
        if script:
            assert (ROOT / script[1]).exists() or list(ROOT.glob(script[1].rstrip("_") + "*")), code
