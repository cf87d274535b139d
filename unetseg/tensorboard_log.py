"""TensorBoard files of a training, written by tensorboardX: no TensorFlow is needed, on no Keras backend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from tensorboardX import SummaryWriter

from unetseg.history import Row

__all__ = ["TensorBoardLog"]

_FLUSH_SECONDS: Final = 1  # one looks while it trains, and a run that is killed loses no more than this

# TensorBoard draws equal tags of several runs in one chart: training and validation are two runs.
_TAGS: Final = {
    "loss": ("train", "loss"),
    "learning_rate": ("train", "learning_rate"),
    "seconds": ("train", "seconds"),
    "validation_score": ("validation", "score"),
}
_CLASS_TAGS: Final = {"train_dice_": "train", "validation_dice_": "validation"}


class TensorBoardLog:
    """The rows of a history as TensorBoard's files; look with ``tensorboard --logdir FOLDER``.

    A training that was killed and goes on begins with an epoch that may have been logged before. The first row says
    which: TensorBoard then drops what earlier files hold of that epoch and later ones.

    Args:
        folder: for the two runs ``train`` and ``validation``, on a local disk; made with the first row.

    Example:
        >>> log = TensorBoardLog(run / "tensorboard")  # doctest: +SKIP
        >>> log.add({"epoch": 1, "loss": 0.7, "validation_score": 0.4})  # doctest: +SKIP
        >>> log.close()  # doctest: +SKIP
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, SummaryWriter] = {}

    def add(self, row: Row) -> None:
        """Log an epoch's row; what was not measured is left out."""
        epoch = int(row["epoch"] or 0)
        if not self._writers:
            self._writers = {run: self._writer(run, epoch) for run in ("train", "validation")}
        for column, value in row.items():
            place = _place(column)
            if place and value is not None and not math.isnan(value):
                run, tag = place
                self._writers[run].add_scalar(tag, value, epoch)

    def close(self) -> None:
        """Write what is waiting, and let go of the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, run: str, epoch: int) -> SummaryWriter:
        return SummaryWriter(
            str(self._folder / run),
            purge_step=epoch,
            flush_secs=_FLUSH_SECONDS,
            filename_suffix=f".{epoch:05d}",  # a file is named by the second, and a run may go on within it
        )


def _place(column: str) -> tuple[str, str] | None:
    """Run and tag of a column; None for the epoch itself."""
    for prefix, run in _CLASS_TAGS.items():
        if column.startswith(prefix):
            return run, f"dice/{column.removeprefix(prefix)}"
    return _TAGS.get(column)
