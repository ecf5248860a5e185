"""Exact top-k of a sum over checkpoints: each keeps its rows, and a document's score is the weighted sum of theirs.

    score(i, q) = sum_c weight_c score_c(i, q)

Upper bounds add like scores, so the sum is proposed and certified as one scan is: the bounds of all documents first,
then exact scores of those whose bound is highest, until no bound reaches the k-th best. A sum is made in the order of
the checkpoints, each term rounded once, so it is the same bits for every plan and every layout of the parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk.best import Best, Ranked
from risedb.topk.center import Scaled
from risedb.topk.kernels import Kernel
from risedb.topk.plan import Plan
from risedb.topk.scores import QueryVectors, exact_scores

_DOCUMENT_BYTES = 32  # of bounds and of what is computed with them, for each query


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One checkpoint's rows and queries.

    Parameters
    ----------
    blocks
        Gives all its blocks with their rows' scales (see :mod:`risedb.topk.center`), in one order; called many times.
    rows
        (n,) intp: where each of the n documents stands among the rows of all its blocks.
    queries, config
        m queries, and the weights they were made with.
    weight
        What its scores are multiplied by.
    plan
        With which kernel, and in how much memory.
    """

    blocks: Callable[[], Iterable[Scaled]]
    rows: NDArray[np.intp]
    queries: QueryVectors
    config: ScoreConfig
    weight: float
    plan: Plan

    def positive(self) -> "Part":
        """Return the same scores with a weight that is not negative, so that upper bounds stay upper."""
        return replace(self, queries=self.queries.negated(), weight=-self.weight) if self.weight < 0 else self

    def some(self, queries: slice) -> "Part":
        """Return the part for some of the queries."""
        return replace(self, queries=self.queries.part(queries))

    def kernel(self) -> Kernel:
        """Return a kernel for one thread."""
        return self.plan.kernel(self.queries, self.config)

    def add_bounds(self, upper: NDArray[np.float64]) -> None:
        """Add bounds to (m, n) `upper`. Each holds a 1e-9th to spare, more than the sums are rounded by."""
        kernel = self.kernel()
        for block, scale, documents, at in self._within(self.rows):
            shift = np.ones(len(block)) if scale is None else scale
            step = kernel.slice_rows(block)
            for start in range(0, len(block), step):
                inside = slice(*np.searchsorted(at, [start, start + step]))
                if inside.stop > inside.start:
                    kernel.load(block.part(slice(start, start + step)), shift[start : start + step])
                    there, here = _span(at[inside] - start), _span(documents[inside])
                    upper[:, here] += self.weight * kernel.upper()[:, there]

    def scores(self, at: NDArray[np.intp], of: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return weight times exact score of (p,) pairs of a document and a query."""
        scores, dots = np.empty(len(at)), self.kernel().pair_dots
        for block, scale, pairs, rows in self._within(self.rows[at]):
            scores[pairs] = exact_scores(block, rows, self.queries, of[pairs], self.config, scale=scale, pair_dots=dots)
        return self.weight * scores

    def _within(
        self, rows: NDArray[np.intp]
    ) -> Iterator[tuple[Block, NDArray[np.float64] | None, NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the blocks that hold some of `rows`, which ones these are, and where they stand in it, ascending."""
        order = np.argsort(rows, kind="stable")
        ordered, start = rows[order], 0
        for block, scale in self.blocks():
            inside = slice(*np.searchsorted(ordered, [start, start + len(block)]))
            if inside.stop > inside.start:
                yield block, scale, order[inside], ordered[inside] - start
            start += len(block)


def joint_scan(parts: Sequence[Part], sequence: NDArray[np.uint64], *, k: int, bottom: bool = False) -> list[Ranked]:
    """Rank documents by the sum of their scores.

    Parameters
    ----------
    parts
        One for each checkpoint, with the same n documents and m queries.
    sequence
        (n,) uint64: ties are broken by it.
    k, bottom
        As in :func:`risedb.topk.scan`.

    Returns
    -------
    list of Ranked
        One for each query.
    """
    if bottom:
        negated = [replace(part, weight=-part.weight) for part in parts]
        lowest = joint_scan(negated, sequence, k=k)
        return [Ranked(ranked.sequence, 0.0 - ranked.scores) for ranked in lowest]
    parts = [part.positive() for part in parts]
    m, plan = len(parts[0].queries), parts[0].plan
    together = max(plan.memory_bytes // (_DOCUMENT_BYTES * max(len(sequence), 1)), 1)
    ranked: list[Ranked] = []
    for start in range(0, m, together):
        group = slice(start, start + together)
        ranked += _ranked([part.some(group) for part in parts], sequence, k, plan.most_pairs)
    return ranked


def joint_scores(
    parts: Sequence[Part], sequence: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.float64]]]:
    """Yield the documents' sequence numbers, (p,), and sums of exact scores, (p, m) float64, some at a time."""
    m = len(parts[0].queries)
    step = max(parts[0].plan.memory_bytes // (4 * _DOCUMENT_BYTES * m), 1)
    for start in range(0, len(sequence), step):
        some = np.arange(start, min(start + step, len(sequence)))
        at, of = np.repeat(some, m), np.tile(np.arange(m), len(some))
        yield sequence[some], _summed(parts, at, of).reshape(len(some), m)


def _ranked(parts: Sequence[Part], sequence: NDArray[np.uint64], k: int, most_pairs: int) -> list[Ranked]:
    upper = np.zeros((len(parts[0].queries), len(sequence)))
    for part in parts:
        part.add_bounds(upper)
    best = Best(len(upper), k)
    each, most = 2 * k, max(most_pairs // len(upper), 1)
    while len((pairs := _highest(upper, best.floors, min(each, most)))[0]):
        at, of = pairs
        best.add(of, sequence[at], _summed(parts, at, of))
        best.settle()
        upper[of, at] = -np.inf  # decided
        each *= 4
    return best.ranked()


def _highest(upper: NDArray[np.float64], floors: NDArray[np.float64], each: int) -> tuple[NDArray[np.intp], ...]:
    """Return the pairs (document, query) of the `each` highest bounds of every query that reach its floor."""
    chosen = []
    for bounds, floor in zip(upper, floors, strict=True):
        reach = np.flatnonzero((bounds >= floor) & (bounds > -np.inf))
        if len(reach) > each:
            reach = reach[np.argpartition(bounds[reach], len(reach) - each)[len(reach) - each :]]
        chosen.append(reach)
    return np.concatenate(chosen), np.repeat(np.arange(len(upper)), [len(reach) for reach in chosen])


def _summed(parts: Sequence[Part], at: NDArray[np.intp], of: NDArray[np.intp]) -> NDArray[np.float64]:
    total = parts[0].scores(at, of)
    for part in parts[1:]:
        total += part.scores(at, of)
    return total + 0.0  # the minus zero of a negated query becomes a plain zero


def _span(numbers: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return neighbours as a slice, which copies nothing."""
    first, last = int(numbers[0]), int(numbers[-1])
    return slice(first, last + 1) if (np.diff(numbers) == 1).all() else numbers
