"""The set-up of deployments/README.md with several machines, on one: each has its own home, and they share two things.

PostgreSQL, a Prefect server with a login on it, two workers and a Dask cluster of two processes are started as the
README says, with the settings of deployments/example.env. What they share is the folder of projects (or an S3), and the
server's address. Needs PostgreSQL's programs; ``make test-production`` runs it.
"""

from __future__ import annotations

import csv
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distributed
import httpx
import psutil
import pytest

from unetseg.aliases import read_aliases
from unetseg.init import init
from unetseg.json_files import read_json
from unetseg.synth import write_eyes

pytestmark = [pytest.mark.server, pytest.mark.production]

ROOT = Path(__file__).parents[2]
LONGEST = 300  # seconds; what takes longer hangs
HERE = "127.0.0.1"
LOGIN = f"unetseg:{secrets.token_hex(12)}"

# A thread each: this machine plays all of them.
MODEST = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

# Python tells of every connection that is opened and every name that is looked up. What a datagram socket is connected
# to hears nothing of it: Dask learns its own address so.
RECORDER = """
import json, os, socket, sys

HERE = {"", "localhost", "0.0.0.0", "::", "::1", socket.gethostname()}

def hear(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        connection, address = arguments
        if connection.family == socket.AF_UNIX or (event, connection.type) == ("socket.connect", socket.SOCK_DGRAM):
            return
        place = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        place = arguments[0]
    else:
        return
    place = place.decode() if isinstance(place, bytes) else str(place or "")
    outside = place not in HERE and not place.startswith("127.")
    line = json.dumps({"outside": outside, "place": place, "who": " ".join(sys.orig_argv)})
    file = os.open(os.environ["UNETSEG_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode() + b"\\n")
    os.close(file)

sys.addaudithook(hear)
"""


# --------------------------------------------------------------------------- machines


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])


def wait_until(reached: Callable[[], object], what: str, seconds: float = LONGEST) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


@dataclass
class Machine:
    """A machine of its own: nothing of another's home, folders or environment is there."""

    folder: Path
    settings: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, **changed: str) -> dict[str, str]:
        own = {name: str(self.folder / name.lower()) for name in ("HOME", "PREFECT_HOME", "TMPDIR")}
        for path in (*own.values(), self.folder / "somewhere"):
            Path(path).mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "PYTHONPATH"}}
        found = kept | MODEST | dict(self.settings) | own | changed
        found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        found["PYTHONPATH"] = os.pathsep.join([found["UNETSEG_RECORDER"], *filter(None, [kept.get("PYTHONPATH")])])
        return found

    def run(self, *command: object, **changed: str) -> subprocess.CompletedProcess[str]:
        """Let a module of Python's end; what it said and its status."""
        return self._run([sys.executable, "-m", *map(str, command)], **changed)

    def run_script(self, path: Path) -> subprocess.CompletedProcess[str]:
        """The same for a script of the shell."""
        return self._run(["sh", str(path)])

    def _run(self, command: list[str], **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder / "somewhere",
            env=self.environment(**changed),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )

    def start(self, *command: object, **changed: str) -> subprocess.Popen[bytes]:
        """Start what runs on; its words are in ``log``."""
        environment = self.environment(**changed)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=self.folder / "somewhere",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def close(self) -> None:
        """Stop everything as services are stopped; nothing may need to be killed."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            process.wait(LONGEST)


@dataclass(frozen=True)
class Site:
    """All machines, and what is between them."""

    machines: dict[str, Machine]
    api: httpx.Client
    shared: Path
    cluster: str
    record: Path

    def deploy_run(self, deployment: str, **parameters: object) -> dict[str, Any]:
        """Start a run from the machine of somebody who has no worker, and wait for its end."""
        given = [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]
        said = self.machines["office"].run("prefect", "deployment", "run", deployment, *given, "--watch")
        found = self.runs()[-1]
        assert said.returncode == 0, (said.stdout, said.stderr, found["state"], self.machines["gpu"].log.read_text())
        return found

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the latest last."""
        answer = self.api.post("/flow_runs/filter", json={"sort": "EXPECTED_START_TIME_ASC"})
        return list(answer.raise_for_status().json())

    def units(self) -> int:
        """How much the scheduler of the cluster has had to do so far."""
        with distributed.Client(self.cluster, set_as_default=False) as client:
            return int(client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter))


# --------------------------------------------------------------------------- what is started


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """PostgreSQL with an ordinary role that owns a database; its address."""
    programs = postgres_programs()
    port, passwords = free_port(), {name: secrets.token_hex(12) for name in ("postgres", "prefect")}
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to be root's
        account = pwd.getpwnam("nobody")
        owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
    quiet = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    (folder / "password").write_text(passwords["postgres"])
    (folder / "password").chmod(0o644)
    given = ["--username=postgres", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--no-sync"]
    subprocess.run([programs / "initdb", "--pgdata", folder / "data", *given], check=True, **quiet, **owner)
    options = ["-h", HERE, "-p", str(port), "-k", "", "-c", "fsync=off", "-c", "logging_collector=off"]
    with (folder / "log.txt").open("wb") as log:
        command = [programs / "postgres", "-D", folder / "data", *options]
        process = subprocess.Popen(command, **quiet | {"stdout": log, "stderr": log}, **owner)
    try:
        ready = [programs / "pg_isready", "-h", HERE, "-p", str(port)]
        wait_until(lambda: subprocess.run(ready, check=False, **quiet).returncode == 0, "PostgreSQL", 60)
        for statement in (
            f"create role prefect login password '{passwords['prefect']}'",
            "create database prefect owner prefect",
        ):
            psql = [programs / "psql", "-h", HERE, "-p", str(port), "-U", "postgres", "-c", statement]
            subprocess.run(psql, env={"PGPASSWORD": passwords["postgres"]}, check=True, **quiet)
        yield f"postgresql+asyncpg://prefect:{passwords['prefect']}@{HERE}:{port}/prefect"
    finally:
        process.send_signal(signal.SIGINT)  # at once, and in order
        process.wait(60)


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs: Debian keeps those of the server off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    named = shutil.which("initdb")
    if not (found or named):
        pytest.skip("PostgreSQL is not installed here: apt-get install postgresql")
    return found[-1].parent if found else Path(str(named)).resolve().parent


def documented(**given: str) -> dict[str, str]:
    """The settings of the example, with what an operator fills in."""
    lines = (ROOT / "deployments" / "example.env").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert given.keys() <= found.keys()
    return found | given


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder that another user may enter, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="unetseg-production-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def site(scratch: Path, object_store: str, tiny: tuple[str, ...]) -> Iterator[Site]:
    """Everything, as the README has it: server, workers of two machines, deployments, cluster, a project."""
    port, dask_port = free_port(), free_port()
    (scratch / "recorder").mkdir()
    (scratch / "recorder" / "sitecustomize.py").write_text(RECORDER)
    own = {"UNETSEG_RECORDER": str(scratch / "recorder"), "UNETSEG_RECORD": str(scratch / "connections.jsonl")}
    own |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    (scratch / "postgres").mkdir()
    with ExitStack() as stack:
        database = stack.enter_context(postgres(scratch / "postgres"))
        settings = own | documented(
            PREFECT_API_URL=f"http://{HERE}:{port}/api",
            PREFECT_API_AUTH_STRING=LOGIN,
            PREFECT_SERVER_API_AUTH_STRING=LOGIN,
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
            PREFECT_SERVER_API_PORT=str(port),
        )
        secret = {"PREFECT_SERVER_API_AUTH_STRING", "PREFECT_SERVER_DATABASE_CONNECTION_URL"}
        others = {name: value for name, value in settings.items() if name not in secret}
        names = ("server", "gpu", "cpu", "dask", "office")
        machines = {name: Machine(scratch / name, settings if name == "server" else others) for name in names}
        for machine in machines.values():
            stack.callback(machine.close)
        api = stack.enter_context(
            httpx.Client(base_url=f"http://{HERE}:{port}/api", auth=tuple(LOGIN.split(":")), timeout=30)
        )
        machines["server"].start("prefect", "server", "start")
        wait_until(lambda: answers(api), "the server")
        for pool in ("cpu", "gpu"):
            machines[pool].start("deployments.worker", "--pool", pool, "--name", f"{pool}-1", "--limit", "1")
        cluster = f"tcp://{HERE}:{dask_port}"
        machines["dask"].start(
            "distributed.cli.dask_scheduler", "--host", HERE, "--port", dask_port, "--dashboard-address", f"{HERE}:0"
        )
        for _ in range(2):
            machines["dask"].start("distributed.cli.dask_worker", cluster, "--nthreads", 1, "--no-dashboard")
        with distributed.Client(cluster, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        wait_until(lambda: pools(api) >= {"cpu", "gpu"}, "the workers")
        office = machines["office"]
        for _ in range(2):  # the second time as after an upgrade
            done = office.run_script(ROOT / "deployments" / "set_up.sh")
            assert done.returncode == 0, done.stdout + done.stderr
        shared = scratch / "shared"
        write_eyes(shared, subjects=6, scans_per_subject=1, size=(80, 112))
        init(shared / "scans", shared / "masks", project=shared / "eyes", overrides=tiny)
        yield Site(machines, api, shared, cluster, Path(own["UNETSEG_RECORD"]))
    assert left(own["UNETSEG_RECORD"]) == []


def left(record: str) -> list[list[str]]:
    """Processes of the machines that are still there."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("UNETSEG_RECORD") == record:
                found.append(process.cmdline())
    return found


def answers(api: httpx.Client) -> bool:
    try:
        return api.get("/health").is_success
    except httpx.TransportError:
        return False


def pools(api: httpx.Client) -> set[str]:
    return {item["name"] for item in api.post("/work_pools/filter", json={}).raise_for_status().json()}


def contents(folder: Path) -> dict[str, bytes]:
    """The masks and the table of a prediction; the rest tells of times, and of who did it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if ".ome." in name or name == "table.csv"}


# --------------------------------------------------------------------------- tests, in the order of a first day


def test_nightly_completes_on_the_gpu_worker_with_the_cluster(site: Site) -> None:
    before = site.units()
    run = site.deploy_run("nightly/nightly", project=site.shared / "eyes", cluster=site.cluster)
    assert run["state"]["type"] == "COMPLETED"
    assert run["labels"]["prefect.worker.name"] == "gpu-1"
    assert read_aliases(site.shared / "eyes" / "models").production == "0001"
    assert site.units() > before


def test_predict_completes_on_the_cpu_worker_and_is_what_the_command_makes(site: Site) -> None:
    before = site.units()
    places = {"project": site.shared / "eyes", "folder": site.shared / "scans"}
    run = site.deploy_run("predict/predict", **places, out=site.shared / "segmented", cluster=site.cluster)
    assert run["labels"]["prefect.worker.name"] == "cpu-1"
    assert site.units() > before
    words = ("predict", places["folder"], site.shared / "by-hand", "--project", places["project"])
    by_hand = site.machines["office"].run("flows.cli", *words, PREFECT_API_URL="")
    assert by_hand.returncode == 0, by_hand.stderr
    assert contents(site.shared / "by-hand").keys() == contents(site.shared / "segmented").keys()
    assert contents(site.shared / "by-hand") == contents(site.shared / "segmented")


def test_projects_scans_and_outputs_may_be_in_an_object_store(site: Site, bucket: Path, tiny: tuple[str, ...]) -> None:
    for path in (path for path in site.shared.glob("[sm]*s/**/*") if path.is_file()):
        target = bucket / path.relative_to(site.shared).as_posix()
        target.write_bytes(path.read_bytes())
    init(bucket / "scans", bucket / "masks", project=bucket / "eyes", overrides=tiny)
    site.deploy_run("ingest/ingest", project=bucket / "eyes", cluster=site.cluster)
    assert (bucket / "eyes" / "dataset.zarr" / "zarr.json").exists()
    places = {"project": site.shared / "eyes", "folder": bucket / "scans", "out": bucket / "segmented"}
    site.deploy_run("predict/predict", **places, cluster=site.cluster)
    assert (bucket / "segmented" / "table.csv").read_bytes() == (site.shared / "segmented" / "table.csv").read_bytes()


@pytest.mark.parametrize("login", ["unetseg:wrong", ""], ids=["wrong", "none"])
def test_a_client_without_the_password_is_refused(site: Site, login: str) -> None:
    found = site.machines["office"].run("prefect", "work-pool", "ls", PREFECT_API_AUTH_STRING=login)
    assert found.returncode == 1
    assert "401" in found.stdout + found.stderr


@pytest.mark.parametrize("login", ["unetseg:wrong", ""], ids=["wrong", "none"])
def test_a_worker_without_the_password_is_refused(site: Site, login: str) -> None:
    words = ("deployments.worker", "--pool", "gpu", "--name", "stranger")
    found = site.machines["office"].run(*words, PREFECT_API_AUTH_STRING=login)
    assert found.returncode == 1
    assert "401" in found.stdout + found.stderr
    workers = site.api.post("/work_pools/gpu/workers/filter", json={}).raise_for_status().json()
    assert [worker["name"] for worker in workers] == ["gpu-1"]


def test_the_page_is_there_and_the_api_is_not_without_the_password(site: Site) -> None:
    address = str(site.api.base_url)
    assert httpx.post(f"{address}flow_runs/filter", json={}).status_code == 401
    assert httpx.get(f"{address}health").status_code == 200


def test_a_training_whose_worker_is_stopped_goes_on_at_the_next_worker(site: Site) -> None:
    longer = json.dumps(["train.epochs=12", "train.patience=0", "train.seed=7"])
    office, gpu = site.machines["office"], site.machines["gpu"]
    words = ("--param", f"project={site.shared / 'eyes'}", "--param", f"overrides={longer}")
    before = set((site.shared / "eyes" / "runs").glob("*"))
    assert office.run("prefect", "deployment", "run", "train/train", *words).returncode == 0
    run = site.runs()[-1]["id"]
    wait_until(lambda: epochs(site, before), "an epoch")
    worker = gpu.running.pop()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONGEST) == 0
    state = site.api.get(f"/flow_runs/{run}").json()["state"]
    assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry")
    assert state["message"].startswith("Worker gpu-1 was stopped while this ran")
    kept = epochs(site, before)
    assert 0 < len(kept) < 12
    gpu.start("deployments.worker", "--pool", "gpu", "--name", "gpu-2", "--limit", "1")
    wait_until(lambda: site.api.get(f"/flow_runs/{run}").json()["state"]["type"] == "COMPLETED", "the training")
    found = site.api.get(f"/flow_runs/{run}").json()
    assert (found["run_count"], found["labels"]["prefect.worker.name"]) == (2, "gpu-2")
    (folder,) = set((site.shared / "eyes" / "runs").glob("*")) - before
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 12
    assert losses[: len(kept)] == pytest.approx([row["loss"] for row in kept])  # they were not trained again


def epochs(site: Site, before: set[Path]) -> list[dict[str, Any]]:
    """The epochs that a training under way has stored."""
    for folder in set((site.shared / "eyes" / "runs").glob("*")) - before:
        with suppress(FileNotFoundError):  # it is being replaced
            return list(read_json(folder / "checkpoint" / "outcome.json")["history"])
    return []


def test_runs_are_kept_in_postgres_alone(site: Site) -> None:
    assert len(site.runs()) >= 5
    assert not [path for machine in site.machines.values() for path in machine.folder.rglob("*.db")]


def test_nothing_calls_home(site: Site) -> None:
    """Seen by Python in every process of all the tests above; `who` tells that each kind of them was heard."""
    heard = [json.loads(line) for line in site.record.read_text(encoding="utf-8").splitlines()]
    for kind in (
        "server start",
        "deployments.worker",
        "worker start",
        "prefect.engine",
        "dask_worker",
        "deployment run",
    ):
        assert any(kind in item["who"] for item in heard), kind
    assert [item for item in heard if item["outside"]] == []


def test_no_password_is_in_a_log_a_record_or_what_the_ui_shows(site: Site) -> None:
    """The last test: all runs have left what they leave."""
    settings = site.machines["server"].settings
    passwords = [LOGIN.split(":")[1], settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"].split(":")[2].split("@")[0]]
    kinds = ("flow_runs", "task_runs", "artifacts", "logs", "deployments", "work_pools", "block_documents", "events")
    answers = [site.api.post(f"/{kind}/filter", json={}).raise_for_status().text for kind in kinds]
    for password in passwords:
        assert not [kind for kind, text in zip(kinds, answers, strict=True) if password in text]
        for folder in (site.shared, *(machine.folder for machine in site.machines.values())):
            for path in filter(Path.is_file, folder.rglob("*")):
                # Prefect hands a run its environment in a private file, which is gone with the run.
                assert "tmpdir" in path.parts or password.encode() not in path.read_bytes(), path
