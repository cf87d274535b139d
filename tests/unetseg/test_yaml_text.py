"""Errors of YAML are one line: where, what stands there, and what to mend."""

from __future__ import annotations

import pytest

from unetseg.yaml_text import parse_yaml

CLASSES = "sources:\n  classes:\n  - name: iris\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        pytest.param(
            CLASSES + "   pattern: '{name}_mask.*'",
            "line 4, column 4: pattern: '{name}_mask.*'",
            "does not continue the lines above; check the indentation",
            id="too-far-left",
        ),
        pytest.param(
            CLASSES + "     pattern: '{name}_mask.*'",
            "line 4, column 13: pattern: '{name}_mask.*'",
            "no ':' can stand here; check the indentation",
            id="too-far-right",
        ),
        pytest.param(
            CLASSES + "    pattern: {name}_mask.*",
            "line 4, column 20: pattern: {name}_mask.*",
            "text is left over after the value; a text that begins with '*', '&', '{'",
            id="bracket-without-quotes",
        ),
        pytest.param(
            CLASSES + "    pattern: *.tif",
            "line 4, column 15: pattern: *.tif",
            "a text that begins with '*', '&', '{'",
            id="star-without-quotes",
        ),
        pytest.param(
            "train:\n\tepochs: 3", "line 2, column 1: epochs: 3", "a tab is no indentation; use spaces", id="tab"
        ),
        pytest.param(
            "a: 1\nname: 'iris\nb: 2\n", "line 2, column 7: name: 'iris", "a quote begins here and does not", id="quote"
        ),
        pytest.param(
            "a: 1\nepochs\nb: 2\n", "line 2, column 1: epochs", "the ':' after the name is missing", id="no-colon"
        ),
        pytest.param(
            "a: 1\nb: [1, 2\n", "line 3, column 1", "a bracket is open; its end or a ',' is", id="end-of-file"
        ),
        pytest.param("a: !what 1", "line 1, column 4: a: !what 1", "could not determine a constructor", id="rare"),
        pytest.param("a: 1\nb: \0", "line 2", "holds the character U+0000, which YAML does not allow", id="NUL"),
        pytest.param(f"a: @{'x' * 90}", f"line 1, column 4: a: @{'x' * 56} ...", "a text that begins with", id="long"),
    ],
)
def test_an_error_says_where_what_stands_there_and_what_to_mend(text: str, place: str, words: str):
    with pytest.raises(ValueError, match=r"\A[^\n<^]*\Z") as caught:
        parse_yaml(text)
    assert str(caught.value).startswith(f"{place}: {words}")


def test_what_is_nested_too_deep_is_an_error_of_its_own():
    with pytest.raises(ValueError, match="nested too deep"):
        parse_yaml("[" * 5000)
