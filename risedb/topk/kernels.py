"""Kernels propose: which pairs of a row and a query may be among the k best, by fast products and a certificate.

There are two: NumPy, for which nothing need be imported, and :mod:`risedb.topk.compiled`, for large pools with codes on
a CPU. They propose different pairs, and never leave out one that matters. What devices propose with is
:mod:`risedb.topk.proposing`.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block, widened
from risedb.topk.bounds import ProposingQueries, float_queries, row_bounds
from risedb.topk.scores import QueryVectors, channel_weights, fixed_order_dots

_CACHED_BYTES = 2**23

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
Between = tuple[NDArray[np.float64], NDArray[np.float64]]


class Kernel(Protocol):
    """Proposes pairs for m queries, some rows at a time."""

    def slice_rows(self, block: Block) -> int:
        """Return how many rows of a block it takes at once."""

    def load(self, block: Block, shift: NDArray[np.float64]) -> None:
        """Compute the products of all queries with at most `slice_rows` rows; `shift` are the rows' (n,) scales."""

    def survivors(self, start: int, stop: int, floors: NDArray[np.float64], most: int) -> Pairs | None:
        """Return the pairs (row, query) of the loaded rows from `start` to `stop` that may reach the (m,) floors.

        None if they are more than `most`.
        """

    def upper(self) -> NDArray[np.float64]:
        """Return the (m, n) upper bounds of the loaded rows' scores; NaN for rows that are not live."""

    def near(self, at: NDArray[np.intp], of: NDArray[np.intp]) -> Between | None:
        """Return between what the scores of pairs of loaded rows are, (p,) each, closer than the proposal's bounds.

        None where nothing is nearer, and as quick, but to decide them.
        """

    def pair_dots(
        self, rows: NDArray[np.generic], at: NDArray[np.intp], queries: NDArray[np.float64], of: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return what :func:`risedb.topk.scores.fixed_order_dots` does, the same bits."""


class NumpyKernel:
    """Float32 products in NumPy: of codes where a block has them, else of its stored rows."""

    def __init__(self, queries: QueryVectors, config: ScoreConfig, memory_bytes: int) -> None:
        self._slice_rows = _slice_rows(queries, min(memory_bytes, _CACHED_BYTES))
        self._config = config
        self._queries = {coded: float_queries(queries, config, coded=coded) for coded in (False, True)}
        self._upper = np.empty((0, 0))

    def slice_rows(self, block: Block) -> int:
        """Return how many rows of a block it takes at once."""
        return self._slice_rows

    def load(self, block: Block, shift: NDArray[np.float64]) -> None:
        """Compute (m, n) float64 upper bounds of scores; for rows that are not live NaN, which reaches no floor."""
        queries = self._queries[block.codes is not None]
        if block.codes is not None:
            products: Any = queries.vectors @ widened(block.codes).T
        else:
            block.check(None)
            width, weights = block.rh.shape[1], channel_weights(block.norms, self._config)
            products = (queries.vectors[:, :width] @ widened(block.rh).T) * weights[:, 0]
            products = products + (queries.vectors[:, width:] @ widened(block.gh).T) * weights[:, 1]
        self._upper = upper_bounds(products, block, queries, self._config, shift)

    def survivors(self, start: int, stop: int, floors: NDArray[np.float64], most: int) -> Pairs | None:
        """Return the pairs, ordered by query, then by row."""
        of, at = np.nonzero(self._upper[:, start:stop] >= floors[:, None])
        return (at + start, of) if len(of) <= most else None

    def upper(self) -> NDArray[np.float64]:
        """Return bounds."""
        return self._upper

    def near(self, at: NDArray[np.intp], of: NDArray[np.intp]) -> Between | None:
        """Return None."""

    pair_dots = staticmethod(fixed_order_dots)


def upper_bounds(
    products: NDArray[Any], block: Block, queries: ProposingQueries, config: ScoreConfig, shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (m, n) bounds of :mod:`risedb.topk.bounds`, given products; NaN for rows that are not live."""
    gain, slack = row_bounds(block, config, queries.error, shift)
    slack = np.where(block.live, slack, np.nan)
    step, unit, offset = (one[:, None] for one in (queries.step, queries.unit, queries.offset))
    upper: NDArray[np.float64] = (products * (gain * step) + slack) * unit + offset * shift
    return upper


def _slice_rows(queries: QueryVectors, memory_bytes: int) -> int:
    width = queries.rh.shape[1] + queries.gh.shape[1]
    return int(max(memory_bytes // (8 * width + 32 * len(queries)), 1))  # rows widened, bounds in float64
