"""Nights of a project whose data change, and into which faults are injected: what is true after each, and after all.

``UNETSEG_NIGHTS`` is how many, 30 unless set.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.home import Home
from deployments.processes import belonging_to
from deployments.server import answers
from tests.deployments.machine import LONGEST
from tests.drills.changing_eyes import ChangingEyes
from tests.drills.operated import ENDED, Operated, alive, taken
from tests.drills.small_disk import ROOMY, Disk
from tests.faults import Injected
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.dataset import open_dataset
from unetseg.init import init
from unetseg.predict import predict
from unetseg.project import load_project
from unetseg.registry import model_folder, read_aliases, versions

pytestmark = pytest.mark.drill

NIGHTS = int(os.environ.get("UNETSEG_NIGHTS", "30"))
CHANGES = ("new scan", "nothing", "mask redrawn", "scan corrupted", "scan gone", "mask vanished", "all mended")
SPOILT = ("scan corrupted", "scan gone", "mask vanished")
FAULTS = ("none", "run killed", "disk full", "worker killed", "none")
SERVER_GOES = {5: signal.SIGKILL, 9: signal.SIGTERM}  # in these nights; after them it is the same one to the end
SETTLED = 12  # nights, after which memory and open files are compared
KEPT = 3  # models
SETTINGS = (f"gate.keep_models={KEPT}", "ingest.max_failed_fraction=0.5", "train.epochs=3")
SPARE = 64 << 10  # bytes of a full disk: something can be begun
MORE_FILES, MORE_MEMORY = 12, 64e6  # a process may have more open, and hold, in a late night than in an early one
Say = Callable[[str], None]
Fault = str | signal.Signals


class Nights:
    """A project on a disk of its own, a collection that changes, and the machine that it is retrained on."""

    def __init__(self, folder: Path, disk: Disk, tiny: tuple[str, ...], injected: Injected):
        self.eyes, self.disk = ChangingEyes(folder), disk
        project = disk.folder / "eyes"
        init(self.eyes.scans, self.eyes.masks, project=project, overrides=(*tiny, *SETTINGS))
        self.machine = Operated(Home(folder / "home"), project)
        self.project = load_project(project)
        self.random, self.look = random.Random(0), folder / "look"
        self.injected = injected

    # ---------------------------------------------------------------- a night

    def night(self, change: str, fault: Fault) -> dict[str, Any]:
        """The state in which it ends."""
        self.eyes.change(change)
        if change in SPOILT:
            self.injected(f"night: {change}")
        run = self.machine.run("nightly/eyes")
        self.machine.wait(run, "Running", *ENDED, seconds=LONGEST)
        there = self._inject(fault, run)
        state = self.machine.wait(run, *ENDED, seconds=LONGEST)
        taken(lambda: not any(map(alive, there)))
        self.disk.resize(ROOMY)
        return state

    def _inject(self, fault: Fault, run: str) -> list[psutil.Process]:
        """Somewhere in the run; what works on it."""
        if fault == "none" or not (with_it := self._later(run, self.random.uniform(0, 12))):
            return []
        if isinstance(fault, signal.Signals):
            self._end_server(fault)
        else:
            {"run killed": self._kill, "disk full": self._fill, "worker killed": self._kill_worker}[fault](run)
        self.injected(
            f"night: server ended by {fault.name}" if isinstance(fault, signal.Signals) else f"night: {fault}"
        )
        return with_it

    def _later(self, run: str, seconds: float) -> list[psutil.Process]:
        """What works on it then; nothing where it has ended before."""
        ended: list[bool] = []

        def over() -> bool:
            ended[:] = [self.machine.state(run)["name"] in ENDED]
            return ended[0]

        try:
            taken(over, longest=seconds)
        except AssertionError:
            return self.machine.processes_of(run)
        return []

    def _kill(self, run: str) -> None:
        self.machine.kill_run(run)

    def _fill(self, run: str) -> None:
        self.disk.resize(self.disk.used() + SPARE)

    def _kill_worker(self, run: str) -> None:
        worker = self.machine.process("worker gpu")
        worker.kill()
        taken(lambda: self._processes().get("worker gpu", worker.pid) != worker.pid)

    def _processes(self) -> dict[str, int]:
        """Numbers of those that stay, by name; one that is started again has none for a while."""
        record = self.machine.home.read_record()
        assert record is not None
        return {item.name: item.pid for item in (record.watcher, *record.processes)}

    def _end_server(self, number: signal.Signals) -> None:
        server = self.machine.process("server")
        server.send_signal(number)
        taken(lambda: not alive(server))
        taken(lambda: answers(self.machine.url))

    # ---------------------------------------------------------------- what is true

    def check(self, state: dict[str, Any], fault: Fault, production: str | None) -> None:
        """What the state says is so, and production can be used."""
        allowed = {"run killed": {"CRASHED"}, "disk full": {"FAILED"}}.get(str(fault), set())
        assert state["type"] in {"COMPLETED", *allowed}, state
        if state["type"] == "FAILED":
            assert "space" in state["message"], state
        if state["type"] == "COMPLETED":
            self._check_done(state, production)
        assert not self.eyes.changed or state["type"] != "COMPLETED"
        if read_aliases(self.project.models).production:
            self._check_production()

    def _check_done(self, state: dict[str, Any], production: str | None) -> None:
        index = open_dataset(self.project.dataset).index
        assert {key for key, record in index.scans.items() if not record.vanished} == self.eyes.usable
        now = read_aliases(self.project.models).production
        if not self.eyes.changed:
            assert state["name"] == "Unchanged", state
        if now != production:
            assert f"promoted {now}" in state["message"], (production, now, state)
        self.eyes.changed = False

    def _check_production(self) -> None:
        bundle = model_folder(self.project.models)
        assert load_bundle(bundle).info.classes
        shutil.rmtree(self.look, ignore_errors=True)
        one = PredictConfig(pattern=f"{min(self.eyes.usable)}.tif", workers=1)
        assert predict(self.eyes.scans, self.look, bundle=bundle, config=one).done == 1

    def production(self) -> str | None:
        return read_aliases(self.project.models).production

    # ---------------------------------------------------------------- what grows

    def held(self) -> dict[str, tuple[int, int]]:
        """Open files and bytes of memory, of each process that stays."""
        processes = {name: psutil.Process(number) for name, number in self._processes().items()}
        return {name: (one.num_fds(), one.memory_info().rss) for name, one in processes.items()}

    def left(self) -> dict[str, int]:
        """Bytes on the project's disk by folder, and how many temporary folders of runs there are."""
        folders = [path for path in self.project.folder.iterdir() if path.is_dir()]
        sizes = {path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in folders}
        return sizes | {"temporary folders": len(list(self.machine.home.temporary.iterdir()))}


@pytest.fixture
def nights(
    tmp_path: Path, new_disk: Callable[[str], Disk], tiny: tuple[str, ...], injected: Injected
) -> Iterator[Nights]:
    made = Nights(tmp_path, new_disk("disk"), tiny, injected)
    try:
        made.machine.up("--project", made.machine.project)
        yield made
    finally:
        made.machine.unetseg("down")
        assert belonging_to(made.machine.home) == []


def test_every_night_ends_in_a_true_state_and_nothing_grows(nights: Nights, say: Say) -> None:
    ends: Counter[str] = Counter()
    held, left = [], []
    for number in range(NIGHTS):
        change, fault = CHANGES[number % len(CHANGES)], SERVER_GOES.get(number) or FAULTS[number % len(FAULTS)]
        before = nights.production()
        state = nights.night(change, fault)
        nights.check(state, fault, before)
        ends[state["name"]] += 1
        say(f"night {number}: {change}, {fault}: {state['name']}: {str(state['message'])[:120]}")
        if state["type"] != "COMPLETED":
            before = nights.production()
            again = nights.night("nothing", "none")
            assert again["type"] == "COMPLETED", again
            nights.check(again, "none", before)
            ends[f"{again['name']}, by the same again"] += 1
        held.append(nights.held())
        left.append(nights.left())
        check_retention(nights)
    say(f"{NIGHTS} nights: {dict(ends)}")
    check_growth(held, say)
    say(f"on the disk after night {SETTLED} and at the end: {left[min(SETTLED, NIGHTS - 1)]}, {left[-1]}")


def check_retention(nights: Nights) -> None:
    """Old models go, and nothing half done stays."""
    project = nights.project
    aliases = read_aliases(project.models)
    in_use = {aliases.production, aliases.previous} - {None}
    assert len(versions(project.models)) <= KEPT + len(in_use)
    assert list(project.folder.glob("runs/*/checkpoint")) == []
    assert len(list(project.folder.glob("runs/train-*"))) <= KEPT + len(in_use)


def check_growth(held: list[dict[str, tuple[int, int]]], say: Say) -> None:
    """Of processes that are the same since `SETTLED`; workers that were killed are not."""
    early, late = held[min(SETTLED, len(held) - 1)], held[-1]
    for name in early:
        (files, memory), (files_later, memory_later) = early[name], late[name]
        say(f"{name}: {files} -> {files_later} open files, {memory / 1e6:.0f} -> {memory_later / 1e6:.0f} MB")
        assert files_later <= files + MORE_FILES
        assert memory_later <= memory + MORE_MEMORY
