"""Numbers of things, lists of names, commands, shares, sizes and addresses, in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

__all__ = ["counted", "first_of", "in_project", "percent", "size_in_words", "too_many", "without_login"]

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"), (1, "bytes"))


def counted(number: int, what: str) -> str:
    """How many there are of something.

    Args:
        number: of them.
        what: one of them is called; several have an "s" more.

    >>> counted(1, "scan"), counted(4000, "scan")
    ('1 scan', '4,000 scans')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def first_of(names: Iterable[str], most: int, *, rest: str = " and {} more") -> str:
    """The first names with commas between them, and how many there are besides.

    Args:
        names: what a sentence is about.
        most: so many are named.
        rest: what follows where there are more; ``{}`` stands for their number.

    >>> first_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    >>> first_of(["a", "b"], 2)
    'a, b'
    """
    listed = list(names)
    return ", ".join(listed[:most]) + (rest.format(len(listed) - most) if len(listed) > most else "")


def in_project(command: str, project: Path | str) -> str:
    """A command for a project as it is typed in any folder, also where the path of the project has spaces.

    Args:
        command: without its project.
        project: the project's folder.

    >>> in_project("unetseg ingest", "my eyes")
    "unetseg ingest --project 'my eyes'"
    """
    return f"{command} --project {quote(str(project))}"


def percent(share: float) -> str:
    """A share of a whole, with three digits.

    >>> percent(0.12345)
    '12.3 %'
    """
    return f"{100 * share:.3g} %"


def size_in_words(size: int) -> str:
    """Bytes in the unit that keeps them short; a kilobyte is 1000 bytes.

    >>> size_in_words(98_304), size_in_words(6_488_064), size_in_words(24 * 10**9)
    ('98.3 KB', '6.49 MB', '24 GB')
    """
    value, unit = next((size / step, unit) for step, unit in _UNITS if size >= step or step == 1)
    return f"{value:.3g} {unit}"


def too_many(bad: int, total: int, setting: str, limit: float) -> str:
    """That more scans were set aside than a setting allows, and which value would.

    >>> too_many(12, 108, "ingest.max_failed_fraction", 0.1)
    '12 of 108 scans cannot be used, more than ingest.max_failed_fraction = 0.1 allows; mend them, or set it to 0.12'
    """
    enough = next(share / 100 for share in range(101) if bad <= share / 100 * total)
    return (
        f"{bad} of {total} scans cannot be used, more than {setting} = {limit} allows; mend them, or set it to {enough}"
    )


def without_login(text: str) -> str:
    """A text with an address in it, without the name and the password that the address may hold.

    >>> without_login("http://ann:secret@host:4200/api"), without_login("http://host:4200/api")
    ('http://***@host:4200/api', 'http://host:4200/api')
    """
    return re.sub(r"://.*@", "://***@", text)
