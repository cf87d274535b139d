"""SIGKILL in mid-prediction: the same command goes on, and its outputs are those of an undisturbed run."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unetseg.init import init
from unetseg.nightly import nightly
from unetseg.project import load_project
from unetseg.storage import read_json
from unetseg.synth import write_eyes

pytestmark = pytest.mark.drill

SETTINGS = ("train.patch=64", "train.epochs=4", "model.depth=1", "model.width=2", "train.max_minutes=0")
SMALL, KILLS = 40, 10
SIDE = 8300  # a scan of more than 64 MB, which is segmented in bands
_DEADLINE = 300  # seconds


@dataclass(frozen=True)
class Prepared:
    """A model, a folder of small scans and a large one, and what an undisturbed run makes of it.

    Attributes:
        bundle: the model.
        scans: the folder.
        out: the outputs.
        seconds: what the run took.
    """

    bundle: Path
    scans: Path
    out: Path
    seconds: float


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("predict")
    eyes = write_eyes(folder / "eyes", subjects=6, size=(80, 112))
    init(eyes.scans, eyes.masks, project=folder / "project", overrides=SETTINGS)
    nightly(load_project(folder / "project"))
    write_eyes(folder / "all", subjects=SMALL, scans_per_subject=1, size=(256, 256))
    scans = folder / "all" / "scans"
    tifffile.imwrite(scans / "slide.tif", _slide(), tile=(512, 512), compression="zlib")
    started = time.monotonic()
    bundle = folder / "project" / "models" / "0001"
    assert _start(bundle, scans, folder / "out").wait(_DEADLINE) == 0
    return Prepared(bundle, scans, folder / "out", time.monotonic() - started)


def _slide() -> np.ndarray:
    """Spots of all sizes."""
    pattern = ndimage.gaussian_filter(np.random.default_rng(0).random((830, 830)), 4, mode="wrap")
    shown = np.uint8(255 * (pattern - pattern.min()) / np.ptp(pattern))
    return np.tile(shown, (SIDE // 830, SIDE // 830))


def test_killed_anywhere_the_same_command_ends_with_the_same_outputs(prepared: Prepared, tmp_path: Path, say):
    again, bands = [], []
    for number in range(KILLS):
        out = tmp_path / str(number)
        process = _start(prepared.bundle, prepared.scans, out)
        time.sleep(random.Random(number).uniform(0.15, 0.95) * prepared.seconds)
        process.kill()
        process.wait()
        done, written = _markers(out), _bands(out)
        assert _start(prepared.bundle, prepared.scans, out).wait(_DEADLINE) == 0
        counted = read_json(out / "run.json")["result"]
        assert (counted["done"], counted["skipped"]) == (SMALL + 1 - done, done)  # what was done is not done again
        assert _contents(out) == _contents(prepared.out)
        again.append(counted["done"])
        bands.append(written)
    say(f"predict: {KILLS} kills; of {SMALL + 1} scans left to do: {again}; bands kept: {bands}")
    assert any(0 < count < SMALL + 1 for count in again)


def _start(bundle: Path, scans: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.cli", "predict", scans, out, "--bundle", bundle]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*map(str, command)], **quiet)


def _markers(out: Path) -> int:
    return len(list((out / "records").glob("**/*.json")))


def _bands(out: Path) -> int:
    return len(list((out / ".unfinished").glob("*/masks/written/*.json")))


def _contents(out: Path) -> dict[str, bytes]:
    """Every output; the records tell of times, too, but of the same ones."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in {"run.json", ".lock"}]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
