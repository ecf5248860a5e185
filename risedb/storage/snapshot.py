"""The rows of an index as of one commit: its segments, its tail, its tombstones."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risedb.errors import Corrupt, NotFound
from risedb.signature import Block, Signatures
from risedb.storage.catalog import Transaction
from risedb.storage.rows import StoredRows
from risedb.storage.segment import Segment

_SEGMENT_NAME = re.compile(r"\d{6,}-[0-9a-f]{12}")


def segment_names(transaction: Transaction) -> list[str]:
    """Return the folders of the committed segments, oldest first.

    Raises
    ------
    Corrupt
        If one is no segment's name: nothing outside the index is ever opened.
    """
    names = [json.loads(value)["name"] for _, value in transaction.items("segments")]
    for name in names:
        if not _SEGMENT_NAME.fullmatch(name):
            msg = f"the catalog names a segment {name!r}, which no writer did"
            raise Corrupt(msg)
    return names


class Snapshot:
    """What one commit left; later commits do not change it.

    Parameters
    ----------
    path
        The index's folder.
    transaction
        A read transaction, needed only while this is made.
    dtype
        Element type of the stored unit rows.
    previous
        An earlier snapshot, whose open segments and checked chunks are used again.

    Attributes
    ----------
    version
        Changes with every commit and seal.
    rows
        Live rows.
    segments
        The segments, oldest first.
    tail_rows
        Rows that wait in the tail, live or not.
    """

    def __init__(self, path: Path, transaction: Transaction, dtype: str, previous: "Snapshot | None" = None) -> None:
        self.version = self.version_of(transaction)
        open_already = {segment.folder: segment for segment in previous.segments} if previous else {}
        folders = [path / "segments" / name for name in segment_names(transaction)]
        self.segments: list[Segment] = [open_already.get(folder) or Segment(folder) for folder in folders]
        self._tail = [StoredRows.unpack(block, dtype) for _, block in transaction.items("tail")]
        self.tail_rows = sum(map(len, self._tail))
        self._tombstones = np.array([int.from_bytes(key) for key in transaction.keys("tombstones")], dtype=np.uint64)
        self.rows = transaction.count("ids")

    @staticmethod
    def version_of(transaction: Transaction) -> tuple[int, int]:
        """Tell one state of the catalog from another: commits and segments only grow."""
        return transaction.count("commits"), transaction.count("segments")

    def blocks(self) -> Iterator[Block]:
        """Yield all rows, live or not, as views of mapped files and of the tail.

        Raises
        ------
        Corrupt
            If a chunk is not what was written.
        """
        for rows in self._stored():
            yield Block(rows.sequence, rows.rh, rows.gh, rows.norms, self._live(rows.sequence))

    def signature(self, name: str, sequence: int) -> Signatures:
        """Return one row as it is stored.

        Raises
        ------
        NotFound
            If no row has this sequence number.
        """
        wanted = np.uint64(sequence)
        for rows in self._stored():
            if rows.sequence[0] <= wanted <= rows.sequence[-1]:
                at = int(np.searchsorted(rows.sequence, wanted))
                if rows.sequence[at] == wanted:
                    one = slice(at, at + 1)
                    return Signatures((name,), rows.rh[one], rows.gh[one], rows.norms[one])
        msg = f"row {sequence} ({name!r}) is in no segment. Run risedb verify"
        raise NotFound(msg)

    def _stored(self) -> Iterator[StoredRows]:
        for segment in self.segments:
            yield from segment.blocks()
        yield from self._tail

    def _live(self, sequence: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._tombstones):
            return np.ones(len(sequence), dtype=np.bool_)
        at = np.searchsorted(self._tombstones, sequence)
        at = np.minimum(at, len(self._tombstones) - 1)
        live: NDArray[np.bool_] = self._tombstones[at] != sequence
        return live
