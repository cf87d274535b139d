"""What killed runs left of scans that they had not done: outputs without a commit marker.

A scan that has no outputs yet gets no marker before it is done, since that would cost a write per scan. Instead each
run says once what the names of its outputs end with, until it has ended::

    OUT/.begun.json    for each folder of scans, with its pattern: since when, and those endings

The next run whose outputs are called otherwise removes those that have no marker: nothing but what the killed command,
called again, would replace, and of that nothing that is older than its beginning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unetseg.config import PredictConfig
from unetseg.errors import DamagedFileError
from unetseg.json_files import read_json, write_json
from unetseg.outputs import FORMATS
from unetseg.places import OUTPUTS_BEGUN, commit_marker
from unetseg.predict_open import Prediction
from unetseg.predict_scan import output_names
from unetseg.readers import ScanRef
from unetseg.storage import locate, modified, remove, remove_if_there, text_hash

__all__ = ["begin_outputs", "end_outputs"]

logger = logging.getLogger(__name__)

_CLOCK_TICK = 2.0  # seconds: the coarsest that file systems use
_NANOSECONDS = 1e9  # in a second


def begin_outputs(prediction: Prediction) -> None:
    """Remove what killed runs left of scans that this one makes outputs of other names of, and note those names.

    Args:
        prediction: that holds the folder of its outputs.
    """
    path, own = prediction.job.out / OUTPUTS_BEGUN, _endings(prediction.config)
    begun = _read(path)
    for run in begun.values():
        for left in _left(prediction, _known_endings().intersection(run["endings"]) - own):
            if _changed(left) >= run["began"]:
                remove(left)
                logger.info("removed %s, which an earlier run has left", left)
    before = begun.get(_scans(prediction), {"began": time.time() - _CLOCK_TICK, "endings": []})
    now = before | {"endings": sorted(own.union(before["endings"]))}
    write_json(path, {**begun, _scans(prediction): now})


def end_outputs(prediction: Prediction) -> None:
    """The run was not killed, so each scan that it did has a marker: forget the names.

    Args:
        prediction: that ends.
    """
    path = prediction.job.out / OUTPUTS_BEGUN
    others = {scans: run for scans, run in _read(path).items() if scans != _scans(prediction)}
    if others:
        write_json(path, others)
    else:
        remove_if_there(path)


def _left(prediction: Prediction, endings: set[str]) -> Iterator[Path]:
    """Outputs with one of these endings that no marker tells of."""
    if not endings:
        return
    out = prediction.job.out
    for ref in prediction.refs:
        if commit_marker(out, ref.stack).exists():
            continue
        for name in (f"{scan}{ending}" for scan in dict.fromkeys([ref.id, ref.stack]) for ending in sorted(endings)):
            if out / name != ref.path and (out / name).exists() and not _is_marked(out, name):
                yield out / name


def _is_marked(out: Path, name: str) -> bool:
    """Whether a scan of another id, such as ``a.objects``, has an output of that name."""
    endings = [ending for ending in _known_endings() if name.endswith(ending)]
    return any(commit_marker(out, name.removesuffix(ending)).exists() for ending in endings)


def _changed(output: Path) -> float:
    """When an output was written, in seconds since 1970; in a store, a folder has no time, but its files have."""
    return max(modified(output), modified(output / "zarr.json")) / _NANOSECONDS


def _endings(config: PredictConfig) -> set[str]:
    """What names of outputs have after the id of the scan."""
    return set(output_names(config, ScanRef("", Path())))


def _known_endings() -> set[str]:
    """All that there can be: what stands in a file must not name others than outputs."""
    more: dict[str, Any] = {"objects": True, "probabilities": True}
    return set().union(*(_endings(PredictConfig(**more | {"format": form})) for form in FORMATS))


def _scans(prediction: Prediction) -> str:
    config = prediction.config
    return text_hash(str(locate(prediction.folder)), config.pattern, config.exclude)


def _read(path: Path) -> Mapping[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
    if not isinstance(found, dict) or not all(map(_is_sound, found.values())):
        raise DamagedFileError(
            f"{path}: damaged, tells of no runs; remove it: outputs that a killed run left stay then"
        )
    return found


def _is_sound(run: Any) -> bool:  # noqa: ANN401 (JSON)
    if not isinstance(run, dict) or not isinstance(run.get("began"), int | float):
        return False
    endings = run.get("endings")
    return isinstance(endings, list) and all(isinstance(ending, str) for ending in endings)
