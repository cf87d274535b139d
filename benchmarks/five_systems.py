"""The five systems, in the pipeline and alone: ``python -m benchmarks.five_systems [PART ...]``.

Writes ``docs/benchmarks/five-systems.md``: Dice, recall and precision of the test split, per class. Parts that are not
named keep the rows of their last run.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.marked_discs import draw_discs, write_discs
from benchmarks.pipeline import HEAD, Outcome, prepare, run, score_rows, table
from unetseg.config import ModelConfig
from unetseg.dataset import open_dataset
from unetseg.scales import scaled_targets
from unetseg.scores import count, f_beta, precision, recall
from unetseg.synth import CLASS_NAMES, EyeFolders, write_eyes

_OUT: Final = Path(__file__).parents[1] / "docs" / "benchmarks" / "five-systems.md"
_ROWS: Final = _OUT.with_suffix(".json")
_PARTS: Final = ("plain", "guides", "multi-scale", "weights", "recall")
_QUICK: Final = ("model.width=8", "train.batch=4", "train.epochs=24", "train.steps_per_epoch=12", "train.max_minutes=0")
_SMALL: Final = ModelConfig(depth=4, width=8)
_EPOCHS: Final = 24
_SCALES_EPOCHS: Final = 48  # three outputs share the gradient that one has elsewhere
_CLASSES: Final = tuple(sorted(CLASS_NAMES))  # as a project names them

Rows = list[list[str]]
Arrays = dict[str, NDArray[Any]]


def main(parts: Sequence[str]) -> None:
    """Train what is asked for and write the page after each part."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows: dict[str, Rows] = json.loads(_ROWS.read_text()) if _ROWS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="unetseg-systems-") as name:
        folder = Path(name)
        eyes = write_eyes(folder / "eyes", subjects=16)
        project = prepare(eyes.scans, eyes.masks, folder / "project")
        for part in parts:
            rows[part] = []
            for row in _rows_of(part, folder, project, eyes):
                rows[part].append(row)
                print(" | ".join(row), flush=True)
            _ROWS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
            _OUT.write_text(_page([row for name in _PARTS for row in rows.get(name, [])]))


def _rows_of(part: str, folder: Path, project: Path, eyes: EyeFolders) -> Iterator[list[str]]:
    if part == "guides":
        return guided(folder, write_discs(folder / "discs"))
    if part == "recall":
        return recall_at_precision(project)
    return {"plain": plain, "multi-scale": multi_scale, "weights": imbalanced}[part](project, eyes)


# --------------------------------------------------------------------------- one system each


def plain(project: Path, eyes: EyeFolders) -> Iterator[list[str]]:
    """System 1: three classes that overlap, sigmoid."""
    yield from score_rows("1 plain, pipeline", run(project, _QUICK).scores)
    model, test = alone(_SMALL, project, eyes)
    yield from alone_rows("1 plain, alone", model, test, _CLASSES)


def guided(folder: Path, discs: tuple[Path, Path, Path]) -> Iterator[list[str]]:
    """System 2: discs that look alike; two guides say which are meant."""
    scans, masks, guides = discs
    for name, given in (("without guides", None), ("with guides", guides)):
        project = prepare(scans, masks, folder / name.replace(" ", "_"), guides=given)
        yield from score_rows(f"2 discs {name}, pipeline", run(project, _QUICK).scores)
    train, test = (_discs(seeds) for seeds in (range(1000, 1036), range(2000, 2012)))
    for name, used in (("without guides", ["image"]), ("with guides", ["image", "guides"])):
        model = fitted(_SMALL, {key: train[key] for key in used}, train["masks"])
        only = {key: test[key] for key in (*used, "masks")}
        yield from alone_rows(f"2 discs {name}, alone", model, only, ("disc",))


def multi_scale(project: Path, eyes: EyeFolders) -> Iterator[list[str]]:
    """System 3: masks at 1, 1/2 and 1/4 of the size, each against masks of its size."""
    config = replace(_SMALL, outputs=3, fusion=1)
    settings = ["model.outputs=3", "model.fusion=1", f"train.epochs={_SCALES_EPOCHS}"]
    outcome = run(project, [*_QUICK, *settings])
    yield from score_rows("3 multi-scale, pipeline, 1/1", outcome.scores)
    yield from _scales(
        "3 multi-scale, pipeline, cut at one half", load(outcome), test_arrays(outcome.project.folder, eyes)
    )
    model, test = alone(config, project, eyes, epochs=_SCALES_EPOCHS)
    yield from _scales("3 multi-scale, alone", model, test)


def imbalanced(project: Path, eyes: EyeFolders) -> Iterator[list[str]]:
    """System 4: the cross-entropy alone, few epochs, a threshold of one half: without and with class weights."""
    few = ("loss.dice=0", "train.epochs=8", "evaluate.criterion=fixed")
    for rule in ("none", "total_over_class"):
        settings = [*_QUICK, *few, f"loss.class_weights={rule}", "loss.max_class_weight=50"]
        yield from score_rows(f"4 weights {rule}, pipeline", run(project, settings).scores)
    train, test = train_arrays(project, eyes), test_arrays(project, eyes)
    shares = train["masks"].mean(axis=(0, 1, 2))
    for name, weights in (("none", None), ("total_over_class", np.minimum(1 / shares, 50).tolist())):
        model = fitted(_SMALL, {"image": train["image"]}, train["masks"], weights=weights, dice=0.0, epochs=8)
        yield from alone_rows(f"4 weights {name}, alone", model, test, _CLASSES)


def recall_at_precision(project: Path) -> Iterator[list[str]]:
    """System 5: thresholds of the highest recall at a precision of 0.9, chosen on the validation split."""
    settings = [*_QUICK, "evaluate.criterion=recall_at_precision", "evaluate.target=0.9"]
    yield from score_rows("5 recall at precision 0.9, pipeline", run(project, settings).scores)


# --------------------------------------------------------------------------- the Keras parts alone


def alone(config: ModelConfig, project: Path, eyes: EyeFolders, *, epochs: int = _EPOCHS) -> tuple[Any, Arrays]:
    """Train a network on arrays in memory: no augmentation, no schedule, the same split."""
    train = train_arrays(project, eyes)
    return fitted(config, {"image": train["image"]}, train["masks"], epochs=epochs), test_arrays(project, eyes)


def fitted(
    config: ModelConfig,
    inputs: Arrays,
    masks: NDArray[Any],
    *,
    weights: Sequence[float] | None = None,
    dice: float = 1.0,
    epochs: int = _EPOCHS,
) -> Any:  # noqa: ANN401 (keras.Model)
    """What a user of the parts would write."""
    import keras

    from unetseg import CompositeLoss, build_unet
    from unetseg.heads import output_scales

    keras.utils.set_random_seed(0)
    guides = inputs["guides"].shape[-1] if "guides" in inputs else 0
    shape = (*inputs["image"].shape[1:3], 1)
    model = build_unet(config, input_shape=shape, classes=masks.shape[-1], guides=guides)
    loss = CompositeLoss({"weighted_binary_crossentropy": 1.0, "dice": dice}, class_weights=weights)
    scales = output_scales(model)
    several = len(scales) > 1
    model.compile(keras.optimizers.Adam(0.002), dict.fromkeys(scales, loss) if several else loss, jit_compile=False)
    targets = scaled_targets(masks, scales) if several else masks
    model.fit(inputs, targets, batch_size=4, epochs=epochs, verbose=0)
    return model


def alone_rows(name: str, model: Any, test: Arrays, classes: Sequence[str]) -> Rows:  # noqa: ANN401
    """Scores at a threshold of one half."""
    inputs = {key: value for key, value in test.items() if key != "masks"}
    found = model.predict(inputs, verbose=0, batch_size=4)
    return _rows(name, found["probabilities"] if isinstance(found, dict) else found, test["masks"], classes)


def _scales(name: str, model: Any, test: Arrays) -> Iterator[list[str]]:  # noqa: ANN401
    """Each output against the masks at its size; beside it, every n-th pixel of the full-size output and of the masks.

    Those two are what an output would be that only picks pixels: of the best that this network knows, and of the truth.
    """
    from unetseg.heads import output_scales

    found = model.predict({"image": test["image"]}, verbose=0, batch_size=4)
    targets = scaled_targets(test["masks"], output_scales(model))
    for output, factor in output_scales(model).items():
        yield from _rows(f"{name}, 1/{factor}", found[output], targets[output], _CLASSES)
        if factor > 1:
            picked = test["masks"][:, ::factor, ::factor].astype(np.float32)
            sampled = found["probabilities"][:, ::factor, ::factor]
            yield from _rows(f"{name}, one pixel in {factor} of the 1/1 output", sampled, targets[output], _CLASSES)
            yield from _rows(f"{name}, one pixel in {factor} of the masks", picked, targets[output], _CLASSES)


def _rows(name: str, probabilities: NDArray[Any], masks: NDArray[Any], classes: Sequence[str]) -> Rows:
    counts = count(masks, probabilities >= 0.5)
    scores = [function(counts) for function in (f_beta, recall, precision)]
    return [[name, label, "–", *(f"{score[k]:.3f}" for score in scores), "–"] for k, label in enumerate(classes)]


# --------------------------------------------------------------------------- data


def train_arrays(project: Path, eyes: EyeFolders) -> Arrays:
    """Images and masks of the training split."""
    return _arrays(project, eyes, "train")


def test_arrays(project: Path, eyes: EyeFolders) -> Arrays:
    """Images and masks of the test split."""
    return _arrays(project, eyes, "test")


def _arrays(project: Path, eyes: EyeFolders, split: str) -> Arrays:
    dataset = open_dataset(project / "dataset.zarr")
    scans = dataset.scans(split)
    images = np.stack([dataset.image(scan).astype(np.float32) for scan in scans])
    masks = [
        np.stack([tifffile.imread(eyes.masks / name / f"{scan.id}.tif") > 0 for name in _CLASSES], axis=-1)
        for scan in scans
    ]
    return {"image": images, "masks": np.stack(masks).astype(np.int8)}


def _discs(seeds: Sequence[int]) -> Arrays:
    drawn = [draw_discs(seed) for seed in seeds]
    return {
        "image": np.stack([image[..., np.newaxis] / np.float32(255) for image, _, _ in drawn]),
        "guides": np.stack([guides for _, _, guides in drawn]).astype(np.float32),
        "masks": np.stack([mask[..., np.newaxis] for _, mask, _ in drawn]).astype(np.int8),
    }


def load(outcome: Outcome) -> Any:  # noqa: ANN401
    """The network of a run, with all its outputs."""
    from unetseg.engines import load_network

    return load_network(outcome.result.bundle)


def _page(rows: Rows) -> str:
    head = ["system", "class", *HEAD]
    text = (
        "Synthetic eyes (64 scans of 16 people) and marked discs (48 scans); the scores are of the test split. In the "
        "pipeline thresholds come from the validation split, except for system 4; alone they are one half. All train "
        f"for {_EPOCHS} epochs but system 4 (8) and system 3 ({_SCALES_EPOCHS}), whose smaller outputs stand beside "
        "what is left when every n-th pixel of the full-size output, or of the masks, is taken. "
        f"{platform.machine()}, {os.cpu_count()} cores."
    )
    return "\n\n".join(["# The five systems", text, table(head, rows) + "\n"])


if __name__ == "__main__":
    main(sys.argv[1:] or _PARTS)
