"""Class statistics as rows of text, for terminals and for what runs show; the data check page has more."""

from __future__ import annotations

from unetseg.class_statistics import ClassStatistics

__all__ = ["CLASS_HEAD", "class_rows", "overlap_rows"]

CLASS_HEAD = ("class", "scans with", "without", "pixels", "share")
"""What the columns of `class_rows` are."""


def class_rows(found: ClassStatistics) -> list[list[str]]:
    """A row per class: scans with and without it, its pixels, and their share of all that count."""
    return [
        [name, f"{found.scans_with[name]:,}", f"{found.scans_without[name]:,}", f"{pixels:,}", _percent(share)]
        for (name, pixels), share in zip(found.pixels.items(), found.fractions.values(), strict=True)
    ]


def overlap_rows(found: ClassStatistics) -> list[list[str]]:
    """A row per class: its name, then the share of its pixels that each class covers too; none without overlaps."""
    shares = found.co_occurrence
    if not any(share for i, row in enumerate(shares) for j, share in enumerate(row) if i != j):
        return []
    return [
        [name, *("–" if share is None else _percent(share) for share in row)]
        for name, row in zip(found.pixels, shares, strict=True)
    ]


def _percent(share: float) -> str:
    return f"{share:.2%}"
