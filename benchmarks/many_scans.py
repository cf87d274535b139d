"""What 10,000 small scans cost beside the network: reading, outputs, records, table; by Prefect and by Dask, too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tifffile

from benchmarks.pipeline import quick_bundle
from benchmarks.timing import seconds
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.engines import Engine, open_engine
from unetseg.normalise import fit_scales, normalise
from unetseg.parallel import run_units
from unetseg.predict import predict
from unetseg.synth import write_eyes

__all__ = ["measure"]

_SCANS, _DIFFERENT, _SIDE = 10_000, 40, 256
_BARE = 400  # scans by which the network's own time is measured, before and after
_MOST, _AGAIN = 5.0, 0.02  # milliseconds a scan; share of the first run
_TINY = ("model.width=2", "model.depth=2")  # what is measured is not the network


def measure(folder: Path, scans: int = _SCANS) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Copies of some eyes of 256 x 256 pixels, and a network of two filters."""
    bundle, out = quick_bundle(folder, *_TINY), folder / "out"
    many = _many(folder / "many", scans)
    bare = _bare(bundle, sorted(many.glob("*.tif"))[:_BARE])

    def run(**more: str) -> None:
        predict(many, out, bundle=bundle, config=PredictConfig(max_failed_fraction=0), **more)

    def cost(call: Callable[[], object]) -> tuple[float, float]:
        shutil.rmtree(out, ignore_errors=True)
        before, taken, after = bare(), seconds(call), bare()
        return taken, (taken / scans - (before + after) / 2) * 1e3

    first, own = cost(run)
    yield f"predict, {scans} scans of 256 x 256, beside the network", own, "ms/scan", f"<= {_MOST:g}", own <= _MOST
    again = seconds(run) / first
    yield "the same again, nothing changed, of the first run", again, "x", f"<= {_AGAIN}", again <= _AGAIN
    for name, calling in (
        ("by two Dask workers", _by_dask(run)),
        ("as a flow of Prefect", _by_prefect(folder, many, out)),
    ):
        with calling as call:
            taken, own = cost(call)
        yield f"predict, {scans} scans of 256 x 256 {name}, beside the network", own, "ms/scan", "", None
        more = (taken - first) / scans * 1e3
        yield f"what that adds, {name}", more, "ms/scan", f"<= {_MOST:g}", more <= _MOST


def _many(folder: Path, scans: int) -> Path:
    eyes = write_eyes(folder.with_name("few"), subjects=_DIFFERENT, scans_per_subject=1, size=(_SIDE, _SIDE))
    folder.mkdir()
    few = [path.read_bytes() for path in sorted(eyes.scans.glob("*.tif"))]
    for number in range(scans):
        (folder / f"{number:05d}.tif").write_bytes(few[number % len(few)])
    return folder


def _bare(bundle: Path, paths: list[Path]) -> Callable[[], float]:
    """Tells the seconds that the engine takes for a scan that is in memory."""
    engine, rule = open_engine(bundle), load_bundle(bundle).info.settings.ingest
    pixels = (tifffile.imread(path)[..., None] for path in paths)
    images = [normalise(one, fit_scales(one, rule)) for one in pixels]
    return lambda: seconds(lambda: _segment(engine, images)) / len(images)


def _segment(engine: Engine, images: list[object]) -> None:
    for _, found in run_units(lambda image: engine({"image": image[None]}), images):
        if isinstance(found, Exception):
            raise found


@contextmanager
def _by_dask(run: Callable[..., None]) -> Iterator[Callable[[], object]]:
    """On a cluster that is there already."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield lambda: run(cluster=cluster.scheduler_address)


@contextmanager
def _by_prefect(folder: Path, scans: Path, out: Path) -> Iterator[Callable[[], object]]:
    """The flow, on a server that is there already, on the same cores."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")  # read when Prefect is imported
    from prefect.testing.utilities import prefect_test_harness

    from flows.predict import predict as flow

    with prefect_test_harness(server_startup_timeout=120):
        yield lambda: flow(str(folder / "project"), str(scans), str(out), model="latest")
