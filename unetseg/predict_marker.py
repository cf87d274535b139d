"""The commit marker of a segmented scan: written last, it says what the outputs were made from.

While outputs are made again, the marker has no signature: it keeps what the old ones are called and made from, so that
whoever goes on after a kill removes those that are not made again. It names a model only where that of the old ones
makes the new ones too: else the files may be of either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from unetseg.errors import DamagedFileError
from unetseg.intensity_distance import Profile
from unetseg.json_files import read_json, write_json
from unetseg.masks import find_mask
from unetseg.object_table import ObjectRow
from unetseg.places import commit_marker
from unetseg.predict_job import SCHEMA_VERSION, Job
from unetseg.readers import ScanRef
from unetseg.sources import SourceFile, describe_file, hashes, same_files
from unetseg.storage import remove_if_there

__all__ = ["Marker", "Segmented", "read_marker"]

logger = logging.getLogger(__name__)

_NONE = ""
"""The signature of outputs that are being made again."""

Profiles = Mapping[str, Sequence[Profile]]


@dataclass(frozen=True)
class Segmented:
    """One scan's part of the table.

    Attributes:
        rows: one per class; of a stack, of each page.
        fresh: whether it was segmented now.
        note: what is odd about it, or nothing.
        profiles: how the normalised intensities of each channel are distributed, by the id of the scan or page.
        sources: hashes of the scan and of its guides.
    """

    rows: tuple[ObjectRow, ...]
    fresh: bool
    note: str
    profiles: Profiles
    sources: tuple[str, ...] = ()

    def named(self, scan: str) -> Segmented:
        """The same, as if it had been found on a scan of another id; it is no stack."""
        rows = tuple(replace(row, scan=scan) for row in self.rows)
        (profile,) = self.profiles.values()
        return replace(self, rows=rows, profiles={scan: profile})


@dataclass(frozen=True)
class _Content:
    """What the marker of outputs that are done says of them."""

    outputs: tuple[str, ...]
    sources: tuple[SourceFile, ...]
    rows: tuple[ObjectRow, ...]
    note: str
    profiles: dict[str, list[Profile]]


_CONTENT: Final = TypeAdapter(_Content)


class Marker:
    """The marker of one scan.

    Args:
        job: of the prediction.
        ref: the scan, or a stack as a whole.
        pages: of the stack.
    """

    def __init__(self, job: Job, ref: ScanRef, pages: Sequence[ScanRef] = ()) -> None:
        self._job, self._scan = job, ref.id
        self._path = commit_marker(job.out, ref.id)
        scans = pages or [ref]
        guides = (find_mask(guide, scan.id)[0] for scan in scans for guide in job.guides)
        self._files = list(dict.fromkeys([*(scan.path for scan in scans), *guides]))
        self._known = _read(self._path, ref.id)

    def done(self) -> Segmented | None:
        """What was found, if all outputs are there, and made of the same scan, model and settings."""
        known = self._known
        if not known or known["signature"] != self._job.signature:
            return None
        if self._job.renewal and known.get("renewal") != self._job.renewal:
            return None
        try:
            found = _CONTENT.validate_python(known)
        except ValidationError as error:
            logger.warning("%s: damaged (%s); its scan is done again", self._path, error.errors()[0]["msg"])
            return None
        if not self._is_up_to_date(found.outputs, found.sources):
            return None
        return Segmented(found.rows, False, found.note, found.profiles, tuple(hashes(found.sources)))

    @property
    def record(self) -> Mapping[str, Any]:
        """What it said when it was looked at; nothing where it was not there."""
        return self._known or {}

    def discard(self) -> None:
        """Remove outputs and marker, where there are any."""
        self.begin()
        for output in self.record.get("outputs", ()):
            remove_if_there(self._job.out / output)
        remove_if_there(self._path)

    def sources(self) -> list[SourceFile]:
        """Scan and guides as they are now; to be asked for before they are read."""
        return [describe_file(path) for path in self._files]

    def begin(self, outputs: Sequence[str] = ()) -> None:
        """From here until `finish`, what is there does not count as done.

        A scan that has no outputs yet gets no marker for it, which would cost a write per scan (see
        `unetseg.predict_begun`); one whose marker is damaged may have some.

        Args:
            outputs: that are about to be made, relative to the folder of the outputs; a kill may leave some of them.
        """
        if not self.record and not self._path.exists():
            return
        kept = {name: self.record[name] for name in ("schema_version", "sources") if name in self.record}
        if self.record.get("model") == self._model:
            kept["model"] = self._model
        names = dict.fromkeys([*self.record.get("outputs", ()), *outputs])
        self._write({**kept, "signature": _NONE, "outputs": list(names)})

    def finish(
        self,
        sources: Sequence[SourceFile],
        outputs: Sequence[str],
        rows: Iterable[ObjectRow],
        note: str,
        profiles: Profiles,
    ) -> Segmented:
        """Say that all outputs are there; those that other settings had made go.

        Args:
            sources: what they were made from.
            outputs: relative to the folder of the outputs.
            rows: of the table.
            note: what is odd about the scan.
            profiles: of the channels, by the id of the scan or page.
        """
        for stale in set(self.record.get("outputs", ())) - set(outputs):
            remove_if_there(self._job.out / stale)
        found = Segmented(tuple(rows), True, note, profiles, tuple(hashes(sources)))
        record = {
            "schema_version": SCHEMA_VERSION,
            "model": self._model,
            "signature": self._job.signature,
            "sources": [vars(source) for source in sources],
            "outputs": list(outputs),
            "rows": [vars(row) for row in found.rows],  # flat: `asdict` would take a twentieth of a small scan
            "note": note,
            "profiles": dict(profiles),
        }
        self._write(record | ({"renewal": self._job.renewal} if self._job.renewal else {}))
        self.drop_parts()
        return found

    def _write(self, record: Mapping[str, Any]) -> None:
        write_json(self._path, record, one_of_many=True)

    def drop_parts(self) -> None:
        """Parts of a scan that is done are of no use, whatever tiles or settings they were begun with."""
        if self._job.scratch.exists():  # the name of its folder takes longer than to look
            remove_if_there(self._job.unfinished(self._scan))

    @property
    def _model(self) -> dict[str, str]:
        """The one that makes the outputs now."""
        return {"version": self._job.bundle.name, "digest": self._job.digest}

    def _is_up_to_date(self, outputs: Sequence[str], sources: Sequence[SourceFile]) -> bool:
        """Whether all outputs are there and the files what they were: by size and time, else by content."""
        if not all((self._job.out / name).exists() for name in outputs):
            return False
        return same_files(sources, self._files) or hashes(sources) == hashes(self.sources())


def read_marker(path: Path, scan: str) -> dict[str, Any]:
    """What a marker says.

    Args:
        path: of the marker.
        scan: the id of its scan.

    Raises:
        FileNotFoundError: there is none.
        DamagedFileError: it is none, or names outputs of others, which would be removed as its own.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not _is_sound(found):
        raise DamagedFileError(f"{path}: damaged, is no commit marker; remove it")
    if foreign := [name for name in found["outputs"] if not _is_of(scan, name)]:
        raise DamagedFileError(f"{path}: damaged, names {foreign[0]!r}, which is no output of {scan}; remove it")
    return found


def _read(path: Path, scan: str) -> dict[str, Any] | None:
    """What a marker says; one that is damaged is none, so that its scan is done again."""
    try:
        return read_marker(path, scan)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        logger.warning("%s; its scan is done again", error)
        return None


def _is_sound(found: Mapping[str, Any]) -> bool:
    """Whether the parts are there that markers of all schemas have, and of those that are being made again."""
    signature, outputs, model = (found.get(name) for name in ("signature", "outputs", "model"))
    if not isinstance(signature, str) or not isinstance(outputs, list) or not isinstance(model, dict | None):
        return False
    sources = found.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(source, dict) and "path" in source for source in sources):
        return False
    named = model is None or {"version", "digest"} <= model.keys()
    return named and all(isinstance(name, str) for name in (*outputs, *(model or {}).values()))


def _is_of(scan: str, name: str) -> bool:
    """Whether an output is called as the scan, or a page of it, and lies below the folder of the outputs."""
    return name.startswith(f"{scan}.") and ".." not in name.split("/") and "\0" not in name
