"""A ranking by chance, another for every query: what the metric gives to no information at all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.rival import Rival


class Chance(Rival):
    """Draws scores from a seeded generator."""

    def __init__(self, seed: int = 42) -> None:
        self.seed = seed

    def fit(self, pool: Sequence[str]) -> None:
        """Count the pool."""
        self.documents = len(pool)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return uniform numbers, (m, n)."""
        return np.random.default_rng(self.seed).random((len(queries), self.documents))
