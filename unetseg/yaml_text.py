"""YAML that people write: read without running code, and with errors of one line that say where and what to mend."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, Final

import yaml
from yaml.reader import ReaderError

__all__ = ["parse_yaml"]

_MOST_VALUES = 10_000  # in all of unetseg.yaml: 63 classes have less than 1,000
_LONGEST = 60  # letters of a line that an error repeats

_QUOTES: Final = "a text that begins with '*', '&', '{', '[', '%' or '@' needs quotes around all of it"
_UNCLOSED: Final = "found unexpected end of stream"
_NO_COLON: Final = "could not find expected ':'"
# What PyYAML calls a problem, by its beginning, and what it mostly is; the first one to fit counts.
_IN_WORDS: Final = {
    "expected <block end>, but found '<scalar>'": f"text is left over after the value; {_QUOTES}",
    "expected <block end>": "does not continue the lines above; check the indentation: what belongs together begins in "
    "the same column",
    "mapping values are not allowed here": "no ':' can stand here; check the indentation: what belongs together begins "
    "in the same column (and a text with ': ' in it needs quotes)",
    "sequence entries are not allowed here": "no list can begin here; put its '-' on a line of its own, and check the "
    "indentation",
    "found character '\\t'": "a tab is no indentation; use spaces",
    "found character": _QUOTES,
    "expected alphabetic or numeric character": _QUOTES,
    "expected ',' or": "a bracket is open; its end or a ',' is missing",
    _NO_COLON: "the ':' after the name is missing",
    _UNCLOSED: "a quote begins here and does not end",
}
_BEGINS_BEFORE: Final = (_NO_COLON, _UNCLOSED)  # PyYAML notices these lines later


def parse_yaml(text: str) -> Any:  # noqa: ANN401 (YAML)
    """The values of a YAML document.

    Raises:
        ValueError: it is none, or stands for more values than anybody writes; the message is one line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except yaml.YAMLError as error:
        raise ValueError(_in_words(error, text)) from error


class _Loader(yaml.SafeLoader):
    """Runs no code, and lets aliases stand for no more than anybody writes."""

    def construct_document(self, node: yaml.Node) -> Any:  # noqa: ANN401 (YAML)
        if _size(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_VALUES} values; write what they stand for")
        return super().construct_document(node)


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node is with all that its aliases stand for; without end where it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inner = node.value if isinstance(node.value, list) else []
        parts = chain.from_iterable(item if isinstance(item, tuple) else (item,) for item in inner)
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _in_words(error: yaml.YAMLError, text: str) -> str:
    """Place, line and problem of an error, in one line."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"line {line}: holds the character U+{error.character:04X}, which YAML does not allow; remove it"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    problem = error.problem or ""
    words = next((words for start, words in _IN_WORDS.items() if problem.startswith(start)), _plain(problem))
    before = problem.startswith(_BEGINS_BEFORE) and error.context_mark
    return f"{_place(before or error.problem_mark, text)}: {words}"


def _plain(problem: str) -> str:
    """A problem that is rare, without the brackets around the names of YAML's parts."""
    return " ".join(problem.replace("<", "").replace(">", "").split())


def _place(mark: yaml.Mark, text: str) -> str:
    """Line and column, from 1, and what stands in the line."""
    lines = text.splitlines()
    line = " ".join(lines[mark.line].split()) if mark.line < len(lines) else ""
    shown = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
    return ": ".join(filter(None, [f"line {mark.line + 1}, column {mark.column + 1}", shown]))
