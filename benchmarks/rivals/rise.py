"""RISE itself, through RiseDB's public API: the row that the others stand beside."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import risedb
from benchmarks.rivals.rival import Rival


class Rise(Rival):
    """An index of the pool's signatures, each query scored against all of it.

    Parameters
    ----------
    model
        The model's name, as `risedb.open` takes it.
    folder
        Where the index is written.
    seq_len
        Most tokens of a text that are read.
    choices
        Options of the query, such as ``lambda_gh=0.0`` for the RH channel alone.
    """

    def __init__(self, model: str, folder: Path, seq_len: int = 256, **choices: float) -> None:
        self.model, self.folder, self.choices = model, folder, choices
        self.readout = risedb.ReadoutConfig(seq_len=seq_len)

    def fit(self, pool: Sequence[str]) -> None:
        """Build the index."""
        self.db = risedb.open(
            self.folder,
            self.model,
            create=True,
            readout=self.readout,
            load=risedb.LoadConfig(dtype="float32"),
        )
        self.db.add({"id": str(number), "text": text} for number, text in enumerate(pool))
        if len(pool) != len(self.db):
            msg = f"{len(pool)} texts, and {len(self.db)} documents in the index"
            raise ValueError(msg)

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return exact scores, in the order of the pool."""
        return np.concatenate([part.scores for part in self.db.scores(list(queries), **self.choices)]).T

    def save(self, folder: Path) -> None:
        """Copy the index."""
        shutil.copytree(self.db.path, folder / "pool.rise")
