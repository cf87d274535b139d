"""How far what is told of outputs may be off, by hand values; what is told is tested with real predictions."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from unetseg.content_trial import Content
from unetseg.disk_usage import Disk
from unetseg.output_layout import Layout, Part
from unetseg.output_trial import OutputRates
from unetseg.outputs import MASKS
from unetseg.predict_job import Job


def rates(*taken: float) -> OutputRates:
    """Of pieces of a thousand pixels that took so many bytes."""
    content = Content(np.array([taken]), np.full((1, len(taken)), 1000.0))
    return OutputRates(cast(Job, None), Disk(), {MASKS: content}, 0.0, 0.0)


def margin(found: OutputRates, pixels: float) -> float:
    return found._margin([(1, MASKS, Layout((Part(1, 0, {0: pixels}),)))], pixels)


def test_the_margin_is_that_of_a_mean():
    # Student's t of 4 values is 3.182; a tenth of all pixels was seen.
    error = 40 * np.std([100, 200, 300, 400], ddof=1) / 2 * np.sqrt(0.9)
    assert margin(rates(100, 200, 300, 400), 40_000) == pytest.approx(3.18245 * error, rel=1e-4)


def test_there_is_no_margin_where_all_places_are_alike_or_all_was_seen():
    assert margin(rates(200, 200, 200), 40_000) == pytest.approx(0, abs=1e-6)
    assert margin(rates(100, 200, 300), 3000) == 0
