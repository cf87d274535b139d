"""What commands say of their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.answers import say_predict
from flows.console import Console
from unetseg.predict import PredictResult
from unetseg.scan_ranks import Advice


def result(look_first: tuple[Advice, ...], annotate_next: tuple[Advice, ...]) -> PredictResult:
    out = Path("out")
    return PredictResult(
        done=2, skipped=1, quarantined=(), failed=(), model="0003", out=out, table=out / "table.parquet",
        ranking=out / "scans.parquet", look_first=look_first, annotate_next=annotate_next,
        gallery=out / "gallery.html", seconds=1.0,
    )  # fmt: skip


def test_a_prediction_names_scans_to_look_at_and_to_annotate(capsys: pytest.CaptureFixture[str]):
    blurred, torn = Advice("b/2", "iris: 62 % of its pixels are near the threshold"), Advice("a/1", "iris: not found")
    say_predict(Console(as_json=False), result((torn, blurred), (blurred, Advice("c", ""))))
    _, *look, annotate = capsys.readouterr().out.splitlines()
    assert look == [
        "look first at:",
        "  a/1: iris: not found",
        "  b/2: iris: 62 % of its pixels are near the threshold",
    ]
    assert annotate == "annotate next: b/2, c; more of both in out/scans.csv"


def test_where_there_is_no_reason_nothing_is_said_of_it(capsys: pytest.CaptureFixture[str]):
    say_predict(Console(as_json=False), result((), ()))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_numbers_of_a_table_stand_below_each_other_by_their_ends_and_words_by_their_begins(
    capsys: pytest.CaptureFixture[str],
):
    rows = [["train.epochs", "3", "How long."], ["train.patch", "256", "Side."]]
    Console(as_json=False).table("", ["setting", "value", "meaning"], rows)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["setting       value  meaning", "train.epochs      3  How long.", "train.patch     256  Side."]


def test_the_first_column_names_its_row_also_by_a_number(capsys: pytest.CaptureFixture[str]):
    Console(as_json=False).table("", ["version", "score"], [["0001", "–"], ["0002", "0.5"]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["version  score", "0001         –", "0002       0.5"]
