"""Tombstones: which rows are dead since which commit. In the catalog as a log of blocks, in files so that they last.

A tombstone is a pair (sequence, commit). The catalog's log is what readers use. Each one is also written to an
immutable file, so that a catalog rebuilt from files brings nothing back: those of sealed rows that were deleted to a
file in ``deletions`` before the commit, all others to the next segment that is written.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from risedb.errors import Corrupt
from risedb.storage import vfs
from risedb.storage.checksum import seal, unseal
from risedb.storage.names import check_names
from risedb.storage.transaction import Transaction, number_key

NONE = np.empty((0, 2), np.uint64)


def pairs(sequences: Iterable[int], commit: int) -> NDArray[np.uint64]:
    """Return the (m, 2) tombstones of rows that one commit killed."""
    return np.array([(sequence, commit) for sequence in sequences], np.uint64).reshape(-1, 2)


def read_log(transaction: Transaction) -> NDArray[np.uint64]:
    """Return all tombstones of the catalog, (m, 2), in the order of their commits."""
    return np.concatenate([NONE, *(_unpacked(block) for _, block in transaction.items("tombstones"))])


def append_log(transaction: Transaction, dead: NDArray[np.uint64]) -> None:
    """Add tombstones to the catalog's log."""
    if len(dead):
        start = transaction.number(b"tombstones")
        transaction.append_block("tombstones", start, len(dead), _packed(dead), b"".join)
        transaction.put_number(b"tombstones", start + len(dead))


def replace_log(transaction: Transaction, dead: NDArray[np.uint64]) -> None:
    """Write the catalog's log anew."""
    transaction.clear("tombstones")
    transaction.put_number(b"tombstones", len(dead))
    if len(dead):
        transaction.put("tombstones", number_key(0), _packed(dead))


def write_file(path: Path, dead: NDArray[np.uint64]) -> None:
    """Write a file of tombstones: the pairs, little-endian, and a crc32c; durable on return, with its name."""
    vfs.write_file(path, seal(_packed(dead)))
    vfs.sync_folder(path.parent)


def read_file(path: Path) -> NDArray[np.uint64]:
    """Read a file of tombstones.

    Raises
    ------
    Corrupt
        If it is missing or damaged.
    """
    try:
        return _unpacked(unseal(path.read_bytes(), str(path)))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}. Run risedb verify"
        raise Corrupt(msg) from error


def file_names(transaction: Transaction) -> list[str]:
    """Return the names of the committed files in ``deletions``.

    Raises
    ------
    Corrupt
        If one is no such name: nothing outside the index is ever opened.
    """
    names = [value.decode() for _, value in transaction.items("deletions")]
    check_names(names, "a file of deletions")
    return names


def _packed(dead: NDArray[np.uint64]) -> bytes:
    return dead.astype("<u8", copy=False).tobytes()


def _unpacked(block: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(block, "<u8").reshape(-1, 2)
