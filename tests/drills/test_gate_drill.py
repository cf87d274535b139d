"""Nights of made-up counts at the gate: what is better gets through, and what only seems better does not.

A scan's recall and precision are logistic in what makes its patient and itself hard, which both models share, and in
what each model makes of this patient and of this scan, which is noise. Seconds, so that every test run has it.
"""

from __future__ import annotations

import numpy as np
import pytest

from unetseg.config import EvaluateConfig, GateConfig
from unetseg.gate_rules import Scored, Verdict, compare

CLASSES = ("iris", "pupil", "sclera")
QUALITY = np.array([2.5, 2.0, 3.0])  # logits: recall and precision of 0.92, 0.88, 0.95 on the scan of mean difficulty
PIXELS = 10_000
HARD = 0.6  # standard deviation of a patient's, and again of a scan's difficulty, in logits
NOISE = 0.15  # of what a model makes of one patient, and again of one scan
GAIN = 0.25  # logits; about 0.02 of macro F1
NIGHTS = 200
ALLOWED = 0.05

SIZES = {
    "1-group": [6],
    "2-even": [3, 3],
    "2-uneven": [1, 9],
    "3-even": [2] * 3,
    "3-uneven": [1, 2, 12],
    "5-even": [2] * 5,
    "5-uneven": [1, 1, 2, 4, 12],
    "8-even": [2] * 8,
    "8-uneven": [1, 1, 1, 1, 2, 3, 5, 10],
    "8-two-hold-most": [1] * 6 + [20, 20],
    "20-even": [2] * 20,
    "20-uneven": [1] * 12 + [2] * 4 + [5] * 3 + [20],
    "20-two-hold-most": [1] * 18 + [20, 20],
}


def night(random: np.random.Generator, sizes: list[int], gain: np.ndarray | float = 0.0) -> Verdict:
    """Production against a challenger whose quality differs by ``gain`` logits, on patients with so many scans."""
    patients = np.repeat(np.arange(len(sizes)), sizes)

    def per_patient_and_scan(deviation: float) -> np.ndarray:
        return random.normal(0, deviation, (len(sizes), 3))[patients] + random.normal(0, deviation, (len(patients), 3))

    true = random.integers(300, 3000, (len(patients), 3))
    shared = QUALITY + per_patient_and_scan(HARD)

    def model(quality: np.ndarray | float) -> Scored:
        recall, precision = (1 / (1 + np.exp(-shared - quality - per_patient_and_scan(NOISE))) for _ in range(2))
        tp = random.binomial(true, recall)
        fp = np.minimum(np.rint(tp * (1 - precision) / precision).astype(int), PIXELS - true)
        counts = np.stack([tp, fp, true - tp, PIXELS - true - fp], axis=-1)
        scans = tuple(f"scan{number:03d}" for number in range(len(patients)))
        return Scored(scans, tuple(f"patient{number:02d}" for number in patients), counts)

    production, challenger = model(0.0), model(gain)
    draws = EvaluateConfig(draws=200, seed=int(random.integers(2**31)))
    return compare(challenger, production, CLASSES, GateConfig(), draws, against="0001")


@pytest.mark.parametrize(
    ("gain", "promoted"),
    [(0.6, True), (0.0, False), (-0.6, False), (np.array([3.0, -0.45, 3.0]), False)],
    ids=["better", "equal", "worse", "one-class-ruined"],
)
def test_a_challenger_gets_what_it_deserves(gain, promoted):
    verdicts = [night(np.random.default_rng(seed), SIZES["20-even"], gain) for seed in range(10)]
    assert [verdict.promotes for verdict in verdicts] == [promoted] * 10
    if np.ndim(gain):
        assert all(verdict.numbers.low > 0 for verdict in verdicts), "better on average"
        assert all("pupil fell" in verdict.reason for verdict in verdicts)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_equal_models_are_promoted_in_at_most_a_twentieth_of_the_nights(sizes: list[int], say):
    random = np.random.default_rng(0)
    wrong = sum(night(random, sizes).promotes for _ in range(NIGHTS))
    say(f"{len(sizes)} groups of {sizes} scans: {wrong} of {NIGHTS} equal models promoted")
    assert wrong <= ALLOWED * NIGHTS


@pytest.mark.parametrize(
    ("name", "share"),
    [("2-even", 0.05), ("3-even", 0.15), ("5-even", 0.6), ("8-even", 0.85), ("8-uneven", 0.5), ("20-even", 0.97)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_gain_of_two_hundredths_is_seen_the_oftener_the_more_groups_there_are(name: str, share: float, say):
    random = np.random.default_rng(0)
    nights = [night(random, SIZES[name], GAIN) for _ in range(100)]
    gains = [verdict.numbers.after - verdict.numbers.before for verdict in nights]
    seen = sum(verdict.promotes for verdict in nights)
    say(f"{name}: {seen} of 100 models that are better by {np.mean(gains):.3f} promoted")
    assert np.mean(gains) == pytest.approx(0.02, abs=0.004)
    assert seen >= 100 * share
