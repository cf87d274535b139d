"""What a run says to the worker that started it, which may be gone before the run is."""

from __future__ import annotations

import logging
from contextlib import suppress

from prefect.logging.handlers import PrefectConsoleHandler

__all__ = ["RunOutput"]


class RunOutput(PrefectConsoleHandler):
    """Prefect's handler, which falls silent where nobody reads any more.

    A run writes into a pipe of its worker. Where that was killed the pipe is broken, and Rich, by which Prefect writes,
    ends the process with `SystemExit`, as is right for ``command | head``: with its next line the run was *Crashed*.
    ``prefect.yaml`` names this class to all runs.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or nothing."""
        with suppress(SystemExit):  # Rich itself says nothing more from here on
            super().emit(record)
