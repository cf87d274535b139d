"""Listings of folders in object stores: kept where somebody asked for it, and nowhere else."""

from __future__ import annotations

from typing import Any

from fsspec.dircache import DirCache

__all__ = ["Listings"]


class Listings(DirCache):  # type: ignore[misc]  # fsspec publishes no types
    """What an fsspec file system knows of folders.

    fsspec keeps either all listings for the life of the process, or none. A process that lives for many nights must see
    what came in between, and a night that looks at thousands of scans cannot ask for each. So listings are kept only
    below folders that were given to `renew`, and until they are given again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[str, int] = {}
        self._files: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (what fsspec keeps)
        # A file is listed as itself, as `ls` does: else fsspec goes through the whole folder for each.
        return self._files.get(name) or super().__getitem__(name)

    def __setitem__(self, folder: str, entries: Any) -> None:  # noqa: ANN401 (what fsspec keeps)
        if self.version(folder) is not None:
            super().__setitem__(folder, entries)
            self._files |= {entry["name"]: [entry] for entry in entries if entry["type"] == "file"}

    def __delitem__(self, name: str) -> None:
        if self._files.pop(name, None) is None:
            for entry in super().__getitem__(name):
                self._files.pop(entry["name"], None)
            super().__delitem__(name)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._files.clear()

    def renew(self, folder: str) -> None:
        """Forget a folder and what is below it, and keep what is listed from now on."""
        self._versions[folder] = max(self._versions.values(), default=0) + 1
        for key in list(self):
            if _is_within(key, folder):
                self.pop(key, None)

    def version(self, folder: str) -> int | None:
        """A number that grows when the folder is renewed; None where nothing is kept."""
        return max((count for root, count in self._versions.items() if _is_within(folder, root)), default=None)


def _is_within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")
