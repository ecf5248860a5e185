"""BM25 of the bm25s package, with its defaults and English stop words."""

from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals.rival import Rival


class Bm25(Rival):
    """Okapi BM25 (Robertson et al., TREC-3) in Lucene's variant, k1 1.5 and b 0.75."""

    def fit(self, pool: Sequence[str]) -> None:
        """Index the pool's words."""
        self.index = bm25s.BM25()
        self.index.index(bm25s.tokenize(list(pool), stopwords="en", show_progress=False), show_progress=False)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return BM25 scores, float32."""
        words = bm25s.tokenize(list(queries), stopwords="en", return_ids=False, show_progress=False)
        return np.stack([self.index.get_scores(list(query)) for query in words])

    def save(self, folder: Path) -> None:
        """Write the index as bm25s does."""
        self.index.save(str(folder))
