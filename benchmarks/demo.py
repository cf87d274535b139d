"""The README's demo, from a fresh clone: how long it takes, and how good the model is that it ends with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.timing import seconds
from unetseg.bundle import load_bundle
from unetseg.registry import model_folder

_ROOT = Path(__file__).parents[1]
_LONGEST, _LEAST = 300.0, 0.9


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """What is committed is cloned; pip finds its packages where it found them for this environment."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(clone)], check=True)
    python = f"PYTHON={sys.base_prefix}/bin/python3"  # not this environment's
    taken = seconds(lambda: subprocess.run(["make", "-C", str(clone), "demo", python], check=True, stdout=sys.stderr))
    yield "make demo, from a fresh clone, environment included", taken, "s", f"< {_LONGEST:g}", taken < _LONGEST
    scores = _scores(clone / "demo" / "models")
    for metric in ("recall", "precision"):
        name, row = min(scores.items(), key=lambda item: item[1][metric])
        found = row[metric]
        yield f"demo, lowest {metric} of a class on the test split: {name}", found, "", f">= {_LEAST}", found >= _LEAST


def _scores(models: Path) -> dict[str, dict[str, Any]]:
    """Those of each class, at the thresholds chosen on the validation split."""
    bundle = load_bundle(model_folder(models))
    assert bundle.evaluation is not None
    return {name: bundle.evaluation["scores"][name] for name in bundle.info.classes}
