"""Progress as lines of the log."""

from __future__ import annotations

import logging

import pytest

from unetseg.progress_log import log_epochs, log_scans


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged; the command, where a test has run it before, keeps it for itself."""
    monkeypatch.setattr(logging.getLogger("unetseg"), "propagate", True)
    caplog.set_level(logging.INFO, logger="unetseg")
    return caplog


class Clock:
    """Tells what it is set to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_and_the_last_epoch_are_told_and_those_between_after_a_pause(told: pytest.LogCaptureFixture):
    clock = Clock()
    tell = log_epochs(pause=30, clock=clock)
    for epoch, now, total in ((1, 110, 6), (2, 139, 6), (3, 140, 5), (4, 141, 5), (5, 142, 5)):
        clock.now = now
        tell(epoch, total, f"loss {1 / epoch:.1f}")
    assert told.messages == [
        "epoch 1 of about 6: loss 1.0",
        "epoch 3 of about 5: loss 0.3",
        "epoch 5 of about 5: loss 0.2",
    ]


def test_without_a_pause_each_epoch_is_told(told: pytest.LogCaptureFixture):
    tell = log_epochs(clock=Clock())
    for epoch in (1, 2, 3):
        tell(epoch, 9, "loss 1")
    assert len(told.messages) == 3


def test_scans_are_told_now_and_then_and_a_short_stage_says_nothing(told: pytest.LogCaptureFixture):
    clock = Clock()
    tell = log_scans("predict", pause=30, clock=clock)
    for scan, now in ((1, 110), (2, 129.5), (3, 130), (4, 159), (5, 161), (6, 162)):
        clock.now = now
        tell(scan, 6, f"s{scan}")
    assert told.messages == ["predict: 3 of 6, last s3", "predict: 5 of 6, last s5"]
