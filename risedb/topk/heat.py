"""Some queries in a scan: what may be among their k best rows, and how high a row must reach.

A kernel proposes pairs of a row and a query. Where it can look nearer it gives bounds of their scores, and lower bounds
raise the floors as well as scores do: so most candidates fall below the floor before they are decided. Those that are
left in the end are.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk.best import Best, Ranked
from risedb.topk.center import Scaled
from risedb.topk.kernels import Kernel
from risedb.topk.plan import Plan
from risedb.topk.scores import PairDots, QueryVectors, exact_scores, fixed_order_dots

_WORTH_FLOORS = 4  # times k rows: of fewer, most are candidates anyway


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Pairs of some rows and a query whose scores lie between bounds, (p,) each."""

    rows: Scaled
    at: NDArray[np.intp]
    of: NDArray[np.intp]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def reaching(self, floors: NDArray[np.float64]) -> "_Candidates":
        """Return those that may reach their query's floor."""
        kept = self.upper >= floors[self.of]
        return replace(self, at=self.at[kept], of=self.of[kept], lower=self.lower[kept], upper=self.upper[kept])


class Heat:
    """Some of the queries, and their best rows so far; threads share it.

    Candidates' lower bounds raise the floors too, so that most are never decided.
    """

    def __init__(self, queries: QueryVectors, config: ScoreConfig, k: int, plan: Plan) -> None:
        self._best = Best(len(queries), k)
        self.first_rows = max(plan.first_rows(len(queries)), _WORTH_FLOORS * k)
        self._queries = queries
        self._config = config
        self._plan = plan
        self._dots: PairDots = fixed_order_dots
        self._most_pairs = max(plan.most_pairs, len(queries))
        self._candidates: list[_Candidates] = []
        self._waiting = self._seen = self._settled = 0
        self._ones = np.empty(0)
        self._lock = threading.Lock()

    def kernel(self) -> Kernel:
        """Return a kernel for one thread."""
        kernel = self._plan.kernel(self._queries, self._config)
        self._dots = kernel.pair_dots
        return kernel

    def run(self, kernel: Kernel, block: Block, scale: NDArray[np.float64] | None) -> None:
        """Take some rows."""
        if len(self._ones) < len(block):
            self._ones = np.ones(len(block))
        kernel.load(block, self._ones[: len(block)] if scale is None else scale)
        if not self._seen:
            self._raise_floors(kernel, (block, scale))
        ahead = [(0, len(block))]
        while ahead:
            start, stop = ahead.pop()
            pairs = kernel.survivors(start, stop, self._best.floors, self._most_pairs)
            if pairs is None:  # too many at once: the floors rise in between
                middle = (start + stop) // 2
                ahead += [(middle, stop), (start, middle)]
            elif len(pairs[0]):
                self._take(kernel, (block, scale), *pairs)
                if ahead or self._waiting + self._best.waiting > self._most_pairs:
                    self._settle()
        with self._lock:
            self._seen += len(block)
            due = self._seen >= 2 * self._settled
            self._settled = self._seen if due else self._settled
        if due:
            self._settle()

    def ranked(self, each: Callable[..., Iterable[Any]]) -> list[Ranked]:
        """Decide what is left, by a kind of `map`, and return each query's rows."""
        self._settle()
        self._decide(each)
        return self._best.ranked()

    def _take(self, kernel: Kernel, rows: Scaled, at: NDArray[np.intp], of: NDArray[np.intp]) -> None:
        between = kernel.near(at, of)
        if between is None:
            scores = self._exact(rows, at, of)
            with self._lock:
                self._best.add(of, rows[0].sequence[at], scores)
            return
        new = _Candidates(rows, at, of, *between).reaching(self._best.floors)
        with self._lock:
            self._candidates.append(new)
            self._waiting += len(new.at)

    def _settle(self) -> None:
        """Raise the floors and drop what does not reach them; decide the rest where it is far more than asked for."""
        with self._lock:
            self._best.settle()
            if not self._candidates:
                return
            of, lower = (np.concatenate([getattr(some, name) for some in self._candidates]) for name in ("of", "lower"))
            self._best.raise_floors(of, lower)
            reaching = (some.reaching(self._best.floors) for some in self._candidates)
            self._candidates = [some for some in reaching if len(some.at)]
            self._waiting = 0
            if sum(len(some.at) for some in self._candidates) > 2 * self._best.k * len(self._queries):
                self._decide(map)  # many are equal, or nearly

    def _decide(self, each: Callable[..., Iterable[Any]]) -> None:
        candidates, self._candidates = self._candidates, []
        decided = each(lambda some: self._exact(some.rows, some.at, some.of), candidates)
        for some, scores in zip(candidates, decided, strict=True):
            self._best.add(some.of, some.rows[0].sequence[some.at], scores)
        self._best.settle()

    def _raise_floors(self, kernel: Kernel, rows: Scaled) -> None:
        """Look at the k rows of the highest bounds: what all of them reach, the k best of all rows do."""
        m, k, block = len(self._queries), self._best.k, rows[0]
        if _WORTH_FLOORS * k > block.live.sum() or max(m * k, m * len(block) // 32) > self._most_pairs:
            return
        upper = np.where(block.live, kernel.upper(), -np.inf)
        at, of = np.argpartition(upper, -k, axis=1)[:, -k:].ravel(), np.repeat(np.arange(m), k)
        between = kernel.near(at, of)
        reached = self._exact(rows, at, of) if between is None else between[0]
        with self._lock:
            self._best.raise_floors(of, reached)

    def _exact(self, rows: Scaled, at: NDArray[np.intp], of: NDArray[np.intp]) -> NDArray[np.float64]:
        block, scale = rows
        return exact_scores(block, at, self._queries, of, self._config, scale=scale, pair_dots=self._dots)
