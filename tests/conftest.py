"""What all tests share."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unetseg.init import init
from unetseg.project import Project, load_project
from unetseg.storage import locate, locked
from unetseg.synth import write_eyes

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

pytest_plugins = ["tests.faults"]

TINY = (
    "model.depth=2",
    "model.width=4",
    "train.patch=64",
    "train.batch=4",
    "train.epochs=6",
    "train.steps_per_epoch=10",
    "train.max_minutes=0",
    "gate.floor=0.0",
    "evaluate.draws=200",
)


_SERVERS = frozenset({"object_store", "prefect_server", "dask_cluster"})  # fixtures that start one
_LONGEST = ("test_train", "test_nightly", "test_evaluate", "test_model", "test_predict_estimate", "test_losses")


@pytest.hookimpl(tryfirst=True)  # before pytest looks at what is marked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server, and begin with the files that take longest: the last one runs alone."""
    for item in items:
        if _starts_a_server(item):
            item.add_marker(pytest.mark.server)
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


def _starts_a_server(item: pytest.Item) -> bool:
    """Whether it needs one, directly or not, or is told to take an object store; others are marked by hand."""
    told = item.callspec.params.values() if hasattr(item, "callspec") else ()
    in_store = any(isinstance(value, str) and value == "store" for value in told)
    return in_store or bool(_SERVERS.intersection(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session")
def real_scans() -> Path:
    """The folder of real scans, where there is one."""
    folder = os.environ.get("UNETSEG_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("UNETSEG_DATA does not name the folder of real scans")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Settings that train in seconds."""
    return TINY


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder in the first process of the run that asks for it; the others wait, and find it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def find(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with locked(base / f"{name}.making"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return find


@pytest.fixture(scope="session")
def eyes(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Folder with scans, masks and guides of eight people, two scans each. Read only."""
    return made_once("eyes", lambda folder: write_eyes(folder, subjects=8, scans_per_subject=2, size=(80, 112)))


@pytest.fixture(scope="session")
def trained_folder(
    eyes: Path, made_once: Callable[[str, Callable[[Path], object]], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project that one night has passed over, this process' copy. Read only: take `trained` to change something."""

    def train(folder: Path) -> None:
        from unetseg.nightly import nightly

        init(eyes / "scans", eyes / "masks", project=folder, overrides=TINY)
        nightly(load_project(folder))

    return shutil.copytree(made_once("trained", train), tmp_path_factory.mktemp("own") / "trained")


@pytest.fixture
def trained(trained_folder: Path, tmp_path: Path) -> Project:
    """A copy of the trained project."""
    copy = tmp_path / "trained"
    shutil.copytree(trained_folder, copy)
    return load_project(copy)


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of an S3 on this machine, to which everything that asks AWS' settings is sent."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            environment.setenv(name, os.devnull)
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("AWS_ENDPOINT_URL", address)
        environment.setenv("NO_PROXY", "127.0.0.1")
        locate("s3://unetseg").mkdir()
        yield address
    server.stop()


@pytest.fixture
def bucket(object_store: str) -> Path:
    """An empty place in an object store, another for each test."""
    return locate(f"s3://unetseg/{uuid.uuid4().hex}")


@pytest.fixture
def atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditional puts that are atomic, as a real store's are: the server here looks first and then puts."""
    from moto.s3.responses import S3Response

    put_object, lock = S3Response.put_object, threading.Lock()

    def one_at_a_time(self: object) -> object:
        with lock:
            return put_object(self)

    monkeypatch.setattr(S3Response, "put_object", one_at_a_time)
