"""What a device of torch proposes: for each query the rows whose bounds are highest, and how high the others may be.

Rows come piece by piece. Products are exact in integers where the device has them (:func:`torch._int_mm` of int8 codes
with two digits of each query), else float32; the bounds of :mod:`risedb.topk.bounds` are float64. Bounds collect in a
window, and when that is full the highest replace what was kept. Nothing here waits for the device but the last copy.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.topk.bounds import ROUNDING, SMALLEST, UNIT, digit_queries, float_queries
from risedb.topk.lanes import PAD, Lane, Piece
from risedb.topk.scores import QueryVectors

_INTEGER_NUMBERS = 2**17  # of a row: then a digit's product with it fits an int32
_FEW = 16  # digits up to here are the narrow side of a product
_SPREAD = 2**10  # most rows that stand for one another at first


@dataclass(frozen=True, slots=True)
class Terms:
    """What the bounds of a piece are made of, for one pair of weights.

    With factor and gains as in :mod:`risedb.topk.bounds`, slack = spread + factor * error, where the error is the
    query's; spread is the row's own and, for rows that are not live, minus infinity. All are (n,) float64.
    """

    gains: tuple[Any, ...]
    spread: Any
    factor: Any

    @classmethod
    def of(cls, piece: Piece, config: ScoreConfig) -> "Terms":
        """Compute them on the piece's device, or return those it had for these weights."""
        if piece.terms is not None and piece.terms[0] == config:
            terms: Terms = piece.terms[1]
            return terms
        rh, gh = piece.norms.double().unbind(1)
        weighted = config.lambda_rh**2 * (rh * rh) + config.lambda_gh**2 * (gh * gh)
        divisor = (torch.sqrt(weighted) if config.normalize else torch.ones_like(weighted)) + SMALLEST
        if piece.coded:
            factor = torch.sqrt(rh * rh + gh * gh) / divisor
            factor = factor if piece.shift is None else factor * piece.shift
            gains: tuple[Any, ...] = (factor * piece.scale,)
            spread = factor * piece.error
        else:
            each = [config.lambda_rh * rh / divisor, config.lambda_gh * gh / divisor]
            gains = tuple(one if piece.shift is None else one * piece.shift for one in each)
            factor = sum(gains)
            spread = torch.zeros_like(factor)
        terms = cls(gains, torch.where(piece.live, spread, -math.inf), factor)
        piece.terms = (config, terms)
        return terms


class _Kind:
    """The queries as rows of one kind, coded or not, are multiplied with them.

    Attributes
    ----------
    unit
        (m,) float64: bounds times it are bounds of scores.
    error
        What a slack's factor stands before, see :class:`Terms`.
    reach, offset
        (m, 1) float64 on the device: what slack and shift stand before; None for offsets of zero.
    """

    def __init__(self, lane: Lane, piece: Piece, queries: QueryVectors, config: ScoreConfig) -> None:
        width = piece.matrices[0].shape[1]
        self._digits = piece.coded and _has_integers(lane.device, len(queries), width)
        if self._digits:
            own = digit_queries(queries, config)
            self._vectors = [lane.tensor(_arranged(own.vectors, width))]
        else:
            own = float_queries(queries, config, coded=piece.coded)
            self._dtype = torch.float32 if _is_float32_whole() else torch.float64
            split = [] if piece.coded else [width]
            parts = zip(np.split(own.vectors, split, axis=1), piece.matrices, strict=True)
            self._vectors = [lane.tensor(_widened(part, matrix.shape[1])).to(self._dtype) for part, matrix in parts]
        self._count = len(queries)
        self.unit = own.step * np.where(own.unit > 0, own.unit, 1.0)
        # code_slack() is (1 + e) (error_i + factor length e / (1 + e)) of a row whose codes are off by error_i
        error = own.error + ROUNDING
        length = 2 * UNIT if piece.whole else UNIT
        self.error = length * error / (1 + error) if piece.coded else UNIT * own.error + ROUNDING
        self.reach = lane.tensor((1 + error if piece.coded else 1.0) / own.step)[:, None]
        self.offset = lane.tensor(own.offset / self.unit)[:, None] if own.offset.any() else None

    def products(self, piece: Piece, rows: slice) -> list[Any]:
        """Return products of some rows and the queries, (m, n) for each matrix; of digits (2 m or more, n)."""
        pairs = [(matrix[rows], vectors) for matrix, vectors in zip(piece.matrices, self._vectors, strict=True)]
        if not self._digits:
            return [vectors @ matrix.to(self._dtype).T for matrix, vectors in pairs]
        ((codes, vectors),) = pairs
        return [torch._int_mm(codes, vectors.T).T if len(vectors) <= _FEW else torch._int_mm(vectors, codes.T)]

    def bounds(self, piece: Piece, terms: Terms, rows: slice, out: Any) -> None:
        """Fill out, (m, n) float64, with upper bounds of some rows' scores, divided by `unit`."""
        multiplied = self.products(piece, rows)
        if self._digits:
            products, gain = multiplied[0], terms.gains[0][rows]
            torch.mul(products[self._count : 2 * self._count], gain, out=out)
            out.addcmul_(products[: self._count], 254 * gain)
        else:
            out.zero_()
            for products, gain in zip(multiplied, terms.gains, strict=True):
                out.addcmul_(products, gain[rows])
        out.addcmul_(torch.add(terms.spread[rows], terms.factor[rows], alpha=self.error), self.reach)
        if self.offset is not None:
            if piece.shift is None:
                out.add_(self.offset)
            else:
                out.addcmul_(piece.shift[rows], self.offset)

    def row_bytes(self, piece: Piece) -> int:
        """Return what :meth:`bounds` allocates for a row."""
        if self._digits:
            return 4 * len(self._vectors[0]) + 32
        width: int = piece.matrices[-1].shape[1]
        return self._dtype.itemsize * (width + self._count) + 32


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What one lane found for m queries, on the host.

    Parameters
    ----------
    upper
        (m, c) float64: bounds of scores, highest first; minus infinity where there are no more rows.
    row
        (m, c) int64: which rows, numbered as the lane took them.
    beyond
        (m,) float64: no other row's score is higher.
    """

    upper: NDArray[np.float64]
    row: NDArray[np.int64]
    beyond: NDArray[np.float64]


class Proposer:
    """Keeps the `capacity` rows with the highest bounds for each query, on one lane.

    Parameters
    ----------
    lane
        The device.
    queries, config
        The queries, and the weights they were made with.
    capacity
        Rows that are kept for each query.
    memory_bytes
        Bound on what it allocates there besides.
    """

    def __init__(
        self, lane: Lane, queries: QueryVectors, config: ScoreConfig, capacity: int, memory_bytes: int
    ) -> None:
        m, self._capacity, self._memory_bytes = len(queries), capacity, memory_bytes
        self._lane, self._queries, self._config = lane, queries, config
        self._kinds: dict[tuple[bool, bool], _Kind] = {}
        self._columns = max(memory_bytes // (16 * m) // PAD * PAD, PAD)
        self._window = torch.empty((m, self._columns + _SPREAD), dtype=torch.float64, device=lane.device)
        self._filled = self._taken = 0
        self._upper = torch.full((m, capacity), -math.inf, dtype=torch.float64, device=lane.device)
        self._row = torch.zeros((m, capacity), dtype=torch.int64, device=lane.device)
        self._beyond = torch.full((m,), -math.inf, dtype=torch.float64, device=lane.device)

    def take(self, piece: Piece) -> None:
        """Take rows; nothing waits for the device."""
        kind, terms = self.kind(piece), Terms.of(piece, self._config)
        first = next(iter(self._kinds.values()))
        most = max(self._memory_bytes // 2 // kind.row_bytes(piece) // PAD * PAD, PAD)
        start = 0
        while start < len(piece):
            rows = slice(start, min(start + min(most, self._columns - self._filled), len(piece)))
            count = rows.stop - start
            out = self._window[:, self._filled : self._filled + count]
            kind.bounds(piece, terms, rows, out)
            if kind is not first:
                out.mul_(self._lane.tensor(kind.unit / first.unit)[:, None])
            self._filled += count
            start = rows.stop
            if self._filled == self._columns:
                self.select()

    def kind(self, piece: Piece) -> _Kind:
        """Return the queries as rows of this kind are multiplied with them."""
        name = (piece.coded, piece.whole)
        if name not in self._kinds:
            self._kinds[name] = _Kind(self._lane, piece, self._queries, self._config)
        return self._kinds[name]

    def proposal(self) -> Proposal:
        """Return what was found, when the device is done."""
        self.select()
        m, c = self._upper.shape
        upper, order = self._upper.sort(dim=1, descending=True)
        row = self._row.gather(1, order).double()  # exact below 2^53
        found = torch.cat([upper, row, self._beyond[:, None]], dim=1).cpu().numpy()
        unit = next(iter(self._kinds.values())).unit[:, None] if self._kinds else np.ones((m, 1))
        return Proposal(found[:, :c] * unit, found[:, c:-1].astype(np.int64), found[:, -1] * unit[:, 0])

    def select(self) -> None:
        """Keep the highest bounds of the window and of those before."""
        filled = self._filled
        if not filled:
            return
        spread = min(math.isqrt(filled // self._capacity), _SPREAD)
        if spread > 1:
            near, row = self._nearest(filled, spread)
        else:
            near = self._window[:, :filled]
            row = torch.arange(filled, device=self._lane.device).expand(len(near), -1)
        upper, row = torch.cat([self._upper, near], dim=1), torch.cat([self._row, row + self._taken], dim=1)
        best = upper.topk(self._capacity, sorted=False)
        self._upper, self._row = best.values, row.gather(1, best.indices)
        self._beyond = torch.maximum(self._beyond, best.values.amin(1))
        self._taken, self._filled = self._taken + filled, 0

    def _nearest(self, filled: int, spread: int) -> tuple[Any, Any]:
        """Return (m, capacity * spread) bounds, and their columns, among which the window's highest are.

        Columns that are `many` apart make a set: the highest bounds are in at most as many sets, those with the highest
        bounds of their own.
        """
        many = -(-filled // spread)
        self._window[:, filled : many * spread] = -math.inf
        sets = self._window[:, : many * spread].unflatten(1, (spread, many))
        best = sets.amax(1).topk(self._capacity, sorted=False)  # many is at least spread * capacity
        if many > self._capacity:
            self._beyond = torch.maximum(self._beyond, best.values.amin(1))
        columns = best.indices[:, None, :].expand(-1, spread, -1)
        row = columns + many * torch.arange(spread, device=self._lane.device)[:, None]
        return sets.gather(2, columns).flatten(1), row.flatten(1)


def _arranged(vectors: NDArray[np.int8], width: int) -> NDArray[np.int8]:
    """Return digits (2, m, D) as a matrix of a shape that :func:`torch._int_mm` takes on any device."""
    rows = 2 * vectors.shape[1]
    unit = 8 if rows <= _FEW else PAD
    flat = _widened(vectors.reshape(rows, -1), width)
    return np.pad(flat, ((0, -rows % unit), (0, 0)))


def _widened(matrix: NDArray[Any], width: int) -> NDArray[Any]:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


@functools.cache
def _has_integers(device: torch.device, queries: int, width: int) -> bool:
    """Tell whether a device multiplies int8 matrices of this shape, and rightly: some releases of cuBLAS did not."""
    if width > _INTEGER_NUMBERS:
        return False
    rng = np.random.default_rng(0)
    vectors = _arranged(rng.integers(-127, 128, (2, queries, width)).astype(np.int8), width)
    codes = rng.integers(-127, 128, (8 * PAD, width)).astype(np.int8)
    few = len(vectors) <= _FEW
    try:
        one, other = (torch.from_numpy(each).to(device) for each in ((codes, vectors) if few else (vectors, codes)))
        products = torch._int_mm(one, other.T).cpu().numpy()
    except (RuntimeError, AttributeError):
        return False
    exact = codes.astype(np.float64) @ vectors.T.astype(np.float64)
    return bool((products == (exact if few else exact.T)).all())


def _is_float32_whole() -> bool:
    """Tell whether float32 products keep 24 bits; tf32 and bfloat16 keep fewer than the bound allows."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set through torch's newer names, of which the older one cannot tell
        return False
