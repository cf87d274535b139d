"""Settings as older versions wrote them: what has moved to another name since."""

from __future__ import annotations

import logging
from typing import Any, Final

__all__ = ["renew_settings"]

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
    """Give settings the names that they have now, and say so.

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
    return renewed


def _put(settings: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401 (any setting)
    section, field = name.split(".")
    if name == "augment.noise" and isinstance(value, int | float):
        value = value * _NOISE_SHARE
    settings[section] = {field: value} | (settings.get(section) or {})
