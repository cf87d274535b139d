"""A folder as people have them: a few broken files among many scans do not keep the others from being segmented."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.faults import Injected
from unetseg.synth import draw_eye, write_eyes

pytestmark = pytest.mark.drill

FILES, PLAIN = 200, 194  # 194 eyes, and one file of each kind below
PAGES = 1  # of the stack, each segmented as a scan
SEGMENTED = PLAIN + 1 + PAGES  # the eyes, the one of 16 bits, and the stack
GARBAGE = b"\x01\x02\x03\x04garbage" * 300


@dataclass(frozen=True)
class Folder:
    """The folder, and what is said of its broken files.

    Attributes:
        scans: the folder.
        reasons: by name of the file.
    """

    scans: Path
    reasons: dict[str, str]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    write_eyes(tmp_path, subjects=PLAIN, scans_per_subject=1, size=(128, 128))
    scans = tmp_path / "scans"
    for number, path in enumerate(sorted(scans.glob("*.tif"))):
        sides = 64 + number % 65, 128 - number * 7 % 65  # 64 to 128 pixels, all different
        tifffile.imwrite(path, tifffile.imread(path)[: sides[0], : sides[1]])
    eye = tifffile.imread(scans / "s01_1.tif")
    tifffile.imwrite(scans / "deep.tif", eye.astype(np.uint16) * 200)
    tifffile.imwrite(scans / "stack.tif", np.stack([eye, eye[::-1], eye[:, ::-1]]), photometric="minisblack")
    tifffile.imwrite(scans / "colour.tif", np.stack([eye, 255 - eye, eye // 2], axis=-1), photometric="rgb")
    whole = (scans / "s01_1.tif").read_bytes()
    (scans / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (scans / "garbage.tif").write_bytes(GARBAGE)
    (scans / "empty.tif").write_bytes(b"")
    formats = "not a DICOM, TIFF, PNG, JPEG, BMP, GIF, WebP, PNM, JPEG 2000 or NIfTI"
    channels = "has 3 channels where 1 are expected; convert the file, or name 3 channels in scans.channels"
    reasons = {
        "colour.tif": channels,
        "cut.tif": f"is cut short: pixels up to byte {len(whole)} of {len(whole) // 2}",
        "empty.tif": "is empty: 0 bytes; copy it again",
        "garbage.tif": f"cannot be read: {formats} (starts with {GARBAGE[:8]!r})",
    }
    return Folder(scans, reasons)


def test_what_can_be_done_is_done_and_the_rest_has_reasons(
    folder: Folder, trained_folder: Path, tmp_path: Path, injected: Injected, say: Any
):
    scans, out = folder.scans, tmp_path / "out"
    assert len(list(scans.iterdir())) == FILES
    bundle = trained_folder / "models" / "0001"

    injected("predict: broken file", len(folder.reasons))
    first = run(bundle, scans, out)
    assert (first["done"], first["skipped"], first["failed"]) == (SEGMENTED, 0, 0)
    assert reasons(first) == folder.reasons
    assert len(list((out / "records").glob("*.json"))) == SEGMENTED
    page = (out / "gallery.html").read_text()
    assert [name for name in folder.reasons if name not in page] == []
    before = contents(out)

    again = run(bundle, scans, out)
    assert (again["done"], again["skipped"]) == (0, SEGMENTED)
    assert reasons(again) == reasons(first)
    assert contents(out) == before

    for number, name in enumerate(folder.reasons):
        tifffile.imwrite(scans / name, eye(number))
    mended = run(bundle, scans, out, status=0)
    assert (mended["done"], mended["skipped"], mended["quarantine"]) == (len(folder.reasons), SEGMENTED, [])
    assert "cut short" not in (out / "gallery.html").read_text()
    after = contents(out)
    scenes = {name: data for name, data in before.items() if name.startswith("records/")}
    assert {name: after[name] for name in scenes} == scenes
    say(f"predict: {FILES} files, {len(folder.reasons)} broken: {SEGMENTED} scans done, then 0, then {mended['done']}")


def eye(number: int) -> np.ndarray:
    return draw_eye(900 + number, 1, size=(96, 96)).image


def run(bundle: Path, scans: Path, out: Path, *, status: int = 3) -> dict[str, Any]:
    """What the command answers."""
    command = [sys.executable, "-m", "flows.cli", "predict", scans, out, "--bundle", bundle, "--json"]
    found = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == status, found.stderr
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def reasons(answer: dict[str, Any]) -> dict[str, str]:
    """Why files were set aside, by their names."""
    return {Path(item["path"]).name: item["reason"] for item in answer["quarantine"]}


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the record of when and how long."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
