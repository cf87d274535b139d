"""The file that remembers how many images others hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from unetseg.plane_counts import PlaneCounts


def test_the_size_of_the_file_is_known_before_it_is_written(tmp_path: Path):
    counts, path = PlaneCounts(tmp_path / "counts.json"), tmp_path / "Größe.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    assert counts(path) == 3
    expected = counts.size
    counts.save()
    assert (tmp_path / "counts.json").stat().st_size == expected
