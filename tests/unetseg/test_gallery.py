"""What the page of a prediction says of its order, and pictures of large scans."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetseg import gallery, scan_rows
from unetseg.bundle import Bundle
from unetseg.gallery import write_gallery
from unetseg.object_table import ObjectRow
from unetseg.readers import ScanRef
from unetseg.scan_ranks import ScanRow


class Blank:
    """Masks in which nothing is marked."""

    def read(self, ref: ScanRef, step: int) -> np.ndarray:
        return np.zeros((16, 16, 2), np.uint8)


@pytest.mark.parametrize(
    ("reasons", "heading", "words"),
    [
        pytest.param("iris: not found", "Look at these first", "One scan has a reason to be looked at", id="a-reason"),
        pytest.param(
            "", "The least certain first", "No scan stands out, which does not make the masks right", id="none"
        ),
    ],
)
def test_the_page_says_what_its_order_is_and_of_what_its_percentages_are(
    reasons: str, heading: str, words: str, make_bundle: Callable[..., Bundle], tmp_path: Path
):
    tifffile.imwrite(tmp_path / "s.tif", np.arange(256, dtype=np.uint8).reshape(16, 16))
    bundle = make_bundle()
    rows = [ObjectRow("s", name, 0, 0.0, None, 0, None, None, 0.49, 16, 16) for name in bundle.info.classes]
    ranked = [ScanRow(1, 1, "s", reasons, 0.49, "iris", None, None, None, None, None)]
    write_gallery(tmp_path / "page.html", bundle, rows, ranked, [ScanRef("s", tmp_path / "s.tif")], Blank(), [])
    page = (tmp_path / "page.html").read_text()
    headings = [name for name in ("Look at these first", "The least certain first") if f">{name}</h2>" in page]
    assert headings == [heading]
    assert words in page
    assert page.index(". Near the threshold: of the pixels that are marked") < page.index(
        "iris: 49 % near the threshold"
    )


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
