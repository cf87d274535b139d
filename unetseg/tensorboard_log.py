"""TensorBoard files of a training, made with tensorboardX: no TensorFlow is needed, on no Keras backend.

Not by its ``SummaryWriter``, whose thread ends on a full disk, and whose queue is then waited for without end.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
import time
from pathlib import Path
from typing import Any, Final

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from unetseg.history import Row

__all__ = ["TensorBoardLog"]

logger = logging.getLogger(__name__)

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
    which: TensorBoard then drops what earlier files hold of that epoch and later ones. A row that cannot be written is
    told of, and is no reason to end a training.

    Args:
        folder: for the two runs ``train`` and ``validation``, on a local disk; made with the first row.

    Example:
        >>> log = TensorBoardLog(run / "tensorboard")  # doctest: +SKIP
        >>> log.add({"epoch": 1, "loss": 0.7, "validation_score": 0.4})  # doctest: +SKIP
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def add(self, row: Row) -> None:
        """Log an epoch's row; what was not measured is left out."""
        try:
            self._add(row)
        except OSError as error:
            logger.warning("epoch %s is not in TensorBoard's files: %s", row["epoch"], error)
            self._files = {}  # after half a record nothing is read: the next row begins another file

    def _add(self, row: Row) -> None:
        epoch = int(row["epoch"] or 0)
        events: dict[str, list[Any]] = {"train": [], "validation": []}
        for column, value in row.items():
            place = _place(column)
            if place and value is not None and not math.isnan(value):
                run, tag = place
                events[run].append(Event(wall_time=time.time(), step=epoch, summary=scalar(tag, value)))
        if not self._files:
            self._files = {run: self._begin(run, epoch) for run in events}
        for run, found in events.items():
            _append(self._files[run], found)

    def _begin(self, run: str, epoch: int) -> Path:
        """A file that takes the place of what others hold of this epoch and later ones."""
        now = time.time()
        # Named by the second, and a run may go on within it.
        path = self._folder / run / f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{epoch:05d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        restart = SessionLog(status=SessionLog.START)
        _append(
            path,
            [
                Event(wall_time=now, file_version="brain.Event:2"),
                Event(wall_time=now, step=epoch, session_log=restart),
            ],
        )
        return path


def _append(path: Path, events: list[Any]) -> None:
    """Add records, each as ``length, checksum, event, checksum``."""
    with path.open("ab") as file:
        for event in events:
            data = event.SerializeToString()
            length = struct.pack("<Q", len(data))
            file.write(length + _checksum(length) + data + _checksum(data))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def _place(column: str) -> tuple[str, str] | None:
    """Run and tag of a column; None for the epoch itself."""
    for prefix, run in _CLASS_TAGS.items():
        if column.startswith(prefix):
            return run, f"dice/{column.removeprefix(prefix)}"
    return _TAGS.get(column)
