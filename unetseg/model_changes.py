"""What differs between two models: settings, plan, data and software."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from unetseg.bundle import BundleInfo
from unetseg.config import to_plain

__all__ = ["TextChange", "model_changes"]

_LEFT_OUT: Final = "card"  # settings that say what a model is for change no number


@dataclass(frozen=True)
class TextChange:
    """Something about the models that differs: a setting, a choice of the plan, a fingerprint, a version of software.

    Attributes:
        subject: ``setting``, ``plan``, ``data``, ``software`` or ``model``.
        name: of it.
        before: of version a; empty where it has none.
        after: of version b; likewise.
    """

    subject: str
    name: str
    before: str
    after: str


def model_changes(a: BundleInfo, b: BundleInfo) -> tuple[TextChange, ...]:
    """List what differs between two models; what is equal is left out.

    Args:
        a: the one before.
        b: the one after.
    """
    return tuple(_changes(_facts(a), _facts(b)))


def _changes(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> Iterator[TextChange]:
    for subject, old in before.items():
        new = after[subject]
        for name in dict.fromkeys([*old, *new]):
            if old.get(name, "") != new.get(name, ""):
                yield TextChange(subject, name, old.get(name, ""), new.get(name, ""))


def _facts(info: BundleInfo) -> dict[str, dict[str, str]]:
    """All that may differ between two models, by subject and name."""
    settings = {name: part for name, part in to_plain(info.settings).items() if name != _LEFT_OUT}
    size = info.pixel_size
    return {
        "data": {
            "data": info.dataset_fingerprint[:12],
            "data and settings": info.training_fingerprint[:12],
            "pixel size": f"{size[0]:g} × {size[1]:g} µm" if size else "",
        },
        "setting": {f"{section}.{name}": _text(v) for section, part in settings.items() for name, v in part.items()},
        "plan": dict(info.plan),
        "model": {
            "created": info.created,
            "validation score": f"{info.validation_score:.4f}",
            "stride": str(info.stride),
            "halo": str(info.halo),
        },
        "software": dict(info.software),
    }


def _text(value: Any) -> str:  # noqa: ANN401 (any setting)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
