"""What commands say of their results."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.answers import say_aside, say_comparison, say_predict
from flows.console import Console
from unetseg.bootstrap import Difference
from unetseg.comparison import ScoreChange
from unetseg.predict import PredictResult
from unetseg.readers import BadFile
from unetseg.scan_ranks import Advice


def result(look_first: tuple[Advice, ...], annotate_next: tuple[Advice, ...]) -> PredictResult:
    out = Path("out")
    return PredictResult(
        done=2, skipped=1, quarantined=(), failed=(), model="0003", out=out, table=out / "table.parquet",
        ranking=out / "scans.parquet", look_first=look_first, annotate_next=annotate_next,
        gallery=out / "gallery.html", seconds=1.0,
    )  # fmt: skip


def test_pages_of_one_file_are_told_as_one_file(capsys: pytest.CaptureFixture[str]):
    bad = (*[BadFile("a.nii.gz", "torn")] * 12, BadFile("b.png", "no PNG"))
    night = SimpleNamespace(ingest=SimpleNamespace(aside=bad, page="data_check.html"), predicted=None)
    assert say_aside(Console(as_json=False), night) == list(bad)
    told = "finished, with 2 files (13 pages) in quarantine (exit status 3); reasons: data_check.html\n"
    assert capsys.readouterr().out == told


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


def test_without_scans_to_look_at_there_are_more_of_one_list_only(capsys: pytest.CaptureFixture[str]):
    say_predict(Console(as_json=False), result((), (Advice("c", ""),)))
    assert capsys.readouterr().out.splitlines()[1:] == ["annotate next: c; more in out/scans.csv"]


def test_where_there_is_no_reason_nothing_is_said_of_it(capsys: pytest.CaptureFixture[str]):
    say_predict(Console(as_json=False), result((), ()))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_comparison_tells_the_gain_and_why_it_has_no_interval(capsys: pytest.CaptureFixture[str]):
    scores = {score: ScoreChange(0.5, 0.75, 0.25) for score in ("recall", "precision", "f1", "average_precision")}
    absent = dict.fromkeys(scores, ScoreChange(None, None, None))
    sure, alone = (
        {"f1": Difference(0.5, 0.75, 0.25, low, high, None, groups, None, 0.95, 300, 0)}
        for low, high, groups in ((0.125, 0.375, 4), (None, None, 1))
    )

    def said(**differences: Any) -> list[str]:
        rows = {"iris": scores, "pupil": absent, "micro": scores}
        found = SimpleNamespace(versions=("0001", "0002"), scores=rows, differences=differences)
        say_comparison(Console(as_json=False), found)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    _, head, iris, pupil, micro = said(iris=sure)
    assert head.endswith("gain in f1 (interval)")
    assert [line.split("0.750")[-1].strip() for line in (iris, micro)] == ["+0.250 (+0.125 to +0.375)", "+0.250"]
    assert pupil.endswith("–")
    *_, iris, _, _, why = said(iris=alone)
    assert iris.endswith(" +0.250")
    assert why.startswith("no interval where fewer than two groups")


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
