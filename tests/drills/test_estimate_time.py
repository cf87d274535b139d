"""What a dry run says of time and disk against what the prediction then takes, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unetseg.disk_usage import disk_at
from unetseg.init import init
from unetseg.nightly import nightly
from unetseg.project import load_project
from unetseg.synth import write_eyes

pytestmark = pytest.mark.drill

SETTINGS = ("train.patch=64", "train.epochs=4", "model.depth=2", "model.width=8", "train.max_minutes=0")
CODE = """
import json, sys
from pathlib import Path
from unetseg.config import PredictConfig
from unetseg.predict import predict
from unetseg.predict_estimate import estimate
call = {"estimate": estimate, "predict": predict}[sys.argv[1]]
found = call(Path(sys.argv[2]), Path(sys.argv[3]), bundle=Path(sys.argv[4]), config=PredictConfig())
print(json.dumps([found.seconds, getattr(found, "disk_bytes", 0)]))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the demo's size."""
    folder = tmp_path_factory.mktemp("estimate")
    eyes = write_eyes(folder / "eyes", subjects=6, size=(80, 112))
    init(eyes.scans, eyes.masks, project=folder / "project", overrides=SETTINGS)
    nightly(load_project(folder / "project"))
    return folder / "project" / "models" / "0001"


def _scan(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Spots of all sizes."""
    quarter = np.random.default_rng(seed).random((512, 512))
    smooth = ndimage.gaussian_filter(quarter, 4, mode="wrap")
    shown = np.kron(np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth)), np.ones((4, 4), np.uint8))
    return np.tile(shown, (-(-shape[0] // 2048), -(-shape[1] // 2048)))[: shape[0], : shape[1]]


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param([(256, 256)] * 300, id="many-small"),
        pytest.param([(2400 + 160 * k, 2000 + 200 * k) for k in range(6)], id="a-few-medium"),
        pytest.param([(9600, 10000)], id="one-large"),
    ],
)
def test_time_is_estimated_within_a_factor_of_two_and_disk_within_20_percent(
    shapes: list[tuple[int, int]], bundle: Path, tmp_path: Path, say
):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for number, shape in enumerate(shapes):
        tifffile.imwrite(scans / f"s{number:03d}.tif", _scan(shape, number), tile=(256, 256), compression="zlib")
    (expected, disk), (seconds, _) = (_run(what, scans, out, bundle) for what in ("estimate", "predict"))
    taken = disk_at(out).taken(out)
    say(
        f"dry run of {len(shapes)} scans of {shapes[0][0]} x {shapes[0][1]}: {expected:.1f} s, took {seconds:.1f} s; "
        f"{disk / 1e6:.2f} MB, took {taken / 1e6:.2f} MB"
    )
    assert seconds / 2 <= expected <= 2 * seconds
    assert disk == pytest.approx(taken, rel=0.2)


def _run(what: str, scans: Path, out: Path, bundle: Path) -> list[float]:
    command = [sys.executable, "-c", CODE, what, str(scans), str(out), str(bundle)]
    found: list[float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found
