"""The paper's measures of a ranking whose positives are known: what stands at its two ends.

Source: arXiv:2604.16197v1, section 3.1: for each query the K best and the K worst documents are taken, in the order of
the ranking; auPRC and auROC are those of these 2K, and the mean over queries is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from risedb.evaluation.extra import needed

CUTS = (5, 10, 50, 100)
"""The paper's K."""


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Which documents at the two ends of one ranking are positive.

    Parameters
    ----------
    top, bottom
        (k,) and (m,) bool, both in the order of the ranking: `top` starts with the best document, `bottom` ends with
        the worst. They may overlap; a measure never counts a place twice.
    documents, positives
        How many were ranked, and how many of them are positive.
    """

    top: NDArray[np.bool_]
    bottom: NDArray[np.bool_]
    documents: int
    positives: int

    @classmethod
    def of_scores(cls, scores: NDArray[np.floating], labels: NDArray[np.bool_], k: int) -> Self:
        """Rank documents by (n,) scores, of equal ones the earlier first, and keep both ends."""
        order = np.argsort(-scores, kind="stable")
        return cls(labels[order[:k]], labels[order[-k:]], len(labels), int(labels.sum()))

    def both(self, k: int) -> NDArray[np.bool_]:
        """Return the labels of the k best and then of the k worst, in the order of the ranking.

        Of fewer than 2k documents, all of them, once each.
        """
        best = min(k, self.documents)
        worst = min(k, self.documents - best)
        return np.concatenate([self.top[:best], self.bottom[len(self.bottom) - worst :]])


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of rankings at one K.

    Parameters
    ----------
    precision
        Positives among the K best, as a share of these K.
    recall
        The same as a share of all positives; 0 if there are none.
    mrr
        1 / rank of the first positive, 0 if none is among the K best.
    auprc
        Average precision over the K best and the K worst; without a positive among them 0.
    auroc
        Area under the ROC curve of the same; without a positive 0.5, without a negative 1.
    """

    precision: float
    recall: float
    mrr: float
    auprc: float
    auroc: float

    @classmethod
    def of(cls, ends: Ends, k: int) -> Self:
        """Measure one ranking.

        Examples
        --------
        >>> ends = Ends(np.array([False, True]), np.array([True, False]), documents=10, positives=4)
        >>> Quality.of(ends, 2)
        Quality(precision=0.5, recall=0.25, mrr=0.5, auprc=0.5833333333333333, auroc=0.5)
        """
        top, both = ends.top[:k], ends.both(k)
        found = int(top.sum())
        return cls(
            precision=found / max(len(top), 1),
            recall=found / max(ends.positives, 1),
            mrr=1 / (1 + int(top.argmax())) if found else 0.0,
            auprc=_average_precision(both),
            auroc=_area_under_roc(both),
        )

    @classmethod
    def mean(cls, qualities: Sequence[Self]) -> Self:
        """Average over queries."""
        return cls(**{one.name: float(np.mean([getattr(each, one.name) for each in qualities])) for one in fields(cls)})


def evaluate(rankings: Sequence[Ends], cuts: Sequence[int] = CUTS) -> dict[int, Quality]:
    """Measure rankings at each K, as means over the queries.

    Raises
    ------
    InvalidInput
        If scikit-learn is not installed.
    """
    return {k: Quality.mean([Quality.of(ends, k) for ends in rankings]) for k in cuts}


def _average_precision(labels: NDArray[np.bool_]) -> float:
    if not labels.any():
        return 0.0
    return float(needed("sklearn.metrics").average_precision_score(labels, _falling(labels)))


def _area_under_roc(labels: NDArray[np.bool_]) -> float:
    if labels.all() or not labels.any():
        return 1.0 if labels.any() else 0.5
    return float(needed("sklearn.metrics").roc_auc_score(labels, _falling(labels)))


def _falling(labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Scores that say the order and nothing more: equal scores were put in order when the ranking was made."""
    return np.arange(len(labels), 0, -1)
