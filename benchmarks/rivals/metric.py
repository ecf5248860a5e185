"""Average precision over the top K and the bottom K of a ranking (arXiv:2604.16197v1, Section 6)."""

import numpy as np
from numpy.typing import NDArray


def average_precision(labels: NDArray[np.bool_]) -> float:
    """Return the area under precision and recall of labels, best first; 0 without a positive.

    Examples
    --------
    >>> average_precision(np.array([True, False, True, False]))
    0.8333333333333333
    """
    found = np.cumsum(labels)
    if not found[-1]:
        return 0.0
    return float(np.sum(found / np.arange(1, len(labels) + 1) * labels) / found[-1])


def auprc(scores: NDArray[np.floating], labels: NDArray[np.bool_], k: int) -> float:
    """Return the mean over queries of the average precision over the K best and the K worst.

    Parameters
    ----------
    scores
        (m, n) float; equal scores stand in the pool's order, and a NaN last.
    labels
        (n,) bool.
    k
        Documents from each end; where 2K exceeds n, all n.
    """
    ranking = np.argsort(-scores, axis=1, kind="stable")
    ends = np.concatenate([ranking[:, :k], ranking[:, max(k, scores.shape[1] - k) :]], axis=1)
    return float(np.mean([average_precision(labels[each]) for each in ends]))
