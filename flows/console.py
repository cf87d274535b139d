"""What the command says: words and bars for people, one JSON value for programs."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:  # it would load the workers, which `--help` does not need
    from unetseg.parallel import Progress

__all__ = ["Console", "end_if_unread", "import_keras_quietly", "log_to_stderr", "say_if_read"]

_UNREAD = 128 + getattr(signal, "SIGPIPE", 13)  # exit status: as a shell tells of a command that this signal ended
_SAID_BY_THE_COMMAND = "unetseg.gate"  # its news is the sentence of the night, with which the command ends
_PIPED_WIDTH = 160  # columns of a table in a file or a pipe, where nobody's window sets them


class Console:
    """Words go to standard output, or to standard error when JSON has standard output for itself."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, text: str = "") -> None:
        """One line for people."""
        click.echo(text, err=self._as_json)

    def finish(self, result: dict[str, Any]) -> None:
        """The one result for programs; nothing without ``--json``."""
        if self._as_json:
            click.echo(json.dumps(_plain(result), ensure_ascii=False, default=str))  # addresses of stores

    def table(self, title: str, head: list[str], rows: list[list[str]]) -> None:
        """A table for people."""
        from rich.console import Console as RichConsole
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for number, name in enumerate(head):
            cells = [row[number] for row in rows]
            right = number > 0 and all(map(_numeric, cells))  # the first names the row
            table.add_column(name, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        console = RichConsole(stderr=self._as_json, highlight=False, markup=False, width=width)
        with console.capture() as drawn:
            console.print(table)
        click.echo(drawn.get(), nl=False, err=self._as_json)  # rich ends by itself where nobody reads

    @contextmanager
    def progress(self, title: str, *, epochs: bool = False) -> Iterator[Progress]:
        """A bar in a terminal; elsewhere a line of the log now and then, so that nothing is mute for hours.

        Args:
            title: of the stage.
            epochs: whether it is told about epochs; else about scans.
        """
        if not sys.stderr.isatty():
            from unetseg.progress_log import PAUSE, log_epochs, log_scans

            yield log_epochs(pause=PAUSE) if epochs else log_scans(title)
            return
        from rich.console import Console as RichConsole

        from flows.bar import bar

        with bar(title, RichConsole(stderr=True)) as tell:
            yield tell


def say_if_read(text: str) -> None:
    """One line for people, from what must not end because its words are lost: in a closed pipe, or on a full disk."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError:
        return


def end_if_unread(error: Exception) -> None:
    """Where nobody reads the words of this command any more, as after ``| head -1``, end as others do: silently.

    Args:
        error: that was raised; others than of such a pipe, or of another one, are left alone.
    """
    if not isinstance(error, BrokenPipeError) or not (closed := _closed()):
        return
    for stream in closed:
        _silence(stream)
    sys.exit(_UNREAD)


def _closed() -> list[TextIO]:
    """Those of this command's own pipes that nobody reads."""
    return [stream for stream in (sys.stdout, sys.stderr) if _is_closed(stream)]


def _is_closed(stream: TextIO) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    try:
        poll.register(stream.fileno(), select.POLLOUT)
    except OSError:  # no file, as within tests
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _silence(stream: TextIO) -> None:
    """Let what is left go nowhere: Python would complain of it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _numeric(cell: str) -> bool:
    """Whether a cell stands under others by its end: a number, a share, or the dash of one that is not there."""
    return re.fullmatch(r"[-+]?[\d,.]+(e[-+]?\d+)?%?|–", cell) is not None


def import_keras_quietly() -> None:
    """Import Keras without the lines that TensorFlow's C++ side prints on the way; unetseg's own lines stay."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def log_to_stderr() -> None:
    """Show what the library logs, but for what the command says itself."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.name != _SAID_BY_THE_COMMAND or record.levelno > logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("unetseg")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _plain(value: Any) -> Any:  # noqa: ANN401 (any result)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, Path) else value
