"""The k best rows of each query so far, and the score that a row must reach to be one of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The best rows for one query, best first; equal scores stand in the order of insertion.

    Parameters
    ----------
    sequence
        (k,) uint64 sequence numbers.
    scores
        (k,) float64.
    """

    sequence: NDArray[np.uint64]
    scores: NDArray[np.float64]


class Best:
    """Collects exact scores and keeps the k best for each of m queries.

    Attributes
    ----------
    k
        How many.
    floors
        (m,) float64: what the k best reach, as far as is known; -inf before there were k.
    waiting
        Scores that came since.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.floors = np.full(queries, -np.inf)
        self.waiting = 0
        self._parts: list[tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.float64]]] = [
            (np.empty(0, np.intp), np.empty(0, np.uint64), np.empty(0))
        ]

    def add(self, of: NDArray[np.intp], sequence: NDArray[np.uint64], scores: NDArray[np.float64]) -> None:
        """Take exact scores of rows, (p,) each, of which `of` says the query."""
        wanted = scores >= self.floors[of]  # equal scores are decided by sequence
        self._parts.append((of[wanted], sequence[wanted], scores[wanted]))
        self.waiting += int(wanted.sum())

    def settle(self) -> None:
        """Raise the floors to the k-th best scores, and drop what is below."""
        of, sequence, scores = self._joined()
        self.raise_floors(of, scores)
        wanted = scores >= self.floors[of]
        self._parts = [(of[wanted], sequence[wanted], scores[wanted])]
        if wanted.sum() > 2 * self.k * len(self.floors):  # many are equal: the first of them stay
            self._rank()
        self.waiting = 0

    def raise_floors(self, of: NDArray[np.intp], reached: NDArray[np.float64]) -> None:
        """Raise each query's floor to what k of its rows reach."""
        order = np.argsort(of.astype(np.uint16), kind="stable")  # by radix
        ends = np.cumsum(np.bincount(of, minlength=len(self.floors)))
        for j, own in enumerate(np.split(reached[order], ends[:-1])):
            if len(own) >= self.k:
                self.floors[j] = max(self.floors[j], np.partition(own, len(own) - self.k)[len(own) - self.k])

    def ranked(self) -> list[Ranked]:
        """Return each query's rows."""
        self.settle()
        ends = self._rank()
        _, sequence, scores = self._parts[0]
        return [Ranked(*each) for each in zip(np.split(sequence, ends[:-1]), np.split(scores, ends[:-1]), strict=True)]

    def _rank(self) -> NDArray[np.intp]:
        """Order by query, score and sequence, cut at k, and return where each query ends."""
        of, sequence, scores = self._joined()
        order = np.lexsort((sequence, -scores, of))
        of = of[order]
        kept = np.arange(len(of)) - np.searchsorted(of, np.arange(len(self.floors)))[of] < self.k
        self._parts = [(of[kept], sequence[order[kept]], scores[order[kept]])]
        return np.searchsorted(self._parts[0][0], np.arange(1, len(self.floors) + 1))

    def _joined(self) -> tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.float64]]:
        of, sequence, scores = zip(*self._parts, strict=True)
        return np.concatenate(of), np.concatenate(sequence), np.concatenate(scores)
