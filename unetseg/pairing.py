"""Which mask belongs to which scan, told from the names alone.

Example:
    >>> find_patterns(["a_1", "a_2"], ["a_1_mask", "a_2_mask", "b_1_mask"])
    ('{name}_mask.*',)
    >>> find_patterns(["21_training", "22_training"], ["21_manual", "22_manual"])
    ('{name:_training=_manual}.*',)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from glob import escape

from unetseg.patterns import fill_pattern
from unetseg.scan_groups import group_of
from unetseg.splits import SPLITS

__all__ = [
    "common_begin",
    "find_group_rule",
    "find_patterns",
    "numbered_rule",
    "paired_ids",
    "spare_names",
    "stack_rule",
]

_SHORT_WORD = 3  # letters; shorter ones are found in any word by chance
_PATTERNS_TRIED = 10
_NAMES_TRIED = 50  # scans whose names are searched in the names of masks
_LEAST_OF_SCANS = 0.5
_LEAST_OF_MASKS = 0.8
_STACK_PAGE = re.compile(r"\.p\d{4,}$")
_NUMBERED = r"^(.*?[^\d _-])[ _-]*\d+$"
_STACKS = r"^(.+)\.p\d{4,}$"
_TEN_PAGES = r"^(.+\.p\d{3,})\d$"
_LEAST_GROUPS = len(SPLITS)


def paired_ids(ids: Sequence[str], names: Collection[str], pattern: str) -> list[str]:
    """The ids for which a pattern names one of the masks; ids of pages stand for their stacks."""
    known, stem = set(names), _stem(pattern)
    return [name for name in ids if {fill_pattern(stem, form) for form in (name, base_id(name))} & known]


def spare_names(ids: Sequence[str], names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The masks that no pattern gives for any of the scans: most often their names are misspelt."""
    stems = [_stem(pattern) for pattern in patterns]
    used = {fill_pattern(stem, form) for stem in stems for name in ids for form in (name, base_id(name))}
    return [name for name in names if name not in used]


def _stem(pattern: str) -> str:
    return re.sub(r"\[(.)\]", r"\1", pattern.removesuffix(".*"))  # undoes glob.escape


def base_id(scan_id: str) -> str:
    """The id of the stack that a page belongs to; other ids as they are."""
    return _STACK_PAGE.sub("", scan_id)


def find_patterns(ids: Sequence[str], names: Collection[str]) -> tuple[str, ...]:
    """The patterns that lead from ids of scans to names of masks, several where a scan has a mask per class.

    Args:
        ids: Ids of the scans.
        names: Paths of the masks below their folder, without suffix.
    """
    ids = list(dict.fromkeys(base_id(scan_id) for scan_id in ids))
    for patterns in (["{id}.*"], ["{name}.*"], _folders(ids, names), _affixes(ids, names), _replacements(ids, names)):
        counts = {pattern: len(paired_ids(ids, names, pattern)) for pattern in patterns}
        best = max(counts.values(), default=0)
        if best:
            return tuple(sorted(pattern for pattern, count in counts.items() if count >= max(best / 2, 1)))
    return ()


def _not_by_chance(pattern: str, ids: Sequence[str], names: Collection[str]) -> bool:
    """An affix must pair half of the scans, or nearly all masks (where few scans have one)."""
    paired = len(paired_ids(ids, names, pattern))
    return paired >= _LEAST_OF_SCANS * len(ids) or paired >= _LEAST_OF_MASKS * len(names)


def _folders(ids: Sequence[str], names: Collection[str]) -> list[str]:
    """``p1/images/7`` has ``p1/masks/7``: one folder of the path is another, the same for all scans."""
    by_last: dict[str, list[list[str]]] = {}
    for name in names:
        by_last.setdefault(name.rpartition("/")[2], []).append(name.split("/")[:-1])
    changes: set[tuple[str, str]] = set()
    for scan_id in ids[:: max(1, len(ids) // _NAMES_TRIED)]:
        *ours, last = scan_id.split("/")
        for theirs in by_last.get(last, []):
            changed = [pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]]
            if len(ours) == len(theirs) and len(changed) == 1:
                changes.update(changed)
    likely = [f"{{folder:{old}={new}}}{{name}}.*" for old, new in sorted(changes) if not set("={}") & set(old + new)]
    return [pattern for pattern in likely if _not_by_chance(pattern, ids, names)]


def _affixes(ids: Sequence[str], names: Collection[str]) -> list[str]:
    """Patterns ``pre{name}post``, in the scan's folder or in the masks' top folder, by how many scans they fit."""
    fitting: Counter[str] = Counter()
    for scan_id in ids[:: max(1, len(ids) // _NAMES_TRIED)]:
        folder, _, last = scan_id.rpartition("/")
        for name in names:
            place, _, mask = name.rpartition("/")
            if place in ("", folder):
                start = "{folder}" if place else ""
                fitting.update(f"{start}{escape(pre)}{{name}}{escape(post)}.*" for pre, post in _around(last, mask))
    likely = sorted(fitting, key=lambda pattern: (-fitting[pattern], len(pattern)))[:_PATTERNS_TRIED]
    return [pattern for pattern in likely if _not_by_chance(pattern, ids, names)]


def _around(name: str, mask: str) -> Iterator[tuple[str, str]]:
    """What stands before and behind a scan's name in a mask's name."""
    for found in re.finditer(re.escape(name), mask):
        before, after = mask[: found.start()], mask[found.end() :]
        if not (_cuts_word(before, name) or _cuts_word(name, after)):
            yield before, after


def _cuts_word(left: str, right: str) -> bool:
    """Whether two parts of a name are one number or word: scan 1 is no part of mask_11, scan a no part of mask_b."""
    ends = left[-1:], right[:1]
    short = min(len(left), len(right)) < _SHORT_WORD
    return all(end.isdigit() for end in ends) or (short and all(end.isalpha() for end in ends))


def _replacements(ids: Sequence[str], names: Collection[str]) -> list[str]:
    """``image_7`` has ``mask_7``: what all ids begin or end with is replaced by what all masks begin or end with."""
    if len(ids) < 2 or len(names) < 2:
        return []
    ours, theirs = _common([name.rsplit("/", 1)[-1] for name in ids]), _common([n.rsplit("/", 1)[-1] for n in names])
    whole = "id" if any("/" in name for name in names) else "name"
    return [f"{{{whole}:{old}={new}}}.*" for old, new in zip(ours, theirs, strict=True) if old and "=" not in old + new]


def _common(names: Sequence[str]) -> tuple[str, str]:
    """What all names begin and end with, without digits that number them."""
    begin, end = common_begin(names), common_begin([name[::-1] for name in names])[::-1]
    return re.sub(r"\d+$", "", begin), re.sub(r"^\d+", "", end)


def common_begin(names: Sequence[str]) -> str:
    """What all names begin with.

    >>> common_begin(["img_1", "img_2"])
    'img_'
    """
    first, last = min(names), max(names)  # all others lie between them
    length = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def numbered_rule(ids: Sequence[str]) -> str:
    """A rule for scans that may be of one patient: several names, each with several numbers (``Ann 1``, ``Ann 2``).

    A name alone does not tell (``image 1`` and ``control 1`` are no patients), so this is to ask a person. Empty if
    there is none.
    """
    found = [match[1] for scan_id in ids if (match := re.search(_NUMBERED, scan_id))]
    alike = len(found) == len(ids) and 3 <= len(set(found)) <= len(ids) / 2
    return _NUMBERED if alike else ""


def stack_rule(ids: Sequence[str]) -> tuple[str, str]:
    """A rule that keeps neighbouring pages together where not all scans are pages, or of few stacks; and what it keeps.

    Scans that are no pages are groups of their own. Empty if there would be fewer groups than splits need.
    """
    rules = ((_STACKS, "each stack"), (_TEN_PAGES, "ten pages in a row"))
    enough = (item for item in rules if len({group_of(name, item[0]) for name in ids}) >= _LEAST_GROUPS)
    return next(enough, ("", ""))


def find_group_rule(ids: Sequence[str]) -> tuple[str, str]:
    """A regular expression for what must not be torn between splits, and what it was told by; empty if none.

    Folders of patients, else stacks, else names that begin alike (``s01_2``).
    """
    rules = (
        # rule, least number of groups, least mean size: names may look alike by chance, folders do not
        (r"^([^/]+)/", _LEAST_GROUPS, 1, "first folder"),
        (_STACKS, _LEAST_GROUPS, 1, "stack"),
        (r"^([A-Za-z]*\d+[A-Za-z]*)[_-]", 5, 2, "begin of the name"),
        (r"^([A-Za-z]*\d+[A-Za-z]*) ", 5, 2, "begin of the name"),
    )
    for rule, least_groups, least_size, why in rules:
        found = [match[1] for scan_id in ids if (match := re.search(rule, scan_id))]
        if len(found) == len(ids) and len(set(found)) >= least_groups and len(found) >= least_size * len(set(found)):
            return rule, f"{why}: {len(set(found))} groups"
    return "", "every scan is its own group"
