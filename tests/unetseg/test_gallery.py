"""Pictures of large scans."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetseg import gallery, scan_rows
from unetseg.readers import ScanRef


def test_a_large_scan_is_thinned_band_by_band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scan_rows, "_WHOLE", 1e6)
    monkeypatch.setattr(gallery, "_BAND", 1 << 18)
    pixels = np.random.default_rng(0).integers(0, 255, (4096, 2048), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", pixels, rowsperstrip=64)
    tracemalloc.start()
    found, step = gallery._thinned(ScanRef("s", tmp_path / "s.tif"))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found[..., 0], pixels[::step, ::step])
    assert most < pixels.nbytes / 2
