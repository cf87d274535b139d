"""SIGKILL in mid-prediction: the same command goes on, and its outputs are those of an undisturbed run."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.drill

KILLS = 10
KILLS_OVER_OTHERS = 4
BANDS = 5  # fewer than the large scan has
OTHERS = ("--set", "predict.format=tiff", "--set", "predict.probabilities=true")


@dataclass(frozen=True)
class Prepared:
    """What is segmented, and what an undisturbed run makes of it.

    Attributes:
        prediction: model and scans.
        out: the outputs.
        seconds: what the run took.
    """

    prediction: Any
    out: Path
    seconds: float


@pytest.fixture(scope="module")
def prepared(trained_folder: Path, new_prediction, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("predict")
    prediction = new_prediction(folder / "all", trained_folder / "models" / "0001")
    started = time.monotonic()
    prediction.run(folder / "out")
    return Prepared(prediction, folder / "out", time.monotonic() - started)


def kill_at_random(prepared: Prepared, out: Path, seed: int) -> bool:
    """Start the command, and kill it some time after some number of scans: however fast the machine is just now.

    Every other time when all small scans are done, after some bands of the large one. Whether it was still there.
    """
    prediction, chance = prepared.prediction, random.Random(seed)
    before, small = prediction.markers(out).items(), prediction.count - 1
    wanted = small + chance.randrange(BANDS) if seed % 2 else chance.randrange(small)
    process = prediction.start(out)
    while process.poll() is None and len(prediction.markers(out).items() - before) + prediction.bands(out) < wanted:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 0.1) * prepared.seconds)
    process.kill()
    process.communicate()
    return process.returncode != 0


def test_killed_anywhere_the_same_command_ends_with_the_same_outputs(prepared: Prepared, tmp_path: Path, injected, say):
    prediction, again, bands = prepared.prediction, [], []
    expected = prediction.contents(prepared.out)
    for number in range(KILLS):
        out = tmp_path / str(number)
        injected("predict: command killed", int(kill_at_random(prepared, out, number)))
        before, written = prediction.markers(out), prediction.bands(out)
        counted = prediction.run(out)
        done = len(before)
        assert (counted["done"], counted["skipped"]) == (prediction.count - done, done)
        assert before.items() <= prediction.markers(out).items()  # what was done is not done again
        assert prediction.contents(out) == expected
        again.append(counted["done"])
        bands.append(written)
    say(f"predict: {KILLS} kills; of {prediction.count} scans left to do: {again}; bands kept: {bands}")
    assert any(0 < count < prediction.count for count in again)


def test_killed_while_other_outputs_are_replaced_nothing_of_those_stays(
    prepared: Prepared, tmp_path: Path, injected, say
):
    prediction, over, again = prepared.prediction, [], []
    expected, others = prediction.contents(prepared.out), tmp_path / "others"
    prediction.run(others, *OTHERS)
    before = prediction.markers(others)
    for number in range(KILLS_OVER_OTHERS):
        out = tmp_path / str(number)
        shutil.copytree(others, out)
        injected("predict: command killed", int(kill_at_random(prepared, out, number)))
        over.append(len(before) - len(prediction.markers(out)))
        again.append(prediction.run(out)["done"])
        assert prediction.contents(out) == expected
    say(f"predict: {KILLS_OVER_OTHERS} kills over other outputs; scans in the making: {over}; left to do: {again}")
    assert any(0 < count < prediction.count for count in again)
