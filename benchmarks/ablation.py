"""What each part of training brings on one real set: ``python -m benchmarks.ablation EPOCHS [SET]``.

Needs the folder named by UNETSEG_DATA. Every variant trains for the same number of steps from the same seeds, on the
same splits. Writes ``docs/benchmarks/ablation.md``.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.pipeline import HEAD, prepare, run, score_rows, table
from benchmarks.real_scans import SETS

_OUT: Final = Path(__file__).parents[1] / "docs" / "benchmarks" / "ablation.md"
_SEEDS: Final = (0, 1)

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
    """Train every variant and write the page."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    scans, masks = (Path(os.environ["UNETSEG_DATA"]) / part for part in SETS[name])
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="unetseg-ablation-") as folder:
        project = prepare(scans, masks, Path(folder) / name)
        for title, settings in VARIANTS.items():
            for seed in _SEEDS:
                fixed = (
                    "train.patch=128",
                    f"train.epochs={epochs}",
                    "train.max_minutes=0",
                    "train.patience=0",
                    f"train.seed={seed}",
                )
                found = score_rows(title, run(project, [*fixed, *settings]).scores, [str(seed)])
                rows += found
                print(*(" | ".join(row) for row in found), sep="\n", flush=True)
                _OUT.write_text(_page(name, epochs, rows))


def _page(name: str, epochs: int, rows: list[list[str]]) -> str:
    text = (
        f"Set `{name}`, patches of 128 pixels, {epochs} epochs of the planned number of steps for each variant. The "
        "scores are of the test split, at the thresholds that validation chose. "
        f"{platform.machine()}, {os.cpu_count()} cores. Two seeds show how much is chance."
    )
    head = ["variant", "class", *HEAD, "seed"]
    return "\n\n".join(["# What each part of training brings", text, table(head, rows) + "\n"])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "em_vnc")
