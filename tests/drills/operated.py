"""A machine that `unetseg up` has brought up, and work on it that is disturbed: trainings and predictions."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from deployments.environment import environment
from deployments.processes import belonging_to, of_run
from tests.deployments.machine import LONGEST, Machine
from unetseg.json_files import read_json

ENDED = ("Completed", "Failed", "Crashed", "Cancelled", "Unchanged")

EPOCHS = 10
TRAIN = (f"train.epochs={EPOCHS}", f"train.patience={EPOCHS}")
TILE = "predict.tile=1024"  # several bands
FLIPS = "predict.flips=both"  # takes longer
PROCESSES = "predict.processes=2"


class Operated(Machine):
    """One home, its project, and what happens to them."""

    @property
    def url(self) -> str:
        record = self.home.read_record()
        assert record is not None
        return record.url

    def prefect(self, *words: str) -> None:
        """Prefect's own command, as a person types it beside `unetseg up`."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            env=environment(self.home, self.url),
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def process(self, name: str) -> psutil.Process:
        """The server, or a worker."""
        record = self.home.read_record()
        assert record is not None
        return psutil.Process(next(item.pid for item in record.processes if item.name == name))

    def processes_of(self, run: str) -> list[psutil.Process]:
        """All that work on a run; what has died, and was not asked for yet, does not."""
        return [process for process in of_run(belonging_to(self.home), run) if alive(process)]

    def kill_run(self, run: str) -> list[psutil.Process]:
        """SIGKILL to the process of a run, not to those that it has started; all that were there."""
        there = self.processes_of(run)
        pids = {process.pid for process in there}
        (leader,) = [process for process in there if process.ppid() not in pids]
        leader.kill()
        return there

    def artifacts(self, run: str) -> set[str]:
        """The keys of what a run shows."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        return {item["key"] for item in self.ask("POST", "/artifacts/filter", asked)}

    def told(self, run: str) -> dict[str, float]:
        """What the library has said in a run, and when."""
        lines = self.ask("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
        return {line["message"]: seconds(line["timestamp"]) for line in lines if line["name"].startswith("unetseg")}

    def told_epochs(self, run: str) -> list[int]:
        """The epochs that a run has told of."""
        return [int(line.split()[1]) for line in self.told(run) if line.startswith("epoch ")]

    def aliases(self) -> bytes:
        return (self.project / "models" / "aliases.json").read_bytes()

    def since(self, run: str) -> dict[str, float]:
        """When each state of a run began, by its name, in seconds of the clock."""
        history = self.ask("GET", f"/flow_run_states/?flow_run_id={run}")
        return {item["name"]: seconds(item["timestamp"]) for item in history}


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def seconds(timestamp: str) -> float:
    """Since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def taken(reached: Callable[[], object], longest: float = LONGEST, why: Callable[[], str] = str) -> float:
    """Wait for something; how many seconds it took."""
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < longest, why()
        time.sleep(0.05)  # between two looks
    return time.monotonic() - started


# --------------------------------------------------------------------------- work that is disturbed


class Work(ABC):
    """What a run does, and how far it is."""

    name: str
    pool: str
    deployment: str
    parameters: dict[str, Any]
    some: int  # of its work is done in the middle of it
    artifacts: frozenset[str]  # of a run that completed

    def __init__(self, machine: Operated):
        self.machine = machine

    def begin(self) -> str:
        """Start a run by the API, as the UI does."""
        return self.machine.run(self.deployment, **self.parameters)

    def in_the_middle(self) -> str:
        """A run that has done some of its work, and has most of it before it."""
        wanted, machine = self.done() + self.some, self.machine  # beside what a killed run has done
        run = self.begin()
        machine.until(lambda: self.done() >= wanted or machine.state(run)["name"] in ENDED, LONGEST, machine.logs)
        assert machine.state(run)["name"] == "Running", machine.state(run)
        return run

    def complete(self, run: str) -> dict[str, Any]:
        """Let a run end well; its state."""
        state = self.machine.wait(run, *ENDED, seconds=LONGEST)
        assert state["type"] == "COMPLETED", state
        assert self.artifacts <= self.machine.artifacts(run)
        return state

    @abstractmethod
    def fresh(self) -> None:
        """Let the next run have everything to do."""

    @abstractmethod
    def done(self) -> int:
        """How much of it is done, and stays."""

    @abstractmethod
    def began(self, run: str) -> float:
        """When the first of it was done, in seconds of the clock."""

    @abstractmethod
    def done_before(self, run: str) -> int:
        """How much of it a run that completed did not do again."""

    @abstractmethod
    def check_same(self) -> None:
        """What is left is what an undisturbed run leaves."""


class Training(Work):
    """Of a tiny network, for enough epochs that a busy machine is noticed in the middle of it."""

    name, pool, deployment, some = "train", "gpu", "train/eyes", 2
    artifacts = frozenset({"train-progress", "training"})

    def __init__(self, machine: Operated):
        super().__init__(machine)
        self.parameters = {"overrides": TRAIN}
        self.expected: list[Any] = []

    def fresh(self) -> None:
        for folder in self.machine.project.glob("runs/*/checkpoint"):
            shutil.rmtree(folder)

    def done(self) -> int:
        found = list(self.machine.project.glob("runs/*/checkpoint/outcome.json"))
        return len(read_json(found[0])["history"]) if found else 0

    def done_before(self, run: str) -> int:
        machine = self.machine
        machine.until(lambda: machine.told_epochs(run), why=lambda: f"{machine.told(run)}")
        return min(machine.told_epochs(run)) - 1

    def began(self, run: str) -> float:
        """When the patches are there, and the first batch begins."""
        return next(at for line, at in self.machine.told(run).items() if line.startswith("training on 1"))

    def weights(self) -> list[Any]:
        from unetseg.engines import load_network
        from unetseg.registry import versions

        models = self.machine.project / "models"
        return list(load_network(models / versions(models)[-1]).get_weights())

    def check_same(self) -> None:
        weights = self.weights()
        assert weights is not self.expected
        assert max(abs(a - b).max() for a, b in zip(self.expected, weights, strict=True)) == 0


class Predicting(Work):
    """Of many small scans and a large one, by threads or by processes."""

    pool, deployment, some = "cpu", "predict/eyes", 4
    artifacts = frozenset({"predict-progress", "prediction", "gallery"})

    def __init__(self, machine: Operated, prediction: Any, out: Path, *settings: str):
        super().__init__(machine)
        self.name = " ".join(["predict", *settings])
        self.prediction, self.out, self.number = prediction, out, 0
        self.overrides = (TILE, FLIPS, *settings)
        self.expected: dict[str, bytes] = {}
        self.fresh()

    def fresh(self) -> None:
        self.number += 1
        self.into = self.out / str(self.number)
        self.parameters = {
            "folder": str(self.prediction.scans),
            "out": str(self.into),
            "overrides": self.overrides,
        }

    def done(self) -> int:
        return len(self.prediction.markers(self.into)) if (self.into / "records").exists() else 0

    def began(self, run: str) -> float:
        return min(time for _, time in self.prediction.markers(self.into).values()) / 1e9

    def done_before(self, run: str) -> int:
        return int(self.prediction.result(self.into)["skipped"])

    def check_same(self) -> None:
        assert self.prediction.contents(self.into) == self.expected
