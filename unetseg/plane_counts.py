"""How many images each file of a folder holds, as it was found the last time.

Where nothing has changed, opening thousands of files to count their pages would take longer than all else together.
So would opening a stack again for each of its pages.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from unetseg.errors import DamagedFileError
from unetseg.formats import plane_count
from unetseg.json_files import as_json, read_json, write_json
from unetseg.storage import state

__all__ = ["PlaneCounts", "counted_once"]


def counted_once(path: Path) -> int:
    """How many images a file holds; one that was counted in this process and is as it was is not opened again.

    Raises:
        BadFileError: its header cannot be read.
    """
    return _counted(path, *state(path)) if path.is_file() else plane_count(path)


@lru_cache(maxsize=4096)
def _counted(path: Path, size: int, modified: int) -> int:
    """The images of a file as it is at that size and time, which only tell versions apart."""
    return plane_count(path)


class PlaneCounts:
    """Counts the images in files; those that are as they were, by size and time of change, are not opened.

    Args:
        path: of the JSON file that remembers; it may be missing, and one that is damaged counts as missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[int]] = {}
        self._found: dict[str, list[int]] = {}
        if path.exists():
            with suppress(DamagedFileError):
                found = read_json(path)
                self._known = found if _is_sound(found) else {}

    def __call__(self, path: Path) -> int:
        """How many images a file holds.

        Raises:
            BadFileError: its header cannot be read.
        """
        if not path.is_file():  # a folder that is one image tells at once, and a link to nothing says so
            return plane_count(path)
        now = list(state(path))
        known = self._known.get(str(path))
        count = known[2] if known and known[:2] == now else plane_count(path)
        self._found[str(path)] = [*now, count]
        return count

    @property
    def size(self) -> int:
        """Bytes of the file that `save` writes."""
        return len(as_json(self._found))

    def save(self) -> None:
        """Remember the files that were asked for, and no others."""
        if self._found != self._known:
            write_json(self._path, self._found)


def _is_sound(found: Any) -> bool:  # noqa: ANN401 (JSON)
    """Whether there are three numbers of each file."""
    return isinstance(found, dict) and all(
        isinstance(item, list) and len(item) == 3 and all(isinstance(number, int) for number in item)
        for item in found.values()
    )
