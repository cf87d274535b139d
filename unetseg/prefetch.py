"""Values that are made ahead of their use, by threads, in whatever order they will be asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Prefetch"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Prefetch(Generic[Key, Value]):
    """What a function gives for a key, begun before it is asked for.

    Keras' own threads for a ``PyDataset`` are not used: what they had prepared when an epoch is left early comes first
    in the next one, and they wait a tenth of a second at the end of each. Here a value belongs to its key.

    Args:
        make: the function; it must depend on the key alone and may run in several threads at once.
        workers: how many threads.
    """

    def __init__(self, make: Callable[[Key], Value], *, workers: int) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="unetseg-patches")
        self._begun: dict[Key, Future[Value]] = {}
        self._lock = Lock()

    def get(self, key: Key, following: Iterable[Key]) -> Value:
        """The value of a key; those of the following ones are begun, all others are forgotten.

        Raises:
            Exception: what the function raised for this key.
        """
        with self._lock:
            future = self._take(key)
            wanted = {other: self._take(other) for other in following}
            for forgotten in self._begun.values():
                forgotten.cancel()
            self._begun = wanted
        return future.result()

    def close(self) -> None:
        """Forget everything, and end the threads; what is being made is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._begun = {}

    def _take(self, key: Key) -> Future[Value]:
        return self._begun.pop(key) if key in self._begun else self._pool.submit(self._make, key)
