"""Globs, what they leave out, and what `init` and `predict` make of them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unetseg.config import PredictConfig
from unetseg.inspection import inspect
from unetseg.listing import image_files, matches
from unetseg.predict_estimate import estimate
from unetseg.project import load_project
from unetseg.registry import model_folder

FILES = [
    "a.png",
    "b.tif",
    "a_mask.png",
    "p/a.png",
    "p/q/b.tif",
    "p/q/a_mask.png",
    "r/.hidden.png",
    ".s/a.png",
    "t/n.txt",
]
PATTERNS = ["*", "**/*", "*.png", "**/*.png", "p/*", "p/**/*", "**/q/*", "p/*/*.tif", "**/a*", "**/[ab].*", "**/?.png",
            "**/*[!k].*", "*/**/*.tif", "nowhere/**/*", "p/**/q/*"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("listing")
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_pathlibs(folder, pattern):
    found = (path.relative_to(folder) for path in folder.glob(pattern) if path.suffix in (".png", ".tif"))
    expected = sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
    assert image_files(folder, pattern) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text("ab._-^[]&~|\\", min_size=1, max_size=4),
    pattern=st.text("ab._-^*?[!]&~|\\", min_size=1, max_size=5),
)
def test_a_part_without_folders_is_matched_as_fnmatch_does(name, pattern):
    from fnmatch import fnmatchcase

    if "**" in pattern or "[" in pattern:  # fnmatch reads some brackets in a way of its own
        return
    assert matches(name, pattern) == fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a[1].png", "a[[]1].png", True),
        ("a^b", "a[\\^]b", True),
        ("p/a.png", "p[/]a.png", True),
        ("p/a.png", "p[!x]a.png", False),
        ("p/q/a.png", "p/**", True),
        ("pq", "p/**", False),
        ("a.png", "**/a.png", True),
        ("xa.png", "**/a.png", False),
        ("p/a.png", "*.png", False),
    ],
)
def test_folders_and_brackets(path, pattern, expected):
    assert matches(path, pattern) == expected


def test_a_glob_without_stars_walks_into_no_linked_folder(folder, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a.png").touch()
    assert image_files(tmp_path) == ["a.png"]


# --------------------------------------------------------------------------- settings


def test_exclude_of_predict_leaves_scans_out(trained_folder, eyes, tmp_path):
    bundle = model_folder(load_project(trained_folder).models)
    whole = estimate(eyes / "scans", tmp_path / "out", bundle=bundle, config=PredictConfig())
    less = estimate(eyes / "scans", tmp_path / "out", bundle=bundle, config=PredictConfig(exclude="**/*1.*"))
    excluded = [path for path in image_files(eyes / "scans") if Path(path).stem.endswith("1")]
    assert 0 < len(excluded) < whole.scans
    assert less.scans == whole.scans - len(excluded)


# --------------------------------------------------------------------------- names of channels


def write_channels(path, names):
    path.parent.mkdir(exist_ok=True)
    stack = np.random.default_rng(0).integers(0, 99, (len(names), 16, 16), np.uint8)
    tifffile.imwrite(path, stack, metadata={"axes": "CYX", "Channel": {"Name": names}}, photometric="minisblack")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["DAPI", "GFP"], ["DAPI", "GFP"]], ("DAPI", "GFP")),
        ([["DAPI", "GFP"], ["GFP", "DAPI"]], ("channel_1", "channel_2")),
        ([["_x", "GFP"], ["_x", "GFP"]], ("channel_1", "channel_2")),
        ([["GFP", "GFP"], ["GFP", "GFP"]], ("channel_1", "channel_2")),
        ([["CD3", "CD4", "CD8"]], ("CD3", "CD4", "CD8")),
        ([["actin"]], ("actin",)),
    ],
)
def test_channels_are_named_as_all_files_name_them(tmp_path, names, expected):
    for number, channels in enumerate(names):
        write_channels(tmp_path / f"scans/{number}.ome.tif", channels)
    assert inspect(tmp_path / "scans", None).sources.scans.channels == expected


def test_channels_without_names_are_named_by_colour(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 99, (16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    assert inspect(tmp_path, None).sources.scans.channels == ("red", "green", "blue")
