"""The kernel for large pools with codes on a CPU: integer products at the speed of memory, in one thread each.

A few queries are 16-bit integers, for which numba's loop reads codes as fast as memory gives them. More of them are
int8 and, if torch is there already, its integer matrix product (VNNI, where the processor has it).

The bound of codes is one of the worst case, by far: over thousands of numbers most of what it lets through is far from
the floor. So those pairs are looked at once more, by float32 products of the stored rows, and few are left to decide.
That pays where rows are long, and read once for several queries: :mod:`risedb.topk.plan` knows.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block, widened
from risedb.topk import loops
from risedb.topk.bounds import code_constants, float_queries, integer_queries, stored_slack
from risedb.topk.center import FIXED, inverse
from risedb.topk.kernels import NumpyKernel, Pairs, as_tensor
from risedb.topk.scores import QueryVectors, channel_weights

_MATRIX_QUERIES = 6  # from here on torch's matrix product is faster
_CACHED_PRODUCTS = 2**20  # of a slice


class CompiledKernel:
    """Integer products of codes; blocks without codes go to NumPy.

    Parameters
    ----------
    queries, config
        The queries, and the weights they were made with.
    memory_bytes
        Bound on what it holds.
    looks_again
        Whether to look once more at what codes let through.
    """

    def __init__(
        self, queries: QueryVectors, config: ScoreConfig, memory_bytes: int, *, looks_again: bool = True
    ) -> None:
        self._matrix = len(queries) >= _MATRIX_QUERIES and "torch" in sys.modules
        self._queries = integer_queries(queries, config, np.int8 if self._matrix else np.int16)
        self._floats = float_queries(queries, config, coded=False)
        halves = np.split(self._floats.vectors, [queries.rh.shape[1]], axis=1)
        self._float_rh, self._float_gh = map(np.ascontiguousarray, halves)  # else the loop reads number by number
        self._uncoded = NumpyKernel(queries, config, memory_bytes)
        self._config = config
        self._looks_again = looks_again
        row_bytes = 4 * len(queries) + 24
        self._slice_rows = max(min(memory_bytes // row_bytes, _CACHED_PRODUCTS // (len(queries) + 15)), 1)  # <= 2^16
        self._buffer = np.empty(0, np.int32)
        self._products: NDArray[np.int32] | None = None
        self._block: Block | None = None
        self._gain = self._slack = self._shift = np.empty(0)

    def slice_rows(self, block: Block) -> int:
        """Return how many rows of a block it takes at once."""
        return self._uncoded.slice_rows(block) if block.codes is None else self._slice_rows

    def load(self, block: Block, shift: NDArray[np.float64]) -> None:
        """Compute products, (m, n) int32, and bounds."""
        self._products = None
        if block.codes is None:
            self._uncoded.load(block, shift)
            return
        n, m = len(block), len(self._queries)
        if len(self._gain) < n:
            self._buffer, self._gain, self._slack = np.empty(n * m, np.int32), np.empty(n), np.empty(n)
        self._products, self._shift, self._block = self._buffer[: n * m].reshape(m, n), shift, block
        if self._matrix:
            _matrix_product(self._queries.vectors, block.codes, self._products)
        else:
            loops.products(block.codes, self._queries.vectors, self._products)
        coded = (block.code_scale, block.code_error, shift)
        constants = code_constants(block, self._config, self._queries.error)
        loops.bounds(block.norms, coded, block.live, constants, self._gain[:n], self._slack[:n])

    def survivors(self, start: int, stop: int, floors: NDArray[np.float64], most: int) -> Pairs | None:
        """Return the pairs."""
        if self._products is None or self._block is None:
            return self._uncoded.survivors(start, stop, floors, most)
        pairs = np.empty((2, most), np.intp)  # pages that are not written cost nothing
        rows = (self._gain, self._slack, self._shift)
        queries = (self._queries.step, self._queries.unit, self._queries.offset, floors)
        count = loops.survivors(self._products, rows, queries, start, stop, pairs)
        if count > most:
            return None
        return self._refined(self._block, pairs[:, :count], floors)

    def _refined(self, block: Block, pairs: NDArray[np.intp], floors: NDArray[np.float64]) -> Pairs:
        """Keep of pairs, (2, p), those that may reach the floors by float32's bound too, ordered by row."""
        if block.rh.dtype == np.int8 or not self._looks_again or not pairs.size:  # codes in int8 are the rows
            return pairs[0], pairs[1]
        at, of = pairs[:, np.argsort(pairs[0].astype(np.uint16), kind="stable")]  # by radix
        block.check(at)
        weights = channel_weights(block.norms[at], self._config)
        upper = weights[:, 0] * _near_dots(block.rh, at, self._float_rh, of)
        upper += weights[:, 1] * _near_dots(block.gh, at, self._float_gh, of)
        upper += stored_slack(weights, self._floats.error)
        upper *= self._floats.unit[of]
        upper += self._floats.offset[of]
        upper *= self._shift[at]
        kept = upper >= floors[of]
        return at[kept], of[kept]

    def upper(self) -> NDArray[np.float64]:
        """Return the bounds, (m, n) float64."""
        if self._products is None:
            return self._uncoded.upper()
        gain, slack = (array[: len(self._shift)] for array in (self._gain, self._slack))
        step, unit, offset = (one[:, None] for one in (self._queries.step, self._queries.unit, self._queries.offset))
        upper: NDArray[np.float64] = (self._products * (gain * step) + slack) * unit + offset * self._shift
        return upper

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


@contextmanager
def crew(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Start threads in each of which torch keeps to that thread: its own would spin, and take a core from the loops."""
    torch = sys.modules.get("torch")
    if torch is None:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # for threads to come; this one's was never another


def _matrix_product(queries: NDArray[np.int8], codes: NDArray[np.int8], products: NDArray[np.int32]) -> None:
    import torch

    torch._int_mm(as_tensor(queries), as_tensor(codes).T, out=torch.from_numpy(products))
