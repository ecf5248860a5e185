"""The kernel for large pools with codes on a CPU: integer products at the speed of memory.

A few queries are 16-bit integers, for which numba's loop reads codes as fast as memory gives them. More of them are
int8 and, if torch is there already, its integer matrix product (VNNI, where the processor has it). Each thread takes
some of the rows from products to pairs. torch's own threads stay out of it: they would spin while the loops run.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk import loops
from risedb.topk.bounds import code_constants, integer_queries
from risedb.topk.kernels import NumpyKernel, Pairs, as_tensor
from risedb.topk.scores import QueryVectors

_MATRIX_QUERIES = 4  # from here on torch's matrix product is faster
_CACHED_PRODUCTS = 2**21  # of a slice
_SHARED = 1024  # fewer rows or pairs are not worth another thread


T = TypeVar("T")


class CompiledKernel:
    """Integer products of codes; blocks without codes go to NumPy.

    Parameters
    ----------
    queries, config
        The queries, and the weights they were made with.
    memory_bytes
        Bound on what it holds.
    threads
        Threads among which rows are shared.
    """

    def __init__(self, queries: QueryVectors, config: ScoreConfig, memory_bytes: int, threads: int) -> None:
        self._matrix = len(queries) >= _MATRIX_QUERIES and "torch" in sys.modules
        self._queries = integer_queries(queries, config, np.int8 if self._matrix else np.int16)
        self._uncoded = NumpyKernel(queries, config, memory_bytes)
        self._config = config
        self._threads = threads
        self._torch_threads = _torch_threads(1) if self._matrix else 0
        self._pool = ThreadPoolExecutor(max(threads - 1, 1))
        row_bytes = 4 * len(queries) + 24
        self._slice_rows = max(min(memory_bytes // row_bytes, _CACHED_PRODUCTS // (len(queries) + 15)), 1)
        self._buffers = [np.empty(0, np.int32) for _ in range(threads)]
        self._lanes: list[_Lane] = []

    def slice_rows(self, block: Block) -> int:
        """Return how many rows of a block it takes at once."""
        return self._uncoded.slice_rows(block) if block.codes is None else self._slice_rows

    def load(self, block: Block, shift: NDArray[np.float64]) -> None:
        """Compute products and bounds, a share of the rows in each thread."""
        self._lanes = []
        codes = block.codes
        if codes is None:
            self._uncoded.load(block, shift)
            return
        constants = code_constants(block, self._config, self._queries.error)

        def share(thread: int, start: int, stop: int) -> _Lane:
            rows = block.part(slice(start, stop))
            n, m = len(rows), len(self._queries)
            if len(self._buffers[thread]) < n * m:
                self._buffers[thread] = np.empty(n * m, np.int32)
            lane = _Lane(
                start, self._buffers[thread][: n * m].reshape(m, n), np.empty(n), np.empty(n), shift[start:stop]
            )
            if self._matrix:
                _matrix_product(self._queries.vectors, codes[start:stop], lane.products)
            else:
                loops.products(codes[start:stop], self._queries.vectors, lane.products)
            coded = (rows.code_scale, rows.code_error, lane.shift)
            loops.bounds(rows.norms, coded, rows.live, constants, lane.gain, lane.slack)
            return lane

        self._lanes = self._shared(share, len(block))

    def survivors(self, start: int, stop: int, floors: NDArray[np.float64], most: int) -> Pairs | None:
        """Return the pairs."""
        if not self._lanes:
            return self._uncoded.survivors(start, stop, floors, most)
        queries = (self._queries.step, self._queries.unit, self._queries.offset, floors)

        def proposed(lane: _Lane) -> NDArray[np.intp]:
            pairs = np.empty((2, most + 1), np.intp)  # pages that are not written cost nothing
            first, last = max(start - lane.start, 0), min(stop - lane.start, lane.products.shape[1])
            count = loops.survivors(lane.products, (lane.gain, lane.slack, lane.shift), queries, first, last, pairs)
            pairs[0, :count] += lane.start
            return pairs[:, :count]  # of more than there was room for, the room: one more than `most`

        at, of = np.concatenate(self._spread(proposed, [(lane,) for lane in self._lanes]), axis=1)
        return (at, of) if len(at) <= most else None

    def pair_dots(
        self, rows: NDArray[np.generic], at: NDArray[np.intp], queries: NDArray[np.float64], of: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return what :func:`risedb.topk.scores.fixed_order_dots` does, the same bits."""
        sums = np.empty(len(at))
        in_16_bits, half = rows.dtype.itemsize == 2, rows.dtype == np.float16
        stored = rows.view(np.uint16) if in_16_bits else rows

        def share(_: int, start: int, stop: int) -> None:
            part = slice(start, stop)
            if in_16_bits:
                loops.pair_dots_16(stored, half, at[part], queries, of[part], sums[part])
            else:
                loops.pair_dots(stored, at[part], queries, of[part], sums[part])

        self._shared(share, len(at))
        return sums

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown()
        if self._matrix:
            _torch_threads(self._torch_threads)

    def _shared(self, work: Callable[[int, int, int], T], n: int) -> list[T]:
        """Call work(thread, start, stop) for the shares of n rows or pairs."""
        shares = max(min(self._threads, n // _SHARED), 1)
        edges = [n * share // shares for share in range(shares + 1)]
        return self._spread(work, list(zip(range(shares), edges[:-1], edges[1:], strict=True)))

    def _spread(self, work: Callable[..., T], shares: Sequence[tuple[Any, ...]]) -> list[T]:
        """Do the first share in this thread and the others in others."""
        others = [self._pool.submit(work, *share) for share in shares[1:]]
        return [work(*shares[0]), *(other.result() for other in others)]


@dataclass(frozen=True, slots=True, eq=False)
class _Lane:
    """A thread's share of a slice: (m, n) products and the rows' bounds, from row `start` of the slice on."""

    start: int
    products: NDArray[np.int32]
    gain: NDArray[np.float64]
    slack: NDArray[np.float64]
    shift: NDArray[np.float64]


def _torch_threads(count: int) -> int:
    """Tell torch how many threads to use in calls from this thread and from new ones; return how many it was."""
    torch = sys.modules["torch"]
    before: int = torch.get_num_threads()
    torch.set_num_threads(count)
    return before


def _matrix_product(queries: NDArray[np.int8], codes: NDArray[np.int8], products: NDArray[np.int32]) -> None:
    import torch

    torch._int_mm(as_tensor(queries), as_tensor(codes).T, out=torch.from_numpy(products))
