"""A disk that fills up in mid-training: one clear error and no other word, and the same command goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.drills.small_disk import ROOMY, Disk
from tests.faults import Injected
from unetseg.engines import load_network
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.json_files import read_json
from unetseg.project import load_project
from unetseg.synth import write_eyes

pytestmark = pytest.mark.drill

SETTINGS = (
    *("model.depth=3", "model.width=8", "model.dropout=0.3", "train.patch=64", "train.batch=4", "train.epochs=4"),
    *("train.steps_per_epoch=5", "train.max_minutes=0"),
)
SHARES = (0.02, 0.5, 0.9)  # of the most that training takes: at its begin, within the first checkpoint, and the second
_LONGEST = 300  # seconds


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    write_eyes(folder, subjects=8, scans_per_subject=2, size=(80, 112))
    return folder


def test_the_same_command_goes_on_when_there_is_room(
    eyes: Path, new_disk: Callable[[str], Disk], tmp_path: Path, injected: Injected, say: Callable[[str], None]
) -> None:
    init(eyes / "scans", eyes / "masks", project=tmp_path / "project", overrides=SETTINGS)
    ingest(load_project(tmp_path / "project"))
    disk = new_disk("disk")
    project = disk.folder / "project"
    shutil.copytree(tmp_path / "project", project)
    before = disk.used()
    expected, needed = undisturbed(project, disk)
    for share in SHARES:
        shutil.rmtree(project)
        shutil.copytree(tmp_path / "project", project)
        disk.resize(before + int(share * (needed - before)))
        injected("train: disk full")
        done = fails(project)
        disk.resize(ROOMY)
        assert train(project).returncode == 0
        found = load_network(project / "models" / "0001").get_weights()
        assert max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)) == 0
        assert leftovers(project) == []
        say(f"training, disk full at {share:.0%}: {done} of 4 epochs stayed; the same weights at the end")


def undisturbed(project: Path, disk: Disk) -> tuple[list[np.ndarray], int]:
    """Weights, and the most bytes that are taken: the checkpoint beside the bundle, and a new one beside the old."""
    assert train(project).returncode == 0
    weights = load_network(project / "models" / "0001").get_weights()
    return weights, disk.used() + 6 * sum(array.nbytes for array in weights)


def fails(project: Path) -> int:
    """Epochs that stay."""
    done = train(project)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, lines) == (
        1,
        [
            f"error: [Errno 28] No space left on device: {project}; make space there and run the same command again: "
            "what is done stays, and it goes on from there"
        ],
    ), done.stderr
    assert [word for word in ("Traceback", "Exception", "HDF5") if word in done.stderr] == [], done.stderr
    assert not (project / "models" / "0001").exists()
    found = list(project.glob("runs/*/checkpoint/outcome.json"))
    return len(read_json(found[0])["history"]) if found else 0


def leftovers(project: Path) -> list[Path]:
    return [path for path in project.rglob("*") if ".tmp-" in path.name or path.name == "checkpoint"]


def train(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", "train", "--project", str(project)]
    return subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=False)
