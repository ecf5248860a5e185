"""The kernel for large pools with codes on a CPU: integer products at the speed of memory, in one thread each.

Queries are 16-bit integers. A few of them are multiplied with codes as fast as memory gives those, many of them as fast
as torch's integer matrix product does it in 8 bits.

The bound of codes is one of the worst case, by far: most of what it lets through is far from the floor, the more so
over thousands of numbers. So those pairs are looked at once more, by float32 products of the stored rows, and few are
left to decide.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block, widened
from risedb.topk import loops, tiles
from risedb.topk.bounds import ROUNDING, ProposingQueries, code_constants, float_queries, integer_queries, stored_slack
from risedb.topk.center import FIXED, inverse
from risedb.topk.kernels import Between, NumpyKernel, Pairs, upper_bounds
from risedb.topk.scores import QueryVectors

_WORTH_LOOKING = 2**16  # numbers of pairs; fewer are decided as soon
_SLICE_PAIRS = 2**21  # between which floors can rise


class CompiledKernel:
    """Integer products of codes; blocks without codes go to NumPy.

    Parameters
    ----------
    queries, config
        The queries, and the weights they were made with.
    memory_bytes
        Bound on what it holds.
    """

    def __init__(self, queries: QueryVectors, config: ScoreConfig, memory_bytes: int) -> None:
        self._queries = integer_queries(queries, config)
        missing = -len(queries) % tiles.QUERIES if len(queries) > 1 else 0
        self._vectors = np.pad(self._queries.vectors, ((0, missing), (0, 0)))
        self._given, self._config, self._memory_bytes = queries, config, memory_bytes
        self._slice_rows = max(_SLICE_PAIRS // (len(queries) + 23), 1)
        self._block: Block | None = None
        self._shift = np.empty(0)

    @functools.cached_property
    def _uncoded(self) -> NumpyKernel:
        return NumpyKernel(self._given, self._config, self._memory_bytes)

    @functools.cached_property
    def _floats(self) -> tuple[ProposingQueries, NDArray[np.float32], NDArray[np.float32]]:
        """Queries in float32, and each channel's vectors apart: else the loop would read number by number."""
        queries = float_queries(self._given, self._config, coded=False)
        rh, gh = np.split(queries.vectors, [self._given.rh.shape[1]], axis=1)
        return queries, np.ascontiguousarray(rh), np.ascontiguousarray(gh)

    def slice_rows(self, block: Block) -> int:
        """Return how many rows of a block it takes at once."""
        return self._uncoded.slice_rows(block) if block.codes is None else self._slice_rows

    def load(self, block: Block, shift: NDArray[np.float64]) -> None:
        """Take rows; products of codes are computed when they are asked for."""
        self._block, self._shift = block, shift
        if block.codes is None:
            self._uncoded.load(block, shift)

    def survivors(self, start: int, stop: int, floors: NDArray[np.float64], most: int) -> Pairs | None:
        """Return the pairs."""
        block, queries = self._block, self._queries
        if block is None or block.codes is None:
            return self._uncoded.survivors(start, stop, floors, most)
        pairs = np.empty((2, most), np.intp)  # pages that are not written cost nothing
        coded = (block.codes, block.norms, block.live, (block.code_scale, block.code_error, self._shift))
        asked = (self._vectors, queries.step, queries.unit, queries.offset, floors)
        constants = code_constants(block, self._config, queries.error)
        count = loops.survivors(coded, asked, constants, start, stop, pairs)
        return (pairs[0, :count], pairs[1, :count]) if count <= most else None

    def near(self, at: NDArray[np.intp], of: NDArray[np.intp]) -> Between | None:
        """Return bounds by float32 products of the stored rows."""
        block = self._block
        if block is None or block.codes is None or block.rh.dtype == np.int8:  # codes in int8 are the rows
            return None
        if len(at) * block.codes.shape[1] < _WORTH_LOOKING:
            return None
        order = np.argsort(at.astype(np.uint32), kind="stable")  # pairs of a row together, whose numbers are then there
        at, of = at[order], of[order]
        block.check(at)
        queries, rh, gh = self._floats
        dots = _near_dots(block.rh, at, rh, of), _near_dots(block.gh, at, gh, of)
        config, slack = self._config, stored_slack(queries.error)
        constants = (config.lambda_rh, config.lambda_gh, config.normalize), slack, 2 * ROUNDING
        bounds = np.empty((2, len(at)))
        asked = queries.unit, queries.offset
        loops.between(dots, (block.norms, self._shift), (at, of, order), asked, constants, bounds)
        return bounds[0], bounds[1]

    def upper(self) -> NDArray[np.float64]:
        """Return the bounds, (m, n) float64."""
        block, queries = self._block, self._queries
        if block is None or block.codes is None:
            return self._uncoded.upper()
        products = np.empty((len(self._vectors), len(block)), np.int32)
        tiles.products(block.codes, self._vectors, products)
        return upper_bounds(products[: len(queries)], block, queries, self._config, self._shift)

    @staticmethod
    def pair_dots(
        rows: NDArray[np.generic], at: NDArray[np.intp], queries: NDArray[np.float64], of: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return what :func:`risedb.topk.scores.fixed_order_dots` does, the same bits."""
        sums = np.empty(len(at))
        if rows.dtype.itemsize == 2:
            loops.pair_dots_16(rows.view(np.uint16), rows.dtype == np.float16, at, queries, of, sums)
        else:
            loops.pair_dots(rows, at, queries, of, sums)
        return sums


def _near_dots(
    rows: NDArray[np.generic], at: NDArray[np.intp], queries: NDArray[np.float32], of: NDArray[np.intp]
) -> NDArray[np.float32]:
    sums = np.empty(len(at), np.float32)
    if rows.dtype.itemsize == 2:
        loops.near_dots_16(rows.view(np.uint16), rows.dtype == np.float16, at, queries, of, sums)
    else:
        loops.near_dots(rows, at, queries, of, sums)
    return sums


class CompiledCenter:
    """What :class:`risedb.topk.center.NumpyCenter` computes, the same bits."""

    @staticmethod
    def fixed_sum(
        rh: NDArray[np.generic], gh: NDArray[np.generic], weights: NDArray[np.float64], live: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return the sum of live rows."""
        total = np.zeros(rh.shape[1] + gh.shape[1], np.int64)
        sums = np.split(total, [rh.shape[1]])
        for rows, weight, part in zip((rh, gh), weights.T, sums, strict=True):
            loops.fixed_sum(_floats(rows), weight, live, FIXED, part)
        return total

    @staticmethod
    def inverse_distances(
        rh: NDArray[np.generic], gh: NDArray[np.generic], weights: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the scales of rows."""
        lengths = np.empty(len(rh))
        loops.distances(_floats(rh), _floats(gh), weights, mean, lengths)
        return inverse(lengths)


def _floats(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    if rows.dtype.itemsize != 2:
        return np.ascontiguousarray(widened(rows))
    floats = np.empty(rows.shape, np.float32)
    loops.widen(np.ascontiguousarray(rows).reshape(-1).view(np.uint16), rows.dtype == np.float16, floats.reshape(-1))
    return floats
