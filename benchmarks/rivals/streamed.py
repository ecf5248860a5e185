"""Vectors too large to keep: the queries' are held in memory, and the pool's are computed again as they pass."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.rivals.rival import Rival

BLOCK_BYTES = 256 * 2**20


class StreamedRival(Rival):
    """A method with one vector a text that a disk should not hold: nothing is built, and a query costs a pass.

    Parameters
    ----------
    cosine
        Whether inner products are divided by both lengths.
    """

    def __init__(self, *, cosine: bool) -> None:
        self.cosine = cosine

    @abstractmethod
    def vector(self, text: str) -> Tensor:
        """Return the vector of one text, (D,)."""

    def fit(self, pool: Sequence[str]) -> None:
        """Remember the texts."""
        self.pool = list(pool)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return inner products or cosines, one pass over the pool for all queries."""
        asked = self._stack(queries)
        block = max(BLOCK_BYTES // asked[0].nbytes, 1)
        passing = (self._stack(self.pool[start : start + block]) for start in range(0, len(self.pool), block))
        return torch.cat([asked @ rows.T for rows in passing], dim=1).numpy()

    def _stack(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors of some texts, (n, D), of unit length where cosines are wanted."""
        first = self.vector(texts[0])
        rows = torch.empty(len(texts), len(first), dtype=first.dtype)
        for row, text in zip(rows, texts, strict=True):
            row[:] = first if text is texts[0] else self.vector(text)
            if self.cosine:
                row /= row.norm().clamp_min(torch.finfo(row.dtype).tiny)
        return rows
