"""Memory of a prediction by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unetseg import predict_memory
from unetseg.bundle import BundleInfo
from unetseg.config import PredictConfig, Settings
from unetseg.planes import ScanHeader
from unetseg.predict_capacity import Capacity
from unetseg.predict_memory import memory_bytes
from unetseg.predict_pieces import Work
from unetseg.readers import ScanRef

PROCESS, CALL_PIXEL = 350e6, 100
ALONE = Capacity(1, 1, 0, "by one thread")


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_memory, "engine_for", lambda *_: SimpleNamespace(pixel_bytes=CALL_PIXEL))
    monkeypatch.setattr("unetseg.memory.cores", lambda: 2)


def job(*, exact: bool = True) -> Any:
    """Of a network with two classes, in tiles of 256 pixels."""
    about: Any = (("a", "b"), (), ("grey",), Settings(), None, "d", "t", 0.5, {})
    info = BundleInfo(*about, stride=16, halo=16, exact=exact)
    return SimpleNamespace(bundle=Path("bundle"), info=info, config=PredictConfig(tile=256))


def scan(height: int, width: int, *, streamed: bool = False) -> Work:
    return Work(ScanRef("s", Path("s.tif")), ScanHeader(height, width, 1, "uint8"), streamed)


@pytest.mark.parametrize(
    ("exact", "work", "call", "unit"),
    [
        # As read, normalised, and masks of both classes; sides padded to 16.
        pytest.param(True, scan(100, 90), 112 * 96, 100 * 90 * (1 + 4 + 2), id="whole-scan"),
        # As read, masks of both classes as they were found and as they are written, and runs.
        pytest.param(True, scan(8192, 8192), 544 * 256, 8192 * 8192 * 5.5, id="large-scan-that-is-held-whole"),
        # Bands keep 512 rows, what a file of a Zarr array holds, and need a halo of 16 above and below. Masks are
        # those of a file, which has 4096 columns; runs are those of all of them.
        pytest.param(
            True,
            scan(8192, 1 << 15, streamed=True),
            544 * 256,
            (1 << 15) * (544 * 2 + 512 * 0.5) + 4096 * 512 * 2,
            id="bands",
        ),
        # Of tiles that begin every 128 rows, those from 128 above a band to 128 below it have a share in it; and sums
        # and probabilities of tiles.
        pytest.param(
            False,
            scan(8192, 1 << 15, streamed=True),
            256 * 256,
            (1 << 15) * (768 * 2 + 512 * 0.5) + 4096 * 512 * 2 + 512 * 256 * 2 * 8,
            id="blended-bands",
        ),
        # Two bytes of each of the 16 million pixels that are looked at: more than of a band.
        pytest.param(True, scan(8192, 8192, streamed=True), 544 * 256, 2 << 24, id="rows-that-are-looked-at"),
    ],
)
def test_the_largest_scan_or_band_counts(exact: bool, work: Work, call: int, unit: float):
    assert memory_bytes(job(exact=exact), [scan(50, 50), work], ALONE) == PROCESS + 2 * call * CALL_PIXEL + unit


def test_as_many_scans_and_bands_count_as_are_in_flight():
    works = [scan(100, 100), scan(200, 100), scan(50, 50)]
    found = memory_bytes(job(), works, Capacity(2, 2, 0, "by 2 threads"))
    assert found == PROCESS + 2 * 208 * 112 * CALL_PIXEL + (100 + 200) * 100 * 7
    assert memory_bytes(job(), works, Capacity(8, 8, 0, "by 8 threads")) == found + 50 * 50 * 7


def test_each_process_has_a_call_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unetseg.memory.physical_memory", lambda: 1e9)
    monkeypatch.setattr(predict_memory, "engine_for", lambda *_: SimpleNamespace(pixel_bytes=20_000))
    found = memory_bytes(job(), [scan(256, 256)], Capacity(4, 4, 4, "by 4 processes"))
    assert found == 5 * PROCESS + 4 * 256 * 256 * 20_000 + 256 * 256 * 7


def test_who_only_hands_out_work_to_a_cluster_takes_a_process():
    assert memory_bytes(job(), [scan(8192, 8192)], Capacity(64, 2, 0, "by a cluster", elsewhere=True)) == PROCESS
