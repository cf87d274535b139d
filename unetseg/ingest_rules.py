"""What the parts of a scan should be made from: which files, by which settings.

The rule of a part is a hash of all settings that its stored values depend on: a change of others redoes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from pathlib import Path

from unetseg.config import ClassSource, GuideSource, IngestConfig, to_plain
from unetseg.errors import BadFileError, MissingMaskError
from unetseg.listing import image_files
from unetseg.masks import class_names, find_mask, mask_files
from unetseg.normalise import normalisation_rule
from unetseg.patterns import fill_pattern
from unetseg.places import PROJECT_FILE
from unetseg.project import Project
from unetseg.readers import BadFile, ScanRef, name_of
from unetseg.scan_record import Part
from unetseg.sources import same_files
from unetseg.storage import locate, text_hash
from unetseg.words import counted

__all__ = ["UnlabelledError", "WantedPart", "any_labelled", "wanted_parts", "why_unlabelled"]

_COMPARED = 1000  # names of files, to find the one that looks most like a mask's; comparing them takes a while


class UnlabelledError(BadFileError):
    """No class has a mask for this scan: not an error of the user's, only nothing to learn from."""


@dataclass(frozen=True)
class WantedPart:
    """What a part should be made from."""

    paths: list[Path]
    rule: str

    def is_in(self, part: Part) -> bool:
        """Whether a stored part was made from files that look the same, by the same rule."""
        return part.rule == self.rule and same_files(part.sources, self.paths)


def wanted_parts(project: Project, ref: ScanRef) -> dict[str, WantedPart]:
    """Files and rules of each part."""
    sources, config = project.sources, project.settings.ingest
    masks = _mask_files(sources.classes, ref.id)
    guides = [find_mask(source, ref.id)[0] for source in sources.guides]
    return {
        "image": WantedPart([ref.path], _image_rule(config, sources.scans.channels, ref.page)),
        "masks": _wanted_masks(masks, sources.classes, config, ref.page),
        "guides": _wanted_masks(guides, sources.guides, config, ref.page),
    }


def _mask_files(classes: tuple[ClassSource, ...], scan_id: str) -> list[Path]:
    """The files of each class of a scan, in the order of the sources; one file may come several times."""
    found: list[Path] = []
    missing: list[MissingMaskError] = []
    names, labelled = class_names(classes), False
    for source in classes:
        try:
            files = mask_files(source, scan_id)
            # The first again where there are several: else one moved to the next class would leave the same list.
            found += files if source.encoding != "objects" else [*files, files[0]]
            labelled |= source.name in names  # what to ignore says nothing of classes
        except MissingMaskError as error:
            missing.append(error)
    if missing:
        raise missing[0] if labelled else UnlabelledError(str(missing[0]))
    return found


def any_labelled(project: Project, files: Iterable[BadFile]) -> bool:
    """Whether any of these files, which were set aside unread, has a mask; of those in lists of scans, no."""
    root = locate(project.sources.scans.path)
    paths = [locate(file.path) for file in files]
    below = [path.relative_to(root) for path in paths if path.is_relative_to(root)]
    return any(_is_labelled(project.sources.classes, name_of(str(path)) or str(path)) for path in below)


def _is_labelled(classes: tuple[ClassSource, ...], scan_id: str) -> bool:
    try:
        return bool(_mask_files(classes, scan_id))
    except BadFileError as error:
        return not isinstance(error, UnlabelledError)  # else there are masks, but not as they should be


def why_unlabelled(project: Project, refs: Sequence[ScanRef]) -> str:
    """Where the masks of scans that have none were looked for, what is there instead, and what to correct."""
    classes = project.sources.classes
    source = next(item for item in classes if item.name in class_names(classes))
    root, wanted = locate(source.path), fill_pattern(source.pattern, refs[0].id)
    scans = {ref.path for ref in refs}
    there = [name for name in islice(image_files(root), _COMPARED) if root / name not in scans]
    nearest = next(iter(get_close_matches(wanted, there, n=1, cutoff=0)), "")
    return (
        f"no mask was found for any of {counted(len(refs), 'scan')}: class {source.name} looks for "
        f"{root / source.pattern}, such as {wanted}, and there is {nearest or 'no mask at all'}; correct the pattern "
        f"or path of sources.classes in {project.folder / PROJECT_FILE}"
    )


@lru_cache
def _image_rule(config: IngestConfig, channels: tuple[str, ...], page: int | None) -> str:
    return text_hash(normalisation_rule(config), config.dtype, channels, page)


def _wanted_masks(
    files: list[Path], sources: tuple[GuideSource, ...], config: IngestConfig, page: int | None
) -> WantedPart:
    """Masks or guides: what their sources say, but not where files are found, since their content is compared."""
    paths = list(dict.fromkeys(files))
    order = tuple(paths.index(path) for path in files)
    return WantedPart(paths, _mask_rule(sources, order, page, resize=config.resize_masks))


@lru_cache
def _mask_rule(sources: tuple[GuideSource, ...], order: tuple[int, ...], page: int | None, *, resize: bool) -> str:
    rules = [{k: v for k, v in to_plain(source).items() if k not in ("path", "pattern")} for source in sources]
    return text_hash(rules, order, resize, page)
