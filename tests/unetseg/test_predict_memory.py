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


def job(*, exact: bool = True) -> Any:
    """Of a network with two classes, in tiles of 256 pixels."""
    about: Any = (("a", "b"), (), ("grey",), Settings(), None, "d", "t", 0.5, {})
    info = BundleInfo(*about, stride=16, halo=16, exact=exact)
    return SimpleNamespace(bundle=Path("bundle"), info=info, config=PredictConfig(tile=256))


def scan(height: int, width: int) -> Work:
    return Work(ScanRef("s", Path("s.tif")), ScanHeader(height, width, 1, "uint8"))


@pytest.mark.parametrize(
    ("exact", "shape", "call", "unit"),
    [
        # As read, normalised twice, and of both classes masks and counted probabilities; sides padded to 16.
        pytest.param(True, (100, 90), 112 * 96, 100 * 90 * (1 + 8 + 4), id="whole-scan"),
        # Bands keep 512 rows, what a file of a Zarr array holds, and need a halo of 16 above and below.
        pytest.param(True, (8192, 8192), 544 * 256, 8192 * (544 * 9 + 512 * 4), id="exact-bands"),
        # Of tiles that begin every 128 rows, those from 128 above a band to 128 below it have a share in it.
        pytest.param(False, (8192, 8192), 256 * 256, 8192 * (768 * 9 + 512 * 4), id="blended-bands"),
    ],
)
def test_the_largest_scan_or_band_counts(exact: bool, shape: tuple[int, int], call: int, unit: int):
    works = [scan(50, 50), scan(*shape)]
    assert memory_bytes(job(exact=exact), works, ALONE) == PROCESS + call * CALL_PIXEL + unit


def test_each_process_has_a_call_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unetseg.memory.physical_memory", lambda: 1e9)
    monkeypatch.setattr(predict_memory, "engine_for", lambda *_: SimpleNamespace(pixel_bytes=20_000))
    found = memory_bytes(job(), [scan(256, 256)], Capacity(4, 4, 4, "by 4 processes"))
    assert found == 5 * PROCESS + 4 * 256 * 256 * 20_000 + 4 * 256 * 256 * (1 + 8 + 4)


def test_who_only_hands_out_work_to_a_cluster_takes_a_process():
    assert memory_bytes(job(), [scan(8192, 8192)], Capacity(64, 2, 0, "by a cluster", elsewhere=True)) == PROCESS
