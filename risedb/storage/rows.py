"""Rows on their way to the disk, and the packed block in which small commits wait in the catalog's tail."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from risedb.signature import Signatures
from risedb.storage.checksum import seal, unseal


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """n rows with all that a segment or a tail block keeps of them.

    Parameters
    ----------
    sequence, commit
        (n,) uint64: insertion number, and number of the commit that made the row durable.
    rh, gh
        (n, Kr * Kh) and (n, Kg * Kh) unit rows in the stored dtype.
    norms
        (n, 2) float32.
    replaces
        (m,) uint64: sequence numbers of the rows that these took the place of.
    """

    sequence: NDArray[np.uint64]
    commit: NDArray[np.uint64]
    rh: NDArray[np.floating]
    gh: NDArray[np.floating]
    norms: NDArray[np.float32]
    replaces: NDArray[np.uint64]

    @classmethod
    def of(cls, signatures: Signatures, first: int, commit: int, replaces: Sequence[int], dtype: str) -> Self:
        """Give new signatures their sequence numbers, from `first` on."""
        n = len(signatures)
        return cls(
            np.arange(first, first + n, dtype=np.uint64),
            np.full(n, commit, dtype=np.uint64),
            signatures.rh.astype(dtype),
            signatures.gh.astype(dtype),
            signatures.norms.astype(np.float32),
            np.array(replaces, dtype=np.uint64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["StoredRows"]) -> "StoredRows":
        """Put several blocks one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.sequence)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(getattr(self, name).nbytes for name in _FIELDS)

    def pack(self) -> bytes:
        """Return one tail block: a head of four counts, the arrays little-endian, a crc32c."""
        head = struct.pack("<4I", len(self), len(self.replaces), self.rh.shape[1], self.gh.shape[1])
        arrays = [_little_endian(getattr(self, name)).tobytes() for name in _FIELDS]
        return seal(b"".join([head, *arrays]))

    @classmethod
    def unpack(cls, block: bytes, dtype: str) -> Self:
        """Read a tail block.

        Raises
        ------
        Corrupt
            If its checksum does not fit.
        """
        data = unseal(block, "a block of the catalog's tail")
        n, m, rh_dim, gh_dim = struct.unpack_from("<4I", data)
        shapes = [(n,), (n,), (n, rh_dim), (n, gh_dim), (n, 2), (m,)]
        dtypes = ["<u8", "<u8", dtype, dtype, "<f4", "<u8"]
        arrays, start = [], 16
        for shape, kind in zip(shapes, map(np.dtype, dtypes), strict=True):
            size = int(np.prod(shape))
            arrays.append(np.frombuffer(data, kind, size, start).reshape(shape))
            start += size * kind.itemsize
        return cls(*arrays)


_FIELDS = ("sequence", "commit", "rh", "gh", "norms", "replaces")


def _little_endian(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
