"""Centred scores: a pool's mean direction says what all its documents share, and hides what tells them apart.

With mu the mean of the pool's unit fused signatures, both sides of a product become (phi - mu) / |phi - mu|:

    score(i, q) = (<phi_i, q'> - <mu, q'>) / |phi_i - mu|,    q' = (phi_q - mu) / |phi_q - mu|

so a centred query is a query with an offset, and every row has a scale. mu depends on the channel weights; nothing is
refitted or stored. The sum over the pool is made in fixed point, where no order of summation shows, so that mu is the
same bits for every layout of segments. A signature that is mu itself, to within 1e-6, scores zero.

One pass over the stored rows makes mu, and, since no distance from it is known before, another the scales. Both are
kept for the queries to come.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.errors import InvalidInput
from risedb.signature import Block, Signatures, widened
from risedb.topk.plan import Plan
from risedb.topk.scores import QueryVectors, stored_weights

FIXED = 2.0**36  # 2^27 unit vectors add up within an int64
SAME = 1e-6
_STEP_NUMBERS = 2**18

Scaled = tuple[Block, NDArray[np.float64] | None]
"""A block and its rows' scales, (n,): what :func:`risedb.topk.scores.exact_scores` multiplies with."""


@dataclass(frozen=True, slots=True, eq=False)
class Center:
    """The mean of one snapshot for one set of weights.

    Parameters
    ----------
    mean
        (D,) float64, both channels.
    scales
        For each block, (n,) float64: 1 / |phi_i - mean|, or 0.
    config
        The weights.
    """

    mean: NDArray[np.float64]
    scales: tuple[NDArray[np.float64], ...]
    config: ScoreConfig

    @classmethod
    def of(cls, blocks: Callable[[], Iterable[Block]], config: ScoreConfig, plan: Plan | None = None) -> "Center":
        """Compute the mean of all live rows, then each row's distance from it.

        Parameters
        ----------
        blocks
            Gives all rows of a snapshot, in the order in which a scan will read them; called twice.
        config
            The weights.
        plan
            In how much memory, the scales themselves not counted, and by how many threads.

        Raises
        ------
        InvalidInput
            If scores are not normalised: only unit signatures are centred.
        """
        if not config.normalize:
            msg = "centred scores are of unit signatures: leave normalize on"
            raise InvalidInput(msg)
        passes = _Passes(blocks, config, plan or Plan())
        mean = passes.mean()
        return cls(mean, passes.scales(mean), config)

    def queries(self, signatures: Signatures) -> QueryVectors:
        """Return one centred query for each signature."""
        plain = QueryVectors.of(signatures, self.config)
        moved = np.concatenate([plain.rh, plain.gh], axis=1) - self.mean
        moved *= _inverse_lengths(moved.copy())[:, None]
        width = plain.rh.shape[1]
        return QueryVectors(moved[:, :width], moved[:, width:], -(moved * self.mean).sum(axis=1))


def scaled(blocks: Iterable[Block], center: Center | None) -> Iterator[Scaled]:
    """Pair blocks with their rows' scales; with None where scores are not centred."""
    if center is None:
        return ((block, None) for block in blocks)
    return zip(blocks, center.scales, strict=True)


@dataclass(frozen=True, slots=True)
class _Passes:
    """Goes through all rows, a cache's worth at a time."""

    blocks: Callable[[], Iterable[Block]]
    config: ScoreConfig
    plan: Plan

    def mean(self) -> NDArray[np.float64]:
        """Return the mean of the live rows, (D,)."""
        total, live = np.int64(0), 0
        for block, sums in self._each("fixed_sum", lambda block, rows: block.live[rows]):
            total, live = total + sum(sums), live + int(block.live.sum())
        return np.asarray(total / (FIXED * max(live, 1)), np.float64)

    def scales(self, mean: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return each block's scales, (n,)."""
        return tuple(np.concatenate(parts) for _, parts in self._each("inverse_distances", lambda *_: mean))

    def _each(self, name: str, last: Callable[[Block, slice], Any]) -> Iterator[tuple[Block, list[Any]]]:
        """Yield each block, and what a function makes of its rows, their weights, and a last argument."""
        with ThreadPoolExecutor(self.plan.threads) as pool:
            for block in self.blocks():
                block.check(None)
                width = block.rh.shape[1] + block.gh.shape[1]
                function = getattr(_arithmetic(self.plan.compiles(len(block) * width)), name)

                def run(rows: slice, block: Block = block, function: Callable[..., Any] = function) -> Any:
                    scale = (
                        block.code_scale[rows] if block.rh.dtype == np.int8 and block.code_scale is not None else None
                    )
                    weights = stored_weights(block.norms[rows], scale, self.config)
                    return function(block.rh[rows], block.gh[rows], weights, last(block, rows))

                step = max(min(_STEP_NUMBERS, self.plan.memory_bytes // 64 // self.plan.threads) // width, 1)
                yield block, list(pool.map(run, (slice(at, at + step) for at in range(0, len(block), step))))


def _arithmetic(compiled: bool) -> Any:
    if compiled:
        from risedb.topk.compiled import CompiledCenter

        return CompiledCenter
    return NumpyCenter


class NumpyCenter:
    """What is computed of some stored rows (n, D), given both channels, and their weights (n, 2)."""

    @staticmethod
    def fixed_sum(
        rh: NDArray[np.generic], gh: NDArray[np.generic], weights: NDArray[np.float64], live: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return the sum of the live unit fused signatures in fixed point, (D,)."""
        fixed: NDArray[np.int64] = np.rint(_fused(rh, gh, weights)[live] * FIXED).astype(np.int64).sum(axis=0)
        return fixed

    @staticmethod
    def inverse_distances(
        rh: NDArray[np.generic], gh: NDArray[np.generic], weights: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return 1 / |row - mean|, or 0 for one that is almost the mean, (n,)."""
        return _inverse_lengths(_fused(rh, gh, weights) - mean)


def _fused(rh: NDArray[np.generic], gh: NDArray[np.generic], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([widened(rh) * weights[:, :1], widened(gh) * weights[:, 1:]], axis=1)


def _inverse_lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / |row|, or 0 for one of almost no length, summing in one order; `rows` is used up."""
    rows *= rows
    width = rows.shape[1]
    while width > 1:
        half = (width + 1) // 2
        rows[:, : width - half] += rows[:, half:width]
        width = half
    return inverse(np.sqrt(rows[:, 0]))


def inverse(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / length, or 0 for almost none."""
    return np.where(lengths > SAME, 1.0, 0.0) / np.where(lengths > SAME, lengths, 1.0)
