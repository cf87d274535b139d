"""Whether scans on which a model is judged were among those that made it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from unetseg.scan_record import ScanRecord

if TYPE_CHECKING:
    from unetseg.bundle import BundleInfo

__all__ = ["scan_marks", "seen_in_training"]

_DIGITS = 16  # hexadecimal: two of a million scans share a mark with a chance of 3e-8


def scan_marks(scans: Iterable[ScanRecord]) -> tuple[str, ...]:
    """Short hashes of the pictures of some scans, in an order that tells nothing.

    Of the pictures and not of the names: a renamed copy is known again, another patient's ``001`` is not taken for this
    one's, and nobody can find a name by trying. A picture is known as long as it is normalised by the same rule.

    Args:
        scans: of a dataset.
    """
    return tuple(sorted({_mark(scan) for scan in scans}))


def seen_in_training(info: BundleInfo, scans: Iterable[ScanRecord]) -> tuple[str, ...]:
    """Ids of the scans that trained or validated a model; none where its bundle is too old to tell.

    Args:
        info: of the model.
        scans: normalised by ``info.settings.ingest``.
    """
    known = set(info.training_scans)
    return tuple(scan.id for scan in scans if _mark(scan) in known)


def _mark(scan: ScanRecord) -> str:
    return scan.content[:_DIGITS]
