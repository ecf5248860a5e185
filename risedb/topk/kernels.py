"""Kernels propose: which pairs of a row and a query may be among the k best, by fast products and a certificate.

There are three: NumPy, for which nothing need be imported; a device of torch; and :mod:`risedb.topk.compiled`, for
large pools with codes on a CPU. They propose different pairs, and never leave out one that matters.
"""

import warnings
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block, widened
from risedb.topk.bounds import float_queries, row_bounds
from risedb.topk.scores import QueryVectors, channel_weights, fixed_order_dots

_CACHED_BYTES = 2**23

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


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
        self._upper: Any = None

    def slice_rows(self, block: Block) -> int:
        """Return how many rows of a block it takes at once."""
        return self._slice_rows

    def load(self, block: Block, shift: NDArray[np.float64]) -> None:
        """Compute (m, n) float64 upper bounds of scores; for rows that are not live NaN, which reaches no floor."""
        queries = self._queries[block.codes is not None]
        gain, slack = row_bounds(block, self._config, queries.error, shift)
        gain, slack = self._there(gain), self._there(np.where(block.live, slack, np.nan))
        step, unit, offset = (self._there(one)[:, None] for one in (queries.step, queries.unit, queries.offset))
        if block.codes is not None:
            products = self._dots(queries.vectors, block.codes)
        else:
            block.check(None)
            width, weights = block.rh.shape[1], channel_weights(block.norms, self._config)
            products = self._dots(queries.vectors[:, :width], block.rh) * self._there(weights[:, 0])
            products = products + self._dots(queries.vectors[:, width:], block.gh) * self._there(weights[:, 1])
        self._upper = (products * (gain * step) + slack) * unit + offset * self._there(shift)

    def survivors(self, start: int, stop: int, floors: NDArray[np.float64], most: int) -> Pairs | None:
        """Return the pairs, ordered by query, then by row."""
        upper = self._upper[:, start:stop]
        hits = upper >= self._there(floors)[:, None]
        if int(hits.sum()) > most:
            return None
        of, at = self._nonzero(hits)
        return at + start, of

    def upper(self) -> NDArray[np.float64]:
        """Return the bounds."""
        return np.asarray(self._upper.cpu() if hasattr(self._upper, "cpu") else self._upper)

    pair_dots = staticmethod(fixed_order_dots)

    def _there(self, array: NDArray[Any]) -> Any:
        return array

    def _dots(self, queries: NDArray[np.float32], rows: NDArray[np.generic]) -> Any:
        return queries @ widened(rows).T

    def _nonzero(self, hits: Any) -> Pairs:
        of, at = np.nonzero(hits)
        return of, at


class TorchKernel(NumpyKernel):
    """Float32 products on a device of torch, which widens float16 ten times faster than NumPy does."""

    def __init__(self, queries: QueryVectors, config: ScoreConfig, memory_bytes: int, device: str) -> None:
        import torch

        super().__init__(queries, config, memory_bytes)
        self._products = torch.device(device)
        self._bounds = torch.device("cpu" if self._products.type == "mps" else device)  # mps has no float64
        # tf32 keeps ten bits, fewer than the bound allows: then the doubles do it.
        self._dtype = torch.float32 if torch.get_float32_matmul_precision() == "highest" else torch.float64
        if self._products.type != "cpu":
            self._slice_rows = _slice_rows(queries, memory_bytes)

    def _there(self, array: NDArray[Any]) -> Any:
        return as_tensor(array).to(self._bounds)

    def _dots(self, queries: NDArray[np.float32], rows: NDArray[np.generic]) -> Any:
        stored = as_tensor(widened(rows) if rows.dtype == np.uint16 else rows)
        columns = stored.to(self._products).to(self._dtype).T
        return (as_tensor(queries).to(self._products, self._dtype) @ columns).to(self._bounds)

    def _nonzero(self, hits: Any) -> Pairs:
        of, at = hits.nonzero().cpu().numpy().T
        return of, at


def as_tensor(array: NDArray[Any]) -> Any:
    """Return an array as a tensor on the CPU that is only read: mapped files are read-only, of which torch warns."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _slice_rows(queries: QueryVectors, memory_bytes: int) -> int:
    width = queries.rh.shape[1] + queries.gh.shape[1]
    return int(max(memory_bytes // (8 * width + 32 * len(queries)), 1))  # rows widened, bounds in float64
