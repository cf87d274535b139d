"""Look at a folder of scans and one of masks, and work out the sources of a project.

Example:
    >>> findings = inspect(Path("nuclei/images"), Path("nuclei/masks"))  # doctest: +SKIP
    >>> findings.sources.classes[0].encoding  # doctest: +SKIP
    'instances'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from unetseg.config import ClassSource, GuideSource, ScanSource, Sources
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import plane_count, read_plane
from unetseg.masks import BACKGROUND, IGNORE, class_names, find_mask
from unetseg.pairing import base_id, find_group_rule, find_patterns, paired_ids
from unetseg.planes import ScanHeader
from unetseg.readers import BadFile, ScanRef, list_scans, name_of, read_header, read_scan
from unetseg.recognise import FoundClass, FoundMasks, recognise_masks, valid_name
from unetseg.storage import local_path

__all__ = ["Findings", "inspect"]

_MASKS_SAMPLED = 30
_SCANS_SAMPLED = 12  # colour scans looked at, whether they are grey
_GIGABYTES_SAMPLED = 2.0  # larger ones are not looked at
_NAMED = 5  # scans named where many have the same trouble
_COLOURS = ("red", "green", "blue")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        sources: Scans, classes and guides, with absolute paths.
        rows: A table of two columns for people.
        warnings: What a person should look at.
    """

    sources: Sources
    rows: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


@dataclass
class _Report:
    """Rows and warnings as they come up."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def row(self, subject: str, found: str) -> None:
        self.rows.append((subject, found))


@dataclass(frozen=True)
class _MaskSet:
    """Mask files that pair with scans: one place and pattern, which may hold one class or several."""

    source: GuideSource
    prefix: str  # of the class names; empty where the masks lie directly in the folder given
    paired: tuple[str, ...]


def inspect(scans: Path, masks: Path | None, guides: Path | None = None) -> Findings:
    """Work out pairing, mask encoding, classes, channels, pixel size and groups.

    Args:
        scans: Folder of scans, or one multi-page file.
        masks: Folder of masks (or of one folder per class), or one multi-page file; None: only scans.
        guides: Folder of guides, or of one folder per guide.

    Raises:
        UsageError: when there are no scans, nothing pairs, or the masks cannot be told from scans.
    """
    report = _Report()
    scans = local_path(scans)
    refs, bad = list_scans(ScanSource(str(scans)))
    headers, unreadable = _headers(refs)
    if not headers:
        raise UsageError(
            f"{scans}: none of {len(refs) + len(bad)} scans can be read; first: {(bad + unreadable)[0].reason}"
        )
    _describe_scans(headers, bad + unreadable, report)
    source = ScanSource(str(scans), channels=_channels(headers, report), group=_group(list(headers), report))
    classes = () if masks is None else _classes(scans, local_path(masks), list(headers), report)
    if masks is None:
        report.row("masks", "none given: for prediction only")
    found = () if guides is None else _guides(scans, local_path(guides), list(headers), report)
    return Findings(Sources(source, classes, found), tuple(report.rows), tuple(report.warnings))


# --------------------------------------------------------------------------- scans


def _headers(refs: Sequence[ScanRef]) -> tuple[dict[ScanRef, ScanHeader], list[BadFile]]:
    headers, bad = {}, []
    for ref in refs:
        try:
            headers[ref] = read_header(ref)
        except BadFileError as error:
            bad.append(BadFile(str(ref.path), str(error)))
    return headers, bad


def _describe_scans(headers: dict[ScanRef, ScanHeader], bad: Sequence[BadFile], report: _Report) -> None:
    files = len({ref.path for ref in headers})
    report.row("scans", f"{len(headers)}" + (f" (pages of {files} files)" if files < len(headers) else ""))
    if bad:
        report.row("unreadable", f"{len(bad)}: {_some(Path(item.path).name for item in bad)}")
        report.warnings.append(f"{len(bad)} files cannot be used; the first: {bad[0].reason}")
    sizes = sorted({(header.height, header.width) for header in headers.values()}, key=lambda size: size[0] * size[1])
    ends = " to ".join(f"{height} x {width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    report.row("size", ends + (f", {len(sizes)} sizes" if len(sizes) > 2 else ""))
    report.row("pixel type", _tally(header.dtype for header in headers.values()))
    report.row("pixel size", _tally(_micrometres(header.pixel_size) for header in headers.values()))


def _micrometres(size: tuple[float, float] | None) -> str:
    return f"{size[0]:.4g} x {size[1]:.4g} µm" if size else "not given"


def _channels(headers: dict[ScanRef, ScanHeader], report: _Report) -> tuple[str, ...]:
    counts = Counter(header.channels for header in headers.values())
    if set(counts) == {1, 3}:
        report.warnings.append(f"{counts[1]} grey and {counts[3]} colour scans: grey is repeated in all three channels")
    elif len(counts) > 1:
        found = _tally(str(header.channels) for header in headers.values())
        report.warnings.append(f"scans have different numbers of channels ({found}); those that differ are left out")
    most = 3 if set(counts) <= {1, 3} and 3 in counts else counts.most_common(1)[0][0]
    if most == 3 and all(_is_grey(ref) for ref in _spread(list(headers), _SCANS_SAMPLED)):
        most = 1
    names = {1: ("grey",), 3: _COLOURS}.get(most, tuple(f"channel_{number}" for number in range(1, most + 1)))
    report.row("channels", ", ".join(names))
    return names


def _is_grey(ref: ScanRef) -> bool:
    try:
        pixels = read_scan(ref, max_gigabytes=_GIGABYTES_SAMPLED).pixels
    except BadFileError:
        return False
    return bool((pixels == pixels[..., :1]).all())


def _group(refs: Sequence[ScanRef], report: _Report) -> str:
    rule, why = find_group_rule([ref.id for ref in refs])
    report.row("groups", f"{why} ({rule})" if rule else why)
    if not rule and any(ref.page is not None for ref in refs):
        report.warnings.append("pages of one stack are neighbours and much alike: scores on its test pages flatter")
    return rule


# --------------------------------------------------------------------------- masks


def _classes(scans: Path, masks: Path, refs: Sequence[ScanRef], report: _Report) -> tuple[ClassSource, ...]:
    sets = _mask_sets(scans, masks, refs)
    found: list[ClassSource] = []
    for mask_set in sets:
        try:
            kind = recognise_masks(_sampled(mask_set, refs, report), _folder_names(Path(mask_set.source.path)))
        except (BadFileError, UsageError) as error:
            if len(sets) == 1:
                raise UsageError(str(error)) from error
            report.row(f"skipped: {mask_set.prefix}", str(error))
            report.warnings.append(f"{mask_set.prefix} is not taken as masks: {error}")
            continue
        found += _class_sources(mask_set, kind, report)
        _describe_pairs(mask_set, refs, report)
    if not found:
        raise UsageError(f"{masks}: no folder in it holds masks; give the folder of masks, or of one folder per class")
    class_names(found)
    return tuple(found)


def _mask_sets(scans: Path, masks: Path, refs: Sequence[ScanRef]) -> list[_MaskSet]:
    """Mask files directly in the folder, or else in one folder per class."""
    if masks == scans:
        raise UsageError(f"{masks}: scans and masks are in one place; put them into two folders")
    if not masks.exists():
        raise UsageError(f"{masks}: folder of masks not found; check the path")
    if masks.is_file():
        return [_mask_file(scans, masks, refs)]
    sets = _sets_in(scans, masks, refs, "")
    if not sets:
        folders = sorted(path for path in masks.iterdir() if path.is_dir() and not path.name.startswith("."))
        apart = [path for path in folders if path != scans and path not in scans.parents]
        sets = [mask_set for path in apart for mask_set in _sets_in(scans, path, refs, path.name)]
    if not sets:
        example = next(iter(_mask_names(scans, masks)), "none")
        raise UsageError(
            f"{masks}: no mask pairs with a scan: a mask's name must hold its scan's name, but scans are named like "
            f"{base_id(refs[0].id)!r} and masks like {example!r}; rename them"
        )
    return sets


def _mask_file(scans: Path, masks: Path, refs: Sequence[ScanRef]) -> _MaskSet:
    try:
        pages = plane_count(masks)
    except BadFileError as error:
        raise UsageError(str(error)) from error
    if not scans.is_file() or pages != len(refs):
        raise UsageError(
            f"{masks}: one file of masks goes with one file of as many scans, got {pages} masks for {len(refs)} scans; "
            "give two folders or two stacks"
        )
    return _MaskSet(GuideSource("masks", str(masks)), "", tuple(ref.id for ref in refs))


def _sets_in(scans: Path, folder: Path, refs: Sequence[ScanRef], prefix: str) -> list[_MaskSet]:
    ids, names = [ref.id for ref in refs], _mask_names(scans, folder)
    patterns = find_patterns(ids, names)
    return [
        _MaskSet(
            GuideSource("masks", str(folder), pattern),
            " ".join(part for part in (prefix, _affix(pattern) if len(patterns) > 1 else "") if part),
            tuple(paired_ids(ids, names, pattern)),
        )
        for pattern in patterns
    ]


def _affix(pattern: str) -> str:
    """What a pattern adds to the name of a scan, which names the class."""
    return pattern.removesuffix(".*").replace("{folder}", "").replace("{name}", "").strip(" _-.")


def _mask_names(scans: Path, folder: Path) -> list[str]:
    """Names of image files below a folder, leaving out the scans themselves."""
    inside = scans != folder and folder in scans.parents
    paths = (path for path in sorted(folder.rglob("*")) if not (inside and (path == scans or scans in path.parents)))
    relative = (path.relative_to(folder) for path in paths if path.is_file())
    visible = (path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts))
    return [name for path in visible if (name := name_of(path))]


def _sampled(mask_set: _MaskSet, refs: Sequence[ScanRef], report: _Report) -> list[tuple[Path, NDArray[Any]]]:
    """Masks spread evenly over the scans; those that cannot be read are left to ingest's quarantine."""
    by_id = {ref.id: ref for ref in refs}
    masks, errors, fitting = [], [], 0
    for scan_id in _spread(mask_set.paired, _MASKS_SAMPLED):
        try:
            path, page = find_mask(mask_set.source, scan_id)
            header, pixels = read_plane(path, page, max_bytes=_GIGABYTES_SAMPLED * 1e9)
        except BadFileError as error:
            errors.append(str(error))
            continue
        masks.append((path, pixels))
        scan = read_header(by_id[scan_id])
        if (header.height, header.width) == (scan.height, scan.width):
            fitting += 1
        else:
            errors.append(f"{path}: is {header.height} x {header.width}, its scan {scan.height} x {scan.width}")
    if not fitting:
        raise UsageError(f"{mask_set.source.path}: no mask fits its scan; first: {errors[0]}")
    if errors:
        report.warnings.append(f"{len(errors)} of the sampled masks cannot be used; the first: {errors[0]}")
    return masks


def _folder_names(path: Path) -> tuple[str, str]:
    return (path.stem if path.is_file() else path.name), path.parent.name


def _class_sources(mask_set: _MaskSet, kind: FoundMasks, report: _Report) -> list[ClassSource]:
    report.row(" ".join(("encoding", mask_set.prefix)).strip(), f"{kind.encoding}: {kind.why}")
    report.warnings += kind.warnings
    return [_class_source(mask_set, kind, found, report) for found in kind.classes]


def _class_source(mask_set: _MaskSet, kind: FoundMasks, found: FoundClass, report: _Report) -> ClassSource:
    name = found.name
    if mask_set.prefix and found.name not in (BACKGROUND, IGNORE):
        name = valid_name(f"{mask_set.prefix}_{found.name}" if found.values else mask_set.prefix)
    report.row(
        f"class {name}", f"{', '.join(found.values) or _MEANING[kind.encoding]}; {found.share:.2%} of the pixels"
    )
    if not found.share:
        report.warnings.append(f"class {name} is empty in all sampled masks")
    return ClassSource(name, mask_set.source.path, mask_set.source.pattern, encoding=kind.encoding, values=found.values)


_MEANING = {"binary": "above half of white", "instances": "every value but 0"}


def _describe_pairs(mask_set: _MaskSet, refs: Sequence[ScanRef], report: _Report) -> None:
    paired = set(mask_set.paired)
    alone = [ref.id for ref in refs if ref.id not in paired]
    subject = " ".join(("paired", mask_set.prefix)).strip()
    report.row(
        subject, f"{len(paired)} of {len(refs)} scans, by {Path(mask_set.source.path).name}/{mask_set.source.pattern}"
    )
    if alone:
        report.row(f"without mask {mask_set.prefix}".strip(), f"{len(alone)}: {_some(alone)}")
        report.warnings.append(f"{len(alone)} scans have no mask ({_some(alone)}); they are left out of training")


def _guides(scans: Path, guides: Path, refs: Sequence[ScanRef], report: _Report) -> tuple[GuideSource, ...]:
    sets = _mask_sets(scans, guides, refs)
    found = tuple(replace(item.source, name=valid_name(item.prefix or _folder_names(guides)[0])) for item in sets)
    for guide, mask_set in zip(found, sets, strict=True):
        report.row(f"guide {guide.name}", f"{len(mask_set.paired)} of {len(refs)} scans")
        if len(mask_set.paired) < len(refs):
            report.warnings.append(f"guide {guide.name} is missing for {len(refs) - len(mask_set.paired)} scans")
    return found


# --------------------------------------------------------------------------- words


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, evenly spread from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(chain(listed[:_NAMED], ["..."] if len(listed) > _NAMED else []))


def _tally(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return _some(f"{value} ({count})" for value, count in counts)
