"""What is in the folders of outputs where a project predicted, and which models made it.

Which folders these are `unetseg.prediction_notes` remembers. Which model made which output is said by the outputs' own
commit markers: after an interrupted run a folder may hold outputs of several models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unetseg.bundle import load_bundle
from unetseg.config import ScanSource
from unetseg.errors import DamagedFileError, UnetsegError
from unetseg.json_files import read_json
from unetseg.known_masks import known_masks
from unetseg.places import RECORDS
from unetseg.predict_job import make_job
from unetseg.predict_marker import Marker, read_marker
from unetseg.prediction_notes import Remembered
from unetseg.project import Project
from unetseg.readers import BadFile, list_scans
from unetseg.stack_output import marker_of, stacks_of
from unetseg.storage import find, is_below, locate, modified

__all__ = ["Prediction", "look_at"]

UNKNOWN = "unknown"
"""The model of outputs whose commit markers name none: it may be any. Those are damaged, or from before schema 3, or
another model had begun to replace the outputs and was stopped."""


@dataclass(frozen=True)
class Prediction:
    """What is in a folder of outputs now that was made of a folder of scans.

    Attributes:
        about: what is remembered of it.
        models: how many scans have outputs of which model, by version; scans that are gone are not counted, unless the
            whole folder is.
        missing: scans without outputs, but for those that were quarantined; None where that cannot be told.
        quarantined: scans and unreadable files without outputs that the last run into the folder of outputs set aside,
            as its ``run.json`` says; one that was changed since counts as missing. None where that cannot be told.
        out_of_date: scans with outputs that the same command would make again; None where that cannot be told.
        gone: scans that have outputs and are not in the folder any more; they cannot be done again.
        problem: why something cannot be told, or nothing.
        unreadable: whether the outputs could not be looked at, so that any model may have made them.
        folder_gone: whether the folder of scans, or that of outputs, is not there: it may be forgotten.
    """

    about: Remembered
    models: Mapping[str, int]
    missing: int | None = None
    out_of_date: int | None = None
    gone: int = 0
    problem: str = ""
    unreadable: bool = False
    folder_gone: bool = False
    quarantined: int | None = None

    def holds(self, version: str) -> bool:
        """Whether there are, or may be, outputs of a model."""
        return self.unreadable or bool({version, UNKNOWN} & set(self.models))

    def holds_others_than(self, version: str) -> bool:
        """Whether there are, or may be, outputs of any other model."""
        return self.unreadable or bool(set(self.models) - {version})

    def wants_redo(self, version: str) -> bool:
        """Whether there are, or may be, outputs that a prediction with this model would make anew."""
        return self.holds_others_than(version) or bool(self.out_of_date)


@dataclass(frozen=True)
class _Scans:
    """The scans of a note as they are now: paths by id, their markers, and why they are not known or gone.

    Files that cannot be listed as scans are in ``bad``.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    markers: Mapping[str, Marker] = field(default_factory=dict)
    bad: Sequence[str] = ()
    problem: str = ""
    gone: bool = False


@dataclass(frozen=True)
class _Told:
    """What ``run.json`` tells of the files that were set aside."""

    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]


def look_at(notes: Sequence[Remembered], project: Project) -> list[Prediction]:
    """Read the commit markers of a folder of outputs, and tell which of them belong to which note.

    An output belongs to the scan that it was made of, where that is among the scans of a note now, else to one of the
    same id; that of a scan that is gone to the folder that it was in.

    Args:
        notes: all that is remembered of one folder of outputs.
        project: that remembers.
    """
    out = locate(notes[0].out)
    try:
        if not out.exists():
            gone = "the folder of outputs is gone"
            return [Prediction(about, {}, problem=gone, folder_gone=True) for about in notes]
        found, damaged = _markers(out)
    except (UnetsegError, OSError) as error:  # one folder must not hide the others
        return [Prediction(about, {}, problem=str(error), unreadable=True) for about in notes]
    made_by = _made_by(found, project.models)
    scans = [_scans(about, project) for about in notes]
    owners = {scan: _owners(scan, marker, notes, scans) for scan, marker in found.items()}
    own = [{scan: made_by[scan] for scan in found if number in owners[scan]} for number in range(len(notes))]
    aside = _set_aside(out)
    return [_compared(*given, damaged, aside) for given in zip(notes, scans, own, strict=True)]


def _compared(
    about: Remembered, scans: _Scans, made_by: Mapping[str, str], damaged: Mapping[str, str], aside: Set[str]
) -> Prediction:
    """The scans that are there now against the outputs, and the files that the last run set aside."""
    if scans.problem:
        return Prediction(about, Counter(made_by.values()), problem=scans.problem, folder_gone=scans.gone)
    there = [scan for scan in scans.markers if scan in made_by]
    without = [scan for scan in scans.markers if scan not in made_by]
    quarantined = sum(scans.paths[scan] in aside for scan in without)
    return Prediction(
        about,
        Counter(made_by[scan] for scan in there),
        missing=len(without) - quarantined,
        quarantined=quarantined + len(aside & set(scans.bad)),
        out_of_date=sum(scans.markers[scan].done() is None for scan in there),
        gone=len(set(made_by) - set(scans.markers)),
        problem=next((damaged[scan] for scan in made_by if scan in damaged), ""),
    )


def _scans(about: Remembered, project: Project) -> _Scans:
    config, paths = about.settings, {}
    try:
        source = ScanSource(about.folder, config.pattern, config.exclude)
        refs, bad = list_scans(source, without=known_masks(source, project.sources))
        alone, stacks = stacks_of(refs)
        found = {ref.id: ref for ref in alone} | {own.ref.id: own for own in stacks}
        paths = {ref.id: str(ref.path) for ref in (*alone, *(own.ref for own in stacks))}
        job = make_job(load_bundle(project.models / about.model), locate(about.out), config)
        markers = {scan: marker_of(job, ref) for scan, ref in found.items()}
        return _Scans(paths, markers, [item.path for item in bad])
    except (UnetsegError, OSError) as error:
        return _Scans(paths, problem=str(error), gone=_is_gone(about.folder))


def _set_aside(out: Path) -> Set[str]:
    """Files that the last run set aside, and that were not changed since; none where its record is not there."""
    record = out / "run.json"
    try:
        told = TypeAdapter(_Told).validate_python(read_json(record)["result"])
    except (OSError, DamagedFileError, LookupError, TypeError, ValidationError):
        return frozenset()
    written = modified(record)
    files = {item.path for item in (*told.quarantined, *told.failed)}
    return {path for path in files if modified(locate(path)) <= written}


def _is_gone(folder: str) -> bool:
    """Whether it is known not to be there."""
    try:
        return not locate(folder).exists()
    except (UnetsegError, OSError):
        return False


def _owners(
    scan: str, marker: Mapping[str, Any], notes: Sequence[Remembered], found: Sequence[_Scans]
) -> Sequence[int]:
    """Numbers of the notes that an output belongs to; several where they are of the same folder, by other patterns."""
    path = next((str(source["path"]) for source in marker.get("sources", ())), "")
    holding = [number for number, scans in enumerate(found) if scan in scans.paths]
    same = [number for number in holding if found[number].paths[scan] == path]
    below = [number for number, about in enumerate(notes) if is_below(path, about.folder)]
    return same or holding[-1:] or below or [len(notes) - 1]


def _markers(out: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The commit markers of all scans that have outputs, by id, empty where damaged; and what is said of those."""
    found: dict[str, dict[str, Any]] = {}
    damaged: dict[str, str] = {}
    for scan, path in _marker_files(out):
        try:
            found[scan] = read_marker(path, scan)
        except FileNotFoundError:  # a prediction that runs now is making it again
            continue
        except DamagedFileError:
            found[scan] = {}
            damaged[scan] = f"{path}: damaged; the next predict or redo makes the outputs of its scan again"
    return found, damaged


def _marker_files(out: Path) -> Iterator[tuple[str, Path]]:
    records = out / RECORDS
    for path in find(records, "**/*.json", strict=True):
        if ".zarr/" in path.relative_to(records).as_posix():  # outputs of scans in a folder of that name
            continue
        yield path.relative_to(records).as_posix().removesuffix(".json"), path


def _made_by(markers: Mapping[str, dict[str, Any]], models: Path) -> dict[str, str]:
    """The version that made each output; one of another project's is told apart by its digest."""
    named = {scan: marker.get("model") or {"version": UNKNOWN, "digest": ""} for scan, marker in markers.items()}
    own = {version: _digest(models / version) for version in {model["version"] for model in named.values()}}
    return {scan: _name(model["version"], model["digest"], own[model["version"]]) for scan, model in named.items()}


def _name(version: str, digest: str, own: str) -> str:
    """A version, with the beginning of its digest where the project's version of that number is another model."""
    return f"{version} ({digest[:8]})" if digest and own and digest != own else version


def _digest(bundle: Path) -> str:
    """Of a version, as it says itself; empty where that is gone, damaged or too old to say."""
    try:
        return str(read_json(bundle / "bundle.json").get("sha256", ""))
    except (OSError, DamagedFileError):
        return ""
