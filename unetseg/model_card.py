"""The card of a model: what it is, what it is for and how well it does, in Markdown, written from the numbers.

Sections after Mitchell et al. 2019, "Model cards for model reporting", doi:10.1145/3287560.3287596; the front matter is
that of Hugging Face's model cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from unetseg.bundle import Bundle, BundleInfo
from unetseg.normalise import normalisation_rule
from unetseg.score_words import (
    OUTLINE_SCORES,
    PIXEL_SCORES,
    conventions,
    interval_text,
    joined_warnings,
    measured,
    score_number,
    score_title,
    scores_in,
)

__all__ = ["model_card"]

_NOT_STATED: Final = "Not stated: set `card.{}` in unetseg.yaml before the next training."
_HEADS: Final = {
    "sigmoid": "a probability per class and pixel; classes may overlap",
    "softmax": "a probability per class and pixel; exactly one class, or background, per pixel",
}

Evaluation = Mapping[str, Any]


_NO_EVALUATION: Final = "## Evaluation\n\nNot evaluated yet: `unetseg evaluate --model {}` measures it."


def model_card(bundle: Bundle, evaluation: Evaluation | None) -> str:
    """The text of ``MODEL_CARD.md``; what was not measured is a dash, what nobody wrote says so.

    Args:
        bundle: the model.
        evaluation: of the model, such as ``bundle.evaluation``; None before it is evaluated.
    """
    sections = [
        _front_matter(bundle.info),
        f"# Model {bundle.version}: {_listed(bundle.info.classes)}",
        _details(bundle),
        _use(bundle.info),
        _training(bundle.info),
        *(_measured(evaluation, bundle.info.classes) if evaluation else [_NO_EVALUATION.format(bundle.version)]),
        _caveats(bundle.info, evaluation),
        _how_to(bundle),
    ]
    return "\n\n".join(sections) + "\n"


# --------------------------------------------------------------------------- what it is


def _front_matter(info: BundleInfo) -> str:
    """What model hubs read, between lines of dashes; without a licence where none is stated."""
    licence = info.settings.card.licence
    fields = ({"license": licence.lower()} if licence else {}) | {
        "library_name": "unetseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["image-segmentation", "u-net", "keras", "unetseg"],
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _details(bundle: Bundle) -> str:
    info = bundle.info
    shape, card, size = info.settings.model, info.settings.card, info.pixel_size
    inputs = f"channels {_listed(info.channels)}" + (f"; guides {_listed(info.guides)}" if info.guides else "")
    rows = {
        "version": bundle.version,
        "date": info.created,
        "authors": card.authors or _NOT_STATED.format("authors"),
        "licence": card.licence or _NOT_STATED.format("licence"),
        "network": f"U-Net, {_count(shape.depth, 'halving')}, {shape.width} filters at full size, {shape.block} "
        f"blocks, {shape.normalisation} normalisation, {shape.activation}",
        "input": inputs,
        "intensities": _normalisation(info),
        "pixel size": f"{size[0]:.4g} × {size[1]:.4g} µm" if size else "unknown",
        "output": f"classes {_listed(info.classes)}: {_HEADS[shape.head]}",
        "large scans": f"in tiles with a halo of {info.halo} pixels, which equal the whole scan"
        if info.exact
        else "in tiles that overlap and are blended, nearly as in one piece: the normalisation sees whole tiles",
        "software": ", ".join(f"{name} {version}" for name, version in info.software.items()),
    }
    return "## Model details\n\n" + _table(("what", "value"), rows.items())


def _use(info: BundleInfo) -> str:
    card = info.settings.card
    return (
        f"## Intended use\n\n{card.intended_use or _NOT_STATED.format('intended_use')}\n\n"
        f"## Limitations\n\n{card.limitations or _NOT_STATED.format('limitations')}"
    )


def _training(info: BundleInfo) -> str:
    rows = {
        "pictures that trained or validated it": f"{len(info.training_scans):,}" if info.training_scans else "unknown",
        "data": f"`{info.dataset_fingerprint}`",
        "data and settings": f"`{info.training_fingerprint}`",
        f"validation score ({info.settings.train.monitor})": score_number("", info.validation_score),
    }
    return "## Training data\n\nFingerprints tell whether another model learned from the same.\n\n" + _table(
        ("what", "value"), rows.items()
    )


def _normalisation(info: BundleInfo) -> str:
    """How the model scales intensities; it does so itself."""
    rule = normalisation_rule(info.settings.ingest)
    parts = [f"{name.replace('_', ' ')} {value}" for name, value in rule.items() if name != "normalisation"]
    return f"{_listed([str(rule['normalisation']), *parts])}; per scan and channel"


# --------------------------------------------------------------------------- how well it does


def _measured(evaluation: Evaluation, classes: Sequence[str]) -> list[str]:
    return [_evaluation_data(evaluation), _metrics(evaluation), _thresholds(evaluation, classes)]


def _evaluation_data(evaluation: Evaluation) -> str:
    scans = evaluation["scans"]
    size = f"{_count(len(scans), 'scan')} of {_count(len({row['group'] for row in scans}), 'group')}; " if scans else ""
    where = "The test split, whose groups training never saw"
    return f"## Evaluation data\n\n{where}: {size}data `{evaluation['dataset_fingerprint']}`."


def _metrics(evaluation: Evaluation) -> str:
    """Two tables, as one would be too wide to read, and what must be known beside them."""
    scores, unit = evaluation["scores"], evaluation.get("unit", "pixels")
    tables = []
    for wanted, extra in ((PIXEL_SCORES, "support"), (OUTLINE_SCORES, "scans_without")):
        columns = scores_in(scores, wanted)
        titles = ["class", *(score_title(name, unit) for name in columns)]
        titles.append("scans with" if extra == "support" else "scans without")
        rows = [
            (name, *(_cell(evaluation, name, score) for score in columns), _plain(row.get(extra)))
            for name, row in scores.items()
        ]
        tables.append(_table(titles, rows))
    notes = "\n".join(f"- {sentence.replace('Small print', 'In brackets')}" for sentence in conventions(evaluation))
    return "## Metrics\n\n" + "\n\n".join([*tables, notes])


def _cell(evaluation: Evaluation, row: str, score: str) -> str:
    """A score, and its interval where there is one."""
    text = score_number(score, evaluation["scores"][row].get(score))
    interval = evaluation["intervals"].get(row, {}).get(score)
    return f"{text} ({interval_text(score, interval)})" if interval else text


def _plain(number: object) -> str:
    return "" if measured(number) is None else str(number)


def _thresholds(evaluation: Evaluation, classes: Sequence[str]) -> str:
    if evaluation.get("decision", "thresholds") != "thresholds":
        return "## Thresholds\n\nNone: each pixel is the most probable of the classes and background."
    rows = [
        (name, f"{evaluation['thresholds'][name]['value']:.4f}", evaluation["thresholds"][name]["reason"])
        for name in classes
    ]
    return "## Thresholds\n\nChosen on the validation split, per class.\n\n" + _table(
        ("class", "threshold", "why"), rows
    )


def _caveats(info: BundleInfo, evaluation: Evaluation | None) -> str:
    found = [*joined_warnings(evaluation["warnings"] if evaluation else (), info.classes), *info.notes]
    lines = "\n".join(f"- {_one_line(text)}" for text in found) or "None was noticed in training or evaluation."
    return f"## Caveats\n\n{lines}"


# --------------------------------------------------------------------------- how to use it


def _how_to(bundle: Bundle) -> str:
    guides = ""
    if bundle.info.guides:
        names = _listed(bundle.info.guides)
        guides = (
            f'\n\nThe model has guides ({names}): `--set predict.guides=FOLDER`, or `PredictConfig(guides="FOLDER")`, '
            "names a folder with one sub-folder for each."
        )
    return f"""## How to use it

Segment a folder of scans; `{bundle.version}` is the folder of this model:

```sh
unetseg predict scans segmented --bundle {bundle.version}
```

The same in Python:

```python
from pathlib import Path
from unetseg.config import PredictConfig
from unetseg.predict import predict

predict(Path("scans"), Path("segmented"), bundle=Path("{bundle.version}"), config=PredictConfig())
```{guides}"""


# --------------------------------------------------------------------------- Markdown


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        f"| {' | '.join(_one_line(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _one_line(text: str) -> str:
    """Text that cannot end a table's row or a list's line, nor become markup of a page."""
    return " ".join(text.split()).replace("<", "&lt;")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
