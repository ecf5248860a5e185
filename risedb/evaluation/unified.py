"""One number for both questions that a method answers: what shaped this (recall), what would teach this (predict)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from risedb.errors import InvalidInput
from risedb.evaluation.measures import Quality


@dataclass(frozen=True, slots=True)
class Unified:
    """The mean of both paradigms and half their distance: mu and delta.

    Source: arXiv:2604.16197v1, section 3.1 and Table 3.
    """

    mu: float
    delta: float

    @classmethod
    def of(cls, recall: float, predict: float) -> Self:
        """Join both paradigms' means over K."""
        return cls((recall + predict) / 2, abs(recall - predict) / 2)

    def __str__(self) -> str:
        """Write it as the paper's tables do."""
        return f"{self.mu:.3f} ± {self.delta:.3f}"


def unified(recall: Mapping[int, Quality], predict: Mapping[int, Quality]) -> Unified:
    """Join the auPRC of a fine-tuned model's rankings with those of the pretrained one's, each averaged over its K.

    Raises
    ------
    InvalidInput
        If they were measured at different K.

    Examples
    --------
    >>> at = lambda auprc: Quality(precision=1, recall=1, mrr=1, auprc=auprc, auroc=1)
    >>> print(unified({5: at(0.9), 10: at(0.7)}, {5: at(0.6), 10: at(0.6)}))
    0.700 ± 0.100
    """
    if recall.keys() != predict.keys() or not recall:
        msg = f"recall was measured at K = {sorted(recall)} and predict at {sorted(predict)}; they must be the same"
        raise InvalidInput(msg)
    return Unified.of(*(float(np.mean([quality.auprc for quality in each.values()])) for each in (recall, predict)))
