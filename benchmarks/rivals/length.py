"""The longest document first, whatever the query: what any method has to beat where positives are longer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.rival import Rival


class Length(Rival):
    """Scores a document by its count of characters."""

    def fit(self, pool: Sequence[str]) -> None:
        """Measure the pool."""
        self.lengths = np.array([len(text) for text in pool], dtype=np.float64)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return the lengths, once for each query."""
        return np.tile(self.lengths, (len(queries), 1))
