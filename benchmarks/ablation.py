"""What each part of training brings on one real set: ``python -m benchmarks.ablation EPOCHS [SET]``.

Needs the folder named by UNETSEG_DATA. Every variant trains for the same number of steps from the same seeds, on the
same splits. Writes ``docs/benchmarks/ablation.md``; what is in ``ablation.json`` beside it is not trained again, so the
same command goes on where one was stopped.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks.pipeline import HEAD, prepare, run, score_rows, table
from benchmarks.real_scans import SETS

_OUT: Final = Path(__file__).parents[1] / "docs" / "benchmarks" / "ablation.md"
_ROWS: Final = _OUT.with_suffix(".json")
_SEEDS: Final = (0, 1)

Rows = list[list[str]]

VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "everything (the defaults)": (),
    "cross-entropy alone": ("loss.dice=0",),
    "Dice alone": ("loss.cross_entropy=0",),
    "no class weights": ("loss.class_weights=none",),
    "no foreground oversampling": ("train.foreground_fraction=0",),
    "no augmentation": (
        *("augment.flips=no", "augment.warped_fraction=0"),
        *("augment.contrast=0", "augment.brightness=0", "augment.noise=0"),
    ),
    "flips and intensities, no warps": ("augment.warped_fraction=0",),
}


def main(epochs: int, name: str) -> None:
    """Train every variant that has not been trained yet, and write the page after each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    scans, masks = (Path(os.environ["UNETSEG_DATA"]) / part for part in SETS[name])
    rows: dict[str, Rows] = json.loads(_ROWS.read_text()) if _ROWS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="unetseg-ablation-") as folder:
        project = prepare(scans, masks, Path(folder) / name)
        for seed, title in product(_SEEDS, VARIANTS):
            key = f"{name}, {epochs} epochs, {title}, {seed}"
            if key in rows:
                continue
            rows[key] = _train(project, title, epochs, seed)
            print(*(" | ".join(row) for row in rows[key]), sep="\n", flush=True)
            _ROWS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
            _OUT.write_text(_page(name, epochs, rows))


def _train(project: Path, title: str, epochs: int, seed: int) -> Rows:
    fixed = (
        "train.patch=128",
        f"train.epochs={epochs}",
        "train.max_minutes=0",
        "train.patience=0",
        f"train.seed={seed}",
    )
    return score_rows(title, run(project, [*fixed, *VARIANTS[title]]).scores, [str(seed)])


def _page(name: str, epochs: int, rows: dict[str, Rows]) -> str:
    text = (
        f"Set `{name}`, patches of 128 pixels, {epochs} epochs of the planned number of steps for each variant. The "
        "scores are of the test split, at the thresholds that validation chose. "
        f"{platform.machine()}, {os.cpu_count()} cores. Seeds show how much is chance."
    )
    head = ["variant", "class", *HEAD, "seed"]
    keys = [f"{name}, {epochs} epochs, {title}, {seed}" for title, seed in product(VARIANTS, _SEEDS)]
    shown = [row for key in keys for row in rows.get(key, [])]
    return "\n\n".join(["# What each part of training brings", text, table(head, shown) + "\n"])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "em_vnc")
