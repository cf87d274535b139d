"""What the parts of a scan should be made from: which files, by which settings.

The rule of a part is a hash of all settings that its stored values depend on: a change of others redoes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unetseg.config import ClassSource, GuideSource, IngestConfig, to_plain
from unetseg.errors import BadFileError, MissingMaskError
from unetseg.masks import class_names, find_mask, mask_files
from unetseg.normalise import normalisation_rule
from unetseg.project import Project
from unetseg.readers import ScanRef
from unetseg.scan_record import Part
from unetseg.sources import same_files
from unetseg.storage import text_hash

__all__ = ["UnlabelledError", "WantedPart", "wanted_parts"]


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
    masks = _mask_files(sources.classes, ref)
    guides = [find_mask(source, ref.id)[0] for source in sources.guides]
    return {
        "image": WantedPart([ref.path], _image_rule(config, sources.scans.channels, ref.page)),
        "masks": _wanted_masks(masks, sources.classes, config, ref.page),
        "guides": _wanted_masks(guides, sources.guides, config, ref.page),
    }


def _mask_files(classes: tuple[ClassSource, ...], ref: ScanRef) -> list[Path]:
    """The files of each class of a scan, in the order of the sources; one file may come several times."""
    found: list[Path] = []
    missing: list[MissingMaskError] = []
    names, labelled = class_names(classes), False
    for source in classes:
        try:
            files = mask_files(source, ref.id)
            # The first again where there are several: else one moved to the next class would leave the same list.
            found += files if source.encoding != "objects" else [*files, files[0]]
            labelled |= source.name in names  # what to ignore says nothing of classes
        except MissingMaskError as error:
            missing.append(error)
    if missing:
        raise missing[0] if labelled else UnlabelledError(str(missing[0]))
    return found


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
