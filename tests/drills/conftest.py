"""What the drills share: a collection of scans that changes, runs that are killed, and datasets that are compared.

Drills take minutes and kill processes; ``make drills`` runs them, ``make test`` does not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

LONGEST_RUN = 240  # seconds; a run that takes longer hangs
CLASSES = ("cell", "nucleus", "vessel")

_lines: list[str] = []


@pytest.fixture
def say():
    """Add a line to what is told at the end, passed or not: drills are also measurements."""
    return _lines.append


@pytest.fixture
def new_disk(tmp_path):
    """Makes disks that fill up when they are told to."""
    from tests.drills.small_disk import Disk

    made = []

    def make(name):
        made.append(Disk(tmp_path / name))
        return made[-1]

    yield make
    for disk in made:
        disk.remove()


def pytest_terminal_summary(terminalreporter):
    if _lines:
        terminalreporter.section("what the drills found")
        for line in _lines:
            terminalreporter.write_line(line)


# --------------------------------------------------------------------------- a collection


class Lab:
    """A project whose scans come two by two from the same patient, with overlapping classes and a guide.

    The same numbers and seeds give the same files wherever it is, so that a second one is the reference of the first.
    """

    def __init__(self, root, scans=40, size=(512, 640), **settings):
        from unetseg.config import ClassSource, GuideSource, IngestConfig, ScanSource, Settings, Sources
        from unetseg.project import Project, save_project

        self.root, self.size = root, size
        for number in range(scans):
            self.add(number)
        sources = Sources(
            ScanSource(str(root / "scans"), group=r"^p\d+"),
            tuple(ClassSource(name, str(root / "masks" / name)) for name in CLASSES),
            (GuideSource("region", str(root / "guides/region")),),
        )
        ingest = IngestConfig(**{"chunk": 256, "workers": 2} | settings)
        self.project = Project(root / "project", sources, Settings(ingest=ingest))
        save_project(self.project)

    def add(self, number, seed=0):
        """Write a scan, its masks and its guide; another seed changes it."""
        name = self.name(number)
        self.write_scan(name, self.random(number, seed, 0))
        for at, kind in enumerate((*(f"masks/{name}" for name in CLASSES), "guides/region"), start=1):
            self.write_mask(f"{kind}/{name}.tif", self.random(number, seed, at))

    def change_image(self, number, seed):
        self.write_scan(self.name(number), self.random(number, seed, 0))

    def change_mask(self, number, seed):
        self.write_mask(f"masks/{CLASSES[seed % 3]}/{self.name(number)}.tif", self.random(number, seed, 1))

    def change_much(self, seed):
        """A night's changes: four masks, four images, a whole scan, and a new one of a patient who was there."""
        numbers = self.random(0, seed, 9).permutation(40)
        for number in numbers[:4]:
            self.change_mask(number, seed)
        for number in numbers[4:8]:
            self.change_image(number, seed)
        self.add(numbers[8], seed)
        self.add(40 + seed, seed)

    def name(self, number):
        return f"p{number % 20:02d}_{number // 20}"

    def random(self, *seed):
        import numpy as np

        return np.random.default_rng(seed)

    def write_scan(self, name, random):
        import numpy as np

        pixels = random.normal(random.integers(5000, 20000), 1500, self.size).clip(0).astype(np.uint16)
        centimetres = 10_000 / 0.5  # half a micrometre a pixel
        self.write(f"scans/{name}.tif", pixels, resolution=(centimetres, centimetres), resolutionunit="CENTIMETER")

    def write_mask(self, place, random):
        """Rectangles: those of different classes overlap."""
        import numpy as np

        mask = np.zeros(self.size, np.uint8)
        for _ in range(6):
            y, x = (random.integers(0, side // 2) for side in self.size)
            mask[y : y + self.size[0] // 3, x : x + self.size[1] // 3] = 255
        self.write(place, mask)

    def write(self, place, pixels, **options):
        import tifffile

        from unetseg.storage import write_bytes

        file = BytesIO()
        tifffile.imwrite(file, pixels, photometric="minisblack", compression="zlib", **options)
        write_bytes(self.root / place, file.getvalue())

    @property
    def command(self):
        return [sys.executable, "-m", "flows.cli", "ingest", "--project", str(self.project.folder)]

    def run(self):
        """Let the command end; returns how many seconds it took."""
        started = time.perf_counter()
        found = subprocess.run(self.command, capture_output=True, text=True, timeout=LONGEST_RUN, check=False)
        assert found.returncode == 0, found.stderr
        return time.perf_counter() - started


@pytest.fixture
def new_lab() -> type[Lab]:
    """Makes a collection in a folder."""
    return Lab


# --------------------------------------------------------------------------- killing


@dataclass(frozen=True)
class Kill:
    """A run that was killed, or ended before."""

    ended: bool
    seconds: float


class Killer:
    """Starts commands in process groups of their own, and kills the groups."""

    def __init__(self):
        self.running: list[subprocess.Popen[bytes]] = []

    def after(self, seconds: float, command: list[str]) -> Kill:
        """Kill a command at a moment."""
        process, started = self.start(command), time.perf_counter()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill(process, started)
        return self.ended(process, started)

    def when(self, reached: Callable[[], bool], command: list[str]) -> Kill:
        """Kill a command as soon as something is true."""
        process, started = self.start(command), time.perf_counter()
        while process.poll() is None:
            if reached():
                return self.kill(process, started)
            assert time.perf_counter() - started < LONGEST_RUN, "neither ended nor came to where it should be killed"
            time.sleep(0.002)  # between two looks
        return self.ended(process, started)

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes], started: float) -> Kill:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LONGEST_RUN)
        return Kill(process.returncode == 0, time.perf_counter() - started)

    def ended(self, process: subprocess.Popen[bytes], started: float) -> Kill:
        _, said = process.communicate(timeout=LONGEST_RUN)
        assert process.returncode == 0, said.decode()
        return Kill(True, time.perf_counter() - started)

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=LONGEST_RUN)


@pytest.fixture
def killer() -> Iterator[Killer]:
    """What it started is gone at the end."""
    found = Killer()
    yield found
    found.close()


# --------------------------------------------------------------------------- prediction


@dataclass(frozen=True)
class Prediction:
    """A model, and a folder of small scans with a large one that is segmented in bands.

    Attributes:
        bundle: the model.
        scans: the folder.
        count: how many scans there are.
    """

    bundle: Path
    scans: Path
    count: int

    def start(self, out: Path, *options: object) -> subprocess.Popen[bytes]:
        """The command, in a process of its own."""
        command = [sys.executable, "-m", "flows.cli", "predict", self.scans, out, "--bundle", self.bundle, *options]
        command += ["--set", "predict.tile=1024"]  # several bands
        return subprocess.Popen(
            [*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def run(self, out: Path, *options: object) -> dict[str, object]:
        """Let the command end well; what it says it has done."""
        process = self.start(out, *options)
        _, said = process.communicate(timeout=LONGEST_RUN)
        assert process.returncode == 0, said.decode()
        return self.result(out)

    def result(self, out: Path) -> dict[str, object]:
        result = json.loads((out / "run.json").read_bytes())["result"]
        assert (result["failed"], result["quarantined"]) == ([], [])
        return result

    def markers(self, out: Path) -> dict[str, tuple[int, int]]:
        """The scans that are done: inode and time of each marker, which a second writing changes."""
        done = [path for path in (out / "records").glob("**/*.json") if json.loads(path.read_text())["signature"]]
        found = [(path.name, path.stat()) for path in done]
        return {name: (state.st_ino, state.st_mtime_ns) for name, state in found}

    def bands(self, out: Path) -> int:
        """Bands of the large scan that are done, while it is not."""
        return len(list((out / ".unfinished").glob("*/*/masks/written/*.json")))

    def contents(self, out: Path) -> dict[str, bytes]:
        """Every output; the records tell of times, too, but of the same ones.

        What a killed worker had half written stays beside the output, under a name that nobody reads.
        """
        files = [path for path in out.rglob("*") if path.is_file() and path.name not in {"run.json", ".lock"}]
        named = {path.relative_to(out).as_posix(): path for path in files}
        return {name: path.read_bytes() for name, path in named.items() if not name.startswith(".tmp-")}


@pytest.fixture(scope="session")
def new_prediction() -> Callable[..., Prediction]:
    """Makes scans to segment in a folder."""

    def make(folder: Path, bundle: Path, small: int = 40) -> Prediction:
        import tifffile

        from unetseg.synth import write_eyes

        write_eyes(folder, subjects=small, scans_per_subject=1, size=(256, 256))
        tifffile.imwrite(folder / "scans" / "slide.tif", slide(), tile=(512, 512), compression="zlib")
        return Prediction(bundle, folder / "scans", small + 1)

    return make


def slide(period: int = 830, periods: int = 5):
    """Spots of all sizes; few pixels, but as floats more than 64 MB, which are segmented in bands."""
    import numpy as np
    from scipy import ndimage

    pattern = ndimage.gaussian_filter(np.random.default_rng(0).random((period, period)), 4, mode="wrap")
    shown = np.float32(255 * (pattern - pattern.min()) / np.ptp(pattern))
    return np.tile(shown, (periods, periods))


# --------------------------------------------------------------------------- comparing


def content(lab: Lab) -> dict[str, object]:
    """Every file of a dataset: bytes, but JSON without times and without where the sources are."""
    from unetseg.storage import local_copy

    with local_copy(lab.project.dataset) as folder:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return {name: portable(path, str(lab.root)) for name, path in files.items()}


def portable(path: Path, root: str) -> object:
    data = path.read_bytes()
    return without_times(json.loads(data.replace(root.encode(), b"..."))) if path.suffix == ".json" else data


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key != "modified"}
    return [without_times(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def check_same():
    """Compares two datasets file by file; what a killed run left behind is a difference too."""

    def check(lab: Lab, reference: Lab) -> None:
        found, expected = content(lab), content(reference)
        assert sorted(found) == sorted(expected)
        assert [name for name in sorted(found) if found[name] != expected[name]] == []

    return check


def named(error: Exception) -> str:
    """What kind of error it is; it says what to type."""
    assert "unetseg ingest --project" in str(error)
    return type(error).__name__


@pytest.fixture
def check_opens():
    """Reads all that a dataset offers and compares it with what its index says; or it says what to do."""

    def check(lab: Lab) -> str:
        from unetseg.dataset import open_dataset
        from unetseg.errors import DataError, UsageError

        try:
            data = open_dataset(lab.project.dataset)
        except (DataError, UsageError) as error:
            return named(error)
        for record in data.index.scans.values():
            planes = data.read(record)
            described = repr((planes.image.shape, planes.image.dtype.str)).encode()
            assert sha256(described + planes.image.tobytes()).hexdigest() == record.image.content
            pixels = (planes.masks == 1).sum(axis=(0, 1))
            assert dict(zip(data.index.classes, pixels.tolist(), strict=True)) == asdict(record)["class_pixels"]
            assert planes.guides.shape == (*record.shape, 1)
        return "opens"

    return check
