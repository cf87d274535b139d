"""Where a project predicted: so that outputs of a model that turned out to be bad can be found, and made again.

::

    PROJECT/predictions/<hash>.json    folder of scans, OUT, model, settings, when, counts

There is one of each folder of scans, with its pattern, and OUT: several may be predicted into one OUT. It is written
when a prediction begins, since outputs of one that was killed count too, and again when it ends. Which model made which
output is not said there but by the outputs' own commit markers (see `unetseg.predictions`).

Schema version 2. Version 1 had one note of each OUT, of the folder that was predicted into it last.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unetseg.config import PredictConfig, to_plain
from unetseg.errors import DamagedFileError, UnetsegError, UsageError
from unetseg.json_files import read_json, write_json
from unetseg.places import PREDICTIONS
from unetseg.predict_job import Job
from unetseg.predict_record import utc
from unetseg.readers import BadFile
from unetseg.storage import find, locate, modified, remove, text_hash
from unetseg.words import in_project

__all__ = ["Notes", "Remembered", "forget", "read_notes", "remember"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

_DIGITS = 16  # of a hash in a name


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
class Notes:
    """All that a project remembers.

    Attributes:
        remembered: by folder of outputs, and of each what was done first.
        unreadable: the notes that cannot be read, with reasons and ways out: what they tell of may have been made by
            any model.
    """

    remembered: tuple[Remembered, ...]
    unreadable: tuple[BadFile, ...]


def remember(
    project: Path, folder: Path, job: Job, settings: PredictConfig, *, counts: Mapping[str, int] | None = None
) -> None:
    """Note where outputs are, in place of what was noted of the same scans and outputs.

    Where the project may only be read, it cannot, which is warned of.

    Args:
        project: its folder, local or in an object store.
        folder: of the scans.
        job: of the prediction.
        settings: as they were given; what this machine made of them is in the job.
        counts: of what was done, at its end.
    """
    about = Remembered(
        folder=str(locate(folder)),
        out=str(job.out),
        model=job.bundle.name,
        digest=job.digest,
        settings=replace(settings, guides=str(locate(settings.guides)) if settings.guides else ""),
        began=utc(),
        counts=counts or {},
    )
    try:
        _write_note(project, about, counts)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        logger.warning("%s: may not be written, so the project does not remember %s", project, about.out)


def _write_note(project: Path, about: Remembered, counts: Mapping[str, int] | None) -> None:
    path = _place(project, about)
    before = read_json(path) if counts is not None and path.exists() else {}
    write_json(path, {"schema_version": SCHEMA_VERSION, **to_plain(about), **_began(before)})
    old = _old_place(project, about.out)
    if old.exists() and _is_replaced(old, by=path):
        remove(old)


def read_notes(project: Path) -> Notes:
    """All that a project remembers; of notes that cannot be read, each is warned of.

    Raises:
        OSError: the folder of the notes may not be read.
    """
    notes, damaged = _notes(project)
    unreadable = sorted(BadFile(str(path), _left_out(project, path, error)) for path, error in damaged.items())
    for note in unreadable:
        logger.warning("%s", note)
    order = sorted(notes, key=lambda path: (notes[path].out, notes[path].began, modified(path)))  # began: in seconds
    return Notes(tuple(notes[path] for path in order), tuple(unreadable))


def forget(project: Path, out: Path, *, folder: Path | None = None) -> None:
    """Remember a folder of outputs no more; its files stay.

    Notes that cannot be read stay too, with a warning, but for that of version 1, whose name tells of which OUT it is.

    Args:
        project: its folder.
        out: folder of the outputs; or a note that is damaged.
        folder: only what was made of this folder of scans; None: all.

    Raises:
        UsageError: nothing is remembered of it.
    """
    notes, damaged = _notes(project)
    paths = [path for path, item in notes.items() if item.out == str(out) and str(folder or item.folder) == item.folder]
    for path, error in damaged.items():
        if folder is None and path in (out, _old_place(project, str(out))) and isinstance(error, DamagedFileError):
            paths.append(path)
        else:
            logger.warning("%s", _left_out(project, path, error))
    if not paths:
        what = f"{folder} -> {out}" if folder else str(out)
        known = ", ".join(f"{item.folder} -> {item.out}" for item in notes.values()) or "none"
        raise UsageError(f"{what}: no prediction of {project} is remembered there; there are: {known}")
    for path in paths:
        remove(path)


def _notes(project: Path) -> tuple[dict[Path, Remembered], dict[Path, Exception]]:
    """All notes, and what is wrong with those that cannot be read."""
    notes: dict[Path, Remembered] = {}
    damaged: dict[Path, Exception] = {}
    for path in find(project / PREDICTIONS, "*.json", strict=True):
        try:
            notes[path] = _read(path)
        except FileNotFoundError:  # forgotten just now
            continue
        except (UnetsegError, OSError) as error:  # one note must not hide the others
            damaged[path] = error
    return notes, damaged


def _left_out(project: Path, path: Path, error: Exception) -> str:
    """What follows from a note that cannot be read, and what can be done about it."""
    said = str(error) if isinstance(error, UnetsegError) else f"{path}: cannot be read ({error})"
    said += "; the outputs that it tells of are left out, whatever model made them"
    if not isinstance(error, DamagedFileError):
        return said
    return f"{said}: predict the same again, which writes the note anew, or forget it: " + in_project(
        f"unetseg predictions forget {quote(str(path))}", project
    )


def _read(path: Path) -> Remembered:
    plain = read_json(path)
    version = plain.pop("schema_version", None) if isinstance(plain, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(f"{path}: schema {version} is newer than this unetseg knows; use the one that wrote it")
    try:
        return TypeAdapter(Remembered).validate_python(plain)
    except ValidationError as error:
        raise DamagedFileError(f"{path}: damaged, tells of no prediction ({error.errors()[0]['msg']})") from None


def _began(before: Mapping[str, Any]) -> dict[str, Any]:
    """When the run began that ends now."""
    return {"began": before["began"]} if before else {}


def _place(project: Path, about: Remembered) -> Path:
    key = about.folder, about.settings.pattern, about.settings.exclude, about.out
    return project / PREDICTIONS / f"{text_hash(*key)[:_DIGITS]}.json"


def _old_place(project: Path, out: str) -> Path:
    """Where version 1 had its note."""
    return project / PREDICTIONS / f"{text_hash(out)[:_DIGITS]}.json"


def _is_replaced(old: Path, *, by: Path) -> bool:
    """Whether a note of version 1 is about the same as another one, or cannot be read."""
    try:
        return _place(by.parent.parent, _read(old)) == by
    except DamagedFileError as error:
        logger.warning("%s; what is predicted now takes its place", error)
        return True
