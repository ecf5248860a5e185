"""What a score is, and its one exact value.

With u the stored unit rows, n their norms and lambda the channel weights, a document's fused signature is
phi_i = [lambda_rh n_rh u_rh ; lambda_gh n_gh u_gh], divided by its length if scores are normalised, and

    score(i, q) = w_rh(i) <u_rh(i), q_rh> + w_gh(i) <u_gh(i), q_gh>

where w(i) is what stands before the document's unit rows, and (q_rh, q_gh) the query's own fused signature. So one pair
of vectors is a query, whatever was averaged or subtracted to make it.

An exact score is float64 arithmetic, each operation rounded once and all of them in one fixed order: the same bits on
every machine, for every block size and segment layout.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Signatures, widened

_PRODUCT_BYTES = 2**23  # float64 products held at once


@dataclass(frozen=True, slots=True, eq=False)
class QueryVectors:
    """m queries as the scan takes them.

    Parameters
    ----------
    rh, gh
        (m, Kr * Kh) and (m, Kg * Kh) float64.
    """

    rh: NDArray[np.float64]
    gh: NDArray[np.float64]

    @classmethod
    def of(cls, signatures: Signatures, config: ScoreConfig) -> Self:
        """Return one query for each signature (arXiv:2604.16197v1, Algorithm 1, line 8)."""
        weights = channel_weights(signatures.norms, config)
        return cls(signatures.rh * weights[:, :1], signatures.gh * weights[:, 1:])

    def mean(self) -> "QueryVectors":
        """Return the one query that is the mean of these, not scaled again (Algorithm 1, line 11)."""
        return QueryVectors(self.rh.mean(axis=0, keepdims=True), self.gh.mean(axis=0, keepdims=True))

    def minus(self, other: "QueryVectors") -> "QueryVectors":
        """Subtract one query from each of these: like these, unlike that."""
        return QueryVectors(self.rh - other.rh, self.gh - other.gh)

    def negated(self) -> "QueryVectors":
        """Return queries whose best rows are the worst of these."""
        return QueryVectors(-self.rh, -self.gh)

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.rh)


def channel_weights(norms: NDArray[np.float32], config: ScoreConfig) -> NDArray[np.float64]:
    """Return w: (n, 2) norms to (n, 2) weights of the unit rows; zero for a signature that is zero."""
    weighted: NDArray[np.float64] = norms.astype(np.float64) * np.array([config.lambda_rh, config.lambda_gh])
    if not config.normalize:
        return weighted
    lengths = np.sqrt(weighted[:, :1] * weighted[:, :1] + weighted[:, 1:] * weighted[:, 1:])
    weighted /= np.where(lengths > 0, lengths, 1.0)
    return weighted


def exact_scores(
    rh: NDArray[np.generic],
    gh: NDArray[np.generic],
    weights: NDArray[np.float64],
    query: QueryVectors,
) -> NDArray[np.float64]:
    """Score stored rows against one query, the same bits everywhere.

    Parameters
    ----------
    rh, gh
        (n, Kr * Kh) and (n, Kg * Kh) stored unit rows.
    weights
        (n, 2), from :func:`channel_weights`.
    query
        A single query.

    Returns
    -------
    (n,) float64.
    """
    dots = [_fixed_order_dots(rows, q[0]) for rows, q in ((rh, query.rh), (gh, query.gh))]
    # + 0.0 makes the minus zero of a negated query a plain zero
    return weights[:, 0] * dots[0] + weights[:, 1] * dots[1] + 0.0


def _fixed_order_dots(rows: NDArray[np.generic], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the products of each row by halving: an order that depends on the width alone."""
    step = max(_PRODUCT_BYTES // (8 * len(q)), 1)
    sums = [np.empty(0)]
    for start in range(0, len(rows), step):
        products = widened(rows[start : start + step]) * q
        width = len(q)
        while width > 1:
            half = (width + 1) // 2
            products[:, : width - half] += products[:, half:width]
            width = half
        sums.append(products[:, 0])
    return np.concatenate(sums)
