"""The file that remembers how many images others hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from unetseg.formats import plane_count
from unetseg.plane_counts import PlaneCounts, counted_once


def test_the_size_of_the_file_is_known_before_it_is_written(tmp_path: Path):
    counts, path = PlaneCounts(tmp_path / "counts.json"), tmp_path / "Größe.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    assert counts(path) == 3
    expected = counts.size
    counts.save()
    assert (tmp_path / "counts.json").stat().st_size == expected


def test_a_file_is_counted_once_until_it_changes(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("unetseg.plane_counts.plane_count", lambda path: opened.append(path) or plane_count(path))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 9), np.uint8), photometric="minisblack")
    assert [counted_once(tmp_path / "a.tif") for _ in range(3)] == [4, 4, 4]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 8, 9), np.uint8), photometric="minisblack")
    assert [counted_once(tmp_path / "a.tif") for _ in range(3)] == [7, 7, 7]
    assert len(opened) == 2
