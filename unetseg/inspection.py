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

from pydantic import TypeAdapter, ValidationError

from unetseg.config import ClassSource, GuideSource, Name, ScanSource, Sources
from unetseg.errors import BadFileError, UsageError
from unetseg.listing import ALL_FILES
from unetseg.mask_sample import GIGABYTES_SAMPLED, MaskSample, spread
from unetseg.mask_sets import MaskSet, find_mask_sets
from unetseg.masks import BACKGROUND, IGNORE, class_names
from unetseg.one_folder import scan_globs
from unetseg.orientations import turned_sentence
from unetseg.pairing import find_group_rule, numbered_rule, stack_rule
from unetseg.planes import ScanHeader
from unetseg.readers import BadFile, ScanRef, list_scans, read_header, read_scan
from unetseg.recognise import (
    FoundClass,
    FoundMasks,
    recognise_masks,
    recognise_objects,
    recognise_pages,
    valid_name,
)
from unetseg.storage import locate
from unetseg.words import counted

__all__ = ["Findings", "inspect"]

_SCANS_SAMPLED = 12  # colour scans looked at, whether they are grey
_NAMED = 5  # scans named where many have the same trouble
_COLOURS = ("red", "green", "blue")


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


def inspect(scans: Path, masks: Path | None, guides: Path | None = None, *, resize_masks: bool = False) -> Findings:
    """Work out pairing, mask encoding, classes, channels, pixel size and groups.

    Args:
        scans: Folder of scans, or one multi-page file.
        masks: Folder of masks (or of one folder per class), or one multi-page file; None: only scans.
        guides: Folder of guides, or of one folder per guide.
        resize_masks: Whether masks of another size are brought to their scan's.

    Raises:
        UsageError: when there are no scans, nothing pairs, or the masks cannot be told from scans.
    """
    report = _Report()
    scans = locate(scans)
    masks = None if masks is None else locate(masks)
    globs = scan_globs(scans, masks)
    refs, bad = list_scans(ScanSource(str(scans), *globs))
    headers, unreadable = _headers(refs)
    if not headers:
        raise UsageError(f"{scans}: none of {len(refs) + len(bad)} scans can be read; first: {(bad + unreadable)[0]}")
    _describe_scans(headers, bad + unreadable, report)
    _describe_globs(*globs, report)
    channels, group = _channels(headers, report), _group(list(headers), report)
    source = ScanSource(str(scans), *globs, channels=channels, group=group)
    classes = () if masks is None else _classes(scans, masks, list(headers), report, resize=resize_masks)
    if masks is None:
        report.row("masks", "none given: for prediction only")
    elif not group:
        _ask_of_groups(list(headers), report)
    found = () if guides is None else _guides(scans, locate(guides), list(headers), report)
    return Findings(Sources(source, classes, found), tuple(report.rows), tuple(dict.fromkeys(report.warnings)))


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
        report.warnings.append(f"{counted(len(bad), 'file')} cannot be used; the first: {bad[0]}")
    sizes = sorted({(header.height, header.width) for header in headers.values()}, key=lambda size: size[0] * size[1])
    ends = " to ".join(f"{height} x {width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    report.row("size", ends + (f", {len(sizes)} sizes" if len(sizes) > 2 else ""))
    report.row("pixel type", _tally(header.dtype for header in headers.values()))
    report.row("pixel size", _tally(_micrometres(header.pixel_size) for header in headers.values()))


def _describe_globs(pattern: str, exclude: str, report: _Report) -> None:
    if (pattern, exclude) != (ALL_FILES, ""):
        but = f" but not {exclude}" if exclude else ""
        report.row("scan files", f"{pattern}{but}: masks lie below the same folder")


def _micrometres(size: tuple[float, float] | None) -> str:
    return f"{size[0]:.4g} x {size[1]:.4g} µm" if size else "not given"


def _channels(headers: dict[ScanRef, ScanHeader], report: _Report) -> tuple[str, ...]:
    counts = Counter(header.channels for header in headers.values())
    mixed = set(counts) == {1, 3}
    if len(counts) > 1 and not mixed:
        found = _tally(str(header.channels) for header in headers.values())
        report.warnings.append(f"scans have different numbers of channels ({found}); those that differ are left out")
    most = 3 if set(counts) <= {1, 3} and 3 in counts else counts.most_common(1)[0][0]
    of_three = [ref for ref, header in headers.items() if header.channels == 3]
    if most == 3 and all(_is_grey(ref) for ref in spread(of_three, _SCANS_SAMPLED)):
        most = 1
    if mixed:
        colour, read = "colour", "grey is repeated in all three channels"
        if most == 1:
            colour, read = "grey RGB", "all are read as grey"
        report.warnings.append(f"{counts[1]} grey and {counts[3]} {colour} scans: {read}")
    numbered = tuple(f"channel_{number}" for number in range(1, most + 1))
    names = _named_channels(headers.values(), most) or {1: ("grey",), 3: _COLOURS}.get(most, numbered)
    report.row("channels", ", ".join(names))
    return names


def _named_channels(headers: Iterable[ScanHeader], channels: int) -> tuple[str, ...]:
    """The names that all files give their channels; none where they differ, or are no names for settings."""
    found = {header.channel_names for header in headers}
    names = found.pop()
    if found or len(names) != channels or len(set(names)) < channels:
        return ()
    return names if all(_is_name(name) for name in names) else ()


def _is_name(name: str) -> bool:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        return False
    return True


def _is_grey(ref: ScanRef) -> bool:
    try:
        pixels = read_scan(ref, max_gigabytes=GIGABYTES_SAMPLED).pixels
    except BadFileError:
        return False
    return bool((pixels == pixels[..., :1]).all())


def _group(refs: Sequence[ScanRef], report: _Report) -> str:
    rule, why = find_group_rule([ref.id for ref in refs])
    report.row("groups", f"{why} ({rule})" if rule else why)
    return rule


def _ask_of_groups(refs: Sequence[ScanRef], report: _Report) -> None:
    if any(ref.page is not None for ref in refs):
        asked, kept = stack_rule([ref.id for ref in refs])
        way_out = f"{_set_group(asked)}, which keeps {kept} in one split"
        report.warnings.append(
            "pages of one stack are neighbours and much alike: scores on its test pages flatter; "
            + (way_out if asked else "add stacks: from three on, each is a group")
        )
    if asked := numbered_rule([ref.id for ref in refs if ref.page is None]):
        report.warnings.append(
            "every scan is its own group, but names differ by their last number alone: if those are of one patient, "
            + _set_group(asked)
        )


def _set_group(rule: str) -> str:
    return f"set group: '{rule}' below sources.scans, before the first ingest"


# --------------------------------------------------------------------------- masks


def _classes(
    scans: Path, masks: Path, refs: Sequence[ScanRef], report: _Report, *, resize: bool
) -> tuple[ClassSource, ...]:
    sets = find_mask_sets(scans, masks, refs)
    found: list[ClassSource] = []
    for mask_set in sets:
        sample = MaskSample(mask_set, refs, resize=resize)
        try:
            kind = _recognised(sample, mask_set, report)
        except (BadFileError, UsageError) as error:
            if len(sets) == 1:
                raise UsageError(str(error)) from error
            report.row(f"skipped: {mask_set.prefix}", str(error))
            report.warnings.append(f"{mask_set.prefix} is not taken as masks: {error}")
            continue
        found += _class_sources(mask_set, kind, report)
        _describe_pairs(mask_set, refs, report)
        _warn_of_turned("mask", sample, report)
    if not found:
        raise UsageError(f"{masks}: no folder in it holds masks; give the folder of masks, or of one folder per class")
    class_names(found)
    return tuple(found)


def _recognised(sample: MaskSample, mask_set: MaskSet, report: _Report) -> FoundMasks:
    """What a sample of masks means; masks that cannot be read are left to ingest's quarantine."""
    if mask_set.objects:
        kind = recognise_objects(sample.masks(), mask_set.folders)
        kind = replace(kind, classes=(replace(kind.classes[0], share=sample.object_share()),))
    elif count := sample.class_pages():
        kind = recognise_pages([sample.masks(number) for number in range(count)])
    else:
        kind = recognise_masks(sample.masks(), mask_set.folders)
    if sample.errors:
        report.warnings.append(
            f"{len(sample.errors)} of the sampled masks cannot be used; the first: {sample.errors[0]}"
        )
    return kind


def _class_sources(mask_set: MaskSet, kind: FoundMasks, report: _Report) -> list[ClassSource]:
    report.row(" ".join(("encoding", mask_set.prefix)).strip(), f"{kind.encoding}: {kind.why}")
    named = [each for each in kind.classes if each.name not in (BACKGROUND, IGNORE)]
    if kind.encoding in ("labels", "colours") and len(named) > 1:
        report.row(
            "overlap", "none in such masks; if classes exclude each other in the scans too, set model.head: softmax"
        )
    report.warnings += kind.warnings
    return [_class_source(mask_set, kind, found, report) for found in kind.classes]


def _class_source(mask_set: MaskSet, kind: FoundMasks, found: FoundClass, report: _Report) -> ClassSource:
    name = found.name
    if mask_set.prefix and found.name not in (BACKGROUND, IGNORE):
        name = valid_name(f"{mask_set.prefix}_{found.name}" if found.values else mask_set.prefix)
    report.row(f"class {name}", f"{_MEANING[kind.encoding]}{', '.join(found.values)}; {found.share:.2%} of the pixels")
    if not found.share:
        report.warnings.append(f"class {name} is empty in all sampled masks")
    return ClassSource(name, mask_set.source.path, mask_set.source.pattern, encoding=kind.encoding, values=found.values)


_MEANING = {
    "binary": "above half of white",
    "instances": "every value but 0",
    "objects": "all files of a scan together",
    "labels": "value ",
    "colours": "colour ",
    "pages": "page ",
    "bits": "bit ",
}


def _describe_pairs(mask_set: MaskSet, refs: Sequence[ScanRef], report: _Report) -> None:
    paired = set(mask_set.paired)
    alone = [ref.id for ref in refs if ref.id not in paired]
    subject = " ".join(("paired", mask_set.prefix)).strip()
    report.row(
        subject, f"{len(paired)} of {len(refs)} scans, by {Path(mask_set.source.path).name}/{mask_set.source.pattern}"
    )
    if alone:
        report.row(f"without mask {mask_set.prefix}".strip(), f"{len(alone)}: {_some(alone)}")
        report.warnings.append(f"{counted(len(alone), 'scan')} without a mask, left out of training: {_some(alone)}")
    if mask_set.spare:
        report.warnings.append(
            f"{mask_set.source.path} holds {counted(len(mask_set.spare), 'file')} that no readable scan goes with: "
            f"{_some(mask_set.spare)}; is a name misspelt?"
        )


def _warn_of_turned(kind: str, sample: MaskSample, report: _Report) -> None:
    for (codes, scan), paths in sample.turned().items():
        report.warnings.append(turned_sentence(kind, paths, codes, scan, rest=" and {} more of those looked at"))


def _guides(scans: Path, guides: Path, refs: Sequence[ScanRef], report: _Report) -> tuple[GuideSource, ...]:
    sets = find_mask_sets(scans, guides, refs, called="guides")
    if any(item.objects for item in sets):
        raise UsageError(f"{guides}: several guide files for one scan; give one file per scan")
    found = tuple(replace(item.source, name=valid_name(item.prefix or item.folders[0])) for item in sets)
    for guide, mask_set in zip(found, sets, strict=True):
        report.row(f"guide {guide.name}", f"{len(mask_set.paired)} of {len(refs)} scans")
        if len(mask_set.paired) < len(refs):
            report.warnings.append(
                f"guide {guide.name} is missing for {counted(len(refs) - len(mask_set.paired), 'scan')}"
            )
        _warn_of_turned("guide", MaskSample(mask_set, refs), report)
    return found


# --------------------------------------------------------------------------- words


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(chain(listed[:_NAMED], ["..."] if len(listed) > _NAMED else []))


def _tally(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return _some(f"{value} ({count})" for value, count in counts)
