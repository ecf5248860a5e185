"""Exact top-k over blocks of stored rows: propose, certify, decide.

A float32 kernel proposes scores with a bound on their error. Every row whose score could still be among the k best is
kept, so what is left out is certified not to be. The kept rows are scored again exactly, and those scores decide. The
threshold rises block by block; no block is sorted whole, and nothing grows with the pool but k.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk.kernels import approximate_dots, error_bound
from risedb.topk.scores import QueryVectors, channel_weights, exact_scores

_SLICE_BYTES = 2**22  # float32 copies of stored rows held at once: what a cache holds


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The best rows for one query, best first; equal scores stand in the order of insertion.

    Parameters
    ----------
    sequence
        (k,) uint64 sequence numbers.
    scores
        (k,) float64.
    """

    sequence: NDArray[np.uint64]
    scores: NDArray[np.float64]

    def merged(self, other: "Ranked", k: int) -> "Ranked":
        """Return the k best of both."""
        sequence = np.concatenate([self.sequence, other.sequence])
        scores = np.concatenate([self.scores, other.scores])
        order = np.lexsort((sequence, -scores))[:k]
        return Ranked(sequence[order], scores[order])


def scan(  # noqa: PLR0913  a query, how it is scored, how much of it and where
    blocks: Iterable[Block],
    queries: QueryVectors,
    config: ScoreConfig,
    *,
    k: int,
    bottom: bool = False,
    device: str = "numpy",
    slice_bytes: int = _SLICE_BYTES,
) -> list[Ranked]:
    """Rank stored rows for each query.

    Parameters
    ----------
    blocks
        Stored rows; those that are not live are passed over.
    queries
        m queries.
    config
        The weights the queries were made with.
    k
        Rows wanted for each query; fewer come back where fewer are live.
    bottom
        The k lowest scores instead, lowest first.
    device
        Where proposals are computed: ``numpy``, or a device of torch.
    slice_bytes
        Bound on the float32 copies of stored rows that exist at once.

    Returns
    -------
    list of Ranked
        One for each query. Scores and order are the same bits for every device, block size and slice size.
    """
    if bottom:
        lowest = scan(blocks, queries.negated(), config, k=k, device=device, slice_bytes=slice_bytes)
        return [Ranked(ranked.sequence, 0.0 - ranked.scores) for ranked in lowest]
    singles = [QueryVectors(queries.rh[j : j + 1], queries.gh[j : j + 1]) for j in range(len(queries))]
    unit_rh, length_rh = _unit_queries(queries.rh)
    unit_gh, length_gh = _unit_queries(queries.gh)
    best = [Ranked(np.empty(0, np.uint64), np.empty(0)) for _ in singles]
    for block in _slices(blocks, slice_bytes):
        weights = channel_weights(block.norms, config)
        proposed = weights[:, :1] * length_rh * approximate_dots(block.rh, unit_rh, device) + weights[
            :, 1:
        ] * length_gh * approximate_dots(block.gh, unit_gh, device)  # (n, m) float64
        errors = (
            weights[:, 0].max() * length_rh * error_bound(unit_rh.shape[1])
            + weights[:, 1].max() * length_gh * error_bound(unit_gh.shape[1])
        ) * 1.001  # (m,); the last factor covers the float64 arithmetic here
        for j, query in enumerate(singles):
            floor = best[j].scores[-1] if len(best[j].scores) == k else -np.inf
            kept = _survivors(proposed[:, j], block.live, floor=floor, error=errors[j], k=k)
            if len(kept):
                scores = exact_scores(block.rh[kept], block.gh[kept], weights[kept], query)
                best[j] = best[j].merged(Ranked(block.sequence[kept], scores), k)
    return best


def _survivors(
    proposed: NDArray[np.float64], live: NDArray[np.bool_], *, floor: float, error: float, k: int
) -> NDArray[np.intp]:
    """Find the rows that may be among the k best: all others are proven not to be.

    A row's exact score is within `error` of the proposed one. It must reach `floor`, the k-th best so far, and the k-th
    best here, which is no lower than the k-th proposed score less `error`.
    """
    kept = np.flatnonzero((proposed >= floor - error) & live)
    if len(kept) > k:
        here = proposed[kept]
        kth = np.partition(here, len(here) - k)[len(here) - k]
        kept = kept[here >= kth - 2 * error]
    return kept


def _unit_queries(
    queries: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    lengths = np.linalg.norm(queries, axis=1)
    units = queries / np.where(lengths > 0, lengths, 1.0)[:, None]
    return units.astype(np.float32), lengths


def _slices(blocks: Iterable[Block], slice_bytes: int) -> Iterator[Block]:
    for block in blocks:
        row_bytes = 4 * (block.rh.shape[1] + block.gh.shape[1])
        step = max(slice_bytes // row_bytes, 1)
        for start in range(0, len(block), step):
            part = slice(start, start + step)
            yield Block(
                block.sequence[part],
                block.rh[part],
                block.gh[part],
                block.norms[part],
                block.live[part],
            )
