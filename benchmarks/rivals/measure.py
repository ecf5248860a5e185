"""What a method costs: time to build, time to answer, bytes on disk; and the scores it gives."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rivals.rival import Rival


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One method's answers to all queries.

    Parameters
    ----------
    scores
        (m, n): of every document for each query.
    build_seconds
        From the texts to what is kept.
    query_milliseconds
        For each query, its own vectors included, when all are asked together.
    disk_bytes
        Of what is kept, the model apart.
    """

    scores: NDArray[np.floating]
    build_seconds: float
    query_milliseconds: float
    disk_bytes: int

    @classmethod
    def of(cls, rival: Rival, pool: Sequence[str], queries: Sequence[str]) -> "Measured":
        """Fit, score and save one method; whatever came before it, it draws the same random numbers."""
        torch.manual_seed(42)
        start = perf_counter()
        rival.fit(pool)
        build_seconds = perf_counter() - start
        start = perf_counter()
        scores = rival.score(queries)
        query_seconds = (perf_counter() - start) / len(queries)
        with tempfile.TemporaryDirectory() as folder:
            rival.save(Path(folder))
            disk_bytes = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        return cls(scores, build_seconds, 1000 * query_seconds, disk_bytes)

    @property
    def costs(self) -> dict[str, Any]:
        """What a result file keeps of it."""
        return {name: getattr(self, name) for name in ("build_seconds", "query_milliseconds", "disk_bytes")}
