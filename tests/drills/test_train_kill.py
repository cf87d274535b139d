"""SIGKILL in mid-epoch: run again, training ends with the weights of an undisturbed run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unetseg.engines import load_network
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.json_files import read_json
from unetseg.project import load_project
from unetseg.synth import write_eyes

pytestmark = pytest.mark.drill

EPOCHS = 4
SETTINGS = (
    *("model.depth=3", "model.width=8", "model.dropout=0.3", "train.patch=64", "train.batch=4"),
    *(f"train.epochs={EPOCHS}", "train.steps_per_epoch=30", "train.max_minutes=0", "augment.elastic=2"),
)
_DEADLINE = 300  # seconds
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    eyes = write_eyes(folder / "eyes", subjects=8, scans_per_subject=2, size=(80, 112))
    init(eyes.scans, eyes.masks, project=folder / "project", overrides=SETTINGS)
    ingest(load_project(folder / "project"))
    return folder / "project"


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    folder = tmp_path_factory.mktemp("undisturbed") / "project"
    shutil.copytree(prepared, folder)
    _start(folder).wait(_DEADLINE)
    return load_network(folder / "models" / "0001").get_weights()


@pytest.mark.parametrize("epochs_before", [1, 3])
def test_a_training_killed_in_mid_epoch_ends_with_the_same_weights(
    prepared: Path, undisturbed: list[np.ndarray], tmp_path: Path, epochs_before: int, injected, say
):
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder)
    process = _start(folder)
    _wait_for_epoch(folder, epochs_before, process)
    time.sleep(0.3)  # some batches into the next one
    process.send_signal(signal.SIGKILL)
    injected("train: command killed")
    process.wait()
    assert not (folder / "models" / "0001").exists()
    assert _epochs(folder) == epochs_before
    assert _start(folder).wait(_DEADLINE) == 0
    found = load_network(folder / "models" / "0001").get_weights()
    difference = max(float(np.abs(a - b).max()) for a, b in zip(undisturbed, found, strict=True))
    say(f"training killed after {epochs_before} epochs: largest difference of a weight {difference:.3g}")
    assert difference == 0


def _start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "flows.cli", "train", "--project", str(folder)], **_QUIET)


def _epochs(folder: Path) -> int:
    found = list(folder.glob("runs/*/checkpoint/outcome.json"))
    return len(read_json(found[0])["history"]) if found else 0


def _wait_for_epoch(folder: Path, epochs: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _DEADLINE
    while _epochs(folder) < epochs:
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
