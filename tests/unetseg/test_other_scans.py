"""Other scans with masks are described as the project's, or looked at anew."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetseg.config import ClassSource, GuideSource, MaskEncoding, ScanSource, Sources
from unetseg.errors import UsageError
from unetseg.masks import class_names, read_masks
from unetseg.other_scans import sources_of
from unetseg.readers import list_scans


def write(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8), value, np.uint8)
    pixels[:4] = 0
    tifffile.imwrite(path, pixels)


@pytest.fixture
def known(tmp_path: Path) -> Sources:
    """A project with a folder per class and a file name of its own kind."""
    for name in ("iris", "pupil"):
        write(tmp_path / "old/masks" / name / "a_m.tif", 255)
    write(tmp_path / "old/scans/a.tif", 9)
    classes = tuple(
        ClassSource(name, str(tmp_path / "old/masks" / name), "{id}_m.*", "binary") for name in ("pupil", "iris")
    )
    return Sources(ScanSource(str(tmp_path / "old/scans"), group="^(.)"), classes)


def test_masks_laid_out_as_the_project_s_are_read_by_its_rules(known: Sources, tmp_path: Path):
    write(tmp_path / "new/scans/b.tif", 9)
    for name in ("iris", "pupil"):
        write(tmp_path / "new/masks" / name / "b_m.tif", 255)
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert [source.path for source in found.classes] == [str(tmp_path / "new/masks" / n) for n in ("pupil", "iris")]
    assert [source.pattern for source in found.classes] == ["{id}_m.*"] * 2
    assert found.scans.path == str(tmp_path / "new/scans")
    assert found.scans.group == "^(.)"


def test_another_layout_is_looked_at_and_keeps_the_order_of_the_classes(known: Sources, tmp_path: Path):
    for scan in ("b", "c"):
        write(tmp_path / "new/scans" / f"{scan}.tif", 9)
        for name in ("iris", "pupil"):
            write(tmp_path / "new/masks" / name / f"{scan}.tif", 255)
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert class_names(found.classes) == ("pupil", "iris")
    assert [source.pattern for source in found.classes] == ["{id}.*"] * 2


def test_classes_of_other_names_are_refused_with_both_lists(known: Sources, tmp_path: Path):
    write(tmp_path / "new/scans/b.tif", 9)
    for name in ("iris", "lens"):
        write(tmp_path / "new/masks" / name / "b.tif", 255)
    with pytest.raises(UsageError, match=r"holds the classes iris, lens, the model's are pupil, iris"):
        sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")


def test_a_single_folder_of_masks_stays_one(tmp_path: Path):
    write(tmp_path / "old/scans/a.tif", 9)
    write(tmp_path / "old/masks/a.tif", 1)
    labels = tuple(
        ClassSource(name, str(tmp_path / "old/masks"), "{id}.*", "labels", (value,))
        for name, value in (("iris", "1"), ("pupil", "2"))
    )
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    known = Sources(ScanSource(str(tmp_path / "old/scans")), labels)
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert found.classes == tuple(replace(source, path=str(tmp_path / "new/masks")) for source in labels)


def test_guides_are_asked_for_where_the_model_has_them(known: Sources, tmp_path: Path):
    guided = replace(known, guides=(GuideSource("limbus", str(tmp_path / "old/guides/limbus")),))
    with pytest.raises(UsageError, match="--guides: the model needs the guides limbus"):
        sources_of(guided, tmp_path / "old/scans", tmp_path / "old/masks")
    with pytest.raises(UsageError, match=r"--guides: .*/g holds no folder limbus; give the folder that holds one sub-"):
        sources_of(guided, tmp_path / "old/scans", tmp_path / "old/masks", tmp_path / "g")
    (tmp_path / "g/limbus").mkdir(parents=True)
    found = sources_of(guided, tmp_path / "old/scans", tmp_path / "old/masks", tmp_path / "g")
    assert found.guides[0].path == str(tmp_path / "g/limbus")


# --------------------------------------------------------------------------- one class


def one_class(root: Path, name: str, encoding: MaskEncoding, *values: str, pattern: str = "{id}.*") -> Sources:
    """A project with one class, whose masks lie in ``masks``."""
    return Sources(
        ScanSource(str(root / "scans")), (ClassSource(name, str(root / "masks"), pattern, encoding, values),)
    )


def write_set(root: Path, folder: str, masks: Sequence[Sequence[int]]) -> None:
    """Scans, and masks of 32 x 32 pixels with a square of 16 pixels per number."""
    for scan, numbers in enumerate(masks):
        pixels = np.zeros((32, 32), np.uint8)
        for place, number in enumerate(numbers):
            row, column = divmod(place, 6)
            pixels[5 * row : 5 * row + 4, 5 * column : 5 * column + 4] = number
        for path, image in ((root / "scans", pixels + 7), (root / folder, pixels)):
            path.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path / f"s{scan}.tif", image)


def areas(found: Sources) -> list[int]:
    """Pixels of the class in each scan."""
    refs, _ = list_scans(found.scans)
    return [int(read_masks(ref, found.classes, (32, 32)).sum()) for ref in refs]


@pytest.mark.parametrize("name", ["object", "pupil", "nucleus"])
def test_a_single_class_without_a_telling_name_is_that_of_a_model_with_one(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    known = one_class(tmp_path / "old", name, "instances", pattern="{id}_cp_masks.*")
    write_set(tmp_path / "new", name, [[255], [255, 255], [255] * 3])
    with caplog.at_level(logging.INFO, "unetseg"):
        for folder in (tmp_path / "new" / name, tmp_path / "new"):
            found = sources_of(known, tmp_path / "new/scans", folder)
            assert [(source.name, source.encoding) for source in found.classes] == [(name, "binary")]
            assert areas(found) == [16, 32, 48]
    told = "its only class, foreground, is taken for the model's only one, object" in caplog.text
    assert told == (name == "object")  # the other names say something, and are the model's


def test_a_single_class_of_another_name_is_not_that_of_the_model(tmp_path: Path):
    known = one_class(tmp_path / "old", "pupil", "binary", pattern="{id}_m.*")
    write_set(tmp_path / "new", "iris", [[255], [255, 255]])
    with pytest.raises(UsageError, match=r"holds the classes iris, the model's are pupil; lay"):
        sources_of(known, tmp_path / "new/scans", tmp_path / "new/iris")


def test_a_single_class_is_none_of_several(known: Sources, tmp_path: Path):
    write_set(tmp_path / "new", "iris", [[255], [255, 255]])
    with pytest.raises(UsageError, match=r"holds the classes iris, the model's are pupil, iris"):
        sources_of(known, tmp_path / "new/scans", tmp_path / "new/iris")


@pytest.mark.parametrize("most", [20, 36], ids=["few numbers are no black and white", "many would be cut at half"])
def test_numbered_objects_under_the_names_of_black_and_white_masks(
    most: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    known = one_class(tmp_path / "old", "foreground", "binary")
    write_set(tmp_path / "new", "masks/foreground", [range(1, most + 1 - scan) for scan in range(4)])
    with caplog.at_level(logging.INFO, "unetseg"):
        found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks/foreground")
    assert [(source.name, source.encoding) for source in found.classes] == [("foreground", "instances")]
    assert areas(found) == [16 * (most - scan) for scan in range(4)]
    assert "masks of class foreground are read as instances" in caplog.text
    below = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert below.classes == found.classes


def test_classes_with_a_folder_each_are_looked_at_one_by_one(known: Sources, tmp_path: Path):
    plain = replace(known, classes=tuple(replace(source, pattern="{id}.*") for source in known.classes))
    write_set(tmp_path / "new", "masks/iris", [range(1, 9), range(1, 8), range(1, 7)])
    write_set(tmp_path / "new", "masks/pupil", [[255], [255], [255]])
    found = sources_of(plain, tmp_path / "new/scans", tmp_path / "new/masks")
    assert [(source.name, source.encoding) for source in found.classes] == [("pupil", "binary"), ("iris", "instances")]


def test_soft_black_and_white_is_not_taken_for_objects(tmp_path: Path):
    known = one_class(tmp_path / "old", "cell", "instances")
    write_set(tmp_path / "new", "masks", [[255] * 4, [255] * 4])
    for path in (tmp_path / "new/masks").iterdir():
        pixels = tifffile.imread(path)
        pixels[4, [0, 5, 10]] = 20, 60, 90  # below half of white
        tifffile.imwrite(path, pixels)
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert found.classes[0].encoding == "binary"
    assert areas(found) == [64, 64]


@pytest.mark.parametrize(
    ("encoding", "values", "masks"),
    [
        ("instances", (), [[1], [1], [1]]),
        ("binary", (), [[255], [255, 255], []]),
        ("labels", ("1",), [[1], [1, 1], [1]]),
        ("labels", ("1",), [[1, 2], [2, 1], [1, 2]]),
        ("labels", ("1",), [[1], [2], [1]]),
    ],
    ids=["an object each", "black and white", "the label", "labels that no class claims", "some claimed"],
)
def test_the_project_s_encoding_stays_where_it_reads_the_same(
    encoding: MaskEncoding, values: tuple[str, ...], masks: Sequence[Sequence[int]], tmp_path: Path
):
    known = one_class(tmp_path / "old", "cell", encoding, *values)
    write_set(tmp_path / "new", "masks", masks)
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert (found.classes[0].encoding, found.classes[0].values) == (encoding, values)


def test_black_and_white_is_read_where_a_label_fits_no_mask(tmp_path: Path):
    known = one_class(tmp_path / "old", "cell", "labels", "1")
    write_set(tmp_path / "new", "masks", [[255], [255, 255]])
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert (found.classes[0].encoding, found.classes[0].values) == ("binary", ())
    assert areas(found) == [16, 32]


def test_a_scan_with_two_masks_is_left_to_ingest(tmp_path: Path):
    known = one_class(tmp_path / "old", "foreground", "binary")
    write_set(tmp_path / "new", "masks", [range(1, 21 - scan) for scan in range(5)])
    for scan in (0, 2):
        shutil.copy(tmp_path / f"new/masks/s{scan}.tif", tmp_path / f"new/masks/s{scan}.tiff")
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert found.classes == (replace(known.classes[0], path=str(tmp_path / "new/masks"), encoding="instances"),)


def test_masks_that_cannot_be_read_are_left_to_ingest(tmp_path: Path):
    known = one_class(tmp_path / "old", "cell", "binary")
    write_set(tmp_path / "new", "masks", [[255], [255, 255]])
    for path in (tmp_path / "new/masks").iterdir():
        path.write_bytes(b"no TIFF")
    found = sources_of(known, tmp_path / "new/scans", tmp_path / "new/masks")
    assert found.classes == (replace(known.classes[0], path=str(tmp_path / "new/masks")),)
