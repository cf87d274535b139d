"""The pictures of a report, for places that show Markdown and cannot show the page itself."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

__all__ = ["ReportPicture", "report_pictures"]


@dataclass(frozen=True)
class ReportPicture:
    """One picture of a report.

    Attributes:
        scan: which one it is of, and why it is shown.
        shows: the scan, the truth, the prediction, or the errors of a class.
        source: a ``data:`` address.
    """

    scan: str
    shows: str
    source: str


def report_pictures(page: str) -> list[ReportPicture]:
    """The scans of a report with truth, prediction and errors, in the order of the page.

    Args:
        page: the HTML of the report.
    """
    finder = _Finder()
    finder.feed(page)
    return finder.found


class _Finder(HTMLParser):
    """Notes pictures, each with the heading that stands above it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[ReportPicture] = []
        self._heading, self._in_heading = "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A heading begins, or a picture is there."""
        if tag == "h3":
            self._heading, self._in_heading = "", True
        given = dict(attrs)
        if tag == "img" and (source := given.get("src") or "").startswith("data:image/"):
            shows = (given.get("alt") or "").removesuffix(f", {self._heading}")
            self.found.append(ReportPicture(self._heading, shows, source))

    def handle_endtag(self, tag: str) -> None:
        """A heading ends."""
        self._in_heading = self._in_heading and tag != "h3"

    def handle_data(self, data: str) -> None:
        """Text of a heading."""
        if self._in_heading:
            self._heading += data
