"""The rows of an index as of one commit: its segments, its tail, its tombstones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import StoreConfig
from risedb.errors import Corrupt, NotFound
from risedb.signature import Block, Signatures, widened
from risedb.storage.columns import Condition
from risedb.storage.names import check_names
from risedb.storage.readers import ReaderLease
from risedb.storage.records import unpack_record
from risedb.storage.rows import StoredRows
from risedb.storage.segment import Segment
from risedb.storage.tail import TailBlock, read_tail
from risedb.storage.tombstones import read_log
from risedb.storage.transaction import Transaction, Version, number_key

_DOCUMENTS = 4096  # that are read at once


def segment_names(transaction: Transaction, database: str = "segments") -> list[str]:
    """Return the folders of the committed segments, oldest rows first; or those that were `retired`.

    Raises
    ------
    Corrupt
        If one is no segment's name: nothing outside the index is ever opened.
    """
    names = [transaction.json(database, key)["name"] for key in transaction.keys(database)]
    check_names(names, "a segment")
    return names


@dataclass(frozen=True, slots=True)
class Commit:
    """One change of an index.

    Parameters
    ----------
    number
        From 1; ``open(…, at=number)`` reads the index as it was then.
    time
        ISO 8601, UTC.
    what
        ``add``, ``delete``, ``compact`` or ``repair``.
    added, removed
        Rows that came, and rows that went (an updated document counts in both).
    rows
        Documents in the index after it.
    """

    number: int
    time: str
    what: str
    added: int
    removed: int
    rows: int


def read_commit(transaction: Transaction, number: int) -> Commit:
    """Return a commit; number 0 is the empty index.

    Raises
    ------
    NotFound
        If there is no such commit.
    """
    if number == 0:
        return Commit(0, "", "create", 0, 0, 0)
    about = transaction.json("commits", number_key(number)) if 0 < number < 2**64 else None
    if about is None:
        msg = f"there is no commit {number}; the newest is {transaction.last_key('commits')}"
        raise NotFound(msg)
    return Commit(number, **about)


class Snapshot:
    """What one commit left; later commits do not change it, and compaction leaves its files alone.

    Parameters
    ----------
    path
        The index's folder.
    transaction
        A read transaction, needed only while this is made.
    config
        Layout on disk.
    lease
        Held for as long as this exists.
    at
        The commit; None for the newest.
    previous
        An earlier snapshot, whose open segments, checked chunks and tail blocks are used again.

    Attributes
    ----------
    version
        Number of the catalog's state, from which this was made.
    commit
        The commit.
    segments, tail
        All rows, oldest first.

    Raises
    ------
    NotFound
        If there is no such commit, or compaction has passed it.
    """

    def __init__(
        self,
        path: Path,
        transaction: Transaction,
        config: StoreConfig,
        lease: ReaderLease,
        at: int | None = None,
        previous: "Snapshot | None" = None,
    ) -> None:
        self.version = transaction.id
        self.lease = lease
        self._at = at
        self._coded = config.codes == "int8" or config.dtype == "int8"
        oldest = transaction.number(b"oldest_commit")
        if at is not None and 0 <= at < oldest:
            msg = f"commit {at} of {path} was compacted away; the oldest that can be read is {oldest}"
            raise NotFound(msg)
        self.commit = read_commit(transaction, transaction.last_key("commits") if at is None else at)
        known = {segment.folder: segment for segment in previous.segments} if previous else {}
        folders = [path / "segments" / name for name in segment_names(transaction)]
        self.segments: list[Segment] = [known.get(folder) or Segment(folder) for folder in folders]
        self.tail: list[TailBlock] = list(read_tail(transaction, config.dtype, previous.tail if previous else ()))
        dead = read_log(transaction)
        self.dead: NDArray[np.uint64] = np.sort(dead[:, 0] if at is None else dead[dead[:, 1] <= at, 0])

    @property
    def pieces(self) -> list[Segment | TailBlock]:
        """Everything that holds rows, oldest rows first."""
        return [*self.segments, *self.tail]

    @property
    def rows(self) -> int:
        """Count the documents."""
        return self.commit.rows

    @property
    def tail_rows(self) -> int:
        """Count the rows that wait in the tail, live or not."""
        return sum(len(block.rows) for block in self.tail)

    def blocks(self, where: Sequence[Condition] = ()) -> Iterator[Block]:
        """Yield all rows, live or not, as views of mapped files and of the tail.

        Parameters
        ----------
        where
            Rows whose records do not meet all conditions are yielded as if they were dead.

        Raises
        ------
        Corrupt
            If a chunk is not what was written.
        """
        for segment in self.segments:
            chosen = _chosen(segment, where)
            start = 0
            for i in range(segment.chunks):
                sequence = segment.chunk("sequence", i)
                part = slice(start, start + len(sequence))
                rh, gh, check = segment.vectors(i)
                commit = None if self._at is None else segment.chunk("commit", i)
                live = self._live(sequence, commit) & chosen[part]
                block = Block(sequence, rh, gh, segment.chunk("norms", i), live, check=check, key=(segment.number, i))
                if codes := segment.codes(i):
                    block = replace(block, codes=codes.codes, code_scale=codes.scale, code_error=codes.error)
                yield block
                start = part.stop
        for waiting in self.tail:
            live = self._live(waiting.sequence, waiting.rows.commit) & _chosen(waiting, where)
            yield waiting.as_block(live, coded=self._coded)

    def records(self, sequences: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
        """Return id and record of rows by their sequence numbers.

        Raises
        ------
        Corrupt
            If one is missing or damaged.
        """
        found = [self._find(sequence) for sequence in sequences]
        return [
            unpack_record(piece.record(row), f"the record of row {sequence}")
            for sequence, (piece, row) in zip(sequences, found, strict=True)
        ]

    def signature(self, name: str, sequence: int) -> Signatures:
        """Return one row as it is stored.

        Raises
        ------
        Corrupt
            If no row has this sequence number.
        """
        piece, row = self._find(sequence)
        i, at = divmod(row, piece.chunk_rows)
        return _signatures([name], piece.stored(i, at)[at : at + 1])

    def documents(self, where: Sequence[Condition] = ()) -> Iterator[tuple[Signatures, list[dict[str, Any]]]]:
        """Yield the live documents that meet all conditions, with their records, some thousand at a time."""
        for piece in self.pieces:
            chosen, start = _chosen(piece, where), 0
            for i in range(piece.chunks):
                rows = piece.stored(i)
                wanted = np.flatnonzero(self._live(rows.sequence, rows.commit) & chosen[start : start + len(rows)])
                for part in np.split(wanted, range(_DOCUMENTS, len(wanted), _DOCUMENTS)):
                    pairs = self.records(rows.sequence[part].tolist())
                    yield _signatures([name for name, _ in pairs], rows[part]), [record for _, record in pairs]
                start += len(rows)

    def live_sequences(self, where: Sequence[Condition] = ()) -> NDArray[np.uint64]:
        """Return the sequence numbers of the live rows that meet all conditions, ascending."""
        parts = [np.empty(0, np.uint64)]
        for piece in self.pieces:
            live = self._live(piece.sequence, piece.whole("commit"))
            parts.append(piece.sequence[live & _chosen(piece, where)])
        return np.concatenate(parts)

    def lookup(self, ids: Sequence[str]) -> list[Version | None]:
        """Find ids by reading every record: for when the catalog knows them no more."""
        wanted = set(ids)
        found: dict[str, Version] = {}
        for piece in self.pieces:
            commit, content = piece.whole("commit"), piece.whole("content")
            for row in np.flatnonzero(self._live(piece.sequence, commit)).tolist():
                name, _ = unpack_record(piece.record(row), "a record")
                if name in wanted:
                    sequence, born = int(piece.sequence[row]), int(commit[row])
                    found[name] = Version(sequence, born, 0, content[row].tobytes())
        return [found.get(name) for name in ids]

    def _find(self, sequence: int) -> tuple[Segment | TailBlock, int]:
        wanted = np.uint64(sequence)
        for piece in self.pieces:
            if piece.sequence[0] <= wanted <= piece.sequence[-1]:
                row = int(np.searchsorted(piece.sequence, wanted))
                if piece.sequence[row] == wanted:
                    return piece, row
        msg = f"row {sequence} is in no segment. Run risedb verify"
        raise Corrupt(msg)

    def _live(self, sequence: NDArray[np.uint64], commit: NDArray[np.uint64] | None) -> NDArray[np.bool_]:
        live = np.ones(len(sequence), np.bool_) if self._at is None or commit is None else commit <= np.uint64(self._at)
        first, last = np.searchsorted(self.dead, sequence[0]), np.searchsorted(self.dead, sequence[-1], "right")
        if last > first:
            dead = self.dead[first:last]
            at = np.searchsorted(sequence, dead)
            live[at[sequence[at] == dead]] = False
        return live


def _signatures(ids: Sequence[str], stored: StoredRows) -> Signatures:
    """Return stored rows as they are compared: unit rows and norms."""
    rh, gh = widened(stored.rh), widened(stored.gh)
    if stored.rh.dtype == np.int8:  # codes of the whole row: give each channel its own length back
        lengths = np.hypot(stored.norms[:, 0], stored.norms[:, 1])
        factor = (stored.scale * lengths)[:, None] / np.where(stored.norms > 0, stored.norms, np.float32(1))
        rh, gh = (rh * factor[:, :1]).astype(np.float32), (gh * factor[:, 1:]).astype(np.float32)
    return Signatures(tuple(ids), rh, gh, stored.norms)


def _chosen(piece: Segment | TailBlock, where: Sequence[Condition]) -> NDArray[np.bool_]:
    """Tell which rows meet all conditions: by column, or record by record where a field has no column."""
    chosen = np.ones(len(piece.sequence), np.bool_)
    for condition in where:
        mask = piece.columns.mask(condition)
        if mask is None:
            records = (unpack_record(piece.record(row), "a record")[1] for row in range(len(chosen)))
            mask = np.fromiter((condition.matches(record) for record in records), np.bool_, len(chosen))
        if len(mask) != len(chosen):
            msg = "a segment's columns have other rows than it has. Run risedb verify"
            raise Corrupt(msg)
        chosen &= mask
    return chosen
