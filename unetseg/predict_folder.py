"""The folder of outputs while a prediction works in it.

One prediction at a time has it: a second one waits, and then finds done what the first did (object stores have no
locks). What killed runs left there goes at the beginning of the next one.

An overwriting has a name, ``OUT/.overwriting``, until all scans are done again; the commit markers that it writes hold
that name. So a call that was killed is gone on with by the next one that overwrites; one that does not gives it up.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from unetseg.full_disk import disk_errors_name
from unetseg.json_files import read_json, write_json
from unetseg.output_zarr import OmeZarr
from unetseg.predict_begun import begin_outputs, end_outputs
from unetseg.predict_open import Prediction
from unetseg.prediction_notes import remember
from unetseg.storage import is_remote, leftovers, locked, remove, remove_if_there

__all__ = ["occupied"]

logger = logging.getLogger(__name__)

_OVERWRITING = ".overwriting"
_HOUR = 3600.0  # seconds: no process stops writing in mid-file for as long


@contextmanager
def occupied(prediction: Prediction, *, overwrite: bool = False) -> Iterator[Prediction]:
    """Hold the folder of the outputs; no other prediction begins there meanwhile.

    Args:
        prediction: what is to be done; its project, where there is one, remembers the folder.
        overwrite: whether scans are done again that are up to date.

    Yields:
        The prediction, whose job knows the overwriting that it is part of.
    """
    out = prediction.job.out
    with locked(out):
        with disk_errors_name(out):
            _sweep(prediction)
            begin_outputs(prediction)
            name = _renewal(out, overwrite=overwrite)
            if prediction.project:
                remember(prediction.project, prediction.folder, prediction.job, prediction.config)
        yield replace(prediction, job=replace(prediction.job, renewal=name))
        end_outputs(prediction)
        if overwrite:
            remove_if_there(out / _OVERWRITING)


def _renewal(out: Path, *, overwrite: bool) -> str:
    """The name of the overwriting that begins or goes on; empty where there is none."""
    path = out / _OVERWRITING
    if not overwrite:
        remove_if_there(path)
        return ""
    if not path.exists():
        write_json(path, uuid.uuid4().hex)
    return str(read_json(path))


def _sweep(prediction: Prediction) -> None:
    """Remove what killed writes left, and parts of scans that are gone."""
    out, unfinished = prediction.job.out, prediction.job.scratch
    gone: set[Path] = set()
    if unfinished.exists():  # the names of all scans take time
        gone = {*unfinished.iterdir()} - {prediction.job.unfinished(ref.stack) for ref in prediction.refs}
    half = () if is_remote(out) else _temporaries(out)  # nothing is half there in an object store
    for path in [*gone, *half]:
        remove(path)
        logger.info("removed %s, which an earlier run has left", path)


def _temporaries(out: Path) -> Iterator[Path]:
    """Temporary files and folders in all folders but those that are outputs, which come to be complete."""
    for name, folders, _ in os.walk(out):
        yield from leftovers(Path(name), seconds=_HOUR, deep=False)
        folders[:] = [item for item in folders if not (item.startswith(".") or item.endswith(OmeZarr.suffix))]
