"""HTML pages from the templates of this package; what they show is escaped."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jinja2

from unetseg.score_words import interval_text, measured, score_number, score_title

__all__ = ["render"]


def render(template: str, **values: Any) -> str:  # noqa: ANN401 (whatever the template shows)
    """Fill a template; a name that it uses and nobody gave is an error."""
    return _environment().get_template(template).render(**values)


@lru_cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unetseg"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["score"] = lambda value: score_number("", value)
    environment.globals |= {
        "interval_text": interval_text,
        "measured": measured,
        "score_number": score_number,
        "score_title": score_title,
    }
    environment.filters["percent"] = lambda value: f"{100 * value:.0f} %"
    environment.filters["share"] = lambda value: f"{value:.2%}"
    environment.filters["digits"] = lambda value: (
        "–" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    )
    environment.filters["zip"] = lambda left, right: zip(left, right, strict=True)
    return environment
