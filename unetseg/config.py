"""Every setting of unetseg, with its default, its limits and one sentence of meaning.

Defaults are written here and nowhere else. The classes are frozen: a run cannot change them under its own feet.
They become JSON (stored with every artefact), YAML (``unetseg.yaml``) and forms (the Prefect UI).

Example:
    >>> TrainConfig(epochs=5).epochs
    5
    >>> Settings(train=TrainConfig(seed=7)).ingest.normalisation
    'percentile'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from unetseg.class_settings import by_class, parse_criterion, parse_tolerance

__all__ = [
    "AugmentConfig",
    "CardConfig",
    "ClassSource",
    "EvaluateConfig",
    "GateConfig",
    "GuideSource",
    "IngestConfig",
    "LossConfig",
    "ModelConfig",
    "NightlyConfig",
    "PredictConfig",
    "ScanSource",
    "Settings",
    "Sources",
    "TrainConfig",
    "to_plain",
]

_ACRONYMS = {"ema": "EMA", "gpu": "GPU"}


def _title(name: str, _field: object) -> str:
    """What a form calls a field: ``Max minutes``."""
    first, *others = (_ACRONYMS.get(word, word) for word in name.split("_"))
    return " ".join([first[0].upper() + first[1:], *others])


_FORBID = ConfigDict(extra="forbid", allow_inf_nan=False, field_title_generator=_title)


def _titled(title: str) -> ConfigDict:
    """Of the settings of one stage, which a form shows as a group of this name."""
    return ConfigDict(**_FORBID, title=title)


MaskEncoding = Literal["binary", "instances", "objects", "labels", "colours", "pages", "bits"]
ScanPattern = Annotated[str, Field(description="Which files below the folder are scans (glob).")]
Excluded = Annotated[
    str,
    Field(
        description="Which of them are no scans after all: glob of the path below the folder or of the bare name, "
        "such as *_mask.*; empty: none."
    ),
]
Upsampling = Literal["nearest", "bilinear", "transposed"]
Name = Annotated[str, StringConstraints(pattern=r"^[^\W_][\w .-]*$", max_length=64)]


# --------------------------------------------------------------------------- sources


def _checked_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}; found {pattern!r}") from None
    return pattern


@dataclass(frozen=True, config=_FORBID)
class ScanSource:
    """Where the scans are."""

    path: Annotated[
        str,
        Field(
            description="Folder of scans; a list of them (.txt, or .csv with a column scan), a plate, or one stack.",
            min_length=1,
        ),
    ]
    pattern: ScanPattern = "**/*"
    exclude: Excluded = ""
    channels: Annotated[
        tuple[Name, ...], Field(description="Names of the channels; their number is the network's input.", min_length=1)
    ] = ("grey",)
    group: Annotated[
        str,
        AfterValidator(_checked_expression),
        Field(
            description="Regular expression found in a scan's id: its first bracket (or the whole match) names the "
            "patient or slide that must not be torn between splits. Empty: every scan is its own group."
        ),
    ] = ""
    table: Annotated[
        str,
        Field(
            description="CSV or TSV file with a column 'scan' and a column 'group', 'split' or both; it is stronger "
            "than the expression in group. Empty: no table."
        ),
    ] = ""


@dataclass(frozen=True, config=_FORBID)
class GuideSource:
    """Where one guide (an extra binary input) is: one mask file per scan."""

    name: Name
    path: Annotated[str, Field(description="Folder of mask files, or one multi-page file.", min_length=1)]
    pattern: Annotated[
        str, Field(description="Path of a scan's mask below the folder; {id} is the scan's id, * any text.")
    ] = "{id}.*"


@dataclass(frozen=True, config=_FORBID)
class ClassSource(GuideSource):
    """Where one class is: which pixels of which mask file belong to it.

    Two names are reserved. ``background`` claims values that belong to no class; ``ignore`` claims values that count
    neither in the loss nor in the scores.
    """

    encoding: Annotated[
        MaskEncoding,
        Field(
            description="binary: everything above half of white, which is 255 or 65535 where the maximum is near it, "
            "1 of fractions, else the maximum; instances: every value but 0; "
            "objects: the union of several binary files, one per object; labels: the integers in values; "
            "colours: the colours in values; pages: the binary pages in values, from 0, of one file per scan; "
            "bits: the bits in values, from 0, of one integer."
        ),
    ] = "binary"
    values: Annotated[
        tuple[str, ...],
        Field(description="Integers, pages or bits ('3'), or colours ('#ff0000'), that mean this class."),
    ] = ()


@dataclass(frozen=True, config=_FORBID)
class Sources:
    """The scans, classes and guides of a project."""

    scans: ScanSource
    classes: tuple[ClassSource, ...] = ()
    guides: tuple[GuideSource, ...] = ()


# --------------------------------------------------------------------------- stages


def _several(value: object) -> object:
    """A text as the list that it stands for (``--set model.upsampling=nearest,bilinear``), a value as a list of one."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int | float) else value


@dataclass(frozen=True, config=_titled("Ingest"))
class IngestConfig:
    """How scans and masks become a dataset."""

    normalisation: Annotated[
        Literal["percentile", "zscore", "minmax", "fixed", "none"],
        Field(description="How intensities are scaled, per scan and channel; the model applies the same rule."),
    ] = "percentile"
    low_percentile: Annotated[float, Field(description="percentile: becomes 0.", ge=0, lt=50)] = 0.5
    high_percentile: Annotated[float, Field(description="percentile: becomes 1.", gt=50, le=100)] = 99.5
    fixed_low: Annotated[float, Field(description="fixed: this intensity becomes 0.")] = 0.0
    fixed_high: Annotated[float, Field(description="fixed: this intensity becomes 1.")] = 255.0
    dtype: Annotated[
        Literal["float16", "float32"], Field(description="Type of the stored, normalised intensities.")
    ] = "float16"
    chunk: Annotated[int, Field(description="Side of a chunk in pixels, about one patch.", ge=16, le=4096)] = 256
    resize_masks: Annotated[
        bool,
        Field(
            description="Masks and guides that were drawn on smaller or larger copies are brought to their scan's "
            "size, by the nearest pixel; off: another size is an error."
        ),
    ] = False
    validation_fraction: Annotated[
        float, Field(description="Share of the groups that chooses weights and thresholds.", gt=0, lt=0.5)
    ] = 0.15
    test_fraction: Annotated[
        float, Field(description="Share of the groups that is only ever used to report.", gt=0, lt=0.5)
    ] = 0.15
    max_failed_fraction: Annotated[
        float, Field(description="More quarantined scans than this share fail the run.", ge=0, le=1)
    ] = 0.1
    max_scan_gigabytes: Annotated[
        float,
        Field(
            description="A scan that must be decoded to more at once is refused from its header; tiled and stripped "
            "TIFFs are read in bands, so they may be larger.",
            gt=0,
        ),
    ] = 4.0
    workers: Annotated[int, Field(description="Scans read at once; 0: one per processor core.", ge=0, le=1024)] = 0

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.fixed_high <= self.fixed_low:
            raise ValueError(f"fixed_high must be above fixed_low, found {self.fixed_high} and {self.fixed_low}")
        return self


@dataclass(frozen=True, config=_titled("Model"))
class ModelConfig:
    """The shape of the U-Net. Depth and width of 0 are chosen by `unetseg.plan`."""

    depth: Annotated[
        int, Field(description="How often the encoder halves; 0: as often as the patches allow.", ge=0, le=7)
    ] = 0
    width: Annotated[
        int,
        Field(description="Filters of the first level, doubled at each halving; 0: by the device.", ge=0, le=256),
    ] = 0
    max_width: Annotated[int, Field(description="No level has more filters than this.", ge=2, le=4096)] = 512
    block: Annotated[
        Literal["plain", "residual"], Field(description="Two convolutions, or two with a shortcut around them.")
    ] = "plain"
    normalisation: Annotated[
        Literal["batch", "group", "instance", "none"],
        Field(
            description="Normalisation after each convolution; group and instance see the whole tile, so that large "
            "scans can only be segmented nearly, not exactly, as in one piece."
        ),
    ] = "batch"
    activation: Annotated[
        Literal["relu", "leaky_relu", "elu", "gelu", "silu"], Field(description="Activation after each convolution.")
    ] = "relu"
    dropout: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], ...],
        Field(
            description="Share of features dropped: one number for the lowest level alone, or one per level, finest "
            "first and the lowest last.",
            min_length=1,
        ),
        BeforeValidator(_several),
    ] = (0.0,)
    upsampling: Annotated[
        tuple[Upsampling, ...],
        Field(
            description="How the decoder doubles: one way for all levels, or one per level, finest first.", min_length=1
        ),
        BeforeValidator(_several),
    ] = ("nearest",)
    attention: Annotated[bool, Field(description="Attention gates on what skips from encoder to decoder.")] = False
    fusion: Annotated[
        int,
        Field(
            description="Multi-scale fusion: so many encoder levels above and below its own join each decoder level.",
            ge=0,
            le=6,
        ),
    ] = 0
    fusion_upsampling: Annotated[
        Upsampling, Field(description="How features of lower levels are brought to the level that they join.")
    ] = "bilinear"
    outputs: Annotated[
        int,
        Field(
            description="Scales at which masks come out, each with its own loss: 1, 1/2, 1/4 ... of the size.",
            ge=1,
            le=7,
        ),
    ] = 1
    head: Annotated[
        Literal["sigmoid", "softmax"],
        Field(description="sigmoid: classes may overlap; softmax: exactly one class (or background) per pixel."),
    ] = "sigmoid"


_LossWeight = Annotated[float, Field(ge=0), "weighs the loss of that name"]


@dataclass(frozen=True, config=_titled("Loss"))
class LossConfig:
    """What training makes small: a weighted sum of losses."""

    cross_entropy: Annotated[_LossWeight, Field(description="Weight of weighted binary cross-entropy.")] = 1.0
    dice: Annotated[_LossWeight, Field(description="Weight of the Dice loss.")] = 1.0
    focal: Annotated[_LossWeight, Field(description="Weight of the focal loss.")] = 0.0
    tversky: Annotated[_LossWeight, Field(description="Weight of the Tversky loss.")] = 0.0
    focal_tversky: Annotated[_LossWeight, Field(description="Weight of the focal Tversky loss.")] = 0.0
    focal_gamma: Annotated[float, Field(description="focal: how fast easy pixels fade.", ge=0, le=10)] = 2.0
    tversky_alpha: Annotated[
        float, Field(description="tversky, focal_tversky: weight of false positives.", ge=0, le=10)
    ] = 0.3
    tversky_beta: Annotated[
        float,
        Field(
            description="tversky, focal_tversky: weight of false negatives; above alpha it leans to recall.",
            ge=0,
            le=10,
        ),
    ] = 0.7
    focal_tversky_gamma: Annotated[
        float, Field(description="focal_tversky: above 1, classes that are nearly found still count.", gt=0, le=10)
    ] = 4 / 3
    class_weights: Annotated[
        Literal["none", "total_over_class", "inverse_frequency"],
        Field(
            description="Weight of a class's foreground in the cross-entropy: 1; total pixels / class pixels; "
            "or background pixels / class pixels."
        ),
    ] = "inverse_frequency"
    max_class_weight: Annotated[float, Field(description="Cap of the class weights.", ge=1)] = 5.0
    given_class_weights: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...],
        Field(
            description="Weights instead, one per class in the project's order; empty: by the rule of class_weights."
        ),
        BeforeValidator(_several),
    ] = ()
    scale_weights: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...],
        Field(description="Weights of the outputs of a multi-scale network, largest first; empty: 1, 1/2, 1/4 ..."),
        BeforeValidator(_several),
    ] = ()

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.given_class_weights and not self.cross_entropy:
            raise ValueError("given_class_weights weigh the cross-entropy, whose weight cross_entropy is 0")
        if not any(self.weights.values()):
            raise ValueError(f"one of {', '.join(self.weights)} must be above 0, found all 0")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its setting."""
        return {name: getattr(self, name) for name in _loss_weights()}


@lru_cache
def _loss_weights() -> list[str]:
    """The settings that weigh a loss, told by their type."""
    hints = get_type_hints(LossConfig, include_extras=True)
    return [name for name, hint in hints.items() if get_args(_LossWeight)[-1] in get_args(hint)]


@dataclass(frozen=True, config=_titled("Augment"))
class AugmentConfig:
    """How training patches are varied; image, guides and masks move together."""

    flips: Annotated[bool, Field(description="Flips and quarter turns, which leave labels exact.")] = True
    warped_fraction: Annotated[
        float, Field(description="Share of patches that are rotated, scaled and bent; 0: none.", ge=0, le=1)
    ] = 0.3
    rotation: Annotated[float, Field(description="Rotation by up to so many degrees either way.", ge=0, le=180)] = 15.0
    scale: Annotated[
        float, Field(description="Enlarged or shrunk by up to this share: 0.2 is 1/1.2 to 1.2.", ge=0, le=1)
    ] = 0.2
    elastic: Annotated[
        float, Field(description="Elastic bending: standard deviation of the shifts in pixels.", ge=0, le=64)
    ] = 0.0
    contrast: Annotated[float, Field(description="Standard deviation of the change of contrast.", ge=0, le=1)] = 0.2
    brightness: Annotated[
        float,
        Field(description="Standard deviation of the change of brightness, in normalised intensities.", ge=0, le=1),
    ] = 0.2
    noise: Annotated[
        float, Field(description="Noise of up to this standard deviation, in normalised intensities.", ge=0, le=1)
    ] = 0.05


@dataclass(frozen=True, config=_titled("Train"))
class TrainConfig:
    """How the network is trained. Epochs, steps, patch and batch of 0 are chosen by `unetseg.plan`."""

    epochs: Annotated[int, Field(description="At most so many epochs; 0: by the number of training pixels.", ge=0)] = 0
    steps_per_epoch: Annotated[
        int, Field(description="Batches per epoch; 0: enough to see every training pixel about once.", ge=0)
    ] = 0
    max_minutes: Annotated[
        float,
        Field(description="Epochs are cut so that training takes about so long; 0: no limit.", ge=0),
    ] = 10.0
    patch: Annotated[
        int,
        Field(
            description="Side of a training patch in pixels, smaller where scans are; 0: by scans and device.",
            ge=0,
            le=4096,
        ),
    ] = 0
    batch: Annotated[int, Field(description="Patches per step; 0: what the memory holds.", ge=0, le=4096)] = 0
    learning_rate: Annotated[float, Field(description="Peak of the learning rate.", gt=0, le=1)] = 0.002
    schedule: Annotated[
        Literal["cosine", "plateau", "constant"],
        Field(
            description="After a warm-up the learning rate follows a cosine to the end, halves where validation has "
            "not risen for a third of patience, or stays."
        ),
    ] = "cosine"
    weight_decay: Annotated[float, Field(description="Decoupled weight decay (AdamW).", ge=0, lt=1)] = 0.0001
    clip_norm: Annotated[float, Field(description="Gradients longer than this are shortened; 0: never.", ge=0)] = 1.0
    ema: Annotated[
        float,
        Field(
            description="Momentum of a running mean of the weights, which is what is kept; 0: the weights.", ge=0, lt=1
        ),
    ] = 0.0
    foreground_fraction: Annotated[
        float, Field(description="Share of patches centred on a pixel of some class.", ge=0, le=1)
    ] = 0.5
    monitor: Annotated[
        Literal["dice", "recall_at_precision"],
        Field(description="What chooses the best weights on the validation split."),
    ] = "dice"
    monitor_precision: Annotated[
        float, Field(description="recall_at_precision: the precision that must be reached.", gt=0, lt=1)
    ] = 0.9
    patience: Annotated[
        int, Field(description="Epochs without a better validation score before training stops; 0: never.", ge=0)
    ] = 15
    warm_start: Annotated[bool, Field(description="Begin with the weights of the production model.")] = False
    devices: Annotated[int, Field(description="GPUs that share each batch; 0: all that are there.", ge=0, le=64)] = 1
    seed: Annotated[int, Field(description="Start of all random numbers.", ge=0, lt=2**31)] = 0
    precision: Annotated[
        Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"],
        Field(description="Keras precision policy; auto: mixed on GPUs that gain from it, else float32."),
    ] = "auto"
    gpu: Annotated[
        Literal["preferred", "required"],
        Field(
            description="Where no GPU is found: preferred: training goes on on the CPU, and says so; required: it is "
            "refused before any work."
        ),
    ] = "preferred"


def _checked_criterion(text: str) -> str:
    _refuse_out_of_range(EvaluateConfig, text, **parse_criterion(text))
    return text


def _checked_tolerance(text: str) -> str:
    _refuse_out_of_range(GateConfig, text, tolerance=parse_tolerance(text))
    return text


def _refuse_out_of_range(kind: Callable[..., object], text: str, **fields: Any) -> None:  # noqa: ANN401 (any setting)
    """Refuse a number that the field which it stands for would refuse."""
    try:
        kind(**fields)
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['msg']}; found {text!r}") from None


def _each_class_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    by_class(texts)
    return texts


@dataclass(frozen=True, config=_titled("Evaluate"))
class EvaluateConfig:
    """How thresholds are chosen (validation split) and scores are reported (test split)."""

    criterion: Annotated[
        Literal["f_beta", "dice", "recall_at_precision", "precision_at_recall", "fixed"],
        Field(description="What thresholds are chosen for; dice is f_beta with beta 1; fixed takes fixed_threshold."),
    ] = "f_beta"
    average: Annotated[
        Literal["class", "micro", "macro"],
        Field(
            description="What the criterion is about: class: each class on its own; micro: the pixels of all classes "
            "together; macro: the mean over classes. For the last two, thresholds are chosen together."
        ),
    ] = "class"
    class_criteria: Annotated[
        tuple[Annotated[str, AfterValidator(_checked_criterion)], ...],
        Field(
            description="Classes with a criterion of their own, such as iris=recall_at_precision:0.95, "
            "pupil=f_beta:2, sclera=dice or pupil=fixed:0.3; stronger than criterion and average."
        ),
        BeforeValidator(_several),
        AfterValidator(_each_class_once),
    ] = ()
    beta: Annotated[float, Field(description="f_beta: 1 weighs both alike, 2 leans to recall.", gt=0, le=10)] = 1.0
    target: Annotated[
        float, Field(description="The precision (or recall) that must be reached by the criterion.", gt=0, le=1)
    ] = 0.9
    fixed_threshold: Annotated[float, Field(description="fixed: the threshold of every class.", ge=0, le=1)] = 0.5
    decision: Annotated[
        Literal["auto", "thresholds", "argmax"],
        Field(
            description="What a pixel is: every class above its threshold, or (argmax) the most probable of exclusive "
            "classes and background; auto: argmax for exclusive classes (model.head: softmax), else thresholds."
        ),
    ] = "auto"
    surface_tolerance: Annotated[
        float, Field(description="Surface Dice: how far outlines may lie apart, in pixels.", ge=0, le=1000)
    ] = 2.0
    draws: Annotated[int, Field(description="Bootstrap draws over groups.", ge=100, le=100_000)] = 1000
    confidence: Annotated[float, Field(description="Coverage of the intervals.", gt=0.5, lt=1)] = 0.95
    seed: Annotated[int, Field(description="Start of the bootstrap's random numbers.", ge=0, lt=2**31)] = 0


@dataclass(frozen=True, config=_titled("Gate"))
class GateConfig:
    """When a new model replaces production."""

    score: Annotated[
        Literal["f1", "dice", "iou", "recall"],
        Field(description="Macro score that must rise: f1 and recall of all pixels, dice and iou as means over scans."),
    ] = "f1"
    tolerance: Annotated[float, Field(description="No class may lose more than this of the score.", ge=0, le=1)] = 0.02
    class_tolerances: Annotated[
        tuple[Annotated[str, AfterValidator(_checked_tolerance)], ...],
        Field(description="Classes that may lose another amount, such as pupil=0.05; stronger than tolerance."),
        BeforeValidator(_several),
        AfterValidator(_each_class_once),
    ] = ()
    floor: Annotated[float, Field(description="The first model must reach this macro score.", ge=0, le=1)] = 0.5
    keep_models: Annotated[
        int,
        Field(
            description="After each night only so many newest models are kept, besides production and previous, and "
            "the trainings that led to them; 0: all.",
            ge=0,
        ),
    ] = 0


@dataclass(frozen=True, config=_titled("Predict"))
class PredictConfig:
    """How a folder of scans is segmented."""

    engine: Annotated[
        Literal["auto", "openvino", "keras"], Field(description="What runs the network; auto: openvino on CPUs.")
    ] = "auto"
    format: Annotated[
        Literal["ome-zarr", "tiff"], Field(description="One OME-Zarr or one multi-page TIFF per scan.")
    ] = "ome-zarr"
    pattern: ScanPattern = "**/*"
    exclude: Excluded = ""
    guides: Annotated[
        str,
        Field(
            description="Folder with one sub-folder per guide, where the model has guides; a relative one is below the "
            "project's folder, on the command line below the folder you are in."
        ),
    ] = ""
    masks: Annotated[
        Literal["planes", "labels"],
        Field(
            description="planes: one plane per class, which may overlap; labels: one plane with the number of the "
            "class, for classes that exclude each other."
        ),
    ] = "planes"
    objects: Annotated[
        bool, Field(description="Also write one plane per class in which each object has its number.")
    ] = False
    min_object: Annotated[int, Field(description="Objects of fewer pixels are dropped; 0: none.", ge=0, le=2**40)] = 0
    fill_holes: Annotated[
        int, Field(description="Holes in objects, of at most so many pixels, are filled; 0: none.", ge=0, le=2**40)
    ] = 0
    tile: Annotated[
        int,
        Field(
            description="Side of a tile in pixels, halo included; smaller scans are not tiled. 0: by halo, cores and "
            "memory; by the network alone where tiles are blended.",
            ge=0,
            le=16384,
        ),
    ] = 0
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(
            description="Of the network's sums; auto: bfloat16 where OpenVINO runs on a processor that has it, else "
            "float32. What bfloat16 changes is measured by evaluate."
        ),
    ] = "auto"
    flips: Annotated[
        Literal["none", "horizontal", "vertical", "both"],
        Field(
            description="Probabilities are the mean over the scan and its mirror images, which takes twice the time, "
            "or with both four times. Thresholds fit only the flips that evaluate ran with."
        ),
    ] = "none"
    probabilities: Annotated[bool, Field(description="Also write the probabilities, as 8-bit planes.")] = False
    workers: Annotated[int, Field(description="Scans in flight at once; 0: one per processor core.", ge=0, le=1024)] = 0
    batch: Annotated[
        int,
        Field(description="Scans that a flow segments in one task run; of large ones fewer.", ge=1, le=10**6),
    ] = 1000
    processes: Annotated[
        int,
        Field(
            description="Processes of this machine that share the work; 0: threads of one. Of no account with a "
            "cluster.",
            ge=0,
            le=256,
        ),
    ] = 0
    resource: Annotated[
        str,
        Field(
            description="Only workers of the cluster that announce it get work, such as GPU=1: what one scan, or band "
            "of a large one, takes of it. Of no account without a cluster.",
            pattern=r"^(\w+(=\d+(\.\d+)?)?)?$",
        ),
    ] = ""
    scratch: Annotated[
        str,
        Field(
            description="Where the outputs are in an object store: folder on a disk for what is unfinished of large "
            "scans and stacks; on a cluster one that all workers see. Empty: that of the system for temporary files."
        ),
    ] = ""
    pixel_size: Annotated[
        Literal["ignore", "warn", "refuse", "rescale"],
        Field(
            description="What happens to a scan whose pixels have another size than those the model was trained on: "
            "rescale: it is segmented at the model's pixel size, and the masks are brought back to its own. Scans that "
            "do not tell theirs are refused by refuse, and told of by rescale."
        ),
    ] = "warn"
    max_failed_fraction: Annotated[
        float, Field(description="More quarantined scans than this share fail the run.", ge=0, le=1)
    ] = 1.0
    max_scan_gigabytes: Annotated[
        float, Field(description="A scan that decodes to more is refused from its header.", gt=0)
    ] = 4.0


@dataclass(frozen=True, config=_titled("Nightly"))
class NightlyConfig:
    """What a night does beside ingest, train, evaluate and gate."""

    when_busy: Annotated[
        Literal["wait", "skip"],
        Field(
            description="While another run ingests or trains in the project: wait: the night begins when that one has "
            "ended; skip: it ends at once, and says so."
        ),
    ] = "wait"
    predict_folder: Annotated[
        str,
        Field(
            description="Folder of scans that each night segments at its end, with production: all of them after a "
            "promotion, else what is new or missing. A relative one is below the project's folder. Empty: none."
        ),
    ] = ""
    predict_out: Annotated[
        str, Field(description="Where the outputs go; a relative folder is below the project's.")
    ] = ""

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        if bool(self.predict_folder) != bool(self.predict_out):
            given, missing = ("folder", "out") if self.predict_folder else ("out", "folder")
            raise ValueError(f"predict_{given} is set, so predict_{missing} must be, too; or empty both")
        return self


@dataclass(frozen=True, config=_titled("Card"))
class CardConfig:
    """What a model's card says that no number can tell."""

    licence: Annotated[str, Field(description="Licence of the models, as an SPDX identifier such as CC-BY-4.0.")] = ""
    intended_use: Annotated[str, Field(description="What the models are for, and for which scans.")] = ""
    limitations: Annotated[str, Field(description="What they are not for, and what is known to fail.")] = ""
    authors: Annotated[str, Field(description="Who answers for them.")] = ""


@dataclass(frozen=True, config=_FORBID)
class Settings:
    """All stages together, as in ``unetseg.yaml``."""

    ingest: IngestConfig = field(default_factory=IngestConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    nightly: NightlyConfig = field(default_factory=NightlyConfig)
    card: CardConfig = field(default_factory=CardConfig)


def to_plain(value: Any) -> Any:  # noqa: ANN401 (any settings class)
    """Settings as plain dicts, lists and numbers, ready for JSON or YAML."""
    return _adapter(type(value)).dump_python(value, mode="json")  # type: ignore[arg-type]  # classes can be hashed


_adapter = lru_cache(TypeAdapter)  # making one takes longer than what it does
