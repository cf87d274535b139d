"""A disk that fills up in mid-prediction: one clear error, nothing half done, and the same command goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy import ndimage

from tests.drills.small_disk import ROOMY, Disk
from tests.faults import Injected
from unetseg.json_files import read_json
from unetseg.outputs import FORMATS
from unetseg.synth import write_eyes

pytestmark = pytest.mark.drill

SMALL = 40


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many small scans."""
    folder = tmp_path_factory.mktemp("small")
    write_eyes(folder, subjects=SMALL, scans_per_subject=1, size=(128, 128))
    return folder / "scans"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan that is segmented in bands."""
    folder = tmp_path_factory.mktemp("large")
    pattern = ndimage.gaussian_filter(np.random.default_rng(0).random((1000, 800)), 4, mode="wrap")
    shown = np.uint8(255 * (pattern - pattern.min()) / np.ptp(pattern))
    tifffile.imwrite(folder / "slide.tif", np.tile(shown, (9, 10)), rowsperstrip=256, compression="zlib")
    return folder


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_many_small_scans(
    form: str,
    small: Path,
    trained_folder: Path,
    tmp_path: Path,
    new_disk: Callable[[str], Disk],
    injected: Injected,
    say: Any,
):
    reference = new_disk("reference")
    needed = undisturbed(trained_folder, small, reference, form)
    done = []
    for share in (0.05, 0.3, 0.7, 0.97):
        disk = new_disk(f"disk {share}")
        disk.resize(int(share * needed))
        injected("predict: disk full")
        done.append(fails_and_goes_on(trained_folder, small, disk, reference, form))
    say(f"predict, disk full, {form}: {done} of {SMALL} scans were done")
    assert any(0 < count < SMALL for count in done)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_large_scan_in_bands(
    form: str,
    large: Path,
    trained_folder: Path,
    tmp_path: Path,
    new_disk: Callable[[str], Disk],
    injected: Injected,
    say: Any,
):
    reference = new_disk("reference")
    needed = undisturbed(trained_folder, large, reference, form)
    for share in (0.4, 0.98):
        disk = new_disk(f"disk {share}")
        disk.resize(int(share * needed))
        injected("predict: disk full")
        assert fails_and_goes_on(trained_folder, large, disk, reference, form) == 0
    say(f"predict, disk full, {form}: a scan of 72 megapixels, {needed / 1e6:.0f} MB of outputs")


def undisturbed(project: Path, scans: Path, disk: Disk, form: str) -> int:
    """Bytes that the outputs take."""
    assert run(project, scans, disk, form) == (0, "")
    return disk.used()


def fails_and_goes_on(project: Path, scans: Path, disk: Disk, reference: Disk, form: str) -> int:
    """How many scans were done when the disk was full."""
    out = disk.folder / "out"
    status, said = run(project, scans, disk, form)
    assert status == 1
    assert said == (
        f"error: [Errno 28] No space left on device: {out}; make space there and run the same command again: what is "
        "done stays, and it goes on from there\n"
    )
    left = contents(out)
    assert [name for name in left if ".tmp-" in name] == []
    expected = contents(reference.folder / "out")
    markers = [read_json(path) for path in (out / "records").glob("*.json")]
    finished = [name for name in left for marker in markers if name.startswith(tuple(marker["outputs"]))]
    assert len(finished) >= len(markers)
    assert [name for name in finished if left[name] != expected[name]] == []

    disk.resize(ROOMY)
    assert run(project, scans, disk, form) == (0, "")
    counted = read_json(out / "run.json")["result"]
    assert counted["skipped"] == len(markers)
    found = contents(out)
    assert sorted(found) == sorted(expected)
    assert [name for name in sorted(found) if found[name] != expected[name]] == []
    return len(markers)


def run(project: Path, scans: Path, disk: Disk, form: str) -> tuple[int, str]:
    """Exit status of the command, and what it said of errors."""
    from flows.cli import main

    bundle = project / "models" / "0001"
    settings = ["--set", f"predict.format={form}", "--set", "predict.probabilities=true"]
    command = ["predict", str(scans), str(disk.folder / "out"), "--bundle", str(bundle), *settings]
    found = CliRunner().invoke(main, command)
    errors = [line for line in found.stderr.splitlines(keepends=True) if line.startswith("error:")]
    return found.exit_code, "".join(errors)


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the record of when and how long."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
