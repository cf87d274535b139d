"""Write the dataset that test_napari.py opens, and beside it what should be seen there.

For an environment that has unetseg; the one with napari has not: ``python tests/drills/napari_dataset.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tifffile

from unetseg.dataset import open_dataset
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import load_project
from unetseg.synth import write_eyes

PIXEL_SIZE = (0.5, 0.25)  # micrometres, y and x
PER_CENTIMETRE = tuple(10_000 / size for size in reversed(PIXEL_SIZE))


def main(folder: Path) -> None:
    """Ingest colour scans that know their pixel size."""
    eyes = write_eyes(folder / "eyes", subjects=3, scans_per_subject=1, size=(96, 128), colour=True)
    for path in eyes.scans.glob("*.tif"):
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, pixels, photometric="rgb", resolution=PER_CENTIMETRE, resolutionunit="CENTIMETER")
    init(eyes.scans, eyes.masks, project=folder / "project", guides=eyes.guides)
    project = load_project(folder / "project")
    ingest(project)
    data = open_dataset(project.dataset)
    record = next(record for record in data.index.scans.values() if min(record.class_pixels.values()) > 0)
    masks = np.stack([tifffile.imread(eyes.masks / name / f"{record.id}.tif") > 0 for name in data.index.classes])
    np.savez(
        folder / "expected.npz",
        image=np.moveaxis(data.image(record).astype(np.float32), -1, 0),
        fields=(masks << np.arange(len(masks))[:, None, None]).sum(axis=0),
    )
    expected = {
        "scan": str(project.dataset / "scans" / record.key),
        "name": record.id,
        "channels": data.index.channels,
        "classes": data.index.classes,
        "pixel_size": PIXEL_SIZE,
    }
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
