"""Cut many units of work into batches, each of which is a task run of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

__all__ = ["file_weight", "in_batches"]

_BATCH_BYTES = 2e9  # of files that are about a minute of work

Unit = TypeVar("Unit")


def in_batches(units: Iterable[Unit], weight: Callable[[Unit], float]) -> Iterator[tuple[Unit, ...]]:
    """Cut units into batches, in their order; a batch ends with the unit that makes it weigh 1 or more.

    Args:
        units: of work.
        weight: the share of a batch that a unit takes.
    """
    members: list[Unit] = []
    total = 0.0
    for unit in units:
        members.append(unit)
        total += weight(unit)
        if total > 1 - 1e-9:  # a thousand times a thousandth
            yield tuple(members)
            members, total = [], 0.0
    if members:
        yield tuple(members)


def file_weight(path: Path | None, least: float, whole: float = _BATCH_BYTES) -> float:
    """The share of a batch that a file takes.

    Args:
        path: of the file; None: its size does not count, as of a page of a stack.
        least: what it takes however small it is: one over how many there are in a batch.
        whole: bytes of files that are a batch.
    """
    size = 0
    with suppress(OSError):  # it is gone, which the one who reads it says
        size = path.stat().st_size if path else 0
    return max(least, size / whole)
