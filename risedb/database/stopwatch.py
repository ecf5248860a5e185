"""Where the time of an add goes, by stage."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

STAGES = ("read", "tokenise", "forward", "head", "sketch", "write", "wait for tokens", "wait for disk")


class Stopwatch:
    """Adds up seconds by name; each name belongs to one thread.

    Parameters
    ----------
    finish
        Called before the time is taken at either end, to wait for a device that works on by itself.
    """

    def __init__(self, finish: Callable[[], None] | None = None) -> None:
        self._finish = finish or _nothing
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        self._finish()
        start = perf_counter()
        try:
            yield
        finally:
            self._finish()
            self._seconds[stage] += perf_counter() - start

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what another one measured."""
        for stage, more in seconds.items():
            self._seconds[stage] += more

    def taken(self) -> dict[str, float]:
        """Return what was measured since the last time, and begin anew."""
        seconds = dict(self._seconds)
        self._seconds.clear()
        return seconds


def _nothing() -> None:
    pass
