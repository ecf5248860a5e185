"""Which rows of several indexes are the same documents."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.storage import Condition, Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The documents that all indexes have with the same content, in the order of the first one.

    Parameters
    ----------
    sequence
        (n,) uint64: their sequence numbers in the first index.
    rows
        For each index, (n,) intp: where each stands among all its rows, live or not.
    """

    sequence: NDArray[np.uint64]
    rows: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> "Alignment":
        """Compare the content of all live rows.

        The hash of a document's content covers its record, and so its id. What was added in step stands in the same
        order everywhere, which is seen at once; else contents are sorted, and the k-th row of a content is paired with
        the k-th.
        """
        sequences, rows, contents = zip(*map(_live, snapshots), strict=True)
        if all(np.array_equal(contents[0], content) for content in contents[1:]):
            return cls(sequences[0], rows)
        found = _in_all(contents)
        return cls(sequences[0][found[0]], tuple(own[at] for own, at in zip(rows, found, strict=True)))

    def where(self, first: Snapshot, conditions: Sequence[Condition]) -> "Alignment":
        """Return the documents whose record in the first index meets all conditions."""
        if not conditions:
            return self
        chosen = np.isin(self.sequence, first.live_sequences(conditions), assume_unique=True)
        return Alignment(self.sequence[chosen], tuple(rows[chosen] for rows in self.rows))

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.sequence)


def _live(snapshot: Snapshot) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.uint64]]:
    """Return sequence numbers, places and contents, (n, 2) uint64, of a snapshot's live rows."""
    live = snapshot.live_sequences()
    pieces = snapshot.pieces
    everything = np.concatenate([np.empty(0, np.uint64), *(piece.sequence for piece in pieces)])
    content = np.concatenate([np.empty((0, 16), np.uint8), *(piece.whole("content") for piece in pieces)])
    rows = np.searchsorted(everything, live)
    return live, rows, content[rows].view(np.uint64)


def _in_all(contents: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.intp]]:
    """Return the rows of each that all have, pairwise equal, in the order of the first."""
    high, low = np.concatenate(contents).T
    order = np.lexsort((low, high))
    label = np.empty(len(order), np.int64)
    label[order] = np.cumsum(_differs(high[order]) | _differs(low[order]))
    labels = np.split(label, np.cumsum([len(content) for content in contents])[:-1])
    keys = [_occurrence(own) * (len(label) + 1) + own for own in labels]
    common = functools.reduce(np.intersect1d, keys)
    found = []
    for key in keys:
        sorter = np.argsort(key)
        found.append(sorter[np.searchsorted(key, common, sorter=sorter)])
    order = np.argsort(found[0])
    return [at[order] for at in found]


def _occurrence(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each one's label stands before it."""
    order = np.argsort(labels, kind="stable")
    place = np.arange(len(labels))
    begin = np.maximum.accumulate(np.where(_differs(labels[order]), place, 0))
    count = np.empty(len(labels), np.int64)
    count[order] = place - begin
    return count


def _differs(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which differ from the one before."""
    return np.concatenate([np.ones(min(len(ordered), 1), np.bool_), ordered[1:] != ordered[:-1]])
