"""Does a sketch keep the ranking? Spearman's correlation of sketched with unsketched scores, and advice from it.

Every document of the sample is a query against all others. The unsketched score has Algorithm 2's unit factors and
fused channels with nothing compressed: the limit of wide sketches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig, SketchConfig
from risedb.diagnostics.factors import Factors

SEEDS = 5
THRESHOLD = 0.95
"""Median Spearman at which a ranking counts as kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFidelity:
    """How well one triple of widths keeps the ranking."""

    numbers: int
    """Numbers a document, both channels."""
    median: float
    """Median over queries of Spearman's rho, with the seed that was asked for."""
    lowest_tenth: float
    """Its 10 % quantile over queries."""
    over_seeds: tuple[float, float]
    """Least and greatest median of five seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The smallest preset that keeps the ranking on the sample."""

    preset: str | None
    """Its name; None where none does."""
    threshold: float
    """Median Spearman asked of it."""
    sentence: str
    """The same for people."""


def measure_ranking(
    factors: Factors, widths: Mapping[str, SketchConfig], score: ScoreConfig | None = None
) -> dict[str, RankFidelity]:
    """Compare each triple's ranking with the unsketched one.

    Parameters
    ----------
    factors
        The sample, of at least three documents.
    widths
        Triples by name.
    score
        How two signatures are compared.
    """
    score = score or ScoreConfig()
    exact = _others(factors.unit().grams().fused(score).cpu().numpy())

    def per_query(sketch: SketchConfig) -> NDArray[np.float64]:
        sketched = factors.sketched_grams(sketch, unit=True).fused(score).cpu().numpy()
        return rank_correlations(exact, _others(sketched))

    fidelity = {}
    for name, sketch in widths.items():
        own = per_query(sketch)
        seeds = [replace(sketch, seed=(sketch.seed + i) % 2**64) for i in range(1, SEEDS)]
        medians = [float(np.nanmedian(own)), *(float(np.nanmedian(per_query(seeded))) for seeded in seeds)]
        fidelity[name] = RankFidelity(
            numbers=sketch.rh_dim + sketch.gh_dim,
            median=medians[0],
            lowest_tenth=float(np.nanquantile(own, 0.1)),
            over_seeds=(min(medians), max(medians)),
        )
    return fidelity


def advise(fidelity: Mapping[str, RankFidelity], threshold: float = THRESHOLD) -> Advice:
    """Choose, among presets, the one with fewest numbers whose median reaches the threshold."""
    kept = [name for name, one in fidelity.items() if one.median >= threshold]
    if kept:
        preset = min(kept, key=lambda name: fidelity[name].numbers)
        sentence = (
            f"{preset} keeps the ranking: median Spearman {fidelity[preset].median:.3f} against the unsketched score"
        )
        return Advice(preset=preset, threshold=threshold, sentence=sentence)
    best = max(fidelity, key=lambda name: fidelity[name].median)
    sentence = (
        f"no preset keeps the ranking at median Spearman {threshold:g}; the closest is {best} with "
        f"{fidelity[best].median:.3f}"
    )
    return Advice(preset=None, threshold=threshold, sentence=sentence)


def rank_correlations(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Spearman's rho of each query's scores, (queries, documents) twice to (queries,) float64.

    Equal scores share the mean of their ranks; where all are equal, rho is NaN.

    Examples
    --------
    >>> rank_correlations(np.array([[0.1, 0.5, 0.3], [3, 2, 1]]), np.array([[2, 9, 7], [7, 8, 9]])).round(6).tolist()
    [1.0, -1.0]
    """
    ranks = [np.apply_along_axis(_ranks, 1, scores) for scores in (one, other)]
    centred = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    products = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    rho: NDArray[np.float64] = (centred[0] * centred[1]).sum(axis=1) / np.where(products > 0, products, np.nan)
    return rho


def _others(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Leave each query itself out: (n, n) to (n, n - 1)."""
    return scores[~np.eye(len(scores), dtype=bool)].reshape(len(scores), -1)


def _ranks(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks
