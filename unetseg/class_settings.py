"""Settings of single classes as texts: ``pupil=recall_at_precision:0.95``, ``pupil=0.05``.

A list of them is one setting, so that it fits a line of YAML, an option of the command line and a field of a form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["by_class", "parse_criterion", "parse_tolerance"]

_NUMBER: Final = r"\d*\.?\d+"
_CLASS: Final = r"([^\s=](?:[^=]*[^\s=])?)"  # names may hold blanks, but not at their ends
_CRITERION: Final = re.compile(
    rf"{_CLASS}=(?:(dice)|(f_beta|recall_at_precision|precision_at_recall|fixed):({_NUMBER}))"
)
_TOLERANCE: Final = re.compile(rf"{_CLASS}=({_NUMBER})")
_FIELD: Final = {"f_beta": "beta", "fixed": "fixed_threshold"}  # of EvaluateConfig; else target


def by_class(texts: Iterable[str]) -> dict[str, str]:
    """Each text under the name of its class, in their order.

    Raises:
        ValueError: two are about the same class.

    >>> by_class(["iris=dice", "pupil=fixed:0.3"])
    {'iris': 'iris=dice', 'pupil': 'pupil=fixed:0.3'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name = text.partition("=")[0]
        if name in found:
            raise ValueError(f"class {name!r} stands there twice, found {found[name]!r} and {text!r}; leave one")
        found[name] = text
    return found


def parse_criterion(text: str) -> dict[str, Any]:
    """The fields of `EvaluateConfig` that a class's criterion stands for; their ranges are not checked here.

    Raises:
        ValueError: it is of another form, or there is no such criterion.

    >>> parse_criterion("iris=recall_at_precision:0.95")
    {'criterion': 'recall_at_precision', 'target': 0.95}
    """
    found = _CRITERION.fullmatch(text)
    if found is None:
        raise ValueError(
            "must be CLASS=CRITERION, where the criterion is dice, f_beta:2, recall_at_precision:0.95, "
            f"precision_at_recall:0.9 or fixed:0.3 with a number of yours; found {text!r}"
        )
    _, alone, kind, value = found.groups()
    return {"criterion": alone} if alone else {"criterion": kind, _FIELD.get(kind, "target"): float(value)}


def parse_tolerance(text: str) -> float:
    """What a class may lose; its range is not checked here.

    Raises:
        ValueError: it is of another form, or no number of 0 or more.

    >>> parse_tolerance("pupil=0.05")
    0.05
    """
    found = _TOLERANCE.fullmatch(text)
    if found is None:
        raise ValueError(f"must be CLASS=NUMBER with a number of 0 or more, such as pupil=0.05; found {text!r}")
    return float(found[2])
