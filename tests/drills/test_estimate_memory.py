"""What a dry run says of memory against the most that the prediction then takes, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetseg.config import PredictConfig
from unetseg.predict_estimate import estimate
from unetseg.project import Project

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process' own peak"),
]

CODE = """
import sys
from pathlib import Path
from unetseg.config import PredictConfig
from unetseg.predict import predict
predict(Path(sys.argv[1]), Path(sys.argv[2]), bundle=Path(sys.argv[3]), config=PredictConfig(workers=1))
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        pytest.param("s.tif", (4000, 10000), "uint8", id="in-memory"),
        pytest.param("s.tif", (4000, 10000), "uint16", id="in-bands"),
        pytest.param("s.png", (7000, 10000), "uint8", id="large-and-held-whole"),
    ],
)
def test_memory_is_estimated_within_a_quarter(
    name: str, shape: tuple[int, int], dtype: str, trained: Project, tmp_path: Path
):
    shown = np.add.outer(*(np.sin(np.arange(side) / 50) for side in shape))
    pixels = np.uint8(60 * (shown + 2)).astype(dtype)
    scans, bundle = tmp_path / "scans", trained.models / "0001"
    scans.mkdir()
    if name.endswith("tif"):
        tifffile.imwrite(scans / name, pixels, tile=(256, 256))
    else:
        Image.fromarray(pixels).save(scans / name, compress_level=1)
    told = estimate(scans, tmp_path / "dry", bundle=bundle, config=PredictConfig(workers=1)).memory_bytes
    command = [sys.executable, "-c", CODE, *map(str, (scans, tmp_path / "out", bundle))]
    taken = 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    assert told == pytest.approx(taken, rel=0.25)
