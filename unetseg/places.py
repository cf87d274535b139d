"""What unetseg itself writes in a project, and what tells its folders from those of the user: no scan or mask is there.

::

    PROJECT/
      unetseg.yaml         where the scans are, and settings; a folder that holds it is a project
      dataset.zarr/        what ingest leaves
      data_check.html      the page about it
      runs/                a folder per training
      models/              a folder per version, and the aliases
      evaluations/         a dataset and scores per other folder of scans
      comparisons/         pages of `unetseg models compare`
      predictions/         what the project remembers of its outputs
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

__all__ = [
    "COMPARISONS",
    "DATASET",
    "DATA_CHECK",
    "EVALUATIONS",
    "MODELS",
    "OUTPUTS_BEGUN",
    "OUTPUTS_COUNTED",
    "PREDICTIONS",
    "PROJECT_FILE",
    "PROJECT_PLACES",
    "RECORDS",
    "RUNS",
    "commit_marker",
    "has_outputs",
    "own_paths",
]

PROJECT_FILE = "unetseg.yaml"
DATASET = "dataset.zarr"
DATA_CHECK = "data_check.html"
RUNS = "runs"
MODELS = "models"
EVALUATIONS = "evaluations"
COMPARISONS = "comparisons"
PREDICTIONS = "predictions"
PROJECT_PLACES = (PROJECT_FILE, DATASET, DATA_CHECK, RUNS, MODELS, EVALUATIONS, COMPARISONS, PREDICTIONS)

OUTPUTS_BEGUN = ".begun.json"
"""In a folder of outputs while a prediction runs, and after one that was killed."""
OUTPUTS_COUNTED = ".files.json"
"""In a folder of outputs from the end of its first prediction."""
RECORDS = "records"
"""In a folder of outputs: a commit marker per scan."""


def commit_marker(out: Path, scan: str) -> Path:
    """What says in a folder of outputs that those of a scan are complete."""
    return out / RECORDS / f"{scan}.json"


def has_outputs(folder: Path) -> bool:
    """Whether a prediction has written into a folder."""
    return any((folder / name).exists() for name in (OUTPUTS_COUNTED, OUTPUTS_BEGUN))


def own_paths(root: Path) -> Callable[[str], bool]:
    """Tells of image files below a folder, by paths with '/' between names, whether unetseg wrote them.

    These are all in the places of a project that is in that folder, or is that folder; and the outputs of scans in any
    folder below it. The same names elsewhere are the user's, and outputs in a folder that is asked for may be masks.

    Args:
        root: the folder; what is asked of folders in it is remembered.
    """

    @cache
    def is_project(folder: str) -> bool:
        return (root / folder / PROJECT_FILE).exists()

    @cache
    def is_within(folder: str) -> bool:
        """Whether a folder is such a place, or in one."""
        return bool(folder) and is_place(folder)

    @cache
    def outputs_at(folder: str) -> tuple[str, ...]:
        """Of a folder and those above it, the ones that hold outputs."""
        if not folder:
            return ()
        return (*outputs_at(folder.rpartition("/")[0]), *([folder] if has_outputs(root / folder) else ()))

    def is_place(path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return is_within(folder) or (name in PROJECT_PLACES and is_project(folder))

    def is_output(path: str) -> bool:
        return any(_has_record(root / out, path.removeprefix(f"{out}/")) for out in outputs_at(path.rpartition("/")[0]))

    return lambda path: is_place(path) or is_output(path)


def _has_record(out: Path, output: str) -> bool:
    """Whether a scan's commit marker is there: ``a.objects.ome.zarr`` may be of ``a``, or of ``a.objects``."""
    folder, slash, name = output.rpartition("/")
    first, *more = name.split(".")
    scans = (folder + slash + ".".join([first, *more[:count]]) for count in range(len(more)))
    return any(commit_marker(out, scan).exists() for scan in scans)
