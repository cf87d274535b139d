"""What a dry run says of time and disk against what the prediction then takes, each in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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
ROUNDS = 3  # of which the median counts
CODE = """
import json, sys
from pathlib import Path
from unetseg.config import PredictConfig
from unetseg.predict import predict
from unetseg.predict_estimate import estimate
call = {"estimate": estimate, "predict": predict}[sys.argv[1]]
config = PredictConfig(**json.loads(sys.argv[5]))
found = call(Path(sys.argv[2]), Path(sys.argv[3]), bundle=Path(sys.argv[4]), config=config)
print(json.dumps([found.seconds, getattr(found, "disk_bytes", 0)]))
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of the demo's size: one whose tiles are exact, and one whose tiles are blended."""
    folder = tmp_path_factory.mktemp("estimate")
    eyes = write_eyes(folder / "eyes", subjects=6, size=(80, 112))
    for norm in ("batch", "instance"):
        settings = (*SETTINGS, f"model.normalisation={norm}")
        init(eyes.scans, eyes.masks, project=folder / norm, overrides=settings)
        nightly(load_project(folder / norm))
    return {norm: folder / norm / "models" / "0001" for norm in ("batch", "instance")}


def _scan(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Spots of all sizes."""
    quarter = np.random.default_rng(seed).random((512, 512))
    smooth = ndimage.gaussian_filter(quarter, 4, mode="wrap")
    shown = np.kron(np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth)), np.ones((4, 4), np.uint8))
    return np.tile(shown, (-(-shape[0] // 2048), -(-shape[1] // 2048)))[: shape[0], : shape[1]]


@pytest.mark.parametrize(
    ("shapes", "pages", "norm", "settings"),
    [
        pytest.param([(256, 256)] * 300, 1, "batch", {}, id="many-small"),
        pytest.param([(2400 + 160 * k, 2000 + 200 * k) for k in range(6)], 1, "batch", {}, id="a-few-medium"),
        pytest.param([(9600, 10000)], 1, "batch", {}, id="one-large"),
        pytest.param([(512, 512)] * 2, 60, "batch", {}, id="stacks"),
        pytest.param([(1024, 1024)] * 40, 1, "batch", {"probabilities": True}, id="probabilities"),
        pytest.param([(256, 256)] * 300, 1, "batch", {"processes": 2}, id="processes"),
        pytest.param([(2000, 2400)], 1, "instance", {"tile": 512}, id="blended"),
    ],
)
def test_time_is_estimated_within_a_factor_of_two_and_disk_within_20_percent(
    shapes: list[tuple[int, int]],
    pages: int,
    norm: str,
    settings: dict[str, Any],
    bundles: dict[str, Path],
    tmp_path: Path,
    say,
):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for number, shape in enumerate(shapes):
        planes = np.stack([_scan(shape, number * pages + page) for page in range(pages)])
        stored = {"tile": (256, 256), "compression": "zlib", "photometric": "minisblack"}
        tifffile.imwrite(scans / f"s{number:03d}.tif", planes if pages > 1 else planes[0], **stored)
    found: dict[str, list[list[float]]] = {"estimate": [], "predict": []}
    for _ in range(ROUNDS):  # in turn, so that what else the machine does slows both
        shutil.rmtree(out, ignore_errors=True)
        for what, results in found.items():
            results.append(_run(what, scans, out, bundles[norm], settings))
    (expected, disk), (seconds, _) = (np.median(results, axis=0) for results in found.values())
    taken = disk_at(out).taken(out)
    say(
        f"dry run of {len(shapes)} files of {pages} x {shapes[0][0]} x {shapes[0][1]} {settings}: {expected:.1f} s, "
        f"took {seconds:.1f} s, ratio {expected / seconds:.2f}; {disk / 1e6:.2f} MB, took {taken / 1e6:.2f} MB"
    )
    assert seconds / 2 <= expected <= 2 * seconds
    assert disk == pytest.approx(taken, rel=0.2)


def _run(what: str, scans: Path, out: Path, bundle: Path, settings: dict[str, Any]) -> list[float]:
    command = [sys.executable, "-c", CODE, what, str(scans), str(out), str(bundle), json.dumps(settings)]
    found: list[float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found
