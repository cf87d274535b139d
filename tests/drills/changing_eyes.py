"""A collection of eyes that changes from night to night, and knows what a dataset of it should hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from unetseg.synth import CLASS_NAMES, write_eyes

PEOPLE, MORE = 8, 12
SIZE = (80, 112)
CLASS = CLASS_NAMES[1]


class ChangingEyes:
    """Scans and masks.

    Attributes:
        usable: the scans that can be used, by their ids.
        changed: whether anything changed since `settled`.
    """

    def __init__(self, folder: Path):
        made = write_eyes(folder / "eyes", subjects=PEOPLE, scans_per_subject=2, size=SIZE)
        self.scans, self.masks = made.scans, made.masks
        self._aside = folder / "aside"
        self._more = write_eyes(folder / "more", subjects=PEOPLE + MORE, scans_per_subject=1, size=SIZE)
        self._next, self._number, self._broken = PEOPLE + 1, 0, list[Path]()
        self.usable = {path.stem for path in self.scans.glob("*.tif")}
        self.changed = True

    @property
    def changes(self) -> dict[str, Callable[[], None]]:
        """What can happen to it, by name."""
        happening = (self._new_scan, self._scan_corrupted, self._mask_redrawn, self._scan_gone, self._mask_vanished)
        changes = {change.__name__.strip("_").replace("_", " "): change for change in happening}
        return {"nothing": lambda: None, **changes, "all mended": self._all_mended}

    def change(self, name: str) -> None:
        self.changes[name]()
        self.changed |= name != "nothing"

    def _new_scan(self) -> None:
        name = f"s{self._next:02d}_1.tif"
        self._next += 1
        shutil.copy(self._more.scans / name, self.scans / name)
        for kind in CLASS_NAMES:
            shutil.copy(self._more.masks / kind / name, self.masks / kind / name)
        self.usable.add(Path(name).stem)

    def _mask_redrawn(self) -> None:
        path = self.masks / CLASS / f"{self._pick()}.tif"
        tifffile.imwrite(path, np.roll(tifffile.imread(path), 1, axis=0), compression="zlib")

    def _scan_gone(self) -> None:
        name = self._pick()
        for path in (self.scans / f"{name}.tif", *(self.masks / kind / f"{name}.tif" for kind in CLASS_NAMES)):
            path.unlink()
        self.usable.discard(name)

    def _mask_vanished(self) -> None:
        name = self._pick()
        self._put_aside(self.masks / CLASS / f"{name}.tif").unlink()
        self.usable.discard(name)

    def _scan_corrupted(self) -> None:
        name = self._pick()
        path = self._put_aside(self.scans / f"{name}.tif")
        path.write_bytes(path.read_bytes()[:-1000])
        self.usable.discard(name)

    def _all_mended(self) -> None:
        for path in self._broken:
            shutil.copy(self._aside / path.parent.name / path.name, path)
            self.usable.add(path.stem)
        self._broken.clear()

    def _pick(self) -> str:
        """A scan that is as it should be, another one each time."""
        self._number += 5
        good = sorted(self.usable)
        return good[self._number % len(good)]

    def _put_aside(self, path: Path) -> Path:
        kept = self._aside / path.parent.name / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kept)
        self._broken.append(path)
        return path
