"""Which versions a person has taken out of production: what the gate must not promote again by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from unetseg.aliases import Aliases

__all__ = ["rollback_in_words", "rolled_back"]

_BY_DEFAULT: Final = "rolled back by hand"
_OF_THE_GATE: Final = "macro "  # each of its reasons to promote begins so


def rolled_back(aliases: Aliases, version: str) -> dict[str, Any] | None:
    """The line of history by which a person took a version out of production, where that was the last it did there.

    None where the version is production, never was, or made way for another in any other way the last time. A promotion
    by hand brings it back, and so lifts what a rollback said.

    Args:
        aliases: with their history.
        version: such as ``0007``.
    """
    if version == aliases.production:
        return None
    lines: list[dict[str, Any]] = [{"production": None, "previous": None}, *aliases.history]
    for before, line in reversed(list(pairwise(lines))):
        if before["production"] == version != line["production"]:
            return line if _is_rollback(before, line) else None
    return None


def rollback_in_words(version: str, line: dict[str, Any]) -> str:
    """Such as ``0007 was rolled back by ada@lab on 2026-11-20 (too eager)``."""
    who = f" by {line['who']}" if line.get("who") else ""
    return f"{version} was rolled back{who} on {line['time'][:10]} ({line['why']})"


def _is_rollback(before: dict[str, Any], line: dict[str, Any]) -> bool:
    """Whether a line of history, by which production moved, says so.

    Lines from before they did are rollbacks where they have the words that a rollback has by default, or where an older
    version changed places with production and the words are not the gate's. A person who promoted the previous version
    by its number is among them, and meant the same.
    """
    if "rolled_back" in line:
        return line["rolled_back"] is not None
    swapped = (line["production"], line.get("previous")) == (before.get("previous"), before["production"])
    back = swapped and None not in (line["production"], before["production"])
    older = back and int(line["production"]) < int(before["production"])
    return line["why"] == _BY_DEFAULT or (older and not line["why"].startswith(_OF_THE_GATE))
