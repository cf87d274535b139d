"""Progress of a step in the Prefect UI."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

__all__ = ["ProgressArtifact"]

logger = logging.getLogger(__name__)

_PAUSE = 2.0  # seconds between two updates: each takes the server about 16 ms


class ProgressArtifact:
    """An artifact that shows how far a step is; called as `unetseg.parallel.Progress` is.

    A server that does not take an update must not end the step: that is logged, and nothing more is shown.

    Args:
        key: of the artifact, and what is done.
        clock: tells seconds.
    """

    def __init__(self, key: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key, self._clock = key, clock
        self._artifact: UUID | None = None
        self._shown = float("-inf")
        self._latest: tuple[int, int, str] | None = None
        self._broken = False

    def __call__(self, done: int, total: int, what: str) -> None:
        """Note how far the step is, and show it where the last time was long enough ago."""
        self._latest = done, total, what
        if self._clock() - self._shown >= _PAUSE:
            self.flush()

    def flush(self) -> None:
        """Show what was noted last."""
        if self._latest is None or self._broken:
            return
        done, total, what = self._latest
        self._latest, self._shown = None, self._clock()
        try:
            self._show(100 * done / max(total, 1), f"{self._key}: {done:,} of {total:,}, last {what}")
        except Exception:
            self._broken = True
            logger.warning("%s: progress is not shown any more", self._key, exc_info=True)

    def _show(self, percent: float, sentence: str) -> None:
        if self._artifact is None:
            made = create_progress_artifact(percent, key=f"{self._key}-progress", description=sentence)
            self._artifact = cast(UUID, made)  # typed as one that may be awaited
        else:
            update_progress_artifact(self._artifact, percent, description=sentence)
