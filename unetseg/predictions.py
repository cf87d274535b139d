"""Where a project predicted: so that outputs of a model that turned out to be bad can be found, and made again.

::

    PROJECT/predictions/<hash of OUT>.json    folder of scans, OUT, model, settings, when, counts

It is written when a prediction begins, since outputs of one that was killed count too, and again when it ends. Which
model made which output is not said there but by the outputs' own commit markers: after an interrupted run a folder may
hold outputs of several models.

Schema version 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig, ScanSource, to_plain
from unetseg.errors import DamagedFileError, UnetsegError, UsageError
from unetseg.predict_job import Job, make_job
from unetseg.predict_record import utc
from unetseg.readers import ScanRef, list_scans
from unetseg.stack_output import marker_of, stacks_of
from unetseg.storage import find, locate, read_json, remove, text_hash, write_json

__all__ = ["Prediction", "Remembered", "forget", "look_at", "remember", "remembered"]

SCHEMA_VERSION = 1
UNKNOWN = "unknown"
"""The model of outputs whose commit markers name none, as those before schema 3."""


@dataclass(frozen=True)
class Remembered:
    """One line of what a project remembers.

    Attributes:
        folder: of the scans.
        out: of the outputs.
        model: the version that was asked for last.
        digest: of its bundle.
        settings: with which it ran.
        began: time in UTC of the last run.
        counts: of scans ``done``, ``skipped``, ``quarantined`` and ``failed`` then; empty: the run did not end.
    """

    folder: str
    out: str
    model: str
    digest: str
    settings: PredictConfig
    began: str
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """What is in a folder of outputs now.

    Attributes:
        about: what is remembered of it.
        models: how many scans have outputs of which model, by version; scans that are gone are not counted.
        missing: scans without outputs; None where that cannot be told.
        out_of_date: scans with outputs that the same command would make again; None where that cannot be told.
        gone: outputs whose scans are gone.
        problem: why something cannot be told, or nothing.
    """

    about: Remembered
    models: Mapping[str, int]
    missing: int | None = None
    out_of_date: int | None = None
    gone: int = 0
    problem: str = ""

    def holds(self, version: str) -> bool:
        """Whether there are outputs of a model."""
        return version in self.models

    def holds_others_than(self, version: str) -> bool:
        """Whether there are outputs of any other model."""
        return bool(set(self.models) - {version})


def remember(
    project: Path, folder: Path, job: Job, settings: PredictConfig, *, counts: Mapping[str, int] | None = None
) -> None:
    """Note where outputs are, in place of what was noted of the same folder.

    Args:
        project: its folder, local or in an object store.
        folder: of the scans.
        job: of the prediction.
        settings: as they were given; what this machine made of them is in the job.
        counts: of what was done, at its end.
    """
    path = _place(project, str(job.out))
    before = read_json(path) if counts is not None and path.exists() else {}
    about = Remembered(
        folder=str(locate(folder)),
        out=str(job.out),
        model=job.bundle.name,
        digest=job.digest,
        settings=replace(settings, guides=str(locate(settings.guides)) if settings.guides else ""),
        began=before.get("began") or utc(),
        counts=counts or {},
    )
    write_json(path, {"schema_version": SCHEMA_VERSION, **to_plain(about)})


def remembered(project: Path) -> list[Remembered]:
    """All that a project remembers, by folder of outputs.

    Raises:
        DamagedFileError: a note cannot be read.
    """
    return sorted(map(_read, find(project / "predictions", "*.json")), key=lambda item: item.out)


def forget(project: Path, out: Path) -> None:
    """Remember a folder of outputs no more; its files stay.

    Raises:
        UsageError: nothing is remembered of it.
    """
    path = _place(project, str(out))
    if not path.exists():
        known = ", ".join(item.out for item in remembered(project)) or "none"
        raise UsageError(f"{out}: no prediction of {project} is remembered there; there are: {known}")
    remove(path)


def look_at(about: Remembered, models: Path) -> Prediction:
    """Read the commit markers of a folder of outputs.

    Args:
        about: what is remembered of it.
        models: the project's folder of models.
    """
    out = locate(about.out)
    made_by: dict[str, str] = {}
    try:
        if not out.exists():
            return Prediction(about, {}, problem="the folder of outputs is gone")
        found = dict(_markers(out))
        made_by = _made_by(found, models)
        job = _job(about, models)
        refs, _ = list_scans(_source(about, job))
        return _compared(about, job, refs, made_by)
    except (UnetsegError, OSError) as error:  # one folder must not hide the others
        return Prediction(about, Counter(made_by.values()), problem=str(error))


def _compared(about: Remembered, job: Job, refs: Sequence[ScanRef], made_by: Mapping[str, str]) -> Prediction:
    """The scans that are there now against the outputs."""
    alone, stacks = stacks_of(refs)
    scans = {ref.id: marker_of(job, ref) for ref in alone} | {own.ref.id: marker_of(job, own) for own in stacks}
    there = [scan for scan in scans if scan in made_by]
    return Prediction(
        about,
        Counter(made_by[scan] for scan in there),
        missing=len(scans) - len(there),
        out_of_date=sum(scans[scan].done() is None for scan in there),
        gone=len(set(made_by) - set(scans)),
    )


def _job(about: Remembered, models: Path) -> Job:
    return make_job(load_bundle(models / about.model), locate(about.out), about.settings)


def _source(about: Remembered, job: Job) -> ScanSource:
    config = about.settings
    return ScanSource(about.folder, config.pattern, config.exclude, channels=job.info.channels)


def _markers(out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The commit markers of all scans that have outputs, by their ids."""
    records = out / "records"
    for path in find(records, "**/*.json"):
        if ".zarr/" in path.relative_to(records).as_posix():  # outputs of scans in a folder of that name
            continue
        with suppress(FileNotFoundError):  # a prediction that runs now is making it again
            yield path.relative_to(records).as_posix().removesuffix(".json"), read_json(path)


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


def _read(path: Path) -> Remembered:
    plain = read_json(path)
    version = plain.pop("schema_version", None) if isinstance(plain, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(f"{path}: schema {version} is newer than this unetseg knows; use the one that wrote it")
    try:
        return TypeAdapter(Remembered).validate_python(plain)
    except ValidationError as error:
        raise DamagedFileError(
            f"{path}: damaged, tells of no prediction ({error.errors()[0]['msg']}); remove it"
        ) from None


def _place(project: Path, out: str) -> Path:
    return project / "predictions" / f"{text_hash(out)[:16]}.json"
