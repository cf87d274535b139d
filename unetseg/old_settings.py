"""Settings as older versions wrote them: what has moved to another name, or is no choice any more."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

__all__ = ["changed_settings", "renew_settings", "same_settings"]

logger = logging.getLogger(__name__)

_MOVED: Final = {
    "train.cross_entropy_weight": ("loss.cross_entropy",),
    "train.dice_weight": ("loss.dice",),
    "train.class_weights": ("loss.class_weights",),
    "train.max_class_weight": ("loss.max_class_weight",),
    "train.flips": ("augment.flips",),
    "train.intensity": ("augment.contrast", "augment.brightness", "augment.noise"),
}
_NOISE_SHARE: Final = 0.25  # of the strength that was one number for all three


def renew_settings(plain: dict[str, Any], where: str) -> dict[str, Any]:
    """Give settings the names and values that they have now, and say so.

    Args:
        plain: sections of settings, as read from JSON or YAML; not changed.
        where: they were read, for the log.
    """
    renewed = {section: dict(fields) if isinstance(fields, dict) else fields for section, fields in plain.items()}
    for old, names in _MOVED.items():
        section, field = old.split(".")
        if not isinstance(renewed.get(section), dict) or field not in renewed[section]:
            continue
        value = renewed[section].pop(field)
        logger.info("%s: %s is called %s now", where, old, " and ".join(names))
        for name in names:
            _put(renewed, name, value)
    _renew_gate(renewed.get("gate"), where)
    return renewed


def _renew_gate(gate: Any, where: str) -> None:  # noqa: ANN401 (a section, or what stands in its place)
    """Average precision cannot be drawn from counts, so the gate compares F1 instead."""
    if isinstance(gate, dict) and gate.get("score") == "average_precision":
        gate["score"] = "f1"
        logger.warning("%s: gate.score average_precision has no interval and is f1 now", where)


def _put(settings: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401 (any setting)
    section, field = name.split(".")
    if name == "augment.noise" and isinstance(value, int | float):
        value = value * _NOISE_SHARE
    settings[section] = {field: value} | (settings.get(section) or {})


def same_settings(stored: object, current: Any) -> bool:  # noqa: ANN401 (settings of a section)
    """Whether stored settings of a stage mean what its current ones do, as `changed_settings` compares them."""
    return not changed_settings(stored, current)


def changed_settings(stored: object, current: Any) -> tuple[str, ...]:  # noqa: ANN401 (settings of a section)
    """Names of the settings of a stage that mean something else now.

    Settings that are newer than what was stored had their defaults then; a new version changes no decision by itself.

    Args:
        stored: of one section, as read from JSON; where it is none, all have changed.
        current: the section now.
    """
    names = tuple(item.name for item in fields(current))
    try:
        before = TypeAdapter(type(current)).validate_python(stored)
    except ValidationError:
        return names
    return tuple(name for name in names if getattr(before, name) != getattr(current, name))
