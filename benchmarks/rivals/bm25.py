"""BM25 as risedb.evaluation has it: the package bm25s with its defaults, and English stop words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.rival import Rival
from risedb.evaluation import BM25


class Bm25(Rival):
    """Okapi BM25 (Robertson et al., TREC-3) in Lucene's variant, k1 1.5 and b 0.75."""

    def fit(self, pool: Sequence[str]) -> None:
        """Index the pool's words."""
        self.index = BM25(pool)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return BM25 scores, float32."""
        return np.stack([self.index.scores(query) for query in queries])

    def save(self, folder: Path) -> None:
        """Write the index as bm25s does."""
        self.index.save(folder)
