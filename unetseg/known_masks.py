"""Files that a project knows as masks or guides: who segments a folder that holds some wants its scans alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from unetseg.config import GuideSource, ScanSource, Sources
from unetseg.errors import BadFileError, MissingMaskError
from unetseg.listing import image_files, is_image_folder, name_of
from unetseg.patterns import mask_files
from unetseg.storage import is_below, locate

__all__ = ["known_masks"]


def known_masks(source: ScanSource, project: Sources) -> frozenset[Path]:
    """Of the files that a source would take for scans, those that are masks or guides.

    These are all below a folder that the project has for masks or guides alone. Where masks lie among the scans, these
    are those that go with a scan by their names, also in other folders than the project's. A list, or a single file,
    says itself what the scans are.

    Args:
        source: of a prediction, say.
        project: its sources.
    """
    folder, scans = locate(source.path), locate(project.scans.path)
    parts = [part for part in (*project.classes, *project.guides) if _may_hold(folder, scans, locate(part.path))]
    if not parts or not folder.is_dir() or is_image_folder(folder):
        return frozenset()
    files = [folder / name for name in image_files(folder, source.pattern, source.exclude)]
    return frozenset(files).intersection(chain.from_iterable(_known(part, scans, folder, files) for part in parts))


def _may_hold(folder: Path, scans: Path, root: Path) -> bool:
    """Whether masks of a place may be in a folder; most often not, and its files need not be listed for them."""
    among = is_below(scans, root)
    place = scans if among else root
    return is_below(folder, place) or is_below(place, folder) or root == scans


def _known(part: GuideSource, scans: Path, folder: Path, files: Sequence[Path]) -> Iterator[Path]:
    """The masks of a class among files of a folder, or the guides; and maybe files elsewhere."""
    root = locate(part.path)
    if not is_below(scans, root):
        yield from (file for file in files if is_below(file, root))
        return
    layouts = {scans: part}
    if root == scans:
        layouts[folder] = replace(part, path=str(folder))
    for base, layout in layouts.items():
        for file in files:
            if is_below(file, base):
                yield from _masks_of(file, base, layout)


def _masks_of(file: Path, base: Path, part: GuideSource) -> list[Path]:
    """What would be the masks of a file, if it were a scan; a mask has none."""
    name = str(file).removeprefix(f"{base}/")
    try:
        return [mask for mask in mask_files(part, name_of(name) or name) if mask != file]
    except (MissingMaskError, BadFileError):
        return []
