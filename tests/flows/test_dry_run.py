"""What a dry run says on the console."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.console import Console
from flows.dry_run import dry_run_predict
from unetseg import predict_estimate
from unetseg.config import PredictConfig
from unetseg.predict_estimate import PredictEstimate


@pytest.mark.parametrize(
    ("cluster", "memory"),
    [
        pytest.param("", "and 350 MB of memory\n", id="this-machine"),
        pytest.param("tcp://here:1", "and 350 MB of memory for this process, which hands the work to", id="cluster"),
    ],
)
def test_it_says_whose_memory_it_means(
    cluster: str, memory: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = PredictEstimate(1, 0, 0, 100, 0, 1.0, "by somebody", 1000, None, 350_000_000, ())
    monkeypatch.setattr(predict_estimate, "estimate", lambda *_, **__: found)
    given = Path("scans"), Path("out"), Path("model"), PredictConfig()
    dry_run_predict(Console(as_json=False), *given, cluster=cluster, project=None, overwrite=False)
    assert memory in capsys.readouterr().out


@pytest.mark.parametrize(
    ("around", "told"),
    [
        pytest.param((2_960_000, 3_040_000), " 3.0 MB of disk and", id="sure"),
        pytest.param((2_000_000, 4_500_000), " 3.0 MB (2.0 to 4.5 MB) of disk and", id="unsure"),
    ],
)
def test_it_says_how_much_disk_that_may_be(
    around: tuple[int, int], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = PredictEstimate(1, 0, 0, 100, 0, 1.0, "by somebody", 3_000_000, None, 0, (), (), around)
    monkeypatch.setattr(predict_estimate, "estimate", lambda *_, **__: found)
    given = Path("scans"), Path("out"), Path("model"), PredictConfig()
    dry_run_predict(Console(as_json=False), *given, cluster="", project=None, overwrite=False)
    assert told in capsys.readouterr().out
