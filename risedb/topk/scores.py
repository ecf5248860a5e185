"""What a score is, and its one exact value.

With u the stored unit rows, n their norms and lambda the channel weights, a document's fused signature is
phi_i = [lambda_rh n_rh u_rh ; lambda_gh n_gh u_gh], divided by its length if scores are normalised, and

    score(i, q) = (w_rh(i) <u_rh(i), q_rh> + w_gh(i) <u_gh(i), q_gh> + offset(q)) scale(i)

where w(i) is what stands before the document's unit rows, and (q_rh, q_gh) the query's own fused signature. So one pair
of vectors is a query, whatever was averaged or subtracted to make it. Offset and scale are 0 and 1 but for centred
scores, see :mod:`risedb.topk.center`.

An exact score is float64 arithmetic, each operation rounded once and all of them in one fixed order: the same bits on
every machine, for every kernel, block size and segment layout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block, Signatures, widened

_PRODUCT_BYTES = 2**21  # float64 products held at once: what a cache holds


@dataclass(frozen=True, slots=True, eq=False)
class QueryVectors:
    """m queries as the scan takes them.

    Parameters
    ----------
    rh, gh
        (m, Kr * Kh) and (m, Kg * Kh) float64.
    offset
        (m,) float64, zeros unless scores are centred.
    """

    rh: NDArray[np.float64]
    gh: NDArray[np.float64]
    offset: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        """Fill in offsets of zero."""
        if not len(self.offset):
            object.__setattr__(self, "offset", np.zeros(len(self.rh)))

    @classmethod
    def of(cls, signatures: Signatures, config: ScoreConfig) -> Self:
        """Return one query for each signature (arXiv:2604.16197v1, Algorithm 1, line 8)."""
        weights = channel_weights(signatures.norms, config)
        return cls(widened(signatures.rh) * weights[:, :1], widened(signatures.gh) * weights[:, 1:])

    def mean(self) -> "QueryVectors":
        """Return the one query that is the mean of these, not scaled again (Algorithm 1, line 11)."""
        arrays = (self.rh, self.gh, self.offset)
        return QueryVectors(*(array.mean(axis=0, keepdims=True) for array in arrays))

    def minus(self, other: "QueryVectors") -> "QueryVectors":
        """Subtract one query from each of these: like these, unlike that."""
        return QueryVectors(self.rh - other.rh, self.gh - other.gh, self.offset - other.offset)

    def negated(self) -> "QueryVectors":
        """Return queries whose best rows are the worst of these."""
        return QueryVectors(-self.rh, -self.gh, -self.offset)

    def part(self, queries: slice | NDArray[np.intp]) -> "QueryVectors":
        """Return some of the queries."""
        return replace(self, rh=self.rh[queries], gh=self.gh[queries], offset=self.offset[queries])

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.rh)


def channel_weights(norms: NDArray[np.float32], config: ScoreConfig) -> NDArray[np.float64]:
    """Return w: (n, 2) norms to (n, 2) weights of the unit rows; zero for a signature that is zero."""
    weighted: NDArray[np.float64] = norms.astype(np.float64) * np.array([config.lambda_rh, config.lambda_gh])
    if config.normalize:
        weighted /= _lengths(weighted)[:, None]
    return weighted


def stored_weights(
    norms: NDArray[np.float32], code_scale: NDArray[np.float32] | None, config: ScoreConfig
) -> NDArray[np.float64]:
    """Return w for stored rows: (n, 2) weights of unit rows, or, given their (n,) scales, of rows stored as codes.

    A code's row is [n_rh u_rh ; n_gh u_gh] / sqrt(n_rh^2 + n_gh^2) already, so that both channels share a weight but
    for lambda.
    """
    if code_scale is None:
        return channel_weights(norms, config)
    lambdas = np.array([config.lambda_rh, config.lambda_gh])
    exact_norms = norms.astype(np.float64)
    together: NDArray[np.float64] = np.sqrt(
        exact_norms[:, 0] * exact_norms[:, 0] + exact_norms[:, 1] * exact_norms[:, 1]
    )
    if config.normalize:
        together /= _lengths(exact_norms * lambdas)
    weights: NDArray[np.float64] = (together * code_scale)[:, None] * lambdas
    return weights


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.sqrt(rows[:, 0] * rows[:, 0] + rows[:, 1] * rows[:, 1])
    lengths[lengths == 0] = 1.0
    return lengths


PairDots = Callable[[NDArray[np.generic], NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]]


def fixed_order_dots(
    rows: NDArray[np.generic], at: NDArray[np.intp], queries: NDArray[np.float64], of: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return <rows[at[p]], queries[of[p]]> for each pair p, summed by halving: an order that the width alone decides.

    Parameters
    ----------
    rows
        (n, D) in a stored dtype.
    at, of
        (p,) row and query of each pair.
    queries
        (m, D).
    """
    sums = np.empty(len(at))
    step = max(_PRODUCT_BYTES // (8 * queries.shape[1]), 1)
    for start in range(0, len(at), step):
        part = slice(start, start + step)
        products = widened(rows[at[part]]) * queries[of[part]]
        width = products.shape[1]
        while width > 1:
            half = (width + 1) // 2
            products[:, : width - half] += products[:, half:width]
            width = half
        sums[part] = products[:, 0]
    return sums


def exact_scores(  # noqa: PLR0913  the pairs, and what their scores are made of
    block: Block,
    at: NDArray[np.intp],
    queries: QueryVectors,
    of: NDArray[np.intp],
    config: ScoreConfig,
    *,
    scale: NDArray[np.float64] | None = None,
    pair_dots: PairDots = fixed_order_dots,
) -> NDArray[np.float64]:
    """Score pairs of a stored row and a query, the same bits everywhere.

    Parameters
    ----------
    block
        Stored rows.
    at, of
        (p,) row and query of each pair.
    queries, config
        The queries, and the weights they were made with.
    scale
        (n,) factors of the block's rows, for centred scores.
    pair_dots
        What computes :func:`fixed_order_dots`.

    Returns
    -------
    (p,) float64.
    """
    block.check(at)
    code_scale = block.code_scale[at] if block.rh.dtype == np.int8 and block.code_scale is not None else None
    weights = stored_weights(block.norms[at], code_scale, config)
    scores = weights[:, 0] * pair_dots(block.rh, at, queries.rh, of)
    scores += weights[:, 1] * pair_dots(block.gh, at, queries.gh, of)
    scores += queries.offset[of]
    if scale is not None:
        scores *= scale[at]
    return scores + 0.0  # the minus zero of a negated query becomes a plain zero
