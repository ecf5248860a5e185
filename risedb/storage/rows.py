"""Rows as they are stored: what a segment and the tail keep of a document, but for its record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from risedb.signature import Signatures, narrowed
from risedb.storage.codes import encode

STORED = {"float16": "<f2", "float32": "<f4", "bfloat16": "<u2", "int8": "|i1"}  # element types by their names

FIELDS = ("sequence", "commit", "content", "rh", "gh", "norms", "scale")  # in the order of a tail block's bytes


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """n rows with all that a segment or a tail block keeps of them, but for their records.

    Parameters
    ----------
    sequence, commit
        (n,) uint64: insertion number, and number of the commit that made the row durable.
    content
        (n, 16) uint8: hash of the document's content.
    rh, gh
        (n, Kr * Kh) and (n, Kg * Kh) unit rows in the stored dtype, bfloat16 as its bits in uint16. In an int8 store,
        the two parts of the codes.
    norms
        (n, 2) float32.
    scale
        (n,) float32: what the codes of an int8 store are multiplied with; ones elsewhere.
    """

    sequence: NDArray[np.uint64]
    commit: NDArray[np.uint64]
    content: NDArray[np.uint8]
    rh: NDArray[np.generic]
    gh: NDArray[np.generic]
    norms: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, signatures: Signatures, content: Sequence[bytes], first: int, commit: int, dtype: str) -> Self:
        """Give new signatures their sequence numbers, from `first` on, and round them to the stored dtype."""
        n = len(signatures)
        scale = np.ones(n, np.float32)
        rh: NDArray[np.generic]
        gh: NDArray[np.generic]
        if dtype == "int8":
            coded = encode(signatures.rh, signatures.gh, signatures.norms)
            rh, gh = np.split(coded.codes, [signatures.rh.shape[1]], axis=1)
            scale = coded.scale
        else:
            rh, gh = (narrowed(rows.astype(np.float32), dtype) for rows in (signatures.rh, signatures.gh))
        return cls(
            np.arange(first, first + n, dtype=np.uint64),
            np.full(n, commit, dtype=np.uint64),
            np.frombuffer(b"".join(content), np.uint8).reshape(n, 16),
            rh,
            gh,
            signatures.norms.astype(np.float32),
            scale,
        )

    @classmethod
    def concatenate(cls, parts: Sequence["StoredRows"]) -> "StoredRows":
        """Put several blocks one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS))

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.sequence)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> "StoredRows":
        """Return some of the rows."""
        return StoredRows(*(getattr(self, name)[rows] for name in FIELDS))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(getattr(self, name).nbytes for name in FIELDS)


def rechunked(
    parts: Iterator[tuple[StoredRows, Sequence[bytes]]], chunk_rows: int
) -> Iterator[tuple[StoredRows, list[bytes]]]:
    """Yield rows and their records in chunks of `chunk_rows`, the last one smaller."""
    waiting: list[StoredRows] = []
    records: list[bytes] = []
    for rows, packed in parts:
        waiting.append(rows)
        records += packed
        while len(records) >= chunk_rows:
            whole = StoredRows.concatenate(waiting)
            yield whole[:chunk_rows], records[:chunk_rows]
            waiting, records = [whole[chunk_rows:]], records[chunk_rows:]
    if records:
        yield StoredRows.concatenate(waiting), records
