"""Segment stacks: their pages are the units of work, so several workers share one stack, and a kill loses no page.

The pages of all stacks are one queue; a stack is put together as soon as its last page is there, by a worker too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from unetseg.errors import BadFileError
from unetseg.parallel import Workers, open_workers
from unetseg.predict_bands import segment_large_scans
from unetseg.predict_errors import ends_the_run
from unetseg.predict_job import Job, claim_scratch
from unetseg.predict_marker import Segmented
from unetseg.predict_scan import LargeScan, segment_scan
from unetseg.readers import ScanRef
from unetseg.scratch import keep_only
from unetseg.stack_output import Stack, finish_stack, page_job, up_to_date

__all__ = ["segment_stacks"]

Outcome = Segmented | Exception


def segment_stacks(job: Job, stacks: Sequence[Stack], workers: Workers) -> Iterator[tuple[ScanRef, Outcome]]:
    """Segment stacks, and yield each as a whole with what became of it.

    A stack of which a page cannot be used has no output; its other pages are kept, unfinished, for the next run.

    Args:
        job: of the prediction.
        stacks: those that are up to date are left as they are.
        workers: that segment their pages.
    """
    if not stacks:
        return
    todo: list[Stack] = []
    for stack, outcome in workers.run(partial(_done, job), stacks):
        if outcome is None:
            todo.append(stack)
        else:
            yield stack.ref, outcome
    if todo and workers.elsewhere and not job.shared:
        for stack, outcome in workers.run(partial(_segment_alone, job), todo):
            yield stack.ref, outcome
    elif todo:
        yield from _segment_pages(job, todo, workers)


def _done(job: Job, stack: Stack) -> Segmented | None:
    return up_to_date(job, [stack])[0]


def _segment_alone(job: Job, stack: Stack) -> Segmented:
    """All of a stack, by one of many workers that share no folder."""
    with open_workers(workers=1) as own:
        outcome = next(found for _, found in _segment_pages(job, [stack], own))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _segment_pages(job: Job, stacks: Sequence[Stack], workers: Workers) -> Iterator[tuple[ScanRef, Outcome]]:
    """Pages, and finished stacks between them; then large pages, each by all workers."""
    claim_scratch(job)
    for stack in stacks:
        keep_only(page_job(job, stack.ref.id).out)
    queue = _Queue(stacks)
    large: list[LargeScan] = []
    for unit, outcome in workers.run(partial(_unit, job), queue.units()):
        if isinstance(outcome, LargeScan):
            large.append(outcome)
        elif isinstance(unit, Stack):
            yield unit.ref, outcome
        else:
            yield from queue.note(unit, outcome)
    yield from _finish(job, queue, workers)
    large.sort(key=lambda scan: scan.ref)
    for name, pages in groupby(large, key=lambda scan: scan.ref.stack):
        for page, found in segment_large_scans(page_job(job, name), list(pages), workers):
            yield from queue.note(page, found)
        yield from _finish(job, queue, workers)


def _unit(job: Job, unit: ScanRef | Stack) -> Segmented | LargeScan:
    if isinstance(unit, Stack):
        return finish_stack(job, unit)
    return segment_scan(page_job(job, unit.stack), unit)


def _finish(job: Job, queue: _Queue, workers: Workers) -> Iterator[tuple[ScanRef, Outcome]]:
    """Put together the stacks that are complete."""
    if not queue.complete:
        return
    stacks = [queue.complete.popleft() for _ in range(len(queue.complete))]
    for stack, outcome in workers.run(partial(finish_stack, job), stacks):
        yield stack.ref, outcome


class _Queue:
    """The pages of stacks, and what is still missing of each.

    Args:
        stacks: to segment.

    Attributes:
        complete: stacks whose pages are all segmented, and that nobody has taken yet.
    """

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self._stacks = {stack.ref.id: stack for stack in stacks}
        self._left = {stack.ref.id: len(stack.pages) for stack in stacks}
        self._errors: dict[str, dict[ScanRef, Exception]] = {stack.ref.id: {} for stack in stacks}
        self.complete: deque[Stack] = deque()

    def units(self) -> Iterator[ScanRef | Stack]:
        """All pages; a stack that became complete comes first, so that its pages make room on the disk."""
        for stack in self._stacks.values():
            for page in stack.pages:
                while self.complete:
                    yield self.complete.popleft()
                yield page

    def note(self, page: ScanRef, outcome: Outcome) -> Iterator[tuple[ScanRef, Outcome]]:
        """Take down what became of a page; yields the stack's own error when it is known."""
        name = page.stack
        self._left[name] -= 1
        if isinstance(outcome, Exception):
            self._errors[name][page] = outcome
            if ends_the_run(outcome):
                yield self._stacks[name].ref, outcome
        if not self._left[name] and self._errors[name]:
            yield self._stacks[name].ref, self._named(name)
        elif not self._left[name]:
            self.complete.append(self._stacks[name])

    def _named(self, name: str) -> Exception:
        """The error of the first page that has one, which says so; an unforeseen one counts more."""
        errors = sorted(self._errors[name].items(), key=lambda item: (isinstance(item[1], BadFileError), item[0]))
        (page, error), pages = errors[0], len(self._stacks[name].pages)
        others = f", and {len(errors) - 1} others cannot either" if len(errors) > 1 else ""
        where = f"page {page.page} of {pages} (from 0) cannot be used{others}: "
        if isinstance(error, BadFileError):
            return BadFileError(f"{where}{str(error).removeprefix(f'{page.path}: ')}")
        return RuntimeError(f"{where}{type(error).__name__}: {error}")
