"""Ten thousand scans must not be a million files; measured with five hundred."""

from __future__ import annotations

import time

import pytest

from unetseg.ingest import ingest

pytestmark = pytest.mark.drill

SCANS = 500
FILES_PER_SCAN = 9  # groups and arrays of image, classes and guides: six JSON files and a shard each
OTHER_FILES = 5  # root, scans, index, splits, quarantine
MOST_FILES = 100_000  # of 10,000 scans


def test_a_scan_is_nine_files(new_lab, tmp_path, say):
    lab = new_lab(tmp_path, scans=SCANS, size=(32, 32), workers=0)
    seconds = []
    for expected in ((SCANS, 0), (0, SCANS)):
        started = time.perf_counter()
        result = ingest(lab.project)
        seconds.append(time.perf_counter() - started)
        assert (result.done, result.skipped) == expected
    files = [path for path in lab.project.dataset.rglob("*") if path.is_file()]
    first, again = (1000 * taken / SCANS for taken in seconds)
    say(f"{SCANS} scans of 32 x 32: {len(files)} files, {sum(path.stat().st_size for path in files) / SCANS:.0f} bytes")
    say(f"a scan takes {first:.2f} ms; unchanged {again:.3f} ms, {100 * again / first:.1f} % of the first run")
    assert len(files) <= FILES_PER_SCAN * SCANS + OTHER_FILES
    assert FILES_PER_SCAN * 10_000 + OTHER_FILES < MOST_FILES
