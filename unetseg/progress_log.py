"""Progress as lines of the log, where nobody sees a bar: in a file, a pipe or a run of Prefect."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # it would load the workers, which `--help` does not need
    from unetseg.parallel import Progress

__all__ = ["PAUSE", "log_epochs", "log_scans"]

logger = logging.getLogger(__name__)

PAUSE: Final = 30.0
"""Seconds between two lines: a night of four hours leaves some hundreds."""


def log_epochs(*, pause: float = 0.0, clock: Callable[[], float] = time.monotonic) -> Progress:
    """A line for the first and the last epoch, and for those between that do not come too soon.

    Args:
        pause: seconds between two lines at least.
        clock: tells seconds.
    """
    told = -math.inf

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if done >= total or clock() - told >= pause:
            told = clock()
            logger.info("epoch %d of about %d: %s", done, total, what)

    return tell


def log_scans(stage: str, *, pause: float = PAUSE, clock: Callable[[], float] = time.monotonic) -> Progress:
    """A line now and then; none of a stage that is done before.

    Args:
        stage: that goes through scans.
        pause: seconds before the first line and between two.
        clock: tells seconds.
    """
    told = clock()

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if clock() - told >= pause:
            told = clock()
            logger.info("%s: %d of %d, last %s", stage, done, total, what)

    return tell
