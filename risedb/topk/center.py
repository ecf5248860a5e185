"""Centred scores: a pool's mean direction says what all its documents share, and hides what tells them apart.

With mu the mean of the pool's unit fused signatures, both sides of a product become (phi - mu) / |phi - mu|:

    score(i, q) = (<phi_i, q'> - <mu, q'>) / |phi_i - mu|,    q' = (phi_q - mu) / |phi_q - mu|

so a centred query is a query with an offset, and every row has a scale. mu depends on the channel weights; nothing is
refitted or stored. The sum over the pool is made in fixed point, where no order of summation shows, so that mu is the
same bits for every layout of segments. A signature that is mu itself, to within 1e-6, scores zero.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.errors import InvalidInput
from risedb.signature import Block, Signatures, widened
from risedb.topk.scores import QueryVectors, stored_weights

_FIXED = 2.0**36  # 2^27 unit vectors add up within an int64
_SAME = 1e-6
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
    def of(cls, blocks: Callable[[], Iterable[Block]], config: ScoreConfig) -> "Center":
        """Compute the mean of all live rows, then each row's distance from it.

        Parameters
        ----------
        blocks
            Gives all rows of a snapshot, in the order in which a scan will read them; called twice.

        Raises
        ------
        InvalidInput
            If scores are not normalised: only unit signatures are centred.
        """
        if not config.normalize:
            msg = "centred scores are of unit signatures: leave normalize on"
            raise InvalidInput(msg)
        total, live = np.int64(0), 0
        for block in blocks():
            live += int(block.live.sum())
            for fused, part in _fused(block, config):
                total = total + np.rint(fused[block.live[part]] * _FIXED).astype(np.int64).sum(axis=0)
        mean = total / (_FIXED * max(live, 1))
        scales = tuple(
            np.concatenate([_inverse_lengths(fused - mean) for fused, _ in _fused(block, config)]) for block in blocks()
        )
        return cls(np.asarray(mean, np.float64), scales, config)

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


def _fused(block: Block, config: ScoreConfig) -> Iterator[tuple[NDArray[np.float64], slice]]:
    """Yield unit fused signatures, (n, D) float64, a cache's worth at a time."""
    block.check(None)
    step = max(_STEP_NUMBERS // (block.rh.shape[1] + block.gh.shape[1]), 1)
    for start in range(0, len(block), step):
        part = slice(start, start + step)
        scale = block.code_scale[part] if block.rh.dtype == np.int8 and block.code_scale is not None else None
        weights = stored_weights(block.norms[part], scale, config)
        yield (
            np.concatenate([widened(block.rh[part]) * weights[:, :1], widened(block.gh[part]) * weights[:, 1:]], 1),
            part,
        )


def _inverse_lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / |row|, or 0 for one of almost no length, summing in one order; `rows` is used up."""
    rows *= rows
    width = rows.shape[1]
    while width > 1:
        half = (width + 1) // 2
        rows[:, : width - half] += rows[:, half:width]
        width = half
    lengths = np.sqrt(rows[:, 0])
    return np.where(lengths > _SAME, 1.0, 0.0) / np.where(lengths > _SAME, lengths, 1.0)
