"""The commit marker of a segmented scan: written last, it says what the outputs were made from."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unetseg.intensity_distance import Profile
from unetseg.masks import find_mask
from unetseg.object_table import ObjectRow
from unetseg.predict_job import Job
from unetseg.readers import ScanRef
from unetseg.sources import SourceFile, describe_file, hashes, same_files
from unetseg.storage import read_json, write_json

__all__ = ["Marker", "Segmented"]


@dataclass(frozen=True)
class Segmented:
    """One scan's part of the table.

    Attributes:
        rows: one per class.
        fresh: whether it was segmented now.
        note: what is odd about it, or nothing.
        profiles: how the normalised intensities of each channel are distributed.
    """

    rows: tuple[ObjectRow, ...]
    fresh: bool
    note: str
    profiles: tuple[Profile, ...] = ()


class Marker:
    """The marker of one scan.

    Args:
        job: of the prediction.
        ref: the scan.
    """

    def __init__(self, job: Job, ref: ScanRef) -> None:
        self._job = job
        self._path = job.out / "records" / f"{ref.id}.json"
        self._files = [ref.path, *(find_mask(guide, ref.id)[0] for guide in job.guides)]
        self._known: dict[str, Any] | None = read_json(self._path) if self._path.exists() else None

    def done(self) -> Segmented | None:
        """What was found, if all outputs are there, and made of the same scan, model and settings."""
        known = self._known
        if not known or known["signature"] != self._job.signature or not self._is_up_to_date(known):
            return None
        rows = tuple(ObjectRow(**row) for row in known["rows"])
        return Segmented(rows, False, known.get("note", ""), tuple(map(tuple, known["profiles"])))

    def sources(self) -> list[SourceFile]:
        """Scan and guides as they are now; to be asked for before they are read."""
        return [describe_file(path) for path in self._files]

    def begin(self) -> None:
        """From here until `finish`, what is there does not count as done."""
        self._path.unlink(missing_ok=True)

    def finish(
        self,
        sources: Sequence[SourceFile],
        outputs: Sequence[str],
        rows: Iterable[ObjectRow],
        note: str,
        profiles: Sequence[Profile],
    ) -> Segmented:
        """Say that all outputs are there; those that other settings had made go.

        Args:
            sources: what they were made from.
            outputs: relative to the folder of the outputs.
            rows: of the table.
            note: what is odd about the scan.
            profiles: of its channels.
        """
        for stale in set(self._known["outputs"] if self._known else ()) - set(outputs):
            _remove(self._job.out / stale)
        found = Segmented(tuple(rows), True, note, tuple(profiles))
        record = {
            "signature": self._job.signature,
            "sources": [asdict(source) for source in sources],
            "outputs": list(outputs),
            "rows": [asdict(row) for row in found.rows],
            "note": note,
            "profiles": list(found.profiles),
        }
        write_json(self._path, record)
        return found

    def _is_up_to_date(self, known: dict[str, Any]) -> bool:
        """Whether all outputs are there and the files what they were: by size and time, else by content."""
        if not all((self._job.out / name).exists() for name in known["outputs"]):
            return False
        sources = [SourceFile(**source) for source in known["sources"]]
        return same_files(sources, self._files) or hashes(sources) == hashes(self.sources())


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)
