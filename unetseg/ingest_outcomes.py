"""What became of each scan of an ingest: stored, left out, set aside; and whether too many were set aside."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from unetseg.errors import BadFileError, DataError, UsageError
from unetseg.ingest_rules import UnlabelledError
from unetseg.ingest_scan import IngestedScan
from unetseg.readers import BadFile, ScanRef
from unetseg.words import counted, too_many

__all__ = ["Outcome", "Outcomes"]

logger = logging.getLogger(__name__)

Outcome: TypeAlias = tuple[ScanRef, IngestedScan | Exception]
"""A scan, and its record or what went wrong."""


class Outcomes:
    """Sorts what became of each scan.

    Args:
        unreadable: files that were set aside before they became scans.
        labelled: whether any of these has a mask.

    Attributes:
        good: scans that are in the dataset, by id.
        quarantined: files that cannot be used.
        failed: files that failed in a way that nobody foresaw.
        unlabelled: scans without any mask.
    """

    def __init__(self, unreadable: Iterable[BadFile], *, labelled: bool = False) -> None:
        self.good: dict[str, IngestedScan] = {}
        self.quarantined = list(unreadable)
        self.failed: list[BadFile] = []
        self.unlabelled: list[str] = []
        self._labelled = labelled

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """File outcomes."""
        for ref, outcome in outcomes:
            self._labelled |= not isinstance(outcome, UnlabelledError)  # masks are looked for first
            match outcome:
                case IngestedScan():
                    self.good[ref.id] = outcome
                case UnlabelledError():
                    self.unlabelled.append(ref.id)
                case BadFileError():
                    self.quarantined.append(BadFile(str(ref.path), str(outcome)))
                case _:
                    self.failed.append(BadFile(str(ref.path), f"{type(outcome).__name__}: {outcome}"))

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """All files that were set aside, in a stable order."""
        return tuple(sorted(self.quarantined + self.failed, key=lambda item: item.path))

    def check(self, limit: float, why_unlabelled: Callable[[], str]) -> None:
        """Refuse too many scans that were set aside, and scans of which none has a mask.

        Args:
            limit: share of the scans that may be set aside.
            why_unlabelled: tells where masks were looked for.

        Raises:
            UsageError: no scan has a mask.
            DataError: a larger share was set aside than the limit.
        """
        total = len(self.good) + len(self.bad)
        several = Counter(self.bad)  # pages of a stack may all have one reason
        for item, number in several.items():
            logger.warning("quarantined %s%s", item, f" ({counted(number, 'page')})" if number > 1 else "")
        if not (self.good or self.bad):
            raise UsageError(f"ingest: {why_unlabelled()}")
        if not self.good or len(self.bad) > limit * total:
            reasons = [f"{Path(item.path).name}: {item.reason}" for item in list(several)[:3]]
            if self.unlabelled and not self._labelled:
                reasons.append(why_unlabelled())
            what = f"no scan of {total} can be used"
            if len(self.bad) > limit * total:
                what = too_many(len(self.bad), total, "ingest.max_failed_fraction", limit)
            raise DataError(f"ingest: {what}; {'; '.join(reasons)}")
