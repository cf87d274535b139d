"""Files below a local folder by pattern: strictly, what may not be listed is an error; only what is asked is listed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unetseg.storage import find

FILES = ("a.json", ".b.json", "c.txt", "s/a.json", "s/t/a.json", "s/t/s/d.json", "u.json/e.json", "v/[w]/f.json")
PATTERNS = ("*.json", "**/*.json", "*", "*/*.json", "s/*.json", "**/s/*.json", "s/**/*.json", "v/[[]w]/?.json", "x/*")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files at several depths, a link to a folder and one to nothing."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "link").symlink_to("s")
    (tmp_path / "lost.json").symlink_to("nowhere")
    return tmp_path


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """How often each folder is listed from here on."""
    real, seen = os.scandir, Counter[Path]()

    def scandir(path: str | Path = ".") -> Iterator[os.DirEntry[str]]:
        seen[Path(path)] += 1
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return seen


@pytest.mark.parametrize("pattern", PATTERNS)
def test_strictly_the_same_is_found(pattern: str, tree: Path):
    found = list(find(tree, pattern, strict=True))
    assert sorted(found) == sorted(tree.glob(pattern))


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path):
    assert list(find(tmp_path / "none", "**/*.json", strict=True)) == []


@pytest.mark.parametrize(
    ("pattern", "folders"),
    [("*.json", ["."]), ("s/*.json", [".", "s"]), ("**/*.json", [".", "s", "s/t", "s/t/s", "u.json", "v", "v/[w]"])],
    ids=["one-level", "two-levels", "all"],
)
def test_each_folder_is_listed_once_and_none_that_the_pattern_does_not_need(
    pattern: str, folders: list[str], tree: Path, listed: Counter[Path]
):
    list(find(tree, pattern, strict=True))
    assert listed == Counter(tree / name for name in folders)


@pytest.mark.parametrize(
    ("pattern", "needed"), [("*.json", False), ("u.json/*", False), ("s/*/*.json", True), ("**/*.json", True)]
)
def test_a_folder_that_may_not_be_listed_is_an_error_where_it_is_needed(
    pattern: str, needed: bool, tree: Path, refuse: Callable[[Path], None]
):
    refuse(tree / "s" / "t")
    if needed:
        with pytest.raises(PermissionError):
            list(find(tree, pattern, strict=True))
    else:
        assert sorted(find(tree, pattern, strict=True)) == sorted(tree.glob(pattern))
