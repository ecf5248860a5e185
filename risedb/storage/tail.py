"""The tail: rows with their records that wait in the catalog until they make a segment."""

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from risedb.signature import Block
from risedb.storage.codes import Codes, encode
from risedb.storage.columns import Columns, columns_bytes
from risedb.storage.records import unpack_record
from risedb.storage.rows import FIELDS, STORED, StoredRows
from risedb.storage.transaction import Transaction

_HEAD = struct.Struct("<3I")
_TYPES = {"sequence": "<u8", "commit": "<u8", "content": "|u1", "norms": "<f4", "scale": "<f4"}


@dataclass(frozen=True)
class TailBlock:
    """Rows and their packed records, in the order of their sequence numbers."""

    rows: StoredRows
    records: Sequence[bytes]

    @property
    def sequence(self) -> NDArray[np.uint64]:
        """Sequence numbers of all rows, ascending."""
        return self.rows.sequence

    def whole(self, name: str) -> NDArray[Any]:
        """Return all rows of one array, as of a segment."""
        array: NDArray[Any] = getattr(self.rows, name)
        return array

    @property
    def nbytes(self) -> int:
        """Bytes of rows and records."""
        return self.rows.nbytes + sum(map(len, self.records))

    @property
    def chunks(self) -> int:
        """One, as of a small segment."""
        return 1

    @property
    def chunk_rows(self) -> int:
        """All rows."""
        return len(self.rows)

    def stored(self, _: int, __: int | None = None) -> StoredRows:
        """Return all rows, as of a segment of one chunk."""
        return self.rows

    def record(self, row: int) -> bytes:
        """Return one row's packed record."""
        return self.records[row]

    @cached_property
    def _codes(self) -> Codes:
        rows = self.rows
        if rows.rh.dtype == np.int8:
            return Codes(np.concatenate([rows.rh, rows.gh], axis=1), rows.scale, np.zeros(len(rows), np.float32))
        return encode(rows.rh, rows.gh, rows.norms)

    def as_block(self, live: NDArray[np.bool_], *, coded: bool) -> Block:
        """Return the rows as the scan reads them, with codes if the segments have them too."""
        rows = self.rows
        if not coded:
            return Block(rows.sequence, rows.rh, rows.gh, rows.norms, live)
        codes = self._codes
        rh, gh = np.split(codes.codes, [rows.rh.shape[1]], axis=1) if rows.rh.dtype == np.int8 else (rows.rh, rows.gh)
        return Block(rows.sequence, rh, gh, rows.norms, live, codes.codes, codes.scale, codes.error)

    @cached_property
    def columns(self) -> Columns:
        """The fields of the records, column by column, as a segment has them."""
        return Columns(columns_bytes(unpack_record(record, "a record of the tail")[1] for record in self.records))

    def pack(self) -> bytes:
        """Return the block as the catalog keeps it: a head of three counts, then the arrays, little-endian."""
        rows = self.rows
        head = _HEAD.pack(len(rows), rows.rh.shape[1], rows.gh.shape[1])
        ends = np.cumsum([len(record) for record in self.records], dtype=np.uint64)
        arrays: list[NDArray[Any]] = [*(getattr(rows, name) for name in FIELDS), ends]
        little = [array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays]
        return b"".join([head, *little, *self.records])

    @classmethod
    def unpack(cls, block: bytes, dtype: str) -> Self:
        """Read a block of an index whose rows are of `dtype`."""
        n, rh_width, gh_width = _HEAD.unpack_from(block)
        widths = {"content": 16, "rh": rh_width, "gh": gh_width, "norms": 2}
        start = _HEAD.size

        def take(kind: str, width: int | None) -> NDArray[Any]:
            nonlocal start
            array = np.frombuffer(block, kind, n * (width or 1), start)
            start += array.nbytes
            return array if width is None else array.reshape(n, width)

        rows = StoredRows(*(take(_TYPES.get(name, STORED[dtype]), widths.get(name)) for name in FIELDS))
        ends = [0, *take("<u8", None).tolist()]
        blob = block[start:]
        return cls(rows, [blob[begin:end] for begin, end in itertools.pairwise(ends)])

    @classmethod
    def joined(cls, blocks: Sequence["TailBlock"]) -> "TailBlock":
        """Put several blocks one after the other."""
        records = [record for block in blocks for record in block.records]
        return cls(StoredRows.concatenate([block.rows for block in blocks]), records)


def append_tail(transaction: Transaction, block: TailBlock, dtype: str) -> None:
    """Add rows to the tail."""

    def join(packed: list[bytes]) -> bytes:
        return TailBlock.joined([TailBlock.unpack(one, dtype) for one in packed]).pack()

    transaction.append_block("tail", int(block.sequence[0]), len(block.rows), block.pack(), join)


def read_tail(transaction: Transaction, dtype: str, known: Sequence[TailBlock] = ()) -> Iterator[TailBlock]:
    """Yield the blocks of the tail; those that are `known` already are not copied again."""
    have = {(int(block.sequence[0]), len(block.rows)): block for block in known}
    starts = [int.from_bytes(key) for key in transaction.keys("tail")]
    ends = [*starts[1:], transaction.number(b"next_sequence")]
    for key, start, end in zip(transaction.keys("tail"), starts, ends, strict=False):
        block = have.get((start, end - start))
        yield block or TailBlock.unpack(transaction.get("tail", key) or b"", dtype)
