"""The interface of every method, and the shape that most of them have: one vector a text, compared by product."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Rival(ABC):
    """One method: reads a pool once, then scores all of it for any query."""

    @abstractmethod
    def fit(self, pool: Sequence[str]) -> None:
        """Read the n texts of a pool and keep what scoring needs."""

    @abstractmethod
    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return one row of n scores for each of m queries, (m, n); a higher score ranks earlier."""

    def save(self, folder: Path) -> None:  # noqa: B027  keeps nothing unless a method says what
        """Write what scoring needs into a folder, the model apart; nothing, where all is computed again."""


class VectorRival(Rival):
    """A method that makes one vector of each text and compares vectors.

    Parameters
    ----------
    cosine
        Whether vectors are scaled to unit length before their inner product; a zero vector stays zero.
    dtype
        In which the pool's vectors are kept. Products are taken in float32 or better.
    """

    def __init__(self, *, cosine: bool = True, dtype: type[np.floating] = np.float16) -> None:
        self.cosine, self.dtype = cosine, dtype
        self.rows: NDArray[np.floating] = np.zeros((0, 0), dtype)

    @abstractmethod
    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return one vector a text, (n, D)."""

    def prepare(self, pool: Sequence[str]) -> None:
        """Learn from the pool what :meth:`vectors` needs; most methods need nothing."""

    def fit(self, pool: Sequence[str]) -> None:
        """Keep the pool's vectors."""
        self.prepare(pool)
        self.rows = self._compared(pool).astype(self.dtype)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return inner products with the kept vectors."""
        compared = self._compared(queries)
        return compared @ self.rows.astype(compared.dtype).T

    def save(self, folder: Path) -> None:
        """Write the pool's vectors."""
        np.save(folder / "rows.npy", self.rows)

    def _compared(self, texts: Sequence[str]) -> NDArray[np.floating]:
        rows = self.vectors(texts)
        return unit(rows) if self.cosine else rows


def unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scale rows to unit length; a zero row stays zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
