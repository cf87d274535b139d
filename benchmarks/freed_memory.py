"""A training on the CPU that keeps what each step frees, against one whose C library gives it back to the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import in_turns, median_of_ratios
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import load_project
from unetseg.synth import write_eyes

_ROUNDS = 3
_SETTINGS = ("model.width=8", "train.batch=4", "train.epochs=2", "train.steps_per_epoch=24", "train.max_minutes=0")
_AS_IT_IS = {"GLIBC_TUNABLES": ""}  # named at all, it keeps unetseg from changing anything


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Default augmentation, patches of 144 x 192, batch 4, width 8; Python, Keras and its first epoch included."""
    eyes = write_eyes(folder / "eyes", subjects=8, size=(144, 192))
    project = folder / "project"
    init(eyes.scans, eyes.masks, project=project, overrides=_SETTINGS)
    ingest(load_project(project))
    sides = {"kept": lambda: _train(project, {}), "given back": lambda: _train(project, _AS_IT_IS)}
    taken = in_turns(sides, rounds=_ROUNDS)
    ratio = median_of_ratios(taken["kept"], taken["given back"])
    yield "training on the CPU with freed memory kept, times as fast as without, whole command", ratio, "x", "", None


def _train(project: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "flows.cli", "train", "--project", str(project), "--json"]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout)["epochs"] == 2
