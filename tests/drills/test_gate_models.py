"""Networks at the gate: one is trained on synthetic eyes, and challengers are made from it. Takes three minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from unetseg.bundle import load_bundle, save_bundle
from unetseg.engines import load_network
from unetseg.evaluate import evaluate
from unetseg.gate import GateResult, gate
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import Project, load_project, override
from unetseg.registry import promote, read_aliases
from unetseg.synth import write_eyes
from unetseg.train import train

pytestmark = pytest.mark.drill

FEW, MANY = 8, 24  # epochs of production and of the better model
RUINED = "pupil"
SETTINGS = (
    *("ingest.test_fraction=0.4", "model.depth=3", "model.width=8", "train.patch=64", "train.batch=4"),
    *("train.steps_per_epoch=10", "train.max_minutes=0", "train.patience=0", f"train.epochs={FEW}"),
    # Thresholds chosen anew would make good for a bias.
    *("evaluate.criterion=fixed", "gate.floor=0"),
)

Weights = list[np.ndarray]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose model 0001 was trained a little, and 0002 more."""
    folder = tmp_path_factory.mktemp("gate")
    eyes = write_eyes(folder / "eyes", subjects=24, scans_per_subject=2, size=(80, 112))
    init(eyes.scans, eyes.masks, project=folder / "project", overrides=SETTINGS)
    short = load_project(folder / "project")
    ingest(short)
    train(short)
    train(replace(short, settings=override(short.settings, [f"train.epochs={MANY}"])))
    for version in ("0001", "0002"):
        evaluate(short, model=version)
    return short


def challenge(project: Project, base: str, change: Callable[[Weights], Weights]) -> GateResult:
    """Put 0001 into production, and a model with changed weights of another one before the gate."""
    promote(project.models, "0001", why="the drill begins")
    bundle = load_bundle(project.models / base)
    network = load_network(bundle.folder)
    network.set_weights(change(network.get_weights()))
    version = save_bundle(project.models, network, bundle.info).name
    evaluate(project, model=version)
    return gate(project, model=version)


def noisy(weights: Weights) -> Weights:
    """Every kernel moved by a fifth of its spread; means and variances of the normalisation stay what they are."""
    random = np.random.default_rng(0)
    return [
        weight + random.normal(0, 0.2 * weight.std(), weight.shape).astype(weight.dtype) if weight.ndim == 4 else weight
        for weight in weights
    ]


def test_more_training_is_promoted(project: Project, say):
    promote(project.models, "0001", why="the drill begins")
    result = gate(project, model="0002")
    say(f"better: {result.reason}")
    assert result.promoted
    assert read_aliases(project.models).production == "0002"


def test_the_same_weights_are_kept_out(project: Project, say):
    result = challenge(project, "0001", lambda weights: weights)
    say(f"equal: {result.reason}")
    assert not result.promoted
    assert (result.numbers.low, result.numbers.high) == (0, 0)


def test_noise_in_the_weights_is_kept_out(project: Project, say):
    result = challenge(project, "0001", noisy)
    say(f"worse: {result.reason}")
    assert not result.promoted
    assert result.numbers.after < result.numbers.before
    assert read_aliases(project.models).production == "0001"


def turned_down(weights: Weights, at: int, by: float) -> Weights:
    """The last weights are the biases of the classes' logits."""
    bias = weights[-1].copy()
    bias[at] -= by
    return [*weights[:-1], bias]


def test_a_better_model_with_one_class_turned_down_is_kept_out(project: Project, say):
    at = load_bundle(project.models / "0002").info.classes.index(RUINED)
    for by in (4, 6, 8, 10, 12):  # until the class is worse than in production, which has hardly learnt it
        result = challenge(project, "0002", lambda weights, by=by: turned_down(weights, at, by))
        if result.numbers.classes[RUINED].ruined:
            break
    say(f"one class ruined: {result.reason}")
    assert not result.promoted
    assert read_aliases(project.models).production == "0001"
    assert [name for name, change in result.numbers.classes.items() if change.ruined] == [RUINED]
    assert result.numbers.after > result.numbers.before
