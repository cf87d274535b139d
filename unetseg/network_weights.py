"""Weights in HDF5, looked at before Keras reads them: plain arrays, as long as the bytes that are stored of them.

HDF5 can do more: a link leads to another place or file, an array can keep its values in other files, or be compressed
and inflate to far more. Keras writes none of these. It refuses links and other files itself, and arrays of 4 GB and
more that inflate a thousandfold; what is smaller than that may still be more than a machine has.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

__all__ = ["check_weights"]

_PLAIN = "fiubV"  # kinds of numbers: float, int, unsigned, bool, and bfloat16, which HDF5 does not know
_MOST_ITEMS = 10_000  # groups and arrays; a U-Net with its optimiser has some hundreds


def check_weights(file: Path | IO[bytes]) -> int:
    """Look at the arrays of a file without reading their values.

    Args:
        file: HDF5.

    Returns:
        Bytes of all arrays together.

    Raises:
        ValueError: there is something else than plain arrays.
        OSError: it is no HDF5.
    """
    import h5py

    total = 0
    with h5py.File(file, "r") as stored:
        groups, seen = [stored], 0
        while groups:
            group = groups.pop()
            for name in group:
                seen += 1
                _check_link(group, name, seen)
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                else:
                    total += _nbytes(item)
    return total


def _check_link(group: Any, name: str, seen: int) -> None:  # noqa: ANN401 (h5py publishes no types)
    import h5py

    kind = group.get(name, getclass=True, getlink=True)
    if kind is not h5py.HardLink:
        raise ValueError(f"{group.name}/{name} is a link ({kind.__name__}), which weights have none of")
    if seen > _MOST_ITEMS:  # also where groups lead in a circle
        raise ValueError(f"it holds more than {_MOST_ITEMS} groups and arrays")


def _nbytes(item: Any) -> int:  # noqa: ANN401 (h5py publishes no types)
    """Of one array."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in _PLAIN or item.dtype.names:
        raise ValueError(f"{item.name} is no array of numbers")
    if item.external or item.is_virtual:
        raise ValueError(f"{item.name} keeps its values in other files")
    declared: int = item.size * item.dtype.itemsize
    stored = item.id.get_storage_size()
    if declared != stored:
        raise ValueError(f"{item.name} has {stored} bytes and becomes {declared}")
    return declared
