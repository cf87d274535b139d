"""What an evaluation must look like for those who read it: one that came with somebody else's model may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from unetseg.errors import BundleError

__all__ = ["check_evaluation"]


@dataclass(frozen=True)
class _Point:
    rule: Literal["thresholds", "argmax"]
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class _Scan:
    id: str
    group: str
    counts: tuple[Annotated[tuple[int, ...], Field(min_length=4, max_length=4)], ...]


@dataclass(frozen=True)
class _Inference:
    flips: str = ""
    tile: int | None = None


@dataclass(frozen=True)
class _Scored:
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    scans: tuple[_Scan, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    inference: _Inference | None = None
    test_fingerprint: str | None = None
    dataset_fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Production(_Scored):
    version: str
    operating_point: _Point | None = None


@dataclass(frozen=True)
class _Evaluation(_Scored):
    decision: Literal["thresholds", "argmax"] = "thresholds"
    evaluated_with: dict[str, Any] | None = None
    production: _Production | None = None
    warnings: tuple[str, ...] = ()


_SHAPE = TypeAdapter(_Evaluation)


def check_evaluation(path: Path, evaluation: Mapping[str, Any]) -> None:
    """See that what is there has its shape; what is missing is for those to say who need it.

    Args:
        path: of ``evaluation.json``.
        evaluation: what it holds.

    Raises:
        BundleError: something has another shape.
    """
    try:
        _SHAPE.validate_python(evaluation)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BundleError(f"{path}: damaged, {place}: {error.errors()[0]['msg']}; run unetseg evaluate again") from None
