"""The shared pools as the rivals see them: texts, queries, and which documents are positives."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.texts import text_of
from risedb.corpus import Row, read
from risedb.evaluation import CUTS

POOLS = {"howdy": CUTS, "finance-medical": CUTS, "brain-rot": (5, 10, 25, 50)}
"""The shared pools, each with the paper's K (Table 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One pool with its queries.

    Parameters
    ----------
    pool, queries
        Texts, prompt and completion in the template.
    labels
        (n,) bool: the pool's positives.
    full_rows
        How many documents the whole pool has.
    """

    pool: list[str]
    queries: list[str]
    labels: NDArray[np.bool_]
    full_rows: int

    @classmethod
    def load(cls, shared: Path, name: str, rows: int | None = None, queries: int | None = None) -> "Task":
        """Read the first rows of a shared pool, whose order is already random, and its first queries."""
        whole = _rows(shared / "data" / name / "pool.jsonl.zst")
        some = whole[:rows]
        asked = islice(_rows(shared / "data" / name / "queries.jsonl.zst"), queries)
        labels = np.array([row.values["label"] == 1 for row in some])
        return cls([text_of(row.values) for row in some], [text_of(row.values) for row in asked], labels, len(whole))


def _rows(path: Path) -> list[Row]:
    return [row for row in read(path) if isinstance(row, Row)]
