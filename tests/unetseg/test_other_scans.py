"""Other scans with masks are described as the project's, or looked at anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetseg.config import ClassSource, GuideSource, ScanSource, Sources
from unetseg.errors import UsageError
from unetseg.masks import class_names
from unetseg.other_scans import sources_of


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
    found = sources_of(guided, tmp_path / "old/scans", tmp_path / "old/masks", tmp_path / "g")
    assert found.guides[0].path == str(tmp_path / "g")
