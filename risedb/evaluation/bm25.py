"""BM25, what a signature has to be better than: words alone, no model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risedb.evaluation.extra import needed


class BM25:
    """The words of a pool, weighted as bm25s does by default, English stop words left out.

    Parameters
    ----------
    pool
        Texts.

    Raises
    ------
    InvalidInput
        If bm25s is not installed.
    """

    def __init__(self, pool: Sequence[str]) -> None:
        self._bm25s = needed("bm25s")
        self._rows = len(pool)
        words = self._bm25s.tokenize(list(pool), stopwords="en", show_progress=False)
        self._index = self._bm25s.BM25()
        if words.vocab:
            self._index.index(words, show_progress=False)
        self._vocabulary = words.vocab

    def save(self, folder: Path) -> None:
        """Write the index into a folder, as bm25s does."""
        self._index.save(str(folder))

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return every text's score, (n,) float32; 0 for all where a query has no word of the pool."""
        (words,) = self._bm25s.tokenize([query], stopwords="en", return_ids=False, show_progress=False)
        known = [word for word in words if word in self._vocabulary]
        if not known:
            return np.zeros(self._rows, np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(known)
        return scores
