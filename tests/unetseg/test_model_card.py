"""The model card: its numbers are the record's, and what it tells to do works."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from unetseg.bundle import Bundle
from unetseg.config import CardConfig, ModelConfig, PredictConfig, Settings
from unetseg.model_card import model_card

MakeBundle = Callable[..., Bundle]


def card_of(bundle: Bundle) -> str:
    return model_card(bundle, bundle.evaluation)


def rows(card: str, name: str) -> list[list[str]]:
    """The cells of all tables' rows that begin with a name, without it."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:1] == "|"]
    return [line[1:] for line in lines if line[0] == name]


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0].strip()


def test_numbers_are_those_of_the_record_and_a_dash_where_there_is_none(make_bundle: MakeBundle):
    card = card_of(make_bundle())
    pixels, outlines, threshold = rows(card, "iris")
    assert pixels == ["0.501", "0.602", "0.703 (0.611 to 0.799)", "0.804", "0.205", "0.906", "4"]
    assert outlines == ["12.3 (9.87 to 15.0)", "0.407", "0.998", "1.23 %", "0"]
    assert threshold == ["0.2500", "best for iris"]
    assert rows(card, "pupil")[0] == ["–"] * 6 + ["0"]
    assert "4 scans of 3 groups" in section(card, "Evaluation data")
    assert rows(card, "validation score (dice)") == [["0.877"]]


def test_every_row_of_a_table_has_as_many_cells_as_its_head(make_bundle: MakeBundle):
    tables = re.findall(r"(?:^\|.*\n?)+", card_of(make_bundle()), flags=re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1


def test_what_nobody_stated_says_which_setting_states_it(make_bundle: MakeBundle):
    card = card_of(make_bundle())
    assert "Not stated: set `card.intended_use`" in section(card, "Intended use")
    assert "Not stated: set `card.limitations`" in section(card, "Limitations")
    assert "license" not in yaml.safe_load(card.split("---")[1])


def test_what_was_stated_is_there_also_for_machines(make_bundle: MakeBundle):
    stated = CardConfig(licence="CC-BY-4.0", intended_use="Eyes.", limitations="No cats.", authors="A. Nonym")
    card = card_of(make_bundle(settings=Settings(card=stated)))
    assert section(card, "Intended use") == "Eyes."
    assert section(card, "Limitations") == "No cats."
    assert rows(card, "authors") == [["A. Nonym"]]
    assert rows(card, "licence") == [["CC-BY-4.0"]]
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["pipeline_tag"] == "image-segmentation"


def test_inputs_and_outputs_are_described(make_bundle: MakeBundle):
    softmax = Settings(model=ModelConfig(depth=3, width=16, head="softmax"))
    card = card_of(make_bundle(guides=("lens",), channels=("red", "green"), settings=softmax))
    assert rows(card, "input") == [["channels red, green; guides lens"]]
    assert rows(card, "pixel size") == [["0.5 × 0.25 µm"]]
    assert "exactly one class" in rows(card, "output")[0][0]
    assert "3 halvings, 16 filters" in rows(card, "network")[0][0]
    assert "predict.guides" in section(card, "How to use it")
    assert rows(card, "intensities") == [["percentile, low percentile 0.5, high percentile 99.5; per scan and channel"]]


def test_warnings_and_notes_of_the_training_are_the_caveats(make_bundle: MakeBundle):
    caveats = section(card_of(make_bundle(notes=("overfitting\nfrom epoch 3",))), "Caveats")
    assert caveats == "- pupil: only 0 test scans hold it\n- overfitting from epoch 3"
    assert section(card_of(make_bundle("0002", change={"warnings": []})), "Caveats").startswith("None was noticed")


def test_pictures_that_trained_are_counted_where_the_bundle_knows(make_bundle: MakeBundle):
    name = "pictures that trained or validated it"
    assert rows(card_of(make_bundle(training_scans=("a", "b"))), name) == [["2"]]
    assert rows(card_of(make_bundle("0002")), name) == [["unknown"]]


def test_the_most_probable_class_needs_no_thresholds(make_bundle: MakeBundle):
    card = card_of(make_bundle(change={"decision": "argmax"}))
    assert section(card, "Thresholds").startswith("None: each pixel is the most probable")


def test_before_an_evaluation_the_card_says_how_to_get_one(make_bundle: MakeBundle):
    bundle = make_bundle("0007")
    (bundle.folder / "evaluation" / "evaluation.json").unlink()
    card = card_of(bundle)
    assert "unetseg evaluate --model 0007" in section(card, "Evaluation")
    assert "## Metrics" not in card


@pytest.mark.parametrize("text", ["a | b", "a\nb", "<script>"])
def test_texts_cannot_break_a_table_or_bring_markup(text: str, make_bundle: MakeBundle):
    card = card_of(make_bundle(software={"keras": text}))
    line = next(line for line in card.splitlines() if line.startswith("| software"))
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<script" not in card


def test_the_lines_of_python_call_predict_as_it_is(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch):
    import unetseg.predict

    called: dict[str, Any] = {}
    signature = inspect.signature(unetseg.predict.predict)
    monkeypatch.setattr(unetseg.predict, "predict", lambda *a, **k: called.update(signature.bind(*a, **k).arguments))
    (code,) = re.findall(r"```python\n(.*?)```", card_of(make_bundle("0003")), flags=re.DOTALL)
    exec(code, {})
    expected = {"folder": Path("scans"), "out": Path("segmented"), "bundle": Path("0003"), "config": PredictConfig()}
    assert called == expected


def test_the_command_is_one_that_there_is(make_bundle: MakeBundle):
    from flows.cli import main

    (command,) = re.findall(r"```sh\nunetseg predict (.*?)\n```", card_of(make_bundle("0003")))
    parsed = main.commands["predict"].make_context("predict", command.split()).params
    assert (parsed["folder"], parsed["out"], parsed["bundle"]) == ("scans", "segmented", "0003")
