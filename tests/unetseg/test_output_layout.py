"""What is reckoned of an output's files and folders against those that the format writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unetseg.disk_usage import Disk
from unetseg.ome import VoxelSize
from unetseg.output_bands import Bands
from unetseg.output_layout import Layout, Part
from unetseg.outputs import FORMATS, LABELS, MASKS, OBJECTS, PROBABILITIES, Kind
from unetseg.zarr_arrays import create_array, drop_empty_folders, write_rows

NAMES = ("iris", "pupil", "Äderchen")


def written(path: Path) -> tuple[int, int, int]:
    """Bytes of all files, how many folders, and how many files with pixels."""
    found = [path, *path.rglob("*")]
    files = [item for item in found if item.is_file()]
    pixels = [item for item in files if item.suffix != ".json"]
    return sum(item.stat().st_size for item in files), sum(item.is_dir() for item in found), len(pixels)


def reckoned(layout: Layout, *, blank: bool) -> tuple[int, int, int]:
    """The same of a layout, whose sparse files are there or not."""
    there = [part for part in layout.parts if not (blank and part.sparse)]
    size = sum(layout.files) + sum(part.count * part.fixed for part in there)
    folders = layout.folders + sum(number for part in there for number, _ in part.folders)
    return size, folders, sum(part.count for part in there)


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("kind", [MASKS, LABELS, OBJECTS, PROBABILITIES], ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    ("sides", "pages", "pixel_size"),
    [
        pytest.param((100, 90), 0, None, id="small"),
        pytest.param((1500, 2600), 0, (0.5, 0.25), id="levels"),
        pytest.param((512, 512), 3, None, id="stack"),
        pytest.param((70, 1100), 2, (1.0, 1.0), id="stack-with-levels"),
        pytest.param((70, 1100), 2, (3000.0, 0.5, 0.25), id="stack-that-knows-its-depth"),
    ],
)
def test_an_output_takes_what_its_layout_says(
    form: str,
    kind: Kind,
    sides: tuple[int, int],
    pages: int,
    pixel_size: VoxelSize,
    tmp_path: Path,
):
    store = FORMATS[form]
    layout = store.layout("a scan", (3, *sides), NAMES, pixel_size, kind=kind, pages=pages)
    planes = np.zeros((3, *sides), kind.dtype)
    for blank in (True, False):
        path = tmp_path / str(blank) / f"a scan{store.suffix}"
        planes[0, ::7] = not blank
        if pages:
            store.write_stack(path, [planes] * pages, NAMES, pixel_size, kind=kind)
        else:
            store.write(path, planes, NAMES, pixel_size, kind=kind)
        size, *others = written(path)
        expected, *expected_others = reckoned(layout, blank=blank)
        assert others == expected_others
        assert size == expected if blank else size > expected
    pixels = {level: max(pages, 1) * (-(-sides[0] // 2**level) * -(-sides[1] // 2**level)) for level in range(2)}
    for level in {level for part in layout.parts for level in part.pixels} & set(pixels):
        assert sum(part.count * part.pixels.get(level, 0) for part in layout.parts) == pytest.approx(pixels[level])


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("blank", [True, False], ids=["blank", "marked"])
def test_an_output_that_was_written_in_bands_takes_what_its_layout_says(form: str, blank: bool, tmp_path: Path):
    store, shape = FORMATS[form], (3, 2100, 4200)
    bands = Bands(tmp_path / "bands", shape, NAMES, None, rows=1024)
    bands.begin()
    for start in bands.starts:
        planes = np.zeros((3, min(1024, shape[1] - start), shape[2]), np.uint8)
        planes[1, :, ::50] = not blank
        for left, right in bands.strips:
            bands.write(start, left, planes[:, :, left:right])
        bands.commit(start)
    path = tmp_path / f"s{store.suffix}"
    bands.finish(path, store)
    size, *others = written(path)
    expected, *expected_others = reckoned(store.layout("s", shape, NAMES, None, rows=1024), blank=blank)
    assert others == expected_others
    assert size == expected if blank else size > expected


def test_folders_in_which_nothing_is_go_and_no_others(tmp_path: Path):
    array = create_array(tmp_path / "a", (1, 2048, 512), np.uint8, chunk=512, rows=512)
    planes = np.zeros((1, 2048, 512), np.uint8)
    planes[0, 1024:1536] = 5
    for start in range(0, 2048, 512):
        write_rows(array, start, planes[:, start : start + 512])
    drop_empty_folders(tmp_path / "a")
    assert [path.relative_to(tmp_path / "a").as_posix() for path in sorted((tmp_path / "a").rglob("*"))] == [
        "c", "c/0", "c/0/2", "c/0/2/0", "zarr.json",
    ]  # fmt: skip
    window = (slice(None), slice(None), slice(None))
    assert np.array_equal(array.read(window), planes)


def test_a_layout_adds_up():
    layout = Layout((Part(3, 20, {0: 100.0}), Part(1, 7, {1: 25.0})), folders=2, files=(100, 5000))
    assert layout.fixed == 100 + 5000 + 3 * 20 + 7
    assert layout.always(Disk(4096, 4096)) == 2 * 4096 + 4096 + 8192
    assert layout.always(Disk()) == 5100
