"""What a killed training goes on from: weights, optimiser and random states after the last whole epoch.

As plain arrays, in the order of the network's variables. Not as HDF5, which Keras writes: on a full disk it ends the
process now and then, and else keeps the file open, so that its space is not free.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from unetseg.array_archive import read_arrays
from unetseg.config import TrainConfig
from unetseg.errors import DamagedFileError
from unetseg.history import Row
from unetseg.json_files import read_json, write_json
from unetseg.storage import write_folder

__all__ = ["Checkpoint", "FitOutcome", "save_values", "seconds_allowed"]

_SECONDS_PER_MINUTE = 60
_HEADER = 512  # bytes at most of what an archive says of an array


@dataclass
class FitOutcome:
    """What the loop has seen so far; stored with each checkpoint.

    Attributes:
        history: one row per epoch.
        best_score: highest validation score.
        best_epoch: when that was, counted from 1; 0 before the first.
        seconds: time spent in epochs, over all attempts.
    """

    history: list[Row] = field(default_factory=list)
    best_score: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0

    def progress(self, config: TrainConfig, share: float = 0.0, seconds: float = 0.0) -> float:
        """How far training is, in [0, 1]: by epochs or by time, whichever is further.

        Args:
            config: with the epochs and the time.
            share: of the epoch that has begun.
            seconds: since it began.
        """
        by_epochs = (len(self.history) + share) / config.epochs
        by_time = (self.seconds + seconds) / seconds_allowed(config) if config.max_minutes else 0.0
        return min(1.0, max(by_epochs, by_time))

    def epochs_expected(self, config: TrainConfig) -> int:
        """How many epochs there will be, by how far training is while it goes on: at least one more than are done."""
        done = len(self.history)
        return max(done + 1, round(done / max(self.progress(config), 1e-9)))

    def is_out_of_time(self, config: TrainConfig) -> bool:
        """Whether the time was over before the epochs were."""
        return 0 < seconds_allowed(config) <= self.seconds and len(self.history) < config.epochs

    def note(self, row: Row, *, score: float, seconds: float) -> bool:
        """Add an epoch; returns whether it is the best so far."""
        self.history.append(row)
        self.seconds += seconds
        # While validation has nothing to tell, what has learned longest is best.
        better = score > self.best_score or score == self.best_score == 0
        if better:
            self.best_score, self.best_epoch = score, len(self.history)
        return better


class Checkpoint:
    """A folder with the last and the best weights; it is replaced as a whole, so that a kill leaves one or the other.

    ::

        last.npz        the network, its random generators and the optimiser after the last epoch
        best.npz        the network of the best epoch
        outcome.json    the history so far

    Args:
        folder: of this training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last, self._best = folder / "last.npz", folder / "best.npz"

    def save(self, model: keras.Model, outcome: FitOutcome, save_best: Callable[[Path], None] | None) -> None:
        """Write all of it.

        Args:
            model: as it goes on.
            outcome: so far.
            save_best: writes the best weights to a path, where this epoch is the best; None keeps the ones before.
        """
        with write_folder(self.folder) as folder:
            save_values(folder / self._last.name, _all_variables(model))
            if save_best:
                save_best(folder / self._best.name)
            else:
                shutil.copyfile(self._best, folder / self._best.name)  # not a link: some shares have none
            write_json(folder / "outcome.json", vars(outcome))

    def restore(self, model: keras.Model) -> FitOutcome:
        """What a killed run had reached, with its weights and optimiser put back; or a fresh start.

        Args:
            model: compiled.

        Raises:
            DamagedFileError: what is there is not what was saved.
        """
        if not self._last.exists():  # nor in checkpoints of before, which had HDF5
            return FitOutcome()
        model.optimizer.build(model.trainable_variables)
        self._load(self._last, _all_variables(model))
        path = self.folder / "outcome.json"
        plain = read_json(path)
        try:
            found = TypeAdapter(FitOutcome).validate_python(plain)
            return replace(found, history=plain["history"])  # its whole numbers as they were
        except (KeyError, ValidationError):
            raise self._damaged(path, "it tells of no epochs") from None

    def load_best(self, model: keras.Model) -> None:
        """Put the best weights into the model.

        Raises:
            DamagedFileError: they are not what was saved.
        """
        self._load(self._best, model.variables)

    def _load(self, path: Path, variables: Sequence[Any]) -> None:
        try:
            _load_values(path, variables)
        except MemoryError:
            raise
        except Exception as error:  # archives that are cut or changed raise nearly everything
            if isinstance(error, OSError) and error.errno:  # the disk's, not the file's
                raise
            raise self._damaged(path, str(error)) from error

    def _damaged(self, path: Path, why: str) -> DamagedFileError:
        return DamagedFileError(
            f"{path}: damaged, a training cannot go on from it ({why}); remove {self.folder}, and it begins anew"
        )


def save_values(path: Path, variables: Iterable[Any]) -> None:
    """Write the values of a network's variables, to be read in the same order.

    Args:
        path: of the ``.npz`` file.
        variables: Keras'.
    """
    np.savez(path, *[keras.ops.convert_to_numpy(variable) for variable in variables])


def _load_values(path: Path, variables: Sequence[Any]) -> None:
    """Put them back, all or none."""
    wanted = [keras.ops.convert_to_numpy(variable) for variable in variables]
    found = read_arrays(path, sum(_HEADER + values.nbytes for values in wanted))
    values = [found.get(f"arr_{number}") for number in range(len(found))]
    if [_form(one) for one in values] != [_form(one) for one in wanted]:
        raise ValueError("it holds the values of another network")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _form(values: NDArray[Any] | None) -> object:
    return None if values is None else (values.shape, values.dtype)


def _all_variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def seconds_allowed(config: TrainConfig) -> float:
    """The time budget; 0 where there is none."""
    return config.max_minutes * _SECONDS_PER_MINUTE
